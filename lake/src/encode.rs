//! One column of a row group: Arrow arrays in, an encoded column chunk out.
//!
//! A column is encoded by itself and all at once. So columns are encoded side by side, one column's dictionary and the
//! tables of its compression stay in the nearest cache, a table of hundreds of columns needs them only for those that
//! are being encoded, and whether a dictionary pays is known before the first value is written.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, LargeStringArray, StringArray, StringViewArray,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::basic::{Compression as PageCompression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterPropertiesPtr, WriterVersion,
};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, TypePtr};

use crate::bloom;
use crate::convert::Converter;
use crate::error::LakeError;
use crate::parquet_schema::parquet_schema;
use crate::types::{Compression, WriteOptions};

/// Largest dictionary of a column chunk, in bytes; beyond it the values follow plainly.
const DICTIONARY_BYTES: usize = 1024 * 1024;
/// Values looked at to find out whether a dictionary pays.
const SAMPLE: usize = 2048;
/// The part of the plain size that a dictionary and its indexes may have to be worth it: compression takes its share
/// of plain values, too.
const WORTH: f64 = 0.7;

/// What encoding the columns of one table needs.
#[derive(Debug)]
pub(crate) struct Encoding {
    converter: Converter,
    columns: Vec<ColumnForm>,
    root: TypePtr,
    properties: WriterPropertiesPtr,
}

/// One column as if it were a table of its own.
#[derive(Debug)]
struct ColumnForm {
    schema: SchemaRef,
    root: TypePtr,
    /// With a dictionary, as far as it goes.
    dictionary: WriterPropertiesPtr,
    plain: WriterPropertiesPtr,
    has_bloom_filter: bool,
}

/// One column of a row group.
#[derive(Debug)]
pub(crate) struct EncodedColumn {
    /// Those of its leaves, in the order of the schema.
    pub chunks: Vec<ArrowColumnChunk>,
    /// NaN values of a top-level column of floating-point numbers: bounds leave NaN out, so a reader must know whether
    /// there are any.
    pub nans: Option<u64>,
}

impl Encoding {
    pub(crate) fn new(converter: Converter, options: &WriteOptions) -> Result<Self, LakeError> {
        let failed = |error: ParquetError| encode_error(&converter, error);
        let schema = parquet_schema(&converter.target, options.profile).map_err(failed)?;
        let properties = properties(&converter, options).map_err(failed)?;
        let bloom_filters = bloom::portable_names(&options.bloom_filters);
        let columns = converter.target.fields().iter().map(|field| {
            let schema = Arc::new(Schema::new(vec![Arc::clone(field)]));
            let root = parquet_schema(&schema, options.profile)?.root_schema_ptr();
            let plain = properties.clone().set_dictionary_enabled(false).build();
            Ok::<_, ParquetError>(ColumnForm {
                schema,
                root,
                dictionary: Arc::new(properties.clone().build()),
                plain: Arc::new(plain),
                has_bloom_filter: bloom_filters.contains(field.name()),
            })
        });
        let columns = columns.collect::<Result<_, _>>().map_err(failed)?;
        Ok(Self {
            columns,
            root: schema.root_schema_ptr(),
            properties: Arc::new(properties.build()),
            converter,
        })
    }

    pub(crate) fn converter(&self) -> &Converter {
        &self.converter
    }

    /// A file of row groups of these columns.
    pub(crate) fn file<W: Write + Send>(&self, out: W) -> Result<SerializedFileWriter<W>, LakeError> {
        SerializedFileWriter::new(out, Arc::clone(&self.root), Arc::clone(&self.properties))
            .map_err(|error| self.error(error))
    }

