//! `assert: {kAnonymity}`: how many rows have each combination of some columns.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use datafusion::common::HashMap;
use lakegate_crds::KAnonymity;

use super::invalid;
use crate::error::FederationError;

/// Bytes of one combination at most: its fingerprint and count, in a table that has just grown.
const COMBINATION_BYTES: usize = 128;

/// Counts the rows of each combination of some columns. A NULL is a value like any other.
///
/// Combinations are told apart by 128 bits of a hash whose keys no one knows: what is kept of them is no value, and of
/// each as much.
pub struct Combinations {
    columns: Vec<usize>,
    names: Vec<String>,
    least: u32,
    converter: RowConverter,
    hashes: [RandomState; 2],
    counts: HashMap<u128, u32>,
    limit: usize,
    rows: u64,
}

impl fmt::Debug for Combinations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Combinations")
            .field("names", &self.names)
            .field("combinations", &self.counts.len())
            .finish_non_exhaustive()
    }
}

/// What has been counted. No value is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anonymity {
    /// The columns, as they are exported.
    pub columns: Vec<String>,
    /// The least rows that each combination should have.
    pub least: u32,
    /// All rows.
    pub rows: u64,
    /// All combinations.
    pub combinations: u64,
    /// Rows of the rarest combination, 0 without any.
    pub rarest: u64,
    /// Combinations of fewer rows than should be.
    pub rare_combinations: u64,
    /// Rows of those.
    pub rare_rows: u64,
}

impl Anonymity {
    /// Whether each combination has the least rows.
    pub fn holds(&self) -> bool {
        self.rare_combinations == 0
    }
}

impl Combinations {
    /// For rows of the schema, in about `memory` bytes.
    ///
    /// # Errors
    /// `InvalidExport` for a column that is not exported, or cannot be compared.
    pub fn new(spec: &KAnonymity, schema: &SchemaRef, memory: usize) -> Result<Self, FederationError> {
        let field = |index: usize| format!("spec.assert.kAnonymity.quasi[{index}]");
        let mut columns = Vec::with_capacity(spec.quasi.len());
        let mut types = Vec::with_capacity(spec.quasi.len());
        for (index, name) in spec.quasi.iter().enumerate() {
            let Ok(column) = schema.index_of(name) else {
                let known: Vec<&str> = schema
                    .fields()
                    .iter()
                    .map(|field| field.name().as_str())
                    .collect();
                return Err(invalid(
                    &field(index),
                    &format!(
                        "\"{name}\" is not an exported column; those are {}",
                        known.join(", ")
                    ),
                ));
            };
            columns.push(column);
            let sort = SortField::new(schema.field(column).data_type().clone());
            if !RowConverter::supports_fields(std::slice::from_ref(&sort)) {
                return Err(invalid(
                    &field(index),
                    &format!(
                        "values of \"{name}\" cannot be compared; name another column, or cast it to text"
                    ),
                ));
            }
            types.push(sort);
        }
        Ok(Self {
            columns,
            names: spec.quasi.clone(),
            least: spec.k,
            converter: RowConverter::new(types)?,
            hashes: [RandomState::new(), RandomState::new()],
            counts: HashMap::new(),
            limit: (memory / COMBINATION_BYTES).max(1024),
            rows: 0,
        })
    }

    /// Counts the rows of a batch.
    ///
    /// # Errors
    /// A batch of another schema.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), FederationError> {
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| {
                let values = batch.columns().get(*column).map(Arc::clone);
                values.ok_or_else(|| FederationError::internal("a batch lacks a column that was planned"))
            })
            .collect::<Result<_, _>>()?;
        let rows = self.converter.convert_columns(&columns)?;
        for row in &rows {
            let [high, low] = self.hashes.each_ref().map(|hash| hash.hash_one(row.data()));
            let count = self
                .counts
                .entry(u128::from(high) << 64 | u128::from(low))
                .or_insert(0);
            *count = count.saturating_add(1);
        }
        self.rows += rows.num_rows() as u64;
        Ok(())
    }

    /// The most combinations that can be counted, when there are more.
    pub fn too_many(&self) -> Option<usize> {
        (self.counts.len() > self.limit).then_some(self.limit)
    }

    /// The counts.
    pub fn outcome(&self) -> Anonymity {
        let rare = || {
            let counts = self.counts.values().copied();
            counts.filter(|count| *count < self.least)
        };
        Anonymity {
            columns: self.names.clone(),
            least: self.least,
            rows: self.rows,
            combinations: self.counts.len() as u64,
            rarest: self.counts.values().copied().min().map_or(0, u64::from),
            rare_combinations: rare().count() as u64,
            rare_rows: rare().map(u64::from).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int32Array, StringArray};

    use super::*;

    fn batch(zips: Vec<Option<&str>>, years: Vec<Option<i32>>) -> RecordBatch {
        let zips: ArrayRef = Arc::new(StringArray::from(zips));
        let years: ArrayRef = Arc::new(Int32Array::from(years));
        RecordBatch::try_from_iter_with_nullable([("zip", zips, true), ("year", years, true)]).unwrap()
    }

    fn spec(quasi: &[&str], k: u32) -> KAnonymity {
        KAnonymity {
            quasi: quasi.iter().map(|name| (*name).to_owned()).collect(),
            k,
        }
    }

    #[test]
    fn rare_combinations_are_counted_over_batches() {
        let rows = batch(
            vec![Some("a"), Some("a"), Some("b"), None, Some("")],
            vec![Some(1), Some(1), None, None, None],
        );
        let mut counted = Combinations::new(&spec(&["year", "zip"], 3), &rows.schema(), 1 << 20).unwrap();
        assert!(counted.outcome().holds(), "no rows have no rare combination");
        counted.add(&rows).unwrap();
        counted
            .add(&batch(vec![Some("a"), None, None], vec![Some(1), None, None]))
            .unwrap();
        let outcome = counted.outcome();
        assert_eq!(
            outcome,
            Anonymity {
                columns: vec!["year".to_owned(), "zip".to_owned()],
                least: 3,
                rows: 8,
                combinations: 4,
                rarest: 1,
                rare_combinations: 2,
                rare_rows: 2,
            }
        );
        assert!(!outcome.holds());
        assert_eq!(counted.too_many(), None);
    }

    #[test]
    fn unknown_columns_and_too_many_combinations_are_told() {
        let rows = batch(vec![Some("a")], vec![Some(1)]);
        let error = Combinations::new(&spec(&["zip", "Year"], 2), &rows.schema(), 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "spec.assert.kAnonymity.quasi[1]: \"Year\" is not an exported column; those are zip, year"
        );
        let mut counted = Combinations::new(&spec(&["year"], 2), &rows.schema(), 0).unwrap();
        counted
            .add(&batch(vec![None; 1024], (0..1024).map(Some).collect()))
            .unwrap();
        assert_eq!(counted.too_many(), None);
        counted.add(&batch(vec![None], vec![Some(-1)])).unwrap();
        assert_eq!(counted.too_many(), Some(1024));
    }
}
