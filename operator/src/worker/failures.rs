//! Why an attempt failed, for the run's status: with what to do, and without values.

use lakegate_crds::conditions::Reason;
use lakegate_federation::{Cause, FederationError, SourceError};
use lakegate_lake::LakeError;

use crate::protocol::{Failure, WorkOrder};
use crate::surroundings::chain;

pub(super) fn failure(reason: Reason, message: impl Into<String>, terminal: bool) -> Failure {
    Failure {
        reason: reason.to_string(),
        message: message.into(),
        terminal,
    }
}

pub(super) fn source_failure(error: &SourceError) -> Failure {
    failure(error.reason, chain(error), error.terminal)
}

/// When an error of the federation came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Planning,
    Reading,
}

pub(super) fn federation_failure(error: &FederationError, stage: Stage) -> Failure {
    let planning = stage == Stage::Planning;
    // What does not plan will not plan a minute later, except where a store or this machine is to blame.
    let (reason, terminal) = match error.cause() {
        Cause::OutOfMemory { .. } => (Reason::OutOfMemory, false),
        Cause::DiskFull { .. } => (Reason::StorageFull, false),
        Cause::SourceUnavailable { .. } => (Reason::SourceNotReady, false),
        Cause::SourceFailed { .. } => (Reason::ReadFailed, false),
        Cause::Timeout => (Reason::Timeout, false),
        Cause::InvalidExport { .. } => (Reason::InvalidSpec, true),
        Cause::NewColumns { .. } => (Reason::SchemaChanged, true),
        // Another row may have the value tomorrow, and none may.
        Cause::ColumnCast { .. } => return failure(Reason::CastFailed, error.to_string(), false),
        Cause::UnknownTable { .. } | Cause::UnknownSchema { .. } => (Reason::TableNotFound, planning),
        Cause::UnknownColumn { .. } => (Reason::ColumnNotFound, planning),
        Cause::DuplicateColumn { .. } => (Reason::ColumnNameConflict, planning),
        Cause::InvalidText { .. } | Cause::OutOfRange { .. } => (Reason::CastFailed, false),
        // Class 22 are the errors of values.
        Cause::Value { sqlstate, .. } if !planning && sqlstate.starts_with("22") => {
            (Reason::CastFailed, false)
        }
        Cause::Internal { .. } => (Reason::InternalError, false),
        _ if planning => (Reason::PlanFailed, true),
        _ => (Reason::ReadFailed, false),
    };
    let mut message = error.to_string();
    for more in [error.detail(), error.hint()].into_iter().flatten() {
        message = format!("{message} ({more})");
    }
    if stage == Stage::Reading && reason == Reason::CastFailed {
        // Such errors quote the value, as they should to whoever asked the query. A status is read by people who may
        // not see the data.
        message = format!("a value does not fit: {}", without_quotes(&message, &[]));
    }
    failure(reason, message, terminal)
}

/// As [`federation_failure`] while rows are read. Where a column is masked no error shows what may be a value: those of
/// stores quote values, too.
pub(super) fn reading_failure(order: &WorkOrder, error: &FederationError) -> Failure {
    let failure = federation_failure(error, Stage::Reading);
    let columns = order.spec.columns.as_deref().unwrap_or_default();
    if columns.iter().all(|column| column.mask.is_none()) {
        return failure;
    }
    let names: Vec<&str> = columns
        .iter()
        .flat_map(|column| [column.name.as_deref(), column.r#as.as_deref()])
        .flatten()
        .collect();
    Failure {
        message: without_quotes(&failure.message, &names),
        ..failure
    }
}

/// The text without what stands between its first and its last quote, for a value may hold some itself. Names that are
/// known stay.
fn without_quotes(text: &str, names: &[&str]) -> String {
    let is_quote = |character: char| matches!(character, '"' | '\'');
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find(is_quote) {
        let (before, quoted) = rest.split_at(open);
        kept.push_str(before);
        let name = names.iter().find(|name| {
            quoted[1..].starts_with(**name) && quoted[1 + name.len()..].starts_with(&quoted[..1])
        });
        if let Some(name) = name {
            let (shown, behind) = quoted.split_at(name.len() + 2);
            kept.push_str(shown);
            rest = behind;
            continue;
        }
        kept.push('…');
        rest = match quoted.rfind(is_quote) {
            Some(close) if close > 0 => &quoted[close + 1..],
            _ => "",
        };
        break;
    }
    kept.push_str(rest);
    kept
}

pub(super) fn lake_failure(error: &LakeError) -> Failure {
    let reason = error.reason().unwrap_or(Reason::WriteFailed);
    failure(reason, chain(error), error.is_terminal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_are_left_out() {
        for (text, expected) in [
            (
                r#"invalid input syntax for type bigint: "a@x""#,
                "invalid input syntax for type bigint: …",
            ),
            ("cannot cast 'it' to \"b\" here", "cannot cast … here"),
            (
                "column \"email\" of row 7: \"a\" b \"c\"!",
                "column \"email\" of row 7: …!",
            ),
            ("column \"emails\": x", "column …: x"),
            ("value \"never closed", "value …"),
            ("no quotes", "no quotes"),
        ] {
            assert_eq!(without_quotes(text, &["id", "email"]), expected);
        }
    }
}
