//! What can go wrong between a query's text and its last row, with the
//! SQLSTATE a Postgres client expects for it.

use std::fmt;

use datafusion::error::DataFusionError;

/// A place in the text of a query. Lines and columns count from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

impl Location {
    /// The place as PostgreSQL's error field `P` counts it: characters from the
    /// start of `sql`, from 1. None when `sql` has no such place.
    pub fn offset_in(self, sql: &str) -> Option<usize> {
        let mut offset = 0usize;
        for (index, line) in sql.split('\n').enumerate() {
            let length = line.chars().count();
            if index as u64 + 1 == self.line {
                let column = usize::try_from(self.column).ok()?;
                return (column >= 1 && column <= length + 1).then_some(offset + column);
            }
            offset += length + 1;
        }
        None
    }
}

/// Why a query failed. Messages follow PostgreSQL's wording where it has one,
/// for tools match on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    #[error("database \"{database}\" does not exist")]
    UnknownDatabase { database: String },
    #[error("schema \"{schema}\" does not exist")]
    UnknownSchema { schema: String },
    #[error("relation \"{relation}\" does not exist")]
    UnknownTable { relation: String },
    #[error("table name \"{relation}\" is ambiguous")]
    AmbiguousTable { relation: String },
    #[error("column {column} does not exist")]
    UnknownColumn { column: String },
    #[error("column reference {column} is ambiguous")]
    AmbiguousColumn { column: String },
    #[error("{message}")]
    DuplicateColumn { message: String },
    #[error("{message}")]
    Grouping { message: String },
    #[error("function {function} does not exist")]
    UnknownFunction { function: String },
    #[error("{message}")]
    NoSuchOverload { message: String },
    #[error("{message}")]
    TypeMismatch { message: String },
    #[error("{message}")]
    Syntax { message: String },
    #[error("statement too complex: {message}")]
    TooComplex { message: String },
    #[error("{message}")]
    NotSupported { message: String },
    #[error("cannot execute {command} in a read-only transaction")]
    ReadOnly { command: String },
    #[error("division by zero")]
    DivisionByZero,
    #[error("{message}")]
    OutOfRange { message: String },
    #[error("{message}")]
    InvalidText { message: String },
    #[error("{message}")]
    InvalidParameter { message: String },
    /// A value that a function or cast refuses, with PostgreSQL's code for it.
    #[error("{message}")]
    Value { sqlstate: &'static str, message: String },
    #[error("unrecognized configuration parameter \"{name}\"")]
    UnknownSetting { name: String },
    #[error("parameter \"{name}\" cannot be changed")]
    FixedSetting { name: String },
    #[error("there is no parameter ${number}")]
    UnknownParameter { number: String },
    #[error("could not determine data type of parameter ${number}")]
    IndeterminateParameter { number: String },
    /// The memory pool of this process or run has no room left.
    #[error("out of memory: {message}")]
    OutOfMemory { message: String },
    /// The spill directory is full, or spilling reached its bound.
    #[error("out of disk space: {message}")]
    DiskFull { message: String },
    #[error("canceling statement due to user request")]
    Cancelled,
    #[error("canceling statement due to statement timeout")]
    Timeout,
    /// The source has no catalog yet: it never came up.
    #[error("data source \"{source_name}\" is not reachable: {message}")]
    SourceUnavailable { source_name: String, message: String },
    /// The source answered with an error while it was read.
    #[error("{message}")]
    SourceFailed { message: String },
    #[error("view \"{view}\" refers to itself: {path}")]
    CyclicView { view: String, path: String },
    #[error("view \"{view}\" is broken: {message}")]
    BrokenView {
        view: String,
        message: String,
        sqlstate: &'static str,
    },
    /// A value of an exported column that its cast cannot take; names the column, and shows no value.
    #[error("{message}")]
    ColumnCast { message: String },
    /// The source has columns that the published table has not, and the Export says to fail.
    #[error("{message}")]
    NewColumns { message: String },
    /// An Export asks for what its source or this build does not have.
    #[error("{message}")]
    InvalidExport { message: String },
    #[error("internal error: {message}")]
    Internal { message: String },
}

