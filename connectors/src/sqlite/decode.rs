//! SQLite values into Arrow columns: exactly, or not at all.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder,
};
use sqlx::sqlite::{SqliteRow, SqliteValueRef};
use sqlx::{Decode, Row, TypeInfo, ValueRef};

use super::types::ColumnKind;
use crate::decimal::parse_decimal;

/// A value larger than this is refused: a batch of such could not be bounded.
const MAX_VALUE_BYTES: usize = 64 << 20;

/// Integers up to here, and not all beyond, are exact as a 64-bit float.
const MAX_EXACT_FLOAT: u64 = 1 << 53;

/// A value as SQLite stores it. Text comes as UTF-8, whatever the database's own
/// encoding is: asking for its length makes SQLite convert it.
pub(super) enum Stored<'r> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'r [u8]),
    Blob(&'r [u8]),
}

impl<'r> Stored<'r> {
    pub fn of(value: SqliteValueRef<'r>) -> Result<Self, String> {
        if value.is_null() {
            return Ok(Self::Null);
        }
        // The storage class of this very value, not the declared type.
        let class = value.type_info().into_owned();
        let fail = |error: sqlx::error::BoxDynError| format!("cannot be read: {error}");
        Ok(match class.name() {
            "INTEGER" => Self::Integer(i64::decode(value).map_err(fail)?),
            "REAL" => Self::Real(f64::decode(value).map_err(fail)?),
            "TEXT" => Self::Text(<&[u8]>::decode(value).map_err(fail)?),
            "BLOB" => Self::Blob(<&[u8]>::decode(value).map_err(fail)?),
            other => return Err(format!("has the unknown storage class {other}")),
        })
    }

    fn describe(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Integer(value) => format!("the integer {value}"),
            Self::Real(value) => format!("the real {value:?}"),
            // The text itself may be personal data: its size is enough to find it.
            Self::Text(bytes) => format!("a text of {} bytes", bytes.len()),
            Self::Blob(bytes) => format!("a blob of {} bytes", bytes.len()),
        }
    }
}

enum Values {
    Integer(Int64Builder),
    Real(Float64Builder),
    Text(StringBuilder),
    Blob(BinaryBuilder),
    Boolean(BooleanBuilder),
    Decimal {
        builder: Decimal128Builder,
        precision: u8,
        scale: i8,
    },
}

/// Builds one column of a batch.
pub(super) struct ColumnBuilder {
    kind: ColumnKind,
    /// From a table (not a view), where SQLite's affinity has already been applied.
    affine: bool,
    values: Values,
}

impl ColumnBuilder {
    pub fn new(kind: ColumnKind, affine: bool) -> Self {
        let values = match kind {
            ColumnKind::Integer => Values::Integer(Int64Builder::new()),
            ColumnKind::Real => Values::Real(Float64Builder::new()),
            ColumnKind::Text { .. } => Values::Text(StringBuilder::new()),
            ColumnKind::Blob => Values::Blob(BinaryBuilder::new()),
            ColumnKind::Boolean => Values::Boolean(BooleanBuilder::new()),
            ColumnKind::Decimal { precision, scale } => Values::Decimal {
                builder: Decimal128Builder::new().with_data_type(kind.data_type()),
                precision,
                scale,
            },
        };
        Self { kind, affine, values }
    }

