//! Merging: changed rows take the place of the table's rows with the same keys.
//!
//! Copy-on-write and no delete files: a data file that holds a changed key is read and written again without it, one
//! that holds nothing else leaves the table, and all others stay where they are. Which files those are is told by the
//! bounds of their keys first, and then by their key columns, so that a file is written again only for a reason.
//!
//! Everything streams. What grows with the changed rows is a fingerprint of 16 bytes a key.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use iceberg::spec::Schema as IcebergSchema;
use object_store::path::Path;

use crate::convert::Converter;
use crate::error::LakeError;
use crate::files::FilePlace;
use crate::live::{LiveFile, LiveFiles};
use crate::name::LakeTableName;
use crate::objects::Objects;
use crate::portable::{ArrowForm, arrow_schema};
use crate::provider::LakeProvider;
use crate::types::{Merged, WriteOptions, WrittenFiles};
use crate::versions::Version;
use crate::writer::TableWriter;

/// The least and the greatest value of a key column in a file, as they are compared; None where that is not known.
type KeyBounds = Option<(Box<[u8]>, Box<[u8]>)>;

/// A file is small below this part of the size at which files end.
const SMALL: u64 = 16;
/// Small files that a table may have before a merge writes them together: each merge adds one at least.
const SMALL_FILES: usize = 32;
/// Bytes of memory a changed key takes.
const KEY_BYTES: usize = size_of::<u128>();
/// Keys by which the list of fingerprints grows, so that it never holds twice what it needs.
const GROWTH: usize = 1 << 16;
/// Bytes of decoded rows that a batch of a file should not exceed, by the file's size and a guess of its compression.
const BATCH_BYTES: u64 = 16 << 20;
const COMPRESSION: u64 = 10;
/// Rows of a batch of a file.
const BATCH_ROWS: u64 = 8192;

/// A merge of changed rows into a table, as it was at one version.
///
/// Nothing is written before [`TableMerge::finish`], and nothing is visible before `Lake::replace`, which fails with
/// [`LakeError::BaseMoved`] when the table has another version by then.
pub struct TableMerge {
    version: Arc<Version>,
    live: Arc<LiveFiles>,
    objects: Objects,
    url: ObjectStoreUrl,
    schema: Arc<IcebergSchema>,
    options: WriteOptions,
    directory: Path,
    keys: Keys,
    /// For each live file.
    candidates: Vec<Candidate>,
    changed: Vec<u128>,
    limit: usize,
}

impl fmt::Debug for TableMerge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TableMerge")
            .field("table", &self.version.table)
            .field("version", &self.version.number)
            .field("changed", &self.changed.len())
            .finish_non_exhaustive()
    }
}

/// What is known of one file.
struct Candidate {
    /// Lowest and highest value of each key column as comparable bytes; `None` where the manifest does not tell.
    bounds: Vec<KeyBounds>,
    /// A changed key lies within the bounds.
    touched: bool,
}

/// The key columns, as the table holds them.
struct Keys {
    /// Positions in the rows that are written.
    written: Vec<usize>,
    /// Positions in the table.
    stored: Vec<usize>,
    converter: Converter,
    /// All columns as one.
    together: RowConverter,
    /// Each column alone.
    single: Vec<RowConverter>,
    hashes: [RandomState; 2],
}

impl Keys {
    fn new(
        table: &LakeTableName,
        written: &[usize],
        writer: &Converter,
        version: &Version,
    ) -> Result<Self, LakeError> {
        let fields = |schema: &Schema| -> Vec<FieldRef> {
            written
                .iter()
                .map(|position| Arc::clone(&schema.fields()[*position]))
                .collect()
        };
        let (source, target) = (fields(&writer.source), fields(&writer.target));
        let stored = target
            .iter()
            .map(|field| version.arrow.index_of(field.name()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| encode(table, error))?;
        let sorts: Vec<SortField> = target
            .iter()
            .map(|field| SortField::new(field.data_type().clone()))
            .collect();
        let single = sorts.iter().map(|sort| RowConverter::new(vec![sort.clone()]));
        Ok(Self {
            written: written.to_vec(),
            stored,
            converter: Converter {
                table: table.clone(),
                source: Arc::new(Schema::new(source)),
                target: Arc::new(Schema::new(target)),
                profile: writer.profile,
            },
            single: single
                .collect::<Result<_, _>>()
                .map_err(|error| encode(table, error))?,
            together: RowConverter::new(sorts).map_err(|error| encode(table, error))?,
            hashes: [RandomState::new(), RandomState::new()],
        })
    }

    /// The keys of rows that are written.
    fn of_written(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, LakeError> {
        let columns = self
            .written
            .iter()
            .map(|position| Arc::clone(batch.column(*position)))
            .collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.converter.source), columns)
            .map_err(|error| encode(&self.converter.table, error))?;
        self.converter.columns(&batch)
    }

