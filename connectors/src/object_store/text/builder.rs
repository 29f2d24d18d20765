//! Text and JSON values into Arrow columns: exactly, or not at all.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder, Int16Builder,
    Int32Builder, Int64Builder, ListArray, NullBufferBuilder, StringBuilder, StructArray,
    TimestampMicrosecondBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};
use serde_json::value::RawValue;

use super::json::{Object, text_of};
use super::value;
use crate::decimal::parse_decimal;

/// Builds a column of scalars from text.
pub enum ScalarBuilder {
    Text(StringBuilder),
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal {
        builder: Decimal128Builder,
        precision: u8,
        scale: i8,
    },
    Date(Date32Builder),
    Timestamp {
        builder: TimestampMicrosecondBuilder,
        zoned: bool,
    },
}

impl ScalarBuilder {
    /// None for a type that is not read from text.
    pub fn new(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Utf8 => Self::Text(StringBuilder::new()),
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int16 => Self::Int16(Int16Builder::new()),
            DataType::Int32 => Self::Int32(Int32Builder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::Float32 => Self::Float32(Float32Builder::new()),
            DataType::Float64 => Self::Float64(Float64Builder::new()),
            DataType::Decimal128(precision, scale) => Self::Decimal {
                builder: Decimal128Builder::new().with_data_type(data_type.clone()),
                precision: *precision,
                scale: *scale,
            },
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => Self::Timestamp {
                builder: TimestampMicrosecondBuilder::new().with_timezone_opt(zone.clone()),
                zoned: zone.is_some(),
            },
            _ => return None,
        })
    }

    /// Appends a value. A column whose type the user declared takes every text
    /// that is such a number (`007` as a bigint, `0.1` as a real, a timestamp
    /// without offset as UTC); one whose type was inferred only canonical ones.
    ///
    /// # Errors
    /// What the value should have been.
    pub fn append(&mut self, text: Option<&str>, declared: bool) -> Result<(), &'static str> {
        let Some(text) = text else {
            self.append_null();
            return Ok(());
        };
        let trimmed = if declared { text.trim() } else { text };
        let integer = || {
            value::integer(trimmed)
                .or_else(|| declared.then(|| trimmed.parse().ok()).flatten())
                .ok_or("no integer")
        };
        let float = || {
            value::float(trimmed)
                .or_else(|| declared.then(|| trimmed.parse().ok()).flatten())
                .ok_or("no number that a 64-bit float holds exactly")
        };
        match self {
            Self::Text(builder) => builder.append_value(text),
            Self::Boolean(builder) => builder.append_value(value::boolean(trimmed).ok_or("no boolean")?),
            Self::Int16(builder) => {
                builder.append_value(i16::try_from(integer()?).map_err(|_| "beyond smallint")?);
            }
            Self::Int32(builder) => {
                builder.append_value(i32::try_from(integer()?).map_err(|_| "beyond integer")?);
            }
            Self::Int64(builder) => builder.append_value(integer()?),
            Self::Float32(builder) => {
                builder.append_value(trimmed.parse().map_err(|_| "no number")?);
            }
            Self::Float64(builder) => builder.append_value(float()?),
            Self::Decimal {
                builder,
                precision,
                scale,
            } => builder.append_value(
                parse_decimal(trimmed, *precision, *scale).ok_or("no decimal of the declared size")?,
            ),
            Self::Date(builder) => builder.append_value(value::date(trimmed).ok_or("no date (YYYY-MM-DD)")?),
            Self::Timestamp { builder, zoned } => match value::timestamp(trimmed) {
                Some((micros, has_zone)) if has_zone == *zoned || (declared && *zoned) => {
                    builder.append_value(micros);
                }
                Some(_) if *zoned => return Err("a timestamp without a zone"),
                Some(_) => return Err("a timestamp with a zone"),
                None => return Err("no timestamp"),
            },
        }
        Ok(())
    }

    fn append_null(&mut self) {
        match self {
            Self::Text(builder) => builder.append_null(),
            Self::Boolean(builder) => builder.append_null(),
            Self::Int16(builder) => builder.append_null(),
            Self::Int32(builder) => builder.append_null(),
            Self::Int64(builder) => builder.append_null(),
            Self::Float32(builder) => builder.append_null(),
            Self::Float64(builder) => builder.append_null(),
            Self::Decimal { builder, .. } => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Timestamp { builder, .. } => builder.append_null(),
        }
    }

    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Int16(builder) => Arc::new(builder.finish()),
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Float32(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
            Self::Decimal { builder, .. } => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Timestamp { builder, .. } => Arc::new(builder.finish()),
        }
    }
}

