//! Parquet files: one schema over many, and reads that notice a replaced file.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Fields, TimeUnit};
use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use parquet::arrow::async_reader::AsyncFileReader;

/// The reader of DataFusion, with text as plain strings everywhere.
pub fn format() -> ParquetFormat {
    ParquetFormat::default().with_force_view_types(false)
}

/// The fields of several files by name, each as the type that holds all of its
/// types exactly; text where there is none.
pub fn union(fields: &mut Vec<Field>, other: &Fields) {
    for field in other {
        let data_type = plain(field.data_type());
        match fields.iter_mut().find(|known| known.name() == field.name()) {
            Some(known) => {
                let merged = widest(known.data_type(), &data_type);
                *known = Field::new(field.name(), merged, true);
            }
            None => fields.push(Field::new(field.name(), data_type, true)),
        }
    }
}

/// The type without encodings that only matter within one file.
fn plain(data_type: &DataType) -> DataType {
    let child = |field: &FieldRef| -> FieldRef {
        Arc::new(Field::new(
            field.name(),
            plain(field.data_type()),
            field.is_nullable(),
        ))
    };
    match data_type {
        DataType::Dictionary(_, value) => plain(value),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::List(element) | DataType::LargeList(element) => DataType::List(child(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(child).collect()),
        other => other.clone(),
    }
}

/// The narrowest type that holds every value of both exactly.
pub fn widest(a: &DataType, b: &DataType) -> DataType {
    use DataType::{
        Boolean, Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, List, Null, Struct, Timestamp,
        UInt8, UInt16, UInt32, Utf8,
    };
    if a == b {
        return a.clone();
    }
    match (a, b) {
        (Null, other) | (other, Null) => other.clone(),
        (Boolean | Date32, _) | (_, Boolean | Date32) => Utf8,
        // A 64-bit float holds integers up to 2^53, a 32-bit one up to 2^24.
        (Float64, Float32 | Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32)
        | (Float32 | Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32, Float64)
        | (Float32, Int32 | UInt32)
        | (Int32 | UInt32, Float32) => Float64,
        (Float32, Int8 | Int16 | UInt8 | UInt16) | (Int8 | Int16 | UInt8 | UInt16, Float32) => Float32,
        (Decimal128(p1, s1), Decimal128(p2, s2)) => {
            let scale = *s1.max(s2);
            let whole = (p1.cast_signed() - s1).max(p2.cast_signed() - s2);
            match u8::try_from(whole + scale) {
                Ok(precision) if precision <= DECIMAL128_MAX_PRECISION && scale >= 0 => {
                    Decimal128(precision, scale)
                }
                _ => Utf8,
            }
        }
        (Timestamp(unit_a, zone_a), Timestamp(unit_b, zone_b)) if zone_a.is_some() == zone_b.is_some() => {
            Timestamp(finest(*unit_a, *unit_b), zone_a.as_ref().map(|_| "UTC".into()))
        }
        (List(a), List(b)) => {
            let merged = widest(a.data_type(), b.data_type());
            List(Arc::new(Field::new(a.name(), merged, true)))
        }
        (Struct(a), Struct(b)) => {
            let mut fields: Vec<Field> = a.iter().map(|field| field.as_ref().clone()).collect();
            union(&mut fields, b);
            Struct(fields.into())
        }
        (a, b) => match (bits(a), bits(b)) {
            (Some((signed_a, bits_a)), Some((signed_b, bits_b))) => {
                integer(signed_a, bits_a, signed_b, bits_b)
            }
            _ => Utf8,
        },
    }
}

fn finest(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    let rank = |unit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

/// Whether an integer type is signed, and its width.
fn bits(data_type: &DataType) -> Option<(bool, u8)> {
    Some(match data_type {
        DataType::Int8 => (true, 8),
        DataType::Int16 => (true, 16),
        DataType::Int32 => (true, 32),
        DataType::Int64 => (true, 64),
        DataType::UInt8 => (false, 8),
        DataType::UInt16 => (false, 16),
        DataType::UInt32 => (false, 32),
        DataType::UInt64 => (false, 64),
        _ => return None,
    })
}

fn integer(signed_a: bool, bits_a: u8, signed_b: bool, bits_b: u8) -> DataType {
    let signed = signed_a || signed_b;
    // An unsigned type needs one bit more among signed ones.
    let need = |own_signed: bool, bits: u8| if signed && !own_signed { bits * 2 } else { bits };
    match (signed, need(signed_a, bits_a).max(need(signed_b, bits_b))) {
        (true, 8) => DataType::Int8,
        (true, 16) => DataType::Int16,
        (true, 32) => DataType::Int32,
        (true, 64) => DataType::Int64,
        (false, 8) => DataType::UInt8,
        (false, 16) => DataType::UInt16,
        (false, 32) => DataType::UInt32,
        (false, 64) => DataType::UInt64,
        _ => DataType::Decimal128(20, 0),
    }
}

/// Opens every file under the condition that it is still the one that was listed:
/// footer and row groups are read at different times, and must be of one file.
#[derive(Debug)]
pub struct PinnedReaderFactory {
    store: Arc<dyn ObjectStore>,
    runtime: Arc<RuntimeEnv>,
}

impl PinnedReaderFactory {
    pub fn new(store: Arc<dyn ObjectStore>, runtime: Arc<RuntimeEnv>) -> Self {
        Self { store, runtime }
    }
}

impl ParquetFileReaderFactory for PinnedReaderFactory {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let store: Arc<dyn ObjectStore> = match &file.object_meta.e_tag {
            Some(tag) => Arc::new(PinnedStore {
                inner: Arc::clone(&self.store),
                tag: tag.clone(),
            }),
            None => Arc::clone(&self.store),
        };
        let cache = self.runtime.cache_manager.get_file_metadata_cache();
        CachedParquetFileReaderFactory::new(store, cache).create_reader(
            partition_index,
            file,
            metadata_size_hint,
            metrics,
        )
    }
}

/// A store that reads one version of one object, and writes nothing.
#[derive(Debug)]
struct PinnedStore {
    inner: Arc<dyn ObjectStore>,
    tag: String,
}

impl fmt::Display for PinnedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (one version)", self.inner)
    }
}