    /// The keys of rows that were read from the table; `column` gives the position of each.
    fn of_stored(
        &self,
        batch: &RecordBatch,
        column: impl Fn(usize) -> usize,
    ) -> Result<Vec<ArrayRef>, LakeError> {
        let target = self.converter.target.fields().iter().enumerate();
        target
            .map(|(index, field)| cast(batch.column(column(index)), field.data_type()))
            .collect::<Result<_, _>>()
            .map_err(|error| encode(&self.converter.table, error))
    }

    /// Told apart by 128 bits of a hash whose keys no one knows.
    fn fingerprints(&self, keys: &[ArrayRef]) -> Result<Vec<u128>, LakeError> {
        let rows = self
            .together
            .convert_columns(keys)
            .map_err(|error| encode(&self.converter.table, error))?;
        let fingerprint = |data: &[u8]| {
            let [high, low] = self.hashes.each_ref().map(|hash| hash.hash_one(data));
            u128::from(high) << 64 | u128::from(low)
        };
        Ok(rows.iter().map(|row| fingerprint(row.data())).collect())
    }

    fn bounds(&self, file: &LiveFile) -> Vec<KeyBounds> {
        let columns = self
            .stored
            .iter()
            .zip(self.converter.target.fields())
            .zip(&self.single);
        columns
            .map(|((position, field), single)| {
                let facts = &file.columns[*position];
                let bytes =
                    |bound: &Option<ScalarValue>| comparable(bound.as_ref()?, field.data_type(), single);
                Some((bytes(&facts.lower)?, bytes(&facts.upper)?))
            })
            .collect()
    }
}

fn comparable(value: &ScalarValue, data_type: &DataType, converter: &RowConverter) -> Option<Box<[u8]>> {
    let array = cast(&value.to_array().ok()?, data_type).ok()?;
    let rows = converter.convert_columns(&[array]).ok()?;
    Some(rows.row(0).data().into())
}

