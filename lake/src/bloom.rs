//! Bloom filters: which values a column chunk certainly lacks.
//!
//! They are for columns whose bounds tell nothing, as identifiers in no order. A filter answers whoever asks for a value,
//! so a masked column has none.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{PrimitiveType, Schema as IcebergSchema, Type};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use crate::error::LakeError;
use crate::name::{LakeTableName, portable_column_name};
use crate::partition::Partitioning;
use crate::types::ColumnMask;

/// Of so many values that a chunk lacks, a filter lets one through; the default of Iceberg's own writers.
const FALSE_POSITIVES: f64 = 0.01;

/// Prefix of the table properties by which engines know what they are to write.
const PROPERTY: &str = "write.parquet.bloom-filter-enabled.column.";

/// The names that columns have in the table.
pub(crate) fn portable_names(columns: &[String]) -> Vec<String> {
    columns
        .iter()
        .map(|column| portable_column_name(column))
        .collect()
}

/// Refuses columns of a spec's `bloomFilters` that cannot have any. `masks` are the masked columns, by their names in the
/// table.
pub(crate) fn check(
    table: &LakeTableName,
    columns: &[String],
    schema: &IcebergSchema,
    masks: &BTreeMap<String, ColumnMask>,
    partitioning: &Partitioning,
) -> Result<(), LakeError> {
    for (index, column) in columns.iter().enumerate() {
        let name = portable_column_name(column);
        let mut fields = schema.as_struct().fields().iter();
        let field = fields.find(|field| field.name == name);
        let problem = match field.map(|field| field.field_type.as_ref()) {
            None => Some("is not exported; name a column as it is exported"),
            Some(_) if masks.contains_key(&name) => {
                Some("is masked; a bloom filter would tell who tries values which of them are there")
            }
            Some(_) if partitioning.is_directory_only(&name) => {
                Some("is partitioned by Identity, so that directories tell its values; leave it out")
            }
            Some(Type::Primitive(kind)) => problem_with(kind),
            Some(_) => Some("has several values in a row; leave it out"),
        };
        if let Some(problem) = problem {
            return Err(LakeError::BloomFilterRefused {
                table: table.clone(),
                index,
                column: column.clone(),
                problem,
            });
        }
    }
    Ok(())
}

fn problem_with(kind: &PrimitiveType) -> Option<&'static str> {
    match kind {
        PrimitiveType::Boolean => Some("has two values, which every file holds; leave it out"),
        // zero has two signs that are equal, and two hashes
        PrimitiveType::Float | PrimitiveType::Double => Some(
            "is a floating-point number, which readers do not look up by its bits; leave it out, or export a decimal",
        ),
        _ => None,
    }
}

/// The properties of a column chunk with a filter that has room for all of so many values. What it does not need is folded
/// away once the values are known; until then it takes about a byte and a quarter a value.
pub(crate) fn with_filter(properties: &WriterProperties, column: &str, values: usize) -> WriterProperties {
    let column = ColumnPath::from(column);
    WriterPropertiesBuilder::from(properties.clone())
        .set_column_bloom_filter_enabled(column.clone(), true)
        .set_column_bloom_filter_fpp(column.clone(), FALSE_POSITIVES)
        .set_column_bloom_filter_max_ndv(column, values.max(1) as u64)
        .build()
}

/// What the properties of a table say of its filters.
pub(crate) fn properties(columns: &[String]) -> HashMap<String, String> {
    columns
        .iter()
        .map(|column| (format!("{PROPERTY}{column}"), "true".to_owned()))
        .collect()
}

/// The properties that a table has of other filters than these.
pub(crate) fn stale_properties(known: &HashMap<String, String>, columns: &[String]) -> Vec<String> {
    let wanted = properties(columns);
    known
        .keys()
        .filter(|key| key.starts_with(PROPERTY) && !wanted.contains_key(*key))
        .cloned()
        .collect()
}