pub fn read_only() -> object_store::Error {
    object_store::Error::NotImplemented {
        operation: "write".to_owned(),
        implementer: "a store opened for reading".to_owned(),
    }
}

#[async_trait]
impl ObjectStore for PinnedStore {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> object_store::Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    // `get_ranges` is left to its default, which comes through here.
    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> object_store::Result<GetResult> {
        if options.if_match.is_none() {
            options.if_match = Some(self.tag.clone());
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        Box::pin(futures::stream::once(async { Err(read_only()) }))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> object_store::Result<()> {
        Err(read_only())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::{
        Boolean, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt32, UInt64, Utf8,
    };

    #[test]
    fn widest_types() {
        let cases = [
            (Int32, Int64, Int64),
            (Int8, UInt8, Int16),
            (UInt32, Int32, Int64),
            (UInt64, Int64, Decimal128(20, 0)),
            (UInt8, UInt32, UInt32),
            (Float32, Float64, Float64),
            (Int32, Float64, Float64),
            (Int64, Float64, Utf8),
            (Boolean, Int8, Utf8),
            (Decimal128(10, 2), Decimal128(8, 4), Decimal128(12, 4)),
            (Decimal128(38, 2), Decimal128(38, 4), Utf8),
            (DataType::Null, Int32, Int32),
            (Utf8, Int32, Utf8),
            (
                DataType::Timestamp(TimeUnit::Millisecond, None),
                DataType::Timestamp(TimeUnit::Microsecond, None),
                DataType::Timestamp(TimeUnit::Microsecond, None),
            ),
            (
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                DataType::Timestamp(TimeUnit::Microsecond, None),
                Utf8,
            ),
        ];
        for (a, b, expected) in cases {
            assert_eq!(widest(&a, &b), expected, "{a} {b}");
            assert_eq!(widest(&b, &a), expected, "{b} {a}");
        }
    }
}
