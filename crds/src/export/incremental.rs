//! Exports that read only what has changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ColumnSpec, ExportSpec};
use crate::{Duration, MaskSpec, text::excerpt};

/// Reads only what changed since the last run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncrementalSpec {
    /// Column of the source that grows with each change of a row, such as `updated_at`: a timestamp,
    /// a date, an integer or a decimal. It need not be exported, but may not be masked: its newest
    /// value is recorded with each snapshot.
    #[schemars(length(min = 1, max = 128))]
    pub cursor_column: String,

    /// Columns of the source that identify a row; they must be exported. Those of masks only `hmac`
    /// and `tokenize` keep different keys different.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 128)))]
    pub key_columns: Vec<String>,

    /// How far before the last cursor each run begins, for rows that were committed late; longer than
    /// the longest transaction that writes the source. Not with a cursor that is a number.
    /// Default: 10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Duration>,
}

impl IncrementalSpec {
    /// Default of `overlap`.
    pub const OVERLAP: std::time::Duration = std::time::Duration::from_mins(10);
}

impl ExportSpec {
    /// Why the newest value of the cursor column may not be recorded, if it is hidden.
    pub fn cursor_mask_problem(&self) -> Option<String> {
        let cursor = &self.incremental.as_ref()?.cursor_column;
        let of_cursor = |column: &&ColumnSpec| column.name.as_ref() == Some(cursor);
        let mut columns = self.columns.iter().flatten().filter(of_cursor);
        let is_masked = columns.clone().any(|column| column.mask.is_some());
        let is_clear = columns.any(|column| column.mask.is_none());
        (is_masked && !is_clear).then(|| {
            format!(
                "\"{}\" is masked, and its newest value would be recorded with each snapshot; name another column, or \
                 take the mask off",
                excerpt(cursor)
            )
        })
    }
}

/// Why two keys may become one in a column, if they may.
pub(crate) fn key_mask_problem(mask: &MaskSpec) -> Option<&'static str> {
    (mask.hmac.is_none() && mask.tokenize.is_none())
        .then_some("is masked so that two keys may become one; use hmac or tokenize, or none")
}
