//! Encoded row groups in, Parquet files in the store out.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::path::Path;
use parquet::file::writer::SerializedFileWriter;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;

use crate::encode::EncodedColumn;
use crate::error::LakeError;
use crate::metrics::FileMetrics;
use crate::partition::PartitionValue;
use crate::types::WrittenFile;
use crate::upload::Upload;
use crate::writer::Work;

/// Where the files of a writer go.
#[derive(Debug)]
pub(crate) struct FilePlace {
    /// `<schema>/<table>/data/<run>/<attempt>-<nonce>`, and below it those of partitions.
    pub directory: Path,
    /// Which partition it is, by the order in which they are written.
    partition: Option<usize>,
}

impl FilePlace {
    pub fn of(directory: Path) -> Self {
        Self {
            directory,
            partition: None,
        }
    }

    /// The directory of a partition, by its path as it is to be in keys.
    pub fn of_partition(
        directory: &Path,
        below: &str,
        number: usize,
    ) -> Result<Self, object_store::path::Error> {
        Ok(Self {
            // as it is: a part that is joined would be percent-encoded once more
            directory: Path::parse(format!("{directory}/{below}"))?,
            partition: Some(number),
        })
    }

    fn file(&self, number: usize) -> Path {
        // two partitions may share a directory, whose names cannot tell all values apart
        let prefix = self.partition.map(|partition| format!("{partition:05}-"));
        let prefix = prefix.unwrap_or_default();
        self.directory
            .clone()
            .join(format!("{prefix}{number:05}.parquet"))
    }
}

/// A row group whose columns are being encoded.
pub(crate) struct RowGroup {
    /// In the order of the schema.
    pub columns: Vec<JoinHandle<Result<EncodedColumn, LakeError>>>,
    pub rows: u64,
    /// Its room among the row groups that may be under way.
    pub room: OwnedSemaphorePermit,
}

/// Writes row groups into files, in the order in which they come. A file is closed when it is large enough, and no file
/// is ever held whole.
pub(crate) struct FileWriter {
    work: Arc<Work>,
    open: Option<OpenFile>,
    finished: Vec<WrittenFile>,
}

impl FileWriter {
    pub fn new(work: Arc<Work>) -> Self {
        Self {
            work,
            open: None,
            finished: Vec::new(),
        }
    }

    /// Writes until no more row groups come. After an error, or when it was `cancelled` by then, it has removed what it
    /// wrote.
    pub async fn run(
        mut self,
        mut groups: mpsc::Receiver<RowGroup>,
        cancelled: Arc<AtomicBool>,
    ) -> Result<Vec<WrittenFile>, LakeError> {
        let result = self.write(&mut groups).await;
        groups.close();
        if cancelled.load(Ordering::Acquire) {
            self.discard().await?;
            return Ok(Vec::new());
        }
        let Err(error) = result else {
            return Ok(self.finished);
        };
        // Free the space at once, for the next attempt may need it. The first error is the one to report.
        if let Err(error) = self.discard().await {
            tracing::warn!(table = %self.work.table(), directory = %self.work.place.directory,
                error = &error as &dyn std::error::Error,
                "files of a failed attempt could not be removed; a sweep will remove them");
        }
        Err(error)
    }

    async fn write(&mut self, groups: &mut mpsc::Receiver<RowGroup>) -> Result<(), LakeError> {
        while let Some(group) = groups.recv().await {
            let mut columns = Vec::with_capacity(group.columns.len());
            for column in group.columns {
                let encoded = column.await.map_err(|error| LakeError::Encode {
                    table: self.work.table().clone(),
                    what: "a Parquet file",
                    source: Box::new(error),
                })?;
                columns.push(encoded?);
            }
            self.append(columns, group.rows).await?;
            drop(group.room);
        }
        self.finish_file().await
    }