    /// Encodes the rows of one column, in the source's type; takes as long as that takes.
    pub(crate) fn encode(&self, column: usize, arrays: Vec<ArrayRef>) -> Result<EncodedColumn, LakeError> {
        let form = &self.columns[column];
        let field = form.schema.field(0);
        let properties = if dictionary_pays(&arrays) {
            &form.dictionary
        } else {
            &form.plain
        };
        let properties = if form.has_bloom_filter {
            let values = arrays.iter().map(|array| array.len() - array.null_count()).sum();
            Arc::new(bloom::with_filter(properties, field.name(), values))
        } else {
            Arc::clone(properties)
        };
        let mut writers = SerializedFileWriter::new(io::sink(), Arc::clone(&form.root), properties)
            .and_then(|file| {
                ArrowRowGroupWriterFactory::new(&file, Arc::clone(&form.schema)).create_column_writers(0)
            })
            .map_err(|error| self.error(error))?;
        let mut nans = None;
        // each is dropped once it is encoded
        for array in arrays {
            let converted = self.converter.column_at(column, &array)?;
            drop(array);
            if let Some(found) = count_nans(&converted) {
                nans = Some(nans.unwrap_or(0) + found);
            }
            compute_leaves(field, &converted)
                .and_then(|leaves| {
                    let mut pairs = writers.iter_mut().zip(&leaves);
                    pairs.try_for_each(|(writer, leaf)| writer.write(leaf))
                })
                .map_err(|error| self.error(error))?;
        }
        let chunks = writers
            .into_iter()
            .map(ArrowColumnWriter::close)
            .collect::<Result<_, _>>();
        Ok(EncodedColumn {
            chunks: chunks.map_err(|error| self.error(error))?,
            nans,
        })
    }

    pub(crate) fn error(&self, error: ParquetError) -> LakeError {
        encode_error(&self.converter, error)
    }
}

fn encode_error(converter: &Converter, error: ParquetError) -> LakeError {
    LakeError::Encode {
        table: converter.table.clone(),
        what: "a Parquet file",
        source: Box::new(error),
    }
}

/// What other readers need (see the crate's documentation): version 1.0 pages, page statistics and index.
fn properties(
    converter: &Converter,
    options: &WriteOptions,
) -> Result<WriterPropertiesBuilder, ParquetError> {
    let compression = match options.compression {
        Compression::Zstd => PageCompression::ZSTD(ZstdLevel::try_new(3)?),
        Compression::Snappy => PageCompression::SNAPPY,
    };
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(compression)
        .set_dictionary_enabled(true)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_offset_index_disabled(false)
        .set_created_by(concat!("lakegate version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(vec![KeyValue::new(
            "lakegate.run-id".to_owned(),
            options.run_id.clone(),
        )]));
    for (column, mask) in options.masks_of(converter) {
        let path = ColumnPath::from(column);
        if !mask.has_bounds() {
            properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        if mask.is_random() && options.compression == Compression::Zstd {
            properties =
                properties.set_column_compression(path, PageCompression::ZSTD(ZstdLevel::try_new(1)?));
        }
    }
    Ok(properties)
}

fn count_nans(array: &ArrayRef) -> Option<u64> {
    let nans = match array.data_type() {
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>().iter().flatten();
            values.filter(|value| value.is_nan()).count()
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().iter().flatten();
            values.filter(|value| value.is_nan()).count()
        }
        _ => return None,
    };
    Some(nans as u64)
}

/// Whether the values repeat so much that a dictionary of them, and an index a row, are smaller than they are. A column
/// of keys or of hashes would pay for a dictionary in time and in space.
///
/// Where that is not known (nested values), the encoder tries: it gives a dictionary up that outgrows its limit.
fn dictionary_pays(arrays: &[ArrayRef]) -> bool {
    let rows: usize = arrays.iter().map(Array::len).sum();
    let values = arrays.iter().map(Values::of).collect::<Option<Vec<_>>>();
    let Some(values) = values else {
        return true;
    };
    let state = RandomState::new();
    let mut seen: HashMap<u64, u32> = HashMap::with_capacity(SAMPLE);
    let (mut sampled, mut bytes) = (0_usize, 0_usize);
    let mut places = places(rows);
    let mut next = places.next();
    let mut first = 0;
    for (array, values) in arrays.iter().zip(&values) {
        while let Some(place) = next.filter(|place| place - first < array.len()) {
            let row = place - first;
            if array.is_valid(row) {
                let value = values.value(row);
                sampled += 1;
                bytes += values.stored(value);
                *seen.entry(state.hash_one(value)).or_default() += 1;
            }
            next = places.next();
        }
        first += array.len();
    }
    if sampled == 0 {
        return true;
    }
    let width = bytes as f64 / sampled as f64;
    let rows = rows as f64;
    let distinct = distinct(&seen, sampled).min(rows);
    let dictionary = distinct * width;
    let indexes = rows * distinct.log2().ceil() / 8.0;
    dictionary <= DICTIONARY_BYTES as f64 && dictionary + indexes <= WORTH * rows * width
}

