//! What SQLite may be asked.
//!
//! SQLite compares by storage class first (any text is greater than any number),
//! and a column may hold any class. A condition is therefore wrapped so that rows
//! whose value is not of the declared class are *kept*, and an answer that does not
//! hold the value says which column has one: reading it then fails, just as it does
//! without push-down.

use std::ops::Deref;

use datafusion::common::ScalarValue;

use super::types::ColumnKind;
use crate::scan::{Asked, Expression, Function, GroupOutput, Predicate, ScanRequest, StoreJoin, Verdict};
use crate::server::Tables;

/// What the dialect knows about a column.
#[derive(Debug, Clone)]
pub(super) struct SqliteColumn {
    pub name: String,
    pub kind: ColumnKind,
    /// SQLite itself enforces the class: a rowid alias, or a STRICT table.
    pub enforced: bool,
}

/// A table as the dialect sees it, or several that SQLite joins.
#[derive(Debug, Clone)]
pub(super) struct SqliteLayout {
    pub tables: Tables<SqliteColumn>,
    /// A view's columns have neither a sure class nor a sure collation.
    pub view: bool,
    /// A name that reads the rowid, where there is one.
    pub rowid: Option<String>,
    /// The database compares text as UTF-8, which is the order here, too.
    pub utf8: bool,
}

/// SQLite takes 32766 parameters; far shorter lists are no longer worth sending.
const MAX_LIST: usize = 1000;

impl Deref for SqliteLayout {
    type Target = Tables<SqliteColumn>;

    fn deref(&self) -> &Self::Target {
        &self.tables
    }
}

impl SqliteLayout {
    pub fn verdict(&self, predicate: &Predicate) -> Verdict {
        predicate.verdict_over(&|leaf| self.leaf(leaf))
    }

    fn leaf(&self, leaf: &Predicate) -> Verdict {
        let (column, ordered, values): (usize, bool, Vec<&ScalarValue>) = match leaf {
            // No conversion makes or loses a NULL.
            Predicate::IsNull { .. } => return Verdict::Exact,
            Predicate::Compare {
                column,
                comparison,
                value,
            } => (*column, !comparison.is_equality(), vec![value]),
            Predicate::In { values, .. } if values.len() > MAX_LIST => {
                return Verdict::unsupported("the list is too long for SQLite");
            }
            Predicate::In { column, values, .. } => (*column, false, values.iter().collect()),
            Predicate::Between {
                column, low, high, ..
            } => (*column, true, vec![low, high]),
            Predicate::Like { .. } => {
                return Verdict::unsupported("SQLite's LIKE takes upper and lower case for one");
            }
            _ => return Verdict::unsupported("SQLite has no boolean type"),
        };
        if self.view {
            return Verdict::unsupported("a column of a SQLite view has no sure type");
        }
        match self.columns[column].kind {
            ColumnKind::Integer => Verdict::Exact,
            ColumnKind::Real => {
                // The engine tells -0.0 from 0.0 and orders NaN; SQLite has neither.
                let plain = values.iter().all(|value| {
                    matches!(value, ScalarValue::Float64(Some(value))
                        if value.is_finite() && (*value != 0.0 || value.is_sign_positive()))
                });
                if plain {
                    Verdict::Exact
                } else {
                    Verdict::unsupported("SQLite has no NaN, infinity or negative zero")
                }
            }
            ColumnKind::Text { affine: true } => {
                let nul = values
                    .iter()
                    .any(|value| matches!(value, ScalarValue::Utf8(Some(text)) if text.contains('\0')));
                if ordered && !self.utf8 {
                    Verdict::unsupported("a UTF-16 database orders text differently")
                } else if nul {
                    Verdict::unsupported("text with a NUL character")
                } else {
                    Verdict::Exact
                }
            }
            ColumnKind::Text { affine: false } => {
                Verdict::unsupported("the column's declared type does not make its values text")
            }
            ColumnKind::Blob | ColumnKind::Boolean | ColumnKind::Decimal { .. } => {
                Verdict::unsupported("SQLite stores this type in more than one form")
            }
        }
    }

