//! Record batches in, Parquet data files out.

use arrow::record_batch::RecordBatch;

use crate::error::LakeError;
use crate::types::WrittenFiles;

/// Writes the data files of one attempt.
#[derive(Debug)]
pub struct TableWriter {
    _private: (),
}

impl TableWriter {
    /// Appends rows. The batch must have the schema given to `Lake::write`.
    pub async fn write(&mut self, _batch: RecordBatch) -> Result<(), LakeError> {
        Err(LakeError::NotImplemented {
            what: "write".to_owned(),
        })
    }

    /// Finishes the files. Nothing is visible before they are committed.
    pub async fn close(self) -> Result<WrittenFiles, LakeError> {
        Err(LakeError::NotImplemented {
            what: "close".to_owned(),
        })
    }

    /// Deletes what this writer has written.
    pub async fn abort(self) -> Result<(), LakeError> {
        Err(LakeError::NotImplemented {
            what: "abort".to_owned(),
        })
    }
}
