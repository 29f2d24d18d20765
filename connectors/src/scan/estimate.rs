//! How many rows a request may answer with: a guess that decides which side of a
//! join is read first, never what an answer holds.

use std::collections::BTreeSet;

use super::{Comparison, Predicate, ScanRequest};

/// The part of the rows that equality with one constant keeps, where nothing is
/// known of the values.
const EQUAL: f64 = 0.05;
/// The part that a bound on one side keeps.
const BOUNDED: f64 = 0.3;
/// How many rows a group has, where nothing is known of the values.
const ROWS_A_GROUP: f64 = 10.0;

/// None where the size of the table is unknown and nothing bounds the answer.
pub(super) fn estimated_rows(request: &ScanRequest) -> Option<usize> {
    let read = filtered_rows(request);
    let grouped = match (&request.grouping, read) {
        (Some(grouping), _) if grouping.keys.is_empty() => Some(1.0),
        (Some(_), Some(rows)) => Some((rows / ROWS_A_GROUP).max(1.0)),
        (_, rows) => rows,
    };
    // A float estimate of a count: saturates, and is never negative.
    let rows = grouped.map(|rows| rows as usize);
    match (rows, request.limit) {
        (Some(rows), Some(limit)) => Some(rows.min(limit)),
        (rows, limit) => rows.or(limit),
    }
}

fn filtered_rows(request: &ScanRequest) -> Option<f64> {
    if let Some(rows) = rows_by_key(request) {
        return Some(rows);
    }
    let rows = request.table.rows? as f64;
    let kept: f64 = request.predicates.iter().map(kept).product();
    Some((rows * kept).max(1.0))
}

/// The number of rows that a condition on the whole primary key can keep.
fn rows_by_key(request: &ScanRequest) -> Option<f64> {
    let key = &request.table.primary_key;
    if key.is_empty() {
        return None;
    }
    let mut rows = 1.0;
    let mut bound = BTreeSet::new();
    for predicate in &request.predicates {
        let (column, values) = match predicate {
            Predicate::Compare {
                column,
                comparison: Comparison::Equal,
                ..
            } => (*column, 1),
            Predicate::In {
                column,
                values,
                negated: false,
            } => (*column, values.len()),
            _ => continue,
        };
        let name = request.table.columns.field(column).name();
        if key.contains(name) && bound.insert(column) {
            rows *= values as f64;
        }
    }
    (bound.len() == key.len()).then_some(rows)
}

fn kept(predicate: &Predicate) -> f64 {
    match predicate {
        Predicate::Compare { comparison, .. } => match comparison {
            Comparison::Equal => EQUAL,
            Comparison::NotEqual => 1.0 - EQUAL,
            _ => BOUNDED,
        },
        Predicate::In { values, negated, .. } => {
            let inside = (EQUAL * values.len() as f64).min(0.5);
            if *negated { 1.0 - inside } else { inside }
        }
        Predicate::Between { negated, .. } => {
            let inside = BOUNDED * BOUNDED;
            if *negated { 1.0 - inside } else { inside }
        }
        Predicate::Like { negated, .. } => {
            if *negated {
                1.0 - BOUNDED * BOUNDED
            } else {
                BOUNDED * BOUNDED
            }
        }
        Predicate::IsNull { negated, .. } => {
            if *negated {
                1.0 - EQUAL
            } else {
                EQUAL
            }
        }
        Predicate::IsTrue { .. } => 0.5,
        Predicate::And(parts) => parts.iter().map(kept).product(),
        Predicate::Or(parts) => parts.iter().map(kept).sum::<f64>().min(1.0),
        Predicate::Not(inner) => 1.0 - kept(inner),
    }
}