    /// Appends the value of `row` at `index` and returns its size in bytes.
    ///
    /// # Errors
    /// Why the value has no exact form in the column's type.
    pub fn append(&mut self, row: &SqliteRow, index: usize) -> Result<usize, String> {
        let value = row
            .try_get_raw(index)
            .map_err(|error| format!("cannot be read: {error}"))?;
        let stored = Stored::of(value)?;
        if let Stored::Text(bytes) | Stored::Blob(bytes) = &stored
            && bytes.len() > MAX_VALUE_BYTES
        {
            return Err(format!(
                "holds {}; a value may have at most {MAX_VALUE_BYTES}",
                stored.describe()
            ));
        }
        let refused =
            format_args!("holds {}, which is no {}", stored.describe(), self.kind.name()).to_string();
        let mut size = 8;
        match (&mut self.values, stored) {
            (Values::Integer(builder), Stored::Null) => builder.append_null(),
            (Values::Integer(builder), Stored::Integer(value)) => builder.append_value(value),
            // An expression of a view; a table's INTEGER column never holds an
            // integral real, and push-down relies on that.
            (Values::Integer(builder), Stored::Real(value)) if !self.affine => {
                builder.append_value(integral(value).ok_or(refused)?);
            }
            (Values::Real(builder), Stored::Null) => builder.append_null(),
            (Values::Real(builder), Stored::Real(value)) => builder.append_value(value),
            (Values::Real(builder), Stored::Integer(value)) if value.unsigned_abs() <= MAX_EXACT_FLOAT => {
                builder.append_value(value as f64);
            }
            (Values::Text(builder), Stored::Null) => builder.append_null(),
            (Values::Text(builder), Stored::Integer(value)) => builder.append_value(value.to_string()),
            // The shortest text that reads back as the same number.
            (Values::Text(builder), Stored::Real(value)) => builder.append_value(format!("{value:?}")),
            (Values::Text(builder), Stored::Text(bytes)) => {
                size += bytes.len();
                builder.append_value(text(bytes)?);
            }
            (Values::Blob(builder), Stored::Null) => builder.append_null(),
            (Values::Blob(builder), Stored::Blob(bytes)) => {
                size += bytes.len();
                builder.append_value(bytes);
            }
            (Values::Boolean(builder), Stored::Null) => builder.append_null(),
            (Values::Boolean(builder), Stored::Integer(0)) => builder.append_value(false),
            (Values::Boolean(builder), Stored::Integer(1)) => builder.append_value(true),
            (Values::Boolean(builder), Stored::Text(bytes)) => {
                let value = text(bytes)?.to_ascii_lowercase();
                match value.as_str() {
                    "true" => builder.append_value(true),
                    "false" => builder.append_value(false),
                    _ => return Err(refused),
                }
            }
            (Values::Decimal { builder, .. }, Stored::Null) => builder.append_null(),
            (
                Values::Decimal {
                    builder,
                    precision,
                    scale,
                },
                stored,
            ) => {
                let digits = match stored {
                    Stored::Integer(value) => value.to_string(),
                    // The shortest decimal that reads back as the same float.
                    Stored::Real(value) => value.to_string(),
                    Stored::Text(bytes) => text(bytes)?.to_owned(),
                    Stored::Null | Stored::Blob(_) => return Err(refused),
                };
                builder.append_value(parse_decimal(&digits, *precision, *scale).ok_or(refused)?);
            }
            _ => return Err(refused),
        }
        Ok(size)
    }

    pub fn finish(&mut self) -> ArrayRef {
        match &mut self.values {
            Values::Integer(builder) => Arc::new(builder.finish()),
            Values::Real(builder) => Arc::new(builder.finish()),
            Values::Text(builder) => Arc::new(builder.finish()),
            Values::Blob(builder) => Arc::new(builder.finish()),
            Values::Boolean(builder) => Arc::new(builder.finish()),
            Values::Decimal { builder, .. } => Arc::new(builder.finish()),
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    std::str::from_utf8(bytes).map_err(|_| "holds text that is not valid Unicode")
}

/// The integer a real stands for exactly.
fn integral(value: f64) -> Option<i64> {
    let integer = value as i64;
    (value.fract() == 0.0
        && integer.unsigned_abs() <= MAX_EXACT_FLOAT
        && value.abs() <= MAX_EXACT_FLOAT as f64)
        .then_some(integer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integral_reals() {
        assert_eq!(integral(3.0), Some(3));
        assert_eq!(integral(-0.0), Some(0));
        for value in [3.5, 1e300, f64::INFINITY, f64::NAN, 18_014_398_509_481_984.0] {
            assert_eq!(integral(value), None, "{value}");
        }
    }
}
