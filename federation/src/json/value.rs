//! JSON values and their texts.

use std::cmp::Ordering;
use std::fmt::Write as _;

use crate::values::read::number;

/// A JSON value. Members keep the order they are written in until [`Value::normal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    /// The digits as written.
    Number(String),
    String(String),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

/// Appends a JSON string.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// A number as `numeric` prints it: no exponent.
fn plain_number(text: &str) -> String {
    if !text.contains(['e', 'E']) {
        // the negative zero of JSON is no number of its own
        return if text == "-0" {
            "0".to_owned()
        } else {
            text.to_owned()
        };
    }
    match number::numeric(text) {
        Ok(value) => {
            let digits = value.unscaled.to_string();
            let (sign, digits) = digits
                .strip_prefix('-')
                .map_or(("", digits.as_str()), |rest| ("-", rest));
            let scale = value.scale.unsigned_abs() as usize;
            if scale == 0 {
                return format!("{sign}{digits}");
            }
            let digits = format!("{digits:0>width$}", width = scale + 1);
            let split = digits.len() - scale;
            format!("{sign}{}.{}", &digits[..split], &digits[split..])
        }
        // more digits than a numeric has here: as it is written
        Err(_) => text.to_owned(),
    }
}

impl Value {
    /// The form of a `jsonb`: of equal keys the last counts, shorter keys come first, then by bytes.
    pub(crate) fn normal(self) -> Self {
        match self {
            Self::Number(text) => Self::Number(plain_number(&text)),
            Self::Array(elements) => Self::Array(elements.into_iter().map(Value::normal).collect()),
            Self::Object(members) => {
                let mut normal: Vec<(String, Value)> = Vec::with_capacity(members.len());
                for (key, value) in members {
                    match normal.binary_search_by(|(known, _)| key_order(known, &key)) {
                        Ok(at) => normal[at].1 = value.normal(),
                        Err(at) => normal.insert(at, (key, value.normal())),
                    }
                }
                Self::Object(normal)
            }
            other => other,
        }
    }

    /// As `jsonb` prints it: a blank behind each comma and colon.
    pub(crate) fn to_jsonb(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, ", ", ": ");
        out
    }

    /// As `to_json` prints it: no blanks.
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, ",", ":");
        out
    }

    fn write(&self, out: &mut String, comma: &str, colon: &str) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(text) => out.push_str(text),
            Self::String(text) => quote(text, out),
            Self::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push_str(comma);
                    }
                    element.write(out, comma, colon);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push_str(comma);
                    }
                    quote(key, out);
                    out.push_str(colon);
                    value.write(out, comma, colon);
                }
                out.push('}');
            }
        }
    }

    /// As `jsonb_pretty` prints it.
    pub(crate) fn pretty(&self) -> String {
        let mut out = String::new();
        self.write_pretty(&mut out, 0);
        out
    }

    fn write_pretty(&self, out: &mut String, level: usize) {
        let line = |out: &mut String, level: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', level * 4));
        };
        match self {
            Self::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    line(out, level + 1);
                    element.write_pretty(out, level + 1);
                }
                line(out, level);
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    line(out, level + 1);
                    quote(key, out);
                    out.push_str(": ");
                    value.write_pretty(out, level + 1);
                }
                line(out, level);
                out.push('}');
            }
            scalar => scalar.write(out, ", ", ": "),
        }
    }

    /// `@>`: every member and element of `other` is in this one.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        self.contains_below(other, true)
    }

    fn contains_below(&self, other: &Self, top: bool) -> bool {
        match (self, other) {
            (Self::Object(own), Self::Object(others)) => others.iter().all(|(key, wanted)| {
                own.iter()
                    .find(|(known, _)| known == key)
                    .is_some_and(|(_, value)| value.contains_below(wanted, false))
            }),
            (Self::Array(own), Self::Array(others)) => others
                .iter()
                .all(|wanted| own.iter().any(|value| value.contains_below(wanted, false))),
            // an array contains its scalars
            (Self::Array(own), scalar) if top && !matches!(scalar, Self::Object(_)) => {
                own.iter().any(|value| value.equals(scalar))
            }
            (own, other) => own.equals(other),
        }
    }

    /// Equality of `jsonb`: numbers by value.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self.order(other) == Ordering::Equal
    }

    /// The order of `jsonb`: Object > Array > Boolean > Number > String > Null, more members are greater.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let rank = |value: &Self| match value {
            Self::Null => 0,
            Self::String(_) => 1,
            Self::Number(_) => 2,
            Self::Boolean(_) => 3,
            Self::Array(_) => 4,
            Self::Object(_) => 5,
        };
        match (self, other) {
            (Self::Boolean(left), Self::Boolean(right)) => left.cmp(right),
            (Self::String(left), Self::String(right)) => left.cmp(right),
            (Self::Number(left), Self::Number(right)) => compare_numbers(left, right),
            (Self::Array(left), Self::Array(right)) => left.len().cmp(&right.len()).then_with(|| {
                left.iter()
                    .zip(right)
                    .map(|(left, right)| left.order(right))
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal)
            }),
            (Self::Object(left), Self::Object(right)) => left.len().cmp(&right.len()).then_with(|| {
                left.iter()
                    .zip(right)
                    .map(|((key, value), (other_key, other))| {
                        key_order(key, other_key).then_with(|| value.order(other))
                    })
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal)
            }),
            _ => rank(self).cmp(&rank(other)),
        }
    }
}