/// An error of the federation: a cause, and where the text and the remedy are known, those.
///
/// `Display` prints the cause alone; hint and detail have their own fields on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FederationError {
    cause: Box<Cause>,
    location: Option<Location>,
    hint: Option<String>,
    detail: Option<String>,
}

impl fmt::Display for FederationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(formatter)
    }
}

impl std::error::Error for FederationError {}

impl From<Cause> for FederationError {
    fn from(cause: Cause) -> Self {
        Self {
            cause: Box::new(cause),
            location: None,
            hint: None,
            detail: None,
        }
    }
}

impl From<FederationError> for DataFusionError {
    fn from(error: FederationError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl FederationError {
    /// Why it failed.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Where in the query's text, when known.
    pub fn location(&self) -> Option<Location> {
        self.location
    }

    /// PostgreSQL's error position in `sql`: characters from 1.
    pub fn position(&self, sql: &str) -> Option<usize> {
        self.location.and_then(|location| location.offset_in(sql))
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// More about the cause.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.location.get_or_insert(location);
        self
    }

    /// The same error without a place: for text the client did not send, such as a view's.
    #[must_use]
    pub(crate) fn without_location(mut self) -> Self {
        self.location = None;
        self
    }

    /// True when the memory pool had no room.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(*self.cause, Cause::OutOfMemory { .. })
    }

    /// True when the query was cancelled by a user (not by its timeout).
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.cause, Cause::Cancelled)
    }

    /// The five-character SQLSTATE (PostgreSQL 15, appendix A).
    ///
    /// A store that is down is of class HV (foreign data wrapper), never 08: drivers
    /// take 08 for a loss of their own connection and drop it.
    pub fn sqlstate(&self) -> &'static str {
        match &*self.cause {
            Cause::UnknownDatabase { .. } => "3D000",
            Cause::UnknownSchema { .. } => "3F000",
            Cause::UnknownTable { .. } => "42P01",
            Cause::AmbiguousTable { .. } => "42P09",
            Cause::UnknownColumn { .. } => "42703",
            Cause::AmbiguousColumn { .. } => "42702",
            Cause::DuplicateColumn { .. } => "42701",
            Cause::Grouping { .. } => "42803",
            Cause::UnknownFunction { .. } | Cause::NoSuchOverload { .. } => "42883",
            Cause::TypeMismatch { .. } => "42804",
            Cause::Syntax { .. } => "42601",
            Cause::TooComplex { .. } => "54001",
            Cause::NotSupported { .. } => "0A000",
            Cause::ReadOnly { .. } => "25006",
            Cause::DivisionByZero => "22012",
            Cause::OutOfRange { .. } => "22003",
            Cause::InvalidText { .. } => "22P02",
            Cause::InvalidParameter { .. } | Cause::InvalidExport { .. } | Cause::NewColumns { .. } => {
                "22023"
            }
            Cause::ColumnCast { .. } => "22000",
            Cause::Value { sqlstate, .. } => sqlstate,
            Cause::UnknownSetting { .. } => "42704",
            Cause::FixedSetting { .. } => "55P02",
            Cause::UnknownParameter { .. } => "42P02",
            Cause::IndeterminateParameter { .. } => "42P18",
            Cause::OutOfMemory { .. } => "53200",
            Cause::DiskFull { .. } => "53100",
            Cause::Cancelled | Cause::Timeout => "57014",
            Cause::SourceUnavailable { .. } => "HV00N",
            Cause::SourceFailed { .. } => "HV000",
            Cause::CyclicView { .. } => "42P19",
            Cause::BrokenView { sqlstate, .. } => sqlstate,
            Cause::Internal { .. } => "XX000",
        }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Cause::Internal {
            message: message.into(),
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_becomes_an_offset_in_characters() {
        let sql = "select 'é',\n  nope from t";
        let cases = [
            ((1, 1), Some(1)),
            ((2, 3), Some(15)),
            ((9, 1), None),
            ((1, 99), None),
        ];
        for ((line, column), expected) in cases {
            assert_eq!(
                Location { line, column }.offset_in(sql),
                expected,
                "{line}:{column}"
            );
        }
    }
}