/// Builds a column, perhaps nested, from JSON values.
pub enum JsonBuilder {
    Scalar {
        builder: ScalarBuilder,
        text: bool,
    },
    List {
        element: FieldRef,
        child: Box<JsonBuilder>,
        lengths: Vec<usize>,
        valid: NullBufferBuilder,
    },
    Struct {
        fields: Fields,
        positions: HashMap<String, usize>,
        children: Vec<JsonBuilder>,
        valid: NullBufferBuilder,
    },
}

impl JsonBuilder {
    /// None for a type that is not read from JSON.
    pub fn new(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::List(element) => Self::List {
                child: Box::new(Self::new(element.data_type())?),
                element: Arc::clone(element),
                lengths: Vec::new(),
                valid: NullBufferBuilder::new(0),
            },
            DataType::Struct(fields) => Self::Struct {
                positions: fields
                    .iter()
                    .enumerate()
                    .map(|(position, field)| (field.name().clone(), position))
                    .collect(),
                children: fields
                    .iter()
                    .map(|field| Self::new(field.data_type()))
                    .collect::<Option<_>>()?,
                fields: fields.clone(),
                valid: NullBufferBuilder::new(0),
            },
            scalar => Self::Scalar {
                builder: ScalarBuilder::new(scalar)?,
                text: *scalar == DataType::Utf8,
            },
        })
    }

    /// Appends a value; an absent one is NULL.
    ///
    /// # Errors
    /// What the value should have been.
    pub fn append(&mut self, raw: Option<&RawValue>, declared: bool) -> Result<(), &'static str> {
        let raw = raw.filter(|raw| raw.get() != "null");
        match self {
            Self::Scalar { builder, text } => {
                let Some(raw) = raw else {
                    return builder.append(None, declared);
                };
                // Only a declared type reads a number from a string, or from nothing
                // that is one; an inferred one was all of one kind.
                let quoted = raw.get().starts_with('"');
                if !*text && quoted && !declared {
                    return Err("a string");
                }
                let value = text_of(raw).map_err(|_| "no valid string")?;
                builder.append(Some(&value), declared)
            }
            Self::List {
                child,
                lengths,
                valid,
                ..
            } => {
                let values: Vec<&RawValue> = match raw {
                    None => Vec::new(),
                    Some(raw) => serde_json::from_str(raw.get()).map_err(|_| "no array")?,
                };
                lengths.push(values.len());
                valid.append(raw.is_some());
                for value in values {
                    child.append(Some(value), declared)?;
                }
                Ok(())
            }
            Self::Struct {
                positions,
                children,
                valid,
                ..
            } => {
                let object: Object<'_> = match raw {
                    None => Object::default(),
                    Some(raw) => serde_json::from_str(raw.get()).map_err(|_| "no object")?,
                };
                valid.append(raw.is_some());
                let mut values = vec![None; children.len()];
                for (name, value) in object.0 {
                    if let Some(&position) = positions.get(name.as_ref()) {
                        values[position] = Some(value);
                    }
                }
                for (child, value) in children.iter_mut().zip(values) {
                    child.append(value, declared)?;
                }
                Ok(())
            }
        }
    }

    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Scalar { builder, .. } => builder.finish(),
            Self::List {
                element,
                child,
                lengths,
                valid,
            } => Arc::new(ListArray::new(
                Arc::clone(element),
                OffsetBuffer::from_lengths(std::mem::take(lengths)),
                child.finish(),
                valid.finish(),
            )),
            Self::Struct {
                fields,
                children,
                valid,
                ..
            } => Arc::new(StructArray::new(
                fields.clone(),
                children.iter_mut().map(Self::finish).collect(),
                valid.finish(),
            )),
        }
    }
}
