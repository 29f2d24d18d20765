//! What the values seen so far say about a column's type.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use serde_json::value::RawValue;

use super::json::{Object, text_of};
use super::value;

/// Objects deeper than this, or with more keys, are kept as JSON text: such keys
/// are data rather than names.
const MAX_DEPTH: usize = 8;
const MAX_KEYS: usize = 256;

/// Evidence only ever grows: a form once disproved stays so.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // one per form that can be disproved
pub struct Evidence {
    scalar: bool,
    not_boolean: bool,
    not_integer: bool,
    not_float: bool,
    not_date: bool,
    not_timestamp: bool,
    not_timestamptz: bool,
    list: Option<Box<Evidence>>,
    object: Option<Fields>,
    /// Too deep or too wide to be typed.
    untypable: bool,
}

/// Evidence by name, in the order of first sight.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields(Vec<(String, Evidence)>);

impl Fields {
    pub fn entry(&mut self, name: &str) -> &mut Evidence {
        let known = self.0.iter().position(|(known, _)| known == name);
        let position = known.unwrap_or_else(|| {
            self.0.push((name.to_owned(), Evidence::default()));
            self.0.len() - 1
        });
        &mut self.0[position].1
    }

    pub fn merge(&mut self, other: &Self) {
        for (name, evidence) in &other.0 {
            self.entry(name).merge(evidence);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Evidence)> {
        self.0.iter().map(|(name, evidence)| (name.as_str(), evidence))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The columns these fields make.
    pub fn columns(&self) -> Vec<Field> {
        self.iter()
            .map(|(name, evidence)| Field::new(name, evidence.data_type(), true))
            .collect()
    }
}

impl Evidence {
    /// A value that is text, whatever it looks like.
    pub fn text() -> Self {
        let mut evidence = Self::default();
        evidence.see_string();
        evidence
    }

    /// A value of a format that has only text, such as CSV.
    pub fn see_text(&mut self, text: &str) {
        self.scalar = true;
        self.not_boolean = self.not_boolean || value::boolean(text).is_none();
        self.not_integer = self.not_integer || value::integer(text).is_none();
        self.not_float = self.not_float || value::float(text).is_none();
        self.not_date = self.not_date || value::date(text).is_none();
        if !(self.not_timestamp && self.not_timestamptz) {
            let zoned = value::timestamp(text).map(|(_, zoned)| zoned);
            self.not_timestamp = self.not_timestamp || zoned != Some(false);
            self.not_timestamptz = self.not_timestamptz || zoned != Some(true);
        }
    }

    /// A string of a format that tells strings from other values.
    fn see_string(&mut self) {
        self.scalar = true;
        self.not_boolean = true;
        self.not_integer = true;
        self.not_float = true;
        self.not_date = true;
        self.not_timestamp = true;
        self.not_timestamptz = true;
    }

    /// A value of JSON.
    pub fn see_json(&mut self, raw: &RawValue, depth: usize) -> Result<(), serde_json::Error> {
        let json = raw.get();
        match json.as_bytes().first() {
            Some(b'n') => {}
            Some(b'"') => self.see_string(),
            Some(b'{') if depth < MAX_DEPTH && !self.untypable => {
                let object: Object<'_> = serde_json::from_str(json)?;
                let fields = self.object.get_or_insert_default();
                for (name, value) in &object.0 {
                    fields.entry(name).see_json(value, depth + 1)?;
                }
                self.untypable = fields.len() > MAX_KEYS;
            }
            Some(b'[') if depth < MAX_DEPTH && !self.untypable => {
                let values: Vec<&RawValue> = serde_json::from_str(json)?;
                let list = self.list.get_or_insert_default();
                for value in values {
                    list.see_json(value, depth + 1)?;
                }
            }
            Some(b'{' | b'[') => self.untypable = true,
            _ => self.see_text(&text_of(raw)?),
        }
        Ok(())
    }

    pub fn merge(&mut self, other: &Self) {
        self.scalar |= other.scalar;
        self.not_boolean |= other.not_boolean;
        self.not_integer |= other.not_integer;
        self.not_float |= other.not_float;
        self.not_date |= other.not_date;
        self.not_timestamp |= other.not_timestamp;
        self.not_timestamptz |= other.not_timestamptz;
        self.untypable |= other.untypable;
        if let Some(list) = &other.list {
            self.list.get_or_insert_default().merge(list);
        }
        if let Some(object) = &other.object {
            self.object.get_or_insert_default().merge(object);
            self.untypable |= self.object.as_ref().is_some_and(|fields| fields.len() > MAX_KEYS);
        }
    }

    /// The narrowest type that holds every value seen exactly; text when they
    /// disagree, or when there was none.
    pub fn data_type(&self) -> DataType {
        match (self.untypable, self.scalar, &self.list, &self.object) {
            (false, true, None, None) => self.scalar_type(),
            (false, false, Some(list), None) => {
                DataType::List(Arc::new(Field::new("element", list.data_type(), true)))
            }
            (false, false, None, Some(fields)) if fields.len() > 0 => {
                DataType::Struct(fields.columns().into())
            }
            _ => DataType::Utf8,
        }
    }

    fn scalar_type(&self) -> DataType {
        if !self.not_boolean {
            DataType::Boolean
        } else if !self.not_integer {
            DataType::Int64
        } else if !self.not_float {
            DataType::Float64
        } else if !self.not_date {
            DataType::Date32
        } else if !self.not_timestamp {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        } else if !self.not_timestamptz {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        } else {
            DataType::Utf8
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_columns() {
        let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        let cases: [(&[&str], DataType); 12] = [
            (&[], DataType::Utf8),
            (&["1", "-2"], DataType::Int64),
            (&["1", "2.5"], DataType::Float64),
            (&["1", "0123"], DataType::Utf8),
            (&["true", "FALSE"], DataType::Boolean),
            (&["true", "1"], DataType::Utf8),
            (&["2024-01-01"], DataType::Date32),
            (&["2024-01-01", "2024-01-01 10:00:00"], DataType::Utf8),
            (&["2024-01-01T10:00:00"], micros(None)),
            (
                &["2024-01-01T10:00:00Z", "2024-01-01T10:00:00+09:00"],
                micros(Some("UTC")),
            ),
            (&["2024-01-01T10:00:00Z", "2024-01-01T10:00:00"], DataType::Utf8),
            (&["9007199254740993", "0.5"], DataType::Utf8),
        ];
        for (values, expected) in cases {
            let mut evidence = Evidence::default();
            for value in values {
                evidence.see_text(value);
            }
            assert_eq!(evidence.data_type(), expected, "{values:?}");
        }
    }

    #[test]
    fn json_columns() {
        let element = |data_type| DataType::List(Arc::new(Field::new("element", data_type, true)));
        let cases: [(&[&str], DataType); 11] = [
            (&["null"], DataType::Utf8),
            (&["1", "null", "2"], DataType::Int64),
            (&["1", "2.5"], DataType::Float64),
            (&["1", "\"1\""], DataType::Utf8),
            (&["\"2024-01-01\""], DataType::Utf8),
            (&["true", "1"], DataType::Utf8),
            (&["[1]", "[]", "null"], element(DataType::Int64)),
            (&["[1]", "[\"a\"]"], element(DataType::Utf8)),
            (&["[1]", "1"], DataType::Utf8),
            (&["{}"], DataType::Utf8),
            (
                &["{\"a\": 1}", "{\"b\": \"x\"}"],
                DataType::Struct(
                    vec![
                        Field::new("a", DataType::Int64, true),
                        Field::new("b", DataType::Utf8, true),
                    ]
                    .into(),
                ),
            ),
        ];
        for (values, expected) in cases {
            let mut evidence = Evidence::default();
            for value in values {
                let raw: &RawValue = serde_json::from_str(value).unwrap();
                evidence.see_json(raw, 0).unwrap();
            }
            assert_eq!(evidence.data_type(), expected, "{values:?}");
        }
    }
}
