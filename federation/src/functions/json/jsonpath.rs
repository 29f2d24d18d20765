//! The part of SQL/JSON path that looks values up: keys, indexes, wildcards and simple filters.

use crate::error::{Cause, FederationError};
use crate::functions::scaffold::{Call, Function, JSONB, Outcome, Returns, TEXT, function, overload};
use crate::json::{self, Value};
use crate::types;
use crate::values::read::value_error;

/// A step from a value to others.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Key(String),
    AnyKey,
    Index(i64),
    AnyIndex,
    Filter(Condition),
}

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    /// The path from the filtered value, `@.a`.
    path: Vec<Step>,
    operator: String,
    value: Value,
}

fn wrong(path: &str) -> FederationError {
    value_error("42601", format!("syntax error in jsonpath \"{path}\""))
}

fn unsupported(path: &str) -> FederationError {
    Cause::NotSupported {
        message: format!("the jsonpath \"{path}\" has more than keys, indexes and simple filters"),
    }
    .into()
}

struct Parser<'a> {
    path: &'a str,
    rest: &'a str,
}

impl Parser<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.blanks();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn name(&mut self) -> Result<String, FederationError> {
        self.blanks();
        if self.rest.starts_with('"') {
            let end = self.rest[1..].find('"').ok_or_else(|| wrong(self.path))? + 2;
            let (text, rest) = self.rest.split_at(end);
            self.rest = rest;
            return match json::parse(text)? {
                Value::String(text) => Ok(text),
                _ => Err(wrong(self.path)),
            };
        }
        let end = self
            .rest
            .find(|character: char| !character.is_alphanumeric() && character != '_')
            .unwrap_or(self.rest.len());
        if end == 0 {
            return Err(wrong(self.path));
        }
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(name.to_owned())
    }

    fn steps(&mut self) -> Result<Vec<Step>, FederationError> {
        let mut steps = Vec::new();
        loop {
            self.blanks();
            if self.take("[") {
                if self.take("*") {
                    steps.push(Step::AnyIndex);
                } else {
                    self.blanks();
                    let end = self.rest.find(']').ok_or_else(|| wrong(self.path))?;
                    let index = self.rest[..end]
                        .trim()
                        .parse()
                        .map_err(|_| unsupported(self.path))?;
                    steps.push(Step::Index(index));
                    self.rest = &self.rest[end..];
                }
                if !self.take("]") {
                    return Err(wrong(self.path));
                }
            } else if self.take(".") {
                if self.take("*") {
                    steps.push(Step::AnyKey);
                } else {
                    let name = self.name()?;
                    // a method of a value
                    if self.rest.starts_with('(') {
                        return Err(unsupported(self.path));
                    }
                    steps.push(Step::Key(name));
                }
            } else if self.take("?") {
                if !self.take("(") || !self.take("@") {
                    return Err(unsupported(self.path));
                }
                let path = self.steps()?;
                let operator = ["==", "!=", "<>", "<=", ">=", "<", ">"]
                    .into_iter()
                    .find(|operator| self.take(operator))
                    .ok_or_else(|| unsupported(self.path))?;
                self.blanks();
                let end = self.rest.find(')').ok_or_else(|| wrong(self.path))?;
                let value = json::parse(&self.rest[..end]).map_err(|_| unsupported(self.path))?;
                self.rest = &self.rest[end + 1..];
                steps.push(Step::Filter(Condition {
                    path,
                    operator: operator.to_owned(),
                    value,
                }));
            } else {
                return Ok(steps);
            }
        }
    }
}

fn parse(path: &str) -> Result<Vec<Step>, FederationError> {
    let text = path.trim();
    let text = text.strip_prefix("lax ").unwrap_or(text).trim_start();
    if text.starts_with("strict ") {
        return Err(unsupported(path));
    }
    let rest = text.strip_prefix('$').ok_or_else(|| wrong(path))?;
    let mut parser = Parser { path, rest };
    let steps = parser.steps()?;
    if parser.rest.trim().is_empty() {
        Ok(steps)
    } else {
        Err(unsupported(path))
    }
}

