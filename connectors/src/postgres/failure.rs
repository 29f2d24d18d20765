//! What a failed exchange with the server means, and a value that cannot be kept.

use std::error::Error as _;
use std::io;

use tokio_postgres::error::{DbError, SqlState};

use super::decode::{MAX_VALUE_BYTES, Problem};
use super::settings::Settings;
use crate::ConnectorError;

/// Names the cause of a failure while connecting or working, without a table.
pub(super) fn failure(settings: &Settings, error: &tokio_postgres::Error) -> ConnectorError {
    let catalog = settings.catalog.clone();
    let endpoint = settings.address();
    if let Some(answer) = error.as_db_error() {
        let mut message = answer_text(answer);
        let code = answer.code();
        if is_shutdown(code) {
            message.push_str("; it was stopped or restarted, so try again");
        }
        return if is_recovery_conflict(answer) {
            ConnectorError::RecoveryConflict {
                catalog,
                endpoint,
                message,
            }
        } else if is_access(code) {
            ConnectorError::AccessDenied {
                catalog,
                endpoint,
                message,
            }
        } else if *code == SqlState::INVALID_CATALOG_NAME || is_unavailable(code) {
            ConnectorError::Unreachable {
                catalog,
                endpoint,
                message,
                source: None,
            }
        } else {
            ConnectorError::Store {
                catalog,
                message,
                source: None,
            }
        };
    }
    let message = if error.is_closed() {
        "the connection was lost".to_owned()
    } else {
        cause_text(error)
    };
    if is_tls(error) {
        return ConnectorError::TlsFailed {
            catalog,
            endpoint,
            message,
            source: None,
        };
    }
    ConnectorError::Unreachable {
        catalog,
        endpoint,
        message,
        source: None,
    }
}

/// Whether the connection is of no more use; the statement may succeed on
/// another one.
pub(super) fn is_connection_lost(error: &tokio_postgres::Error) -> bool {
    match error.as_db_error() {
        Some(answer) => is_unavailable(answer.code()),
        None => true,
    }
}

/// The server's own words. DETAIL is left out: it may quote stored values.
pub(super) fn answer_text(answer: &DbError) -> String {
    format!("{} (SQLSTATE {})", answer.message(), answer.code().code())
}

/// Whether a standby stopped a statement that stood in the way of what it had to replay. A transaction that only reads
/// its snapshot fails so for no other reason.
pub(super) fn is_recovery_conflict(answer: &DbError) -> bool {
    [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
    ]
    .contains(answer.code())
}

fn is_access(code: &SqlState) -> bool {
    [
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        SqlState::INSUFFICIENT_PRIVILEGE,
    ]
    .contains(code)
}

/// The server, or this connection alone, was ended by its administrator.
fn is_shutdown(code: &SqlState) -> bool {
    [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN].contains(code)
}

/// The server is going, coming or full.
fn is_unavailable(code: &SqlState) -> bool {
    is_shutdown(code)
        || [
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::DATABASE_DROPPED,
        ]
        .contains(code)
        || code.code().starts_with("08")
}

/// The innermost cause, which says more than the layers above it.
fn cause_text(error: &tokio_postgres::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn is_tls(error: &tokio_postgres::Error) -> bool {
    // The kind is private; its text is "error performing TLS handshake".
    if error.to_string().contains("TLS") {
        return true;
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        let wrapped = inner
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>);
        if wrapped || inner.is::<rustls::Error>() {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// What is wrong with a value and what to do, for people.
pub(super) fn explain(problem: &Problem) -> String {
    const AS_TEXT: &str = "read the column as text through a view in the database";
    match problem {
        Problem::Infinity(kind) => format!(
            "holds an infinite {kind}, which has no exact form here; filter such rows out or \
             {AS_TEXT}"
        ),
        Problem::NotANumber => {
            format!("holds numeric NaN, which a decimal cannot hold; filter such rows out or {AS_TEXT}")
        }
        Problem::OutOfRange(kind) => format!(
            "holds a {kind} beyond the range of 64-bit microseconds since 1970; filter such rows \
             out or {AS_TEXT}"
        ),
        Problem::LongInterval => format!(
            "holds an interval whose hours are more than 292 years, beyond 64-bit nanoseconds; filter such rows out \
             or {AS_TEXT}"
        ),
        Problem::EndOfDay => format!(
            "holds the time 24:00:00, which is not a time of day here; filter such rows out or \
             {AS_TEXT}"
        ),
        Problem::NumericMisfit {
            precision: 76,
            scale: 38,
        } => "holds a number of more than 38 digits before or behind the point; filter such rows out or set \
              unconstrainedNumeric: Text in the DataSource"
            .to_owned(),
        Problem::NumericMisfit { precision, scale } => format!(
            "holds a number that does not fit numeric({precision},{scale}); if the column was \
             altered, it is looked at again at the next discovery"
        ),
        Problem::ArrayDimensions(dimensions) => {
            format!("holds an array of {dimensions} dimensions, and only one can be read; {AS_TEXT}")
        }
        Problem::ArrayLowerBound(bound) => {
            format!("holds an array that begins at index {bound}, and only 1 can be kept; {AS_TEXT}")
        }
        Problem::NotUtf8 => format!(
            "holds text that is not UTF-8; {}",
            "correct it in the database, or read the column as bytea through a view"
        ),
        Problem::TooLarge { bytes } => format!(
            "ValueTooLarge: holds a value of {bytes} bytes, and at most {MAX_VALUE_BYTES} are \
             read; leave the column out"
        ),
        Problem::Malformed(kind) => format!(
            "did not arrive as a {kind}; if the column was altered, it is looked at again at the \
             next discovery"
        ),
    }
}
