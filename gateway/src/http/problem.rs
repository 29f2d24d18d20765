//! Errors over HTTP: problem details (RFC 9457) with the SQLSTATE that the Postgres protocol has for the same error.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lakegate_federation::{Cause, FederationError};
use serde_json::{Map, Value, json};

use super::access::{CHALLENGES, Denial};
use crate::encode::EncodeFailure;
use crate::fault::Fault;

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) detail: String,
    pub(super) sqlstate: Option<&'static str>,
    context: Option<String>,
    hint: Option<String>,
    position: Option<usize>,
}

impl Problem {
    /// A request that is wrong before it reaches SQL.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem {
            status,
            detail: detail.into(),
            sqlstate: None,
            context: None,
            hint: None,
            position: None,
        }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Problem {
            hint: Some(hint.into()),
            ..self
        }
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Problem { status, ..self }
    }

    /// The error of a statement.
    pub(super) fn of(error: &FederationError, sql: &str) -> Self {
        let problem = Problem::from(Fault::of(error, sql));
        match error.cause() {
            Cause::Timeout => Problem {
                status: StatusCode::GATEWAY_TIMEOUT,
                ..problem
            },
            _ => problem,
        }
    }

    /// The time of a statement ended before it ran.
    pub(super) fn timed_out() -> Self {
        Problem::of(&Cause::Timeout.into(), "")
    }
}

/// What a SQLSTATE says about whose mistake it was, and whether to try again.
fn status_of(sqlstate: &str) -> StatusCode {
    match sqlstate {
        "3D000" => StatusCode::NOT_FOUND,
        // reads only, or not this role
        "25006" | "42501" => StatusCode::FORBIDDEN,
        "HV00N" | "57014" => StatusCode::SERVICE_UNAVAILABLE,
        _ => match &sqlstate[..2] {
            "28" => StatusCode::UNAUTHORIZED,
            "HV" => StatusCode::BAD_GATEWAY,
            // memory, disk, connections; the server goes
            "53" | "57" => StatusCode::SERVICE_UNAVAILABLE,
            "XX" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        },
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Problem {
            status: status_of(fault.code),
            detail: fault.message,
            sqlstate: Some(fault.code),
            context: fault.detail,
            hint: fault.hint,
            position: fault.position,
        }
    }
}

impl From<EncodeFailure> for Problem {
    fn from(failure: EncodeFailure) -> Self {
        Fault::from(failure).into()
    }
}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        let (status, sqlstate) = match denial {
            Denial::NoCredentials => (StatusCode::UNAUTHORIZED, "28000"),
            Denial::WrongCredentials => (StatusCode::UNAUTHORIZED, "28P01"),
            Denial::Unprotected | Denial::ForeignHost => (StatusCode::FORBIDDEN, "28000"),
        };
        Problem {
            sqlstate: Some(sqlstate),
            ..Problem::new(status, denial.to_string())
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut members = Map::new();
        members.insert("type".to_owned(), json!("about:blank"));
        members.insert(
            "title".to_owned(),
            json!(self.status.canonical_reason().unwrap_or("Error")),
        );
        members.insert("status".to_owned(), json!(self.status.as_u16()));
        members.insert("detail".to_owned(), json!(self.detail));
        let mut more = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        more("sqlstate", self.sqlstate.map(|code| json!(code)));
        more("context", self.context.map(|context| json!(context)));
        more("hint", self.hint.map(|hint| json!(hint)));
        more("position", self.position.map(|position| json!(position)));
        let mut response = (self.status, Json(Value::Object(members))).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            for challenge in CHALLENGES {
                headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlstate_has_a_status() {
        for (sqlstate, status) in [
            ("42601", 400),
            ("42P01", 400),
            ("42883", 400),
            ("22P02", 400),
            ("0A000", 400),
            ("54001", 400),
            ("3D000", 404),
            ("25006", 403),
            ("42501", 403),
            ("28P01", 401),
            ("HV00N", 503),
            ("HV000", 502),
            ("53200", 503),
            ("53300", 503),
            ("57014", 503),
            ("57P01", 503),
            ("XX000", 500),
        ] {
            assert_eq!(status_of(sqlstate).as_u16(), status, "{sqlstate}");
        }
        let late = Problem::timed_out();
        assert_eq!((late.status.as_u16(), late.sqlstate), (504, Some("57014")));
    }
}