/// The rows of a sample: one somewhere in each of equal stretches, as values may come in turns. The same each time.
fn places(rows: usize) -> impl Iterator<Item = usize> {
    let stretch = rows.div_ceil(SAMPLE).max(1);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..rows).step_by(stretch).map(move |start| {
        // xorshift (G. Marsaglia, 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (start + (state % stretch as u64) as usize).min(rows - 1)
    })
}

/// An estimate of how many values there are, of which some were seen this often (A. Chao, 1984); where nearly all were
/// seen once, as many as the sample cannot tell from all.
fn distinct(seen: &HashMap<u64, u32>, sampled: usize) -> f64 {
    let times = |times: u32| seen.values().filter(|count| **count == times).count() as f64;
    let (once, twice) = (times(1), times(2));
    if once as usize == sampled {
        return f64::INFINITY;
    }
    seen.len() as f64 + once * (once - 1.0) / (2.0 * (twice + 1.0))
}

/// The bytes of each value of an array.
enum Values<'a> {
    Fixed {
        values: Buffer,
        /// Bytes of a value here, and in a plain page.
        width: usize,
        stored: usize,
    },
    Text(&'a StringArray),
    LargeText(&'a LargeStringArray),
    TextView(&'a StringViewArray),
    Bytes(&'a BinaryArray),
    BytesView(&'a BinaryViewArray),
}

impl<'a> Values<'a> {
    /// None for types that are not looked at.
    fn of(array: &'a ArrayRef) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::LargeUtf8 => Self::LargeText(array.as_string()),
            DataType::Utf8View => Self::TextView(array.as_string_view()),
            DataType::Binary => Self::Bytes(array.as_binary()),
            DataType::BinaryView => Self::BytesView(array.as_binary_view()),
            fixed => {
                let (width, stored) = widths(fixed)?;
                let data = array.to_data();
                let values = data.buffers().first()?;
                Self::Fixed {
                    values: values.slice_with_length(data.offset() * width, data.len() * width),
                    width,
                    stored,
                }
            }
        })
    }

    fn value(&self, row: usize) -> &[u8] {
        match self {
            Self::Fixed { values, width, .. } => &values[row * width..(row + 1) * width],
            Self::Text(array) => array.value(row).as_bytes(),
            Self::LargeText(array) => array.value(row).as_bytes(),
            Self::TextView(array) => array.value(row).as_bytes(),
            Self::Bytes(array) => array.value(row),
            Self::BytesView(array) => array.value(row),
        }
    }

    /// Bytes of such a value in a plain page.
    fn stored(&self, value: &[u8]) -> usize {
        match self {
            Self::Fixed { stored, .. } => *stored,
            // with its length
            _ => value.len() + 4,
        }
    }
}

/// Bytes of a value of the type in Arrow, and of what it becomes in a plain page; None where neither is fixed.
fn widths(data_type: &DataType) -> Option<(usize, usize)> {
    if let DataType::FixedSizeBinary(width) = data_type {
        let width = usize::try_from(*width).ok()?;
        // with its length; an UUID is text
        return Some((width, if width == 16 { 40 } else { width + 4 }));
    }
    let width = data_type.primitive_width()?;
    let stored = match data_type {
        DataType::Decimal32(precision, _)
        | DataType::Decimal64(precision, _)
        | DataType::Decimal128(precision, _)
        | DataType::Decimal256(precision, _) => match precision {
            0..10 => 4,
            10..19 => 8,
            _ => 16,
        },
        _ => width.max(4),
    };
    Some((width, stored))
}
