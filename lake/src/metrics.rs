//! Column metrics of a data file, from its Parquet footer, in Iceberg's form.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, PrimitiveType, Schema, Struct,
};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

/// What the manifest says about a file beside its path and size.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileMetrics {
    pub rows: u64,
    pub column_sizes: HashMap<i32, u64>,
    pub value_counts: HashMap<i32, u64>,
    pub null_counts: HashMap<i32, u64>,
    pub nan_counts: HashMap<i32, u64>,
    pub lower_bounds: HashMap<i32, Datum>,
    pub upper_bounds: HashMap<i32, Datum>,
    pub split_offsets: Vec<i64>,
}

impl FileMetrics {
    /// Sums over the row groups of a file. `nan_counts` are counted while writing, for Parquet does not keep them.
    pub fn new(metadata: &ParquetMetaData, schema: &Schema, nan_counts: HashMap<i32, u64>) -> Self {
        let mut metrics = Self {
            rows: metadata.file_metadata().num_rows() as u64,
            nan_counts,
            ..Self::default()
        };
        let mut without_bounds = HashSet::new();
        for group in metadata.row_groups() {
            if let Some(offset) = group.columns().iter().map(|column| column.byte_range().0).min() {
                metrics.split_offsets.push(offset as i64);
            }
            for column in group.columns() {
                metrics.add(column, schema, &mut without_bounds);
            }
        }
        metrics.split_offsets.sort_unstable();
        for id in without_bounds {
            metrics.lower_bounds.remove(&id);
            metrics.upper_bounds.remove(&id);
        }
        metrics
    }

    fn add(&mut self, column: &ColumnChunkMetaData, schema: &Schema, without_bounds: &mut HashSet<i32>) {
        let descriptor = column.column_descr();
        let info = descriptor.self_type().get_basic_info();
        if !info.has_id() {
            return;
        }
        let id = info.id();
        let values = column.num_values() as u64;
        *self.column_sizes.entry(id).or_default() += column.compressed_size() as u64;
        *self.value_counts.entry(id).or_default() += values;
        let statistics = column.statistics();
        let nulls = statistics.and_then(parquet::file::statistics::Statistics::null_count_opt);
        if let Some(nulls) = nulls {
            *self.null_counts.entry(id).or_default() += nulls;
        }
        // below a list or map a bound of the leaf says nothing about a row
        if descriptor.max_rep_level() > 0 {
            return;
        }
        if nulls == Some(values) {
            return;
        }
        let kind = schema
            .field_by_id(id)
            .and_then(|field| field.field_type.as_primitive_type().cloned());
        let bounds = kind.zip(statistics).and_then(|(kind, statistics)| {
            let lower = datum(statistics.min_bytes_opt()?, &kind, descriptor.physical_type())?;
            let upper = datum(statistics.max_bytes_opt()?, &kind, descriptor.physical_type())?;
            Some((lower, upper))
        });
        // one row group with values but no bounds (all NaN, or text that has no upper bound of 64 bytes) leaves
        // the file without
        let Some((lower, upper)) = bounds else {
            without_bounds.insert(id);
            return;
        };
        merge(&mut self.lower_bounds, id, lower, |new, old| new < old);
        merge(&mut self.upper_bounds, id, upper, |new, old| new > old);
    }

    /// The manifest's entry for the file.
    pub fn data_file(
        &self,
        uri: String,
        size: u64,
        partition: Struct,
        partition_spec_id: i32,
    ) -> Result<DataFile, String> {
        DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(uri)
            .file_format(DataFileFormat::Parquet)
            .record_count(self.rows)
            .file_size_in_bytes(size)
            .column_sizes(self.column_sizes.clone())
            .value_counts(self.value_counts.clone())
            .null_value_counts(self.null_counts.clone())
            .nan_value_counts(self.nan_counts.clone())
            .lower_bounds(self.lower_bounds.clone())
            .upper_bounds(self.upper_bounds.clone())
            .split_offsets(Some(self.split_offsets.clone()))
            .partition(partition)
            .partition_spec_id(partition_spec_id)
            .build()
            .map_err(|error| error.to_string())
    }
}

fn merge(bounds: &mut HashMap<i32, Datum>, id: i32, bound: Datum, better: impl Fn(&Datum, &Datum) -> bool) {
    match bounds.entry(id) {
        std::collections::hash_map::Entry::Vacant(entry) => {
            entry.insert(bound);
        }
        std::collections::hash_map::Entry::Occupied(mut entry) => {
            if better(&bound, entry.get()) {
                entry.insert(bound);
            }
        }
    }
}

/// Parquet's statistics bytes are Iceberg's single-value form, save decimals kept in INT32 and INT64: those are
/// little-endian in Parquet and big-endian in Iceberg.
fn datum(bytes: &[u8], kind: &PrimitiveType, physical: PhysicalType) -> Option<Datum> {
    let swapped: Vec<u8>;
    let bytes = match (kind, physical) {
        (PrimitiveType::Decimal { .. }, PhysicalType::INT32 | PhysicalType::INT64) => {
            swapped = bytes.iter().rev().copied().collect();
            &swapped
        }
        _ => bytes,
    };
    Datum::try_from_bytes(bytes, kind.clone()).ok()
}
