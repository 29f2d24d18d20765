//! The one text of a value that keyed methods compute with.
//!
//! It must not depend on where a value comes from: the same number as `integer` and as `numeric(12,2)`, in Postgres
//! and in MySQL, is the same token.

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Field};
use bytes::BytesMut;
use jiff::tz::TimeZone;

use crate::cast::{self, Context};
use crate::error::FederationError;
use crate::types;
use crate::values::number::Decimal;

/// Types that methods treat alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Text,
    Boolean,
    Integer,
    Float,
    Decimal,
    Bytes,
    Date,
    Timestamp,
    /// Times of day and intervals.
    Other,
    Nested,
}

impl Class {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Boolean => "boolean",
            Self::Integer => "an integer",
            Self::Float => "a floating-point number",
            Self::Decimal => "a decimal",
            Self::Bytes => "bytes",
            Self::Date => "a date",
            Self::Timestamp => "a timestamp",
            Self::Other => "a time of day or an interval",
            Self::Nested => "a list, struct or map",
        }
    }
}

pub(super) fn class_of(field: &Field) -> Class {
    if is_uuid(field) {
        return Class::Text;
    }
    match cast::canonical(field.data_type()) {
        DataType::Utf8 | DataType::Null => Class::Text,
        DataType::Boolean => Class::Boolean,
        DataType::Int16 | DataType::Int32 | DataType::Int64 => Class::Integer,
        DataType::Float32 | DataType::Float64 => Class::Float,
        DataType::Decimal128(_, _) | DataType::Decimal256(_, _) => Class::Decimal,
        DataType::Binary => Class::Bytes,
        DataType::Date32 => Class::Date,
        DataType::Timestamp(_, _) => Class::Timestamp,
        DataType::Time64(_) | DataType::Interval(_) => Class::Other,
        _ => Class::Nested,
    }
}

fn is_uuid(field: &Field) -> bool {
    types::of_field(field).base.oid == types::UUID.oid && !field.data_type().is_nested()
}

/// The canonical text of each value. Texts are their own.
pub(super) fn texts_of(column: &ArrayRef, field: &Field) -> Result<StringArray, FederationError> {
    let context = Context { zone: TimeZone::UTC };
    if is_uuid(field) && !matches!(cast::canonical(column.data_type()), DataType::Utf8) {
        return cast::output(column, types::of_field(field), &context);
    }
    let column = cast::normalize(column)?;
    match column.data_type() {
        DataType::Utf8 => Ok(column.as_string().clone()),
        DataType::Decimal128(_, scale) => {
            let scale = *scale;
            let values = column.as_primitive::<Decimal128Type>();
            decimals(
                values
                    .iter()
                    .map(|value| value.map(|value| Decimal::from_i128(value, scale))),
            )
        }
        DataType::Decimal256(_, scale) => {
            let scale = *scale;
            let values = column.as_primitive::<Decimal256Type>();
            decimals(
                values
                    .iter()
                    .map(|value| value.map(|value| Decimal::from_i256(value, scale))),
            )
        }
        data_type => cast::print(&column, types::of_data_type(data_type), &context),
    }
}

/// Without zeros at the end: how many there are is the column's, not the value's.
fn decimals(values: impl Iterator<Item = Option<Decimal>>) -> Result<StringArray, FederationError> {
    let mut texts = StringBuilder::new();
    let mut scratch = BytesMut::new();
    for value in values {
        match value {
            None => texts.append_null(),
            Some(value) => {
                scratch.clear();
                value.trimmed().put_text(&mut scratch);
                let text = std::str::from_utf8(&scratch);
                texts.append_value(text.map_err(|error| FederationError::internal(error.to_string()))?);
            }
        }
    }
    Ok(texts.finish())
}