    /// Why SQLite is not asked. A column may hold values of any class, which reading
    /// refuses: only where SQLite itself keeps them out does it put them together.
    pub fn refusal(&self, asked: Asked<'_>) -> Option<&'static str> {
        match asked {
            Asked::Order(column) | Asked::Distinct(column) => self.sort_refusal(column),
            Asked::Computed(_) => Some("SQLite groups by columns alone"),
            Asked::Aggregate(call) => match (call.function, &call.argument) {
                (Function::Count, None | Some(Expression::Column(_))) => None,
                (Function::Sum, Some(Expression::Column(column)))
                    if self.kind(*column) == Some(ColumnKind::Integer) =>
                {
                    self.sort_refusal(*column)
                }
                (Function::Minimum | Function::Maximum, Some(Expression::Column(column))) => {
                    self.sort_refusal(*column)
                }
                _ => Some("SQLite computes this by its own rules"),
            },
        }
    }

    /// The two tables as one.
    ///
    /// # Errors
    /// The reason why they are joined here.
    pub fn joined(&self, other: &Self, join: &StoreJoin) -> Result<Self, &'static str> {
        let tables = self.with(other, join, |left, right| {
            self.sort_refusal(left).or_else(|| other.sort_refusal(right))
        })?;
        Ok(Self {
            tables,
            view: false,
            rowid: None,
            utf8: self.utf8,
        })
    }

    /// The columns that a condition of the request compares, that may hold values of
    /// another class, and that the answer does not hold themselves.
    pub(super) fn unread(&self, request: &ScanRequest) -> Vec<usize> {
        let of_joins = self.joined.iter().flat_map(|table| {
            let moved = table.join.conditions.iter();
            moved.map(|predicate| predicate.moved(table.first))
        });
        let outputs = request.grouping.iter().flat_map(|grouping| &grouping.outputs);
        let of_aggregates = outputs.filter_map(|output| match output {
            GroupOutput::Aggregate(call) => call.filter.clone(),
            GroupOutput::Key(_) => None,
        });
        let mut columns: Vec<usize> = request
            .predicates
            .iter()
            .cloned()
            .chain(of_joins)
            .chain(of_aggregates)
            .flat_map(|predicate| compared(&predicate))
            .filter(|column| {
                let is_read = request.grouping.is_none() && request.projection.contains(column);
                !is_read && self.columns.get(*column).is_some_and(|column| !column.enforced)
            })
            .collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Whether the answer has one more column: the index of a table's column that
    /// holds a value of another class in this row or group, else NULL.
    pub fn is_checked(&self, request: &ScanRequest) -> bool {
        !self.unread(request).is_empty()
    }

    pub(super) fn kind(&self, column: usize) -> Option<ColumnKind> {
        self.columns.get(column).map(|column| column.kind)
    }

    fn sort_refusal(&self, column: usize) -> Option<&'static str> {
        let enforced = !self.view && self.columns.get(column).is_some_and(|column| column.enforced);
        match self.kind(column) {
            Some(ColumnKind::Integer | ColumnKind::Text { .. }) if !enforced => {
                Some("the column may hold values that are not of its type")
            }
            Some(ColumnKind::Integer) => None,
            Some(ColumnKind::Text { .. }) if self.utf8 => None,
            Some(ColumnKind::Text { .. }) => Some("a UTF-16 database orders text differently"),
            _ => Some("SQLite stores this type in more than one form"),
        }
    }

    /// What each column of the answer is read as, by position.
    pub fn answers(&self, request: &ScanRequest) -> Vec<ColumnKind> {
        request
            .projection
            .iter()
            .filter_map(|&index| match &request.grouping {
                None => self.kind(index),
                Some(grouping) => match grouping.outputs.get(index)? {
                    GroupOutput::Key(Expression::Column(key)) => self.kind(*key),
                    GroupOutput::Key(_) => None,
                    GroupOutput::Aggregate(call) => match (call.function, &call.argument) {
                        (Function::Minimum | Function::Maximum, Some(Expression::Column(column))) => {
                            self.kind(*column)
                        }
                        _ => Some(ColumnKind::Integer),
                    },
                },
            })
            .collect()
    }
}

/// The columns that a condition compares: that one is NULL can be seen in any class.
fn compared(predicate: &Predicate) -> Vec<usize> {
    match predicate {
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().flat_map(compared).collect(),
        Predicate::Not(inner) => compared(inner),
        Predicate::IsNull { .. } => Vec::new(),
        leaf => leaf.columns(),
    }
}
