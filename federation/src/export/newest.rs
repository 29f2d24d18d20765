//! The newest row of each key.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::row::{OwnedRow, RowConverter, Rows};

use super::invalid;
use crate::error::FederationError;

/// Tells the newest row of each key, of rows that are sorted by key and, of one key, from new to old.
pub(super) struct Newest {
    /// Number of exported columns; the cursor follows them.
    columns: usize,
    keys: Vec<usize>,
    key_names: Vec<String>,
    converter: RowConverter,
    /// The newest row of the key that the last batch ended with.
    last: Option<(OwnedRow, RecordBatch)>,
}

impl Newest {
    /// `keys` are positions among the columns, `key_names` what the source names them; `converter` is of their types.
    pub(super) fn new(
        columns: usize,
        keys: Vec<usize>,
        key_names: Vec<String>,
        converter: RowConverter,
    ) -> Self {
        Self {
            columns,
            keys,
            key_names,
            converter,
            last: None,
        }
    }

    /// Of each row, whether it is the newest of its key.
    ///
    /// # Errors
    /// `InvalidExport` for a key that is NULL, and for different rows of one key of which none is the newest.
    pub(super) fn of(
        &mut self,
        batch: &RecordBatch,
        cursor: &ArrayRef,
    ) -> Result<BooleanArray, FederationError> {
        let mut keys = Vec::with_capacity(self.keys.len());
        for (index, key) in self.keys.iter().enumerate() {
            let column = batch.column(*key);
            if column.null_count() > 0 {
                return Err(invalid(
                    &format!("spec.incremental.keyColumns[{index}]"),
                    &format!(
                        "\"{}\" is NULL in a row, which so has no key; name other columns, or leave such rows out with where",
                        self.key_names[index]
                    ),
                ));
            }
            keys.push(Arc::clone(column));
        }
        let rows = self.converter.convert_columns(&keys)?;
        let mut newest = Vec::with_capacity(batch.num_rows());
        let mut winner = None;
        for row in 0..batch.num_rows() {
            let is_newest = !self.is_same_key(&rows, row);
            if is_newest {
                winner = Some(row);
            } else {
                let of_key = match (winner, &self.last) {
                    (Some(winner), _) => batch.slice(winner, 1),
                    (None, Some((_, last))) => last.clone(),
                    (None, None) => return Err(FederationError::internal("a row of a key that none began")),
                };
                self.check(&of_key, &batch.slice(row, 1), cursor.is_null(row))?;
            }
            newest.push(is_newest);
        }
        if let Some(winner) = winner {
            self.last = Some((rows.row(winner).owned(), batch.slice(winner, 1)));
        }
        Ok(newest.into())
    }

    fn is_same_key(&self, rows: &Rows, row: usize) -> bool {
        match row.checked_sub(1) {
            Some(before) => rows.row(before) == rows.row(row),
            None => self
                .last
                .as_ref()
                .is_some_and(|(last, _)| last.row() == rows.row(row)),
        }
    }

    /// Whether `older` is, or the same: of two different rows without a cursor, or with the same one, nobody knows.
    fn check(&self, newest: &RecordBatch, older: &RecordBatch, is_null: bool) -> Result<(), FederationError> {
        let is_tie = is_null || newest.column(self.columns) == older.column(self.columns);
        if !is_tie || newest == older {
            return Ok(());
        }
        let problem = if is_null {
            "of which one has no cursor"
        } else {
            "with the same cursor"
        };
        Err(invalid(
            "spec.incremental.keyColumns",
            &format!(
                "two different rows have the same {}, {problem}, so that none is the newest; name more columns that \
                 together identify a row, or a cursor column that tells such rows apart",
                self.key_names.join(", ")
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::row::SortField;

    use super::*;

    fn batch(rows: &[(i64, &str, Option<i64>)]) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("cursor", DataType::Int64, true),
        ]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
                Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
                Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
            ],
        )
        .unwrap()
    }

    fn newest() -> Newest {
        let converter = RowConverter::new(vec![SortField::new(DataType::Int64)]).unwrap();
        Newest::new(2, vec![0], vec!["id".to_owned()], converter)
    }

    fn of(newest: &mut Newest, rows: &[(i64, &str, Option<i64>)]) -> Result<Vec<bool>, String> {
        let batch = batch(rows);
        let found = newest
            .of(&batch, batch.column(2))
            .map_err(|error| error.to_string())?;
        Ok(found.iter().flatten().collect())
    }

    #[test]
    fn one_row_a_key_over_batches() {
        let mut keys = newest();
        assert_eq!(
            of(
                &mut keys,
                &[(1, "new", Some(5)), (1, "old", Some(4)), (2, "a", Some(1))]
            ),
            Ok(vec![true, false, true])
        );
        // the key goes on in the next batch
        assert_eq!(
            of(&mut keys, &[(2, "older", Some(0)), (2, "oldest", Some(-1))]),
            Ok(vec![false, false])
        );
        assert_eq!(
            of(&mut keys, &[(2, "oldest", Some(-2)), (3, "x", None)]),
            Ok(vec![false, true])
        );
        assert_eq!(of(&mut keys, &[(4, "y", None)]), Ok(vec![true]));
    }

    #[test]
    fn what_has_no_newest_row_is_refused_unless_all_are_one() {
        assert_eq!(
            of(&mut newest(), &[(1, "a", Some(5)), (1, "a", Some(5))]),
            Ok(vec![true, false])
        );
        assert_eq!(
            of(&mut newest(), &[(1, "a", None), (1, "a", None)]),
            Ok(vec![true, false])
        );
        let tie = of(&mut newest(), &[(1, "a", Some(5)), (1, "b", Some(5))]).unwrap_err();
        assert!(
            tie.contains("with the same cursor") && !tie.contains('5'),
            "{tie}"
        );
        let null = of(&mut newest(), &[(1, "a", Some(5)), (1, "a", None)]).unwrap_err();
        assert!(null.contains("of which one has no cursor"), "{null}");
        // only with the newest: how older ones are ordered does not matter
        assert_eq!(
            of(
                &mut newest(),
                &[(1, "a", Some(5)), (1, "b", Some(4)), (1, "c", Some(4))]
            ),
            Ok(vec![true, false, false])
        );
        let mut keys = newest();
        of(&mut keys, &[(1, "a", Some(5))]).unwrap();
        assert!(of(&mut keys, &[(1, "b", Some(5))]).is_err());
    }
}