    async fn append(&mut self, columns: Vec<EncodedColumn>, rows: u64) -> Result<(), LakeError> {
        let file = match &mut self.open {
            Some(file) => file,
            none => none.insert(OpenFile::start(&self.work, self.finished.len())?),
        };
        file.append(&self.work, columns).await?;
        file.rows += rows;
        let size = file.upload.bytes();
        let options = &self.work.options;
        if file.rows >= options.file_rows || size >= options.file_bytes {
            return self.finish_file().await;
        }
        self.tell(size);
        Ok(())
    }

    async fn finish_file(&mut self) -> Result<(), LakeError> {
        let Some(file) = &mut self.open else {
            return Ok(());
        };
        let written = file.finish(&self.work).await?;
        self.open = None;
        self.finished.push(written);
        self.tell(0);
        Ok(())
    }

    /// Tells how far it is, with so many bytes in the open file.
    fn tell(&self, open: u64) {
        let finished = self.finished.iter().map(|file| file.size).sum::<u64>();
        self.work.tell(|progress| {
            progress.bytes = finished + open;
            progress.files = self.finished.len() as u64;
        });
    }

    async fn discard(&mut self) -> Result<(), LakeError> {
        if let Some(file) = self.open.take() {
            file.upload.discard().await?;
        }
        while let Some(file) = self.finished.pop() {
            self.work.objects.delete(&file.path).await?;
        }
        Ok(())
    }
}

/// A file that takes row groups.
struct OpenFile {
    path: Path,
    writer: SerializedFileWriter<Buffer>,
    /// What the writer has written and the upload has not got.
    buffer: Buffer,
    upload: Upload,
    hash: Sha256,
    rows: u64,
    nan_counts: HashMap<i32, u64>,
}

impl OpenFile {
    fn start(work: &Work, number: usize) -> Result<Self, LakeError> {
        let path = work.place.file(number);
        let buffer = Buffer::default();
        Ok(Self {
            writer: work.encoding.file(buffer.clone())?,
            buffer,
            upload: Upload::new(work.objects.clone(), path.clone()),
            path,
            hash: Sha256::new(),
            rows: 0,
            nan_counts: HashMap::new(),
        })
    }

    async fn append(&mut self, work: &Work, columns: Vec<EncodedColumn>) -> Result<(), LakeError> {
        let failed = |error| work.encoding.error(error);
        let fields = work.schema.as_struct().fields();
        for (field, column) in fields.iter().zip(&columns) {
            if let Some(nans) = column.nans {
                *self.nan_counts.entry(field.id).or_default() += nans;
            }
        }
        let mut group = self.writer.next_row_group().map_err(failed)?;
        for chunk in columns.into_iter().flat_map(|column| column.chunks) {
            chunk.append_to_row_group(&mut group).map_err(failed)?;
            send(&self.buffer, &mut self.hash, &mut self.upload).await?;
        }
        group.close().map_err(failed)?;
        Ok(())
    }

    async fn finish(&mut self, work: &Work) -> Result<WrittenFile, LakeError> {
        let failed = |error| work.encoding.error(error);
        let metadata = self.writer.finish().map_err(failed)?;
        send(&self.buffer, &mut self.hash, &mut self.upload).await?;
        self.upload.complete().await?;
        let nan_counts = std::mem::take(&mut self.nan_counts);
        Ok(WrittenFile {
            path: self.path.clone(),
            size: self.upload.bytes(),
            sha256: hex(&std::mem::take(&mut self.hash).finalize()),
            metrics: FileMetrics::new(&metadata, &work.schema, nan_counts),
            partition: PartitionValue::default(),
        })
    }
}

/// Hashes what the writer has written and hands it to the store.
async fn send(buffer: &Buffer, hash: &mut Sha256, upload: &mut Upload) -> Result<(), LakeError> {
    let content = buffer.take();
    hash.update(&content);
    upload.write(content).await
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Where a writer writes to, and someone else takes it from.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.locked()).into()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        // bytes are whole whatever panicked beside them
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Buffer {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.locked().extend_from_slice(content);
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
