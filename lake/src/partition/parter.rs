//! Rows by partition.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef};
use arrow::row::{OwnedRow, RowConverter, SortField};

use super::{PartitionValue, Partitioning};

/// Tells rows of different partitions apart.
#[derive(Debug)]
pub(crate) struct Parter {
    pub partitioning: Arc<Partitioning>,
    converter: Option<RowConverter>,
}

/// Rows of one partition.
pub(crate) struct Part {
    pub key: OwnedRow,
    pub value: PartitionValue,
    /// Positions in the batch, ascending.
    pub rows: Vec<u32>,
}

impl Parter {
    pub fn new(partitioning: Arc<Partitioning>) -> Self {
        Self {
            partitioning,
            converter: None,
        }
    }

    /// The partitions of some rows, in the order of their first rows; `columns` as of [`Partitioning::transform`].
    pub fn part(&mut self, columns: &[ArrayRef]) -> Result<Vec<Part>, arrow::error::ArrowError> {
        let transformed = self.partitioning.transform(columns)?;
        let converter = match &mut self.converter {
            Some(converter) => converter,
            none => {
                let sorts = transformed
                    .iter()
                    .map(|array| SortField::new(array.data_type().clone()));
                none.insert(RowConverter::new(sorts.collect())?)
            }
        };
        let rows = converter.convert_columns(&transformed)?;
        let mut parts: Vec<Part> = Vec::new();
        let mut known = std::collections::HashMap::new();
        let mut last: Option<(usize, usize)> = None;
        for (index, row) in rows.iter().enumerate() {
            // rows of one partition mostly stand together
            let same = last
                .filter(|(before, _)| rows.row(*before) == row)
                .map(|(_, part)| part);
            let part = same.unwrap_or_else(|| *known.entry(row).or_insert(parts.len()));
            if part == parts.len() {
                let value = self.partitioning.value(&transformed, index);
                let value = value.ok_or_else(|| {
                    arrow::error::ArrowError::NotYetImplemented("a partition of this type".to_owned())
                })?;
                parts.push(Part {
                    key: row.owned(),
                    value,
                    rows: Vec::new(),
                });
            }
            if let Ok(position) = u32::try_from(index) {
                parts[part].rows.push(position);
            }
            last = Some((index, part));
        }
        Ok(parts)
    }
}