/// Lax: an array is unwrapped where an object is looked into.
fn walk<'v>(value: &'v Value, steps: &[Step], found: &mut Vec<&'v Value>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(value);
        return;
    };
    match (step, value) {
        (Step::Key(key), Value::Object(members)) => {
            for (_, member) in members.iter().filter(|(name, _)| name == key) {
                walk(member, rest, found);
            }
        }
        (Step::AnyKey, Value::Object(members)) => {
            for (_, member) in members {
                walk(member, rest, found);
            }
        }
        (Step::Key(_) | Step::AnyKey, Value::Array(elements)) => {
            for element in elements
                .iter()
                .filter(|element| matches!(element, Value::Object(_)))
            {
                walk(element, steps, found);
            }
        }
        (Step::AnyIndex, Value::Array(elements)) => {
            for element in elements {
                walk(element, rest, found);
            }
        }
        (Step::AnyIndex, scalar) => walk(scalar, rest, found),
        (Step::Index(index), Value::Array(elements)) => {
            if let Some(element) = usize::try_from(*index).ok().and_then(|index| elements.get(index)) {
                walk(element, rest, found);
            }
        }
        (Step::Index(0), scalar) => walk(scalar, rest, found),
        (Step::Filter(_), Value::Array(elements)) => {
            for element in elements {
                walk(element, steps, found);
            }
        }
        (Step::Filter(condition), value) => {
            let mut parts = Vec::new();
            walk(value, &condition.path, &mut parts);
            if parts
                .iter()
                .any(|part| holds(part, &condition.operator, &condition.value))
            {
                walk(value, rest, found);
            }
        }
        _ => {}
    }
}

fn holds(left: &Value, operator: &str, right: &Value) -> bool {
    let comparable = matches!(
        (left, right),
        (Value::Number(_), Value::Number(_))
            | (Value::String(_), Value::String(_))
            | (Value::Boolean(_), Value::Boolean(_))
            | (Value::Null, Value::Null)
    );
    if !comparable {
        return false;
    }
    let order = left.order(right);
    match operator {
        "==" => order.is_eq(),
        "!=" | "<>" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }
}

fn lookup(value: &str, path: &str) -> Result<Vec<String>, FederationError> {
    let (steps, value) = (parse(path)?, json::parse(value)?.normal());
    let mut found = Vec::new();
    walk(&value, &steps, &mut found);
    Ok(found.into_iter().map(Value::to_jsonb).collect())
}

fn exists(call: &Call<'_>) -> Outcome {
    let (values, paths) = (call.texts(0), call.texts(1));
    call.truth(|row| Ok(Some(!lookup(values.get(row), paths.get(row))?.is_empty())))
}

fn first(call: &Call<'_>) -> Outcome {
    let (values, paths) = (call.texts(0), call.texts(1));
    call.text(|row, out| {
        Ok(match lookup(values.get(row), paths.get(row))?.first() {
            Some(found) => {
                out.push_str(found);
                true
            }
            None => false,
        })
    })
}

fn array(call: &Call<'_>) -> Outcome {
    let (values, paths) = (call.texts(0), call.texts(1));
    call.text(|row, out| {
        out.push('[');
        out.push_str(&lookup(values.get(row), paths.get(row))?.join(", "));
        out.push(']');
        Ok(true)
    })
}

fn all(call: &Call<'_>) -> Outcome {
    let (values, paths) = (call.texts(0), call.texts(1));
    let list = call.text_lists(|row| {
        let found = lookup(values.get(row), paths.get(row))?;
        Ok(Some(found.into_iter().map(Some).collect()))
    })?;
    super::build::with_item(call, list)
}

fn jsonb_list(_: &[arrow::datatypes::FieldRef]) -> Result<arrow::datatypes::Field, FederationError> {
    use arrow::datatypes::{DataType, Field};
    let item = types::field("item", types::PgType::scalar(&types::JSONB), DataType::Utf8, true);
    Ok(Field::new("", DataType::List(std::sync::Arc::new(item)), true))
}

pub(super) fn functions() -> Vec<Function> {
    const TRUTH: Returns = Returns::Type(&types::BOOL);
    const JSONB_RESULT: Returns = Returns::Type(&types::JSONB);
    vec![
        function("jsonb_path_exists", [overload(&[JSONB, TEXT], TRUTH, exists)]),
        function(
            "jsonb_path_query_first",
            [overload(&[JSONB, TEXT], JSONB_RESULT, first)],
        ),
        function(
            "jsonb_path_query_array",
            [overload(&[JSONB, TEXT], JSONB_RESULT, array)],
        ),
        function(
            "lakegate_jsonb_path_query",
            [overload(&[JSONB, TEXT], Returns::From(jsonb_list), all)],
        )
        .shown("jsonb_path_query"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_values() {
        let value = r#"{"a": [1, 2, 3], "b": {"c": "x"}, "d": [{"e": 5}, {"e": 7}]}"#;
        for (path, expected) in [
            ("$.a[*] ? (@ > 1)", "2 3"),
            ("$.a[0]", "1"),
            ("$.b.c", "\"x\""),
            ("$.d.e", "5 7"),
            ("$.d[*] ? (@.e == 7).e", "7"),
            ("$.nothing", ""),
            ("$.*.c", "\"x\""),
        ] {
            assert_eq!(lookup(value, path).unwrap().join(" "), expected, "{path}");
        }
        assert_eq!(lookup(value, "a.b").unwrap_err().sqlstate(), "42601");
        assert_eq!(lookup(value, "$.a.size()").unwrap_err().sqlstate(), "0A000");
    }
}