fn encode(table: &LakeTableName, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LakeError {
    LakeError::Encode {
        table: table.clone(),
        what: "a key",
        source: error.into(),
    }
}

/// What became of the files of a merge's base.
struct Verdict {
    /// Written again without the changed keys.
    rewritten: Vec<usize>,
    /// Of no use any more: every row has changed.
    emptied: Vec<usize>,
}

impl TableMerge {
    /// `None` when the rows of `writer` have other columns than the table.
    pub(crate) fn new(
        version: Arc<Version>,
        live: Arc<LiveFiles>,
        url: ObjectStoreUrl,
        writer: &TableWriter,
        keys: &[usize],
        memory: usize,
    ) -> Result<Option<Self>, LakeError> {
        if writer.work.schema.as_struct() != version.schema.as_struct() {
            return Ok(None);
        }
        let keys = Keys::new(&version.table, keys, writer.work.encoding.converter(), &version)?;
        let candidates = live
            .files
            .iter()
            .map(|file| Candidate {
                bounds: keys.bounds(file),
                touched: false,
            })
            .collect();
        Ok(Some(Self {
            version,
            live,
            objects: writer.work.objects.clone(),
            url,
            schema: Arc::clone(&writer.work.schema),
            options: writer.work.options.clone(),
            directory: writer.work.place.directory.clone(),
            keys,
            candidates,
            changed: Vec::new(),
            limit: (memory / KEY_BYTES).max(GROWTH),
        }))
    }

    /// Says that the table's rows with these keys are no longer true. The batch has the columns of the writer; no key
    /// may be null.
    ///
    /// # Errors
    ///
    /// [`LakeError::TooManyChanges`] when the keys outgrow the memory for them.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        if self.live.files.is_empty() || batch.num_rows() == 0 {
            return Ok(());
        }
        let keys = self.keys.of_written(batch)?;
        if self.changed.len() + batch.num_rows() > self.limit {
            return Err(LakeError::TooManyChanges {
                table: self.version.table.clone(),
                limit: self.limit,
            });
        }
        let fingerprints = self.keys.fingerprints(&keys)?;
        if self.changed.capacity() - self.changed.len() < fingerprints.len() {
            self.changed.reserve_exact(GROWTH.max(fingerprints.len()));
        }
        self.changed.extend(fingerprints);
        self.touch(&keys)
    }

    /// Marks the files within whose bounds one of the keys lies.
    fn touch(&mut self, keys: &[ArrayRef]) -> Result<(), LakeError> {
        let table = &self.version.table;
        let columns = keys
            .iter()
            .zip(&self.keys.single)
            .map(|(column, converter)| converter.convert_columns(std::slice::from_ref(column)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| encode(table, error))?;
        let Some(first) = columns.first() else {
            return Ok(());
        };
        let lowest = first
            .iter()
            .map(|row| row.data())
            .min()
            .unwrap_or_default()
            .to_vec();
        let highest = first
            .iter()
            .map(|row| row.data())
            .max()
            .unwrap_or_default()
            .to_vec();
        for candidate in self.candidates.iter_mut().filter(|candidate| !candidate.touched) {
            let apart = candidate
                .bounds
                .first()
                .and_then(Option::as_ref)
                .is_some_and(|(lower, upper)| {
                    highest.as_slice() < lower.as_ref() || lowest.as_slice() > upper.as_ref()
                });
            if apart {
                continue;
            }
            candidate.touched = (0..first.num_rows()).any(|row| {
                candidate.bounds.iter().zip(&columns).all(|(bounds, column)| {
                    let key = column.row(row);
                    bounds.as_ref().is_none_or(|(lower, upper)| {
                        lower.as_ref() <= key.data() && key.data() <= upper.as_ref()
                    })
                })
            });
        }
        Ok(())
    }

    /// Writes what stays of the files that hold a changed key, and adds it to `new`, the files of the changed rows.
    ///
    /// After an error `new` is removed, too.
    pub async fn finish(mut self, mut new: WrittenFiles) -> Result<WrittenFiles, LakeError> {
        self.changed.sort_unstable();
        match self.rewrite(&new).await {
            Ok((kept, replaced)) => {
                new.merge = Some(Arc::new(Merged {
                    version: self.version.number,
                    snapshot_id: self.version.metadata.current_snapshot_id(),
                    replaced,
                    changed_rows: new.rows(),
                }));
                new.files.extend(kept.into_iter().flat_map(|kept| kept.files));
                Ok(new)
            }
            Err(error) => {
                crate::writer::remove(&self.objects, &new.files).await;
                Err(error)
            }
        }
    }

    async fn rewrite(&self, new: &WrittenFiles) -> Result<(Option<WrittenFiles>, HashSet<Path>), LakeError> {
        let verdict = self.judge().await?;
        let files = &self.live.files;
        let replaced = verdict.rewritten.iter().chain(&verdict.emptied);
        let replaced = replaced.map(|index| files[*index].path.clone()).collect();
        if verdict.rewritten.is_empty() {
            return Ok((None, replaced));
        }
        let converter = Converter {
            table: self.version.table.clone(),
            source: Arc::clone(&self.version.arrow),
            target: arrow_schema(&self.schema, ArrowForm::Write),
            profile: self.options.profile,
        };
        let options = WriteOptions {
            masks: new.masks.clone(),
            progress: None,
            ..self.options.clone()
        };
        let mut writer = TableWriter::new(
            self.objects.clone(),
            converter,
            Arc::clone(&self.schema),
            options,
            FilePlace::of(self.directory.clone().join("kept")),
            Arc::clone(&new.partitioning),
        )?;
        match self.copy(&verdict.rewritten, &mut writer).await {
            Ok(()) => Ok((Some(writer.close().await?), replaced)),
            Err(error) => {
                if let Err(error) = writer.abort().await {
                    tracing::warn!(table = %self.version.table, error = &error as &dyn std::error::Error,
                        "files of a failed merge could not be removed; a sweep will remove them");
                }
                Err(error)
            }
        }
    }

    /// Which files hold changed keys.
    async fn judge(&self) -> Result<Verdict, LakeError> {
        let mut verdict = Verdict {
            rewritten: Vec::new(),
            emptied: Vec::new(),
        };
        let mut small = Vec::new();
        let below = self.options.file_bytes / SMALL;
        for (index, (file, candidate)) in self.live.files.iter().zip(&self.candidates).enumerate() {
            let changed = if candidate.touched {
                self.changed_rows(file).await?
            } else {
                0
            };
            if changed == file.rows {
                verdict.emptied.push(index);
            } else if changed > 0 {
                verdict.rewritten.push(index);
            } else if file.size < below {
                small.push(index);
            }
        }
        if small.len() > SMALL_FILES {
            verdict.rewritten.append(&mut small);
        }
        // files next to each other stay so: their bounds are what keeps later merges small
        verdict.rewritten.sort_by(|left, right| {
            let lowest = |index: usize| {
                let bounds = self.candidates[index].bounds.first();
                bounds.and_then(Option::as_ref).map(|(lower, _)| lower)
            };
            lowest(*left).cmp(&lowest(*right))
        });
        Ok(verdict)
    }

    /// Rows of a file whose keys have changed.
    async fn changed_rows(&self, file: &LiveFile) -> Result<u64, LakeError> {
        let mut changed = 0;
        let mut batches = self.read(file, Some(&self.keys.stored)).await?;
        while let Some(batch) = batches
            .try_next()
            .await
            .map_err(|error| self.unreadable(file, error))?
        {
            let keys = self.keys.of_stored(&batch, |index| index)?;
            let fingerprints = self.keys.fingerprints(&keys)?;
            changed += fingerprints.iter().filter(|key| self.has_changed(key)).count() as u64;
        }
        Ok(changed)
    }

    fn has_changed(&self, fingerprint: &u128) -> bool {
        self.changed.binary_search(fingerprint).is_ok()
    }

    async fn copy(&self, files: &[usize], writer: &mut TableWriter) -> Result<(), LakeError> {
        for file in files.iter().map(|index| &self.live.files[*index]) {
            let mut batches = self.read(file, None).await?;
            while let Some(batch) = batches
                .try_next()
                .await
                .map_err(|error| self.unreadable(file, error))?
            {
                let keys = self.keys.of_stored(&batch, |index| self.keys.stored[index])?;
                let fingerprints = self.keys.fingerprints(&keys)?;
                let stays: BooleanArray = fingerprints
                    .iter()
                    .map(|key| Some(!self.has_changed(key)))
                    .collect();
                let kept =
                    filter_record_batch(&batch, &stays).map_err(|error| self.unreadable(file, error))?;
                if kept.num_rows() > 0 {
                    writer.write(kept).await?;
                }
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        file: &LiveFile,
        columns: Option<&Vec<usize>>,
    ) -> Result<SendableRecordBatchStream, LakeError> {
        let provider = LakeProvider {
            version: Arc::clone(&self.version),
            live: Arc::new(LiveFiles {
                files: vec![file.clone()],
                may_hold_nan: self.live.may_hold_nan.clone(),
            }),
            store: Arc::clone(&self.objects.store),
            url: self.url.clone(),
        };
        let row = (file.size * COMPRESSION)
            .checked_div(file.rows)
            .unwrap_or(0)
            .max(1);
        let rows = (BATCH_BYTES / row).clamp(64, BATCH_ROWS);
        let config = SessionConfig::new()
            .with_target_partitions(1)
            .with_batch_size(rows as usize);
        let session = SessionContext::new_with_config(config);
        let reading = async {
            let plan = provider.scan(&session.state(), columns, &[], None).await?;
            execute_stream(plan, session.task_ctx())
        };
        reading.await.map_err(|error| self.unreadable(file, error))
    }

    fn unreadable(
        &self,
        file: &LiveFile,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> LakeError {
        self.objects.error("read", &file.path, error)
    }
}