fn key_order(left: &str, right: &str) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

fn compare_numbers(left: &str, right: &str) -> Ordering {
    if left == right {
        return Ordering::Equal;
    }
    match (number::numeric(left), number::numeric(right)) {
        (Ok(left), Ok(right)) => {
            let scale = left.scale.max(right.scale);
            match (left.rescale(scale), right.rescale(scale)) {
                (Some(left), Some(right)) => left.cmp(&right),
                _ => f64_of(&left.unscaled.to_string(), left.scale)
                    .total_cmp(&f64_of(&right.unscaled.to_string(), right.scale)),
            }
        }
        _ => f64_of(left, 0).total_cmp(&f64_of(right, 0)),
    }
}

fn f64_of(digits: &str, scale: i32) -> f64 {
    format!("{digits}e{}", -scale)
        .parse()
        .or_else(|_| digits.parse())
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::super::{normalize, parse};
    use super::*;

    #[test]
    fn jsonb_has_one_form() {
        for (text, expected) in [
            (r#"{"b": 1,   "a": 2, "a": 3}"#, r#"{"a": 3, "b": 1}"#),
            (r#"{"long": 1, "z": [ ]}"#, r#"{"z": [], "long": 1}"#),
            ("1e2", "100"),
            ("1.50", "1.50"),
            ("1.5e-3", "0.0015"),
            ("-1e1", "-10"),
            (r#""\u00e9\n""#, r#""é\n""#),
            ("[1,2]", "[1, 2]"),
        ] {
            assert_eq!(normalize(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn containment_follows_postgres() {
        for (left, right, expected) in [
            (r#"{"a": 1, "b": 2}"#, r#"{"a": 1}"#, true),
            (r#"{"a": 1}"#, r#"{"a": 2}"#, false),
            ("[1, 2, 3]", "[3, 1, 1]", true),
            (r#"{"a": {"b": 1, "c": 2}}"#, r#"{"a": {"b": 1.0}}"#, true),
            ("[1, 2]", "1", true),
            ("[[1]]", "1", false),
            ("[[1]]", "[1]", false),
            ("1", "[1]", false),
            (r#"{"a": [1, 2]}"#, r#"{"a": [1]}"#, true),
        ] {
            let contains = parse(left).unwrap().contains(&parse(right).unwrap());
            assert_eq!(contains, expected, "{left} @> {right}");
        }
    }

    #[test]
    fn numbers_compare_by_value() {
        assert!(parse("1.0").unwrap().equals(&parse("1").unwrap()));
        assert_eq!(
            parse("10").unwrap().order(&parse("9").unwrap()),
            Ordering::Greater
        );
    }
}
