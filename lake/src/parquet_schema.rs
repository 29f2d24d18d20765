//! The Parquet schema of a table's files.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::LogicalType;
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use crate::portable::is_uuid;

/// Name of the root, as Iceberg's own writers have it.
const ROOT: &str = "table";

/// The schema that the writer would make, and the logical type of UUIDs, which it leaves out.
pub(crate) fn parquet_schema(schema: &Schema) -> Result<SchemaDescriptor> {
    let made = ArrowSchemaConverter::new().schema_root(ROOT).convert(schema)?;
    if !schema.fields().iter().any(|field| holds_uuids(field)) {
        return Ok(made);
    }
    let fields = annotated_all(made.root_schema().get_fields(), schema.fields())?;
    let root = Type::group_type_builder(ROOT).with_fields(fields).build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

fn holds_uuids(field: &Field) -> bool {
    is_uuid(field)
        || match field.data_type() {
            DataType::Struct(fields) => fields.iter().any(|field| holds_uuids(field)),
            DataType::List(child) | DataType::Map(child, _) => holds_uuids(child),
            _ => false,
        }
}

fn annotated_all(types: &[TypePtr], fields: &Fields) -> Result<Vec<TypePtr>> {
    types
        .iter()
        .zip(fields)
        .map(|(parquet, field)| annotated(parquet, field))
        .collect()
}

fn annotated(parquet: &TypePtr, field: &Field) -> Result<TypePtr> {
    if !holds_uuids(field) {
        return Ok(Arc::clone(parquet));
    }
    let info = parquet.get_basic_info();
    let id = info.has_id().then(|| info.id());
    if is_uuid(field) {
        let leaf = Type::primitive_type_builder(info.name(), parquet.get_physical_type())
            .with_repetition(info.repetition())
            .with_length(16)
            .with_logical_type(Some(LogicalType::Uuid))
            .with_id(id)
            .build()?;
        return Ok(Arc::new(leaf));
    }
    let children = match field.data_type() {
        DataType::Struct(fields) => annotated_all(parquet.get_fields(), fields)?,
        // a group of the list or map, which repeats a group of its own
        DataType::List(child) => vec![repeated(parquet, |entry| {
            annotated_all(entry.get_fields(), &Fields::from(vec![Arc::clone(child)]))
        })?],
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => {
                vec![repeated(parquet, |entry| {
                    annotated_all(entry.get_fields(), pair)
                })?]
            }
            _ => return Err(ParquetError::General("a map without key and value".to_owned())),
        },
        other => {
            return Err(ParquetError::General(format!(
                "UUIDs in a column of type {other}"
            )));
        }
    };
    group_like(parquet, children)
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
