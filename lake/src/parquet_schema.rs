//! The Parquet schema of a table's files.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use lakegate_crds::Profile;
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{LogicalType, Type as PhysicalType};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use crate::portable::is_uuid;

/// Name of the root, as Iceberg's own writers have it.
const ROOT: &str = "table";

/// The schema that the writer would make, but for the logical type of UUIDs, which it leaves out, and for the decimals of
/// Hive 3, which reads them of a fixed length only (HIVE-12069, HIVE-21987).
pub(crate) fn parquet_schema(schema: &Schema, profile: Profile) -> Result<SchemaDescriptor> {
    let made = ArrowSchemaConverter::new().schema_root(ROOT).convert(schema)?;
    let change = Change {
        decimals: profile == Profile::Hive3,
    };
    if !schema.fields().iter().any(|field| change.concerns(field)) {
        return Ok(made);
    }
    let fields = change.all(made.root_schema().get_fields(), schema.fields())?;
    let root = Type::group_type_builder(ROOT).with_fields(fields).build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

/// What is changed below the root.
#[derive(Clone, Copy)]
struct Change {
    decimals: bool,
}

impl Change {
    fn concerns(self, field: &Field) -> bool {
        match field.data_type() {
            DataType::Struct(fields) => fields.iter().any(|field| self.concerns(field)),
            DataType::List(child) | DataType::Map(child, _) => self.concerns(child),
            DataType::Decimal128(_, _) => self.decimals,
            _ => is_uuid(field),
        }
    }

    fn all(self, types: &[TypePtr], fields: &Fields) -> Result<Vec<TypePtr>> {
        let pairs = types.iter().zip(fields);
        pairs.map(|(parquet, field)| self.one(parquet, field)).collect()
    }

    fn one(self, parquet: &TypePtr, field: &Field) -> Result<TypePtr> {
        if !self.concerns(field) {
            return Ok(Arc::clone(parquet));
        }
        let children = match field.data_type() {
            DataType::Struct(fields) => self.all(parquet.get_fields(), fields)?,
            // a group of the list or map, which repeats a group of its own
            DataType::List(child) => vec![repeated(parquet, |entry| {
                self.all(entry.get_fields(), &Fields::from(vec![Arc::clone(child)]))
            })?],
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(pair) => {
                    vec![repeated(parquet, |entry| self.all(entry.get_fields(), pair))?]
                }
                _ => return Err(ParquetError::General("a map without key and value".to_owned())),
            },
            leaf => return fixed_length(parquet, leaf),
        };
        group_like(parquet, children)
    }
}

/// The leaf as bytes of a fixed length.
fn fixed_length(parquet: &Type, data_type: &DataType) -> Result<TypePtr> {
    let info = parquet.get_basic_info();
    let mut builder = Type::primitive_type_builder(info.name(), PhysicalType::FIXED_LEN_BYTE_ARRAY)
        .with_repetition(info.repetition())
        .with_id(info.has_id().then(|| info.id()));
    builder = match data_type {
        DataType::Decimal128(precision, scale) => builder
            .with_length(bytes_for(*precision))
            .with_logical_type(Some(LogicalType::decimal(
                i32::from(*scale),
                i32::from(*precision),
            )))
            .with_precision(i32::from(*precision))
            .with_scale(i32::from(*scale)),
        _ => builder.with_length(16).with_logical_type(Some(LogicalType::Uuid)),
    };
    Ok(Arc::new(builder.build()?))
}

/// The fewest bytes that hold every number of so many digits, of two's complement.
fn bytes_for(precision: u8) -> i32 {
    let numbers = 10_u128.pow(u32::from(precision.min(38)));
    (1..16)
        .find(|bytes| numbers <= 1_u128 << (8 * bytes - 1))
        .unwrap_or(16)
}

fn repeated(outer: &Type, children: impl Fn(&Type) -> Result<Vec<TypePtr>>) -> Result<TypePtr> {
    match outer.get_fields() {
        [entry] => group_like(entry, children(entry)?),
        _ => Err(ParquetError::General(
            "a list or map of several groups".to_owned(),
        )),
    }
}

/// The group with other children.
fn group_like(group: &Type, children: Vec<TypePtr>) -> Result<TypePtr> {
    let info = group.get_basic_info();
    let mut builder = Type::group_type_builder(info.name())
        .with_fields(children)
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned())
        .with_id(info.has_id().then(|| info.id()));
    if info.has_repetition() {
        builder = builder.with_repetition(info.repetition());
    }
    Ok(Arc::new(builder.build()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_of_a_fixed_length_take_as_few_bytes_as_they_can() {
        for (precision, bytes) in [
            (1, 1),
            (2, 1),
            (3, 2),
            (9, 4),
            (10, 5),
            (18, 8),
            (19, 9),
            (38, 16),
        ] {
            assert_eq!(bytes_for(precision), bytes, "{precision}");
        }
    }
}
