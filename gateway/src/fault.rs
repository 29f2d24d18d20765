//! An error as the client sees it.

use lakegate_federation::FederationError;

use crate::encode::EncodeFailure;

/// Whether the session goes on after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The session ends.
    Fatal,
}

/// The fields of an ErrorResponse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whether the session ends.
    pub severity: Severity,
    /// SQLSTATE.
    pub code: &'static str,
    /// What happened, in Postgres' words where it has them.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The place in the query's text, in characters from 1.
    pub position: Option<usize>,
}

impl Fault {
    /// An error that ends the statement.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Fault {
            severity: Severity::Error,
            code,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
        }
    }

    /// An error that ends the session.
    pub fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Fault {
            severity: Severity::Fatal,
            ..Self::error(code, message)
        }
    }

    /// Adds what to do about it.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Fault {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Adds more about it.
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Fault {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// The error of a statement whose text is within `sql`, the whole text the client sent.
    pub fn of(error: &FederationError, sql: &str) -> Self {
        Fault {
            severity: Severity::Error,
            code: error.sqlstate(),
            message: error.to_string(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            position: error.position(sql),
        }
    }

    /// 08P01: the client broke the protocol.
    pub fn protocol(message: impl Into<String>) -> Self {
        Self::error("08P01", message)
    }

    /// 57014 for a statement that was still being planned.
    pub fn cancelled() -> Self {
        Self::error("57014", "canceling statement due to user request")
    }

    /// 57P01.
    pub fn shutdown() -> Self {
        Self::fatal("57P01", "terminating connection due to administrator command")
    }

    /// 25P02.
    pub fn aborted_transaction() -> Self {
        Self::error(
            "25P02",
            "current transaction is aborted, commands ignored until end of transaction block",
        )
    }

    /// Whether the session ends.
    pub fn is_fatal(&self) -> bool {
        self.severity == Severity::Fatal
    }

    /// The fields as the protocol numbers them.
    pub fn fields(&self) -> Vec<(u8, String)> {
        let severity = match self.severity {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        };
        let mut fields = vec![
            (b'S', severity.to_owned()),
            (b'V', severity.to_owned()),
            (b'C', self.code.to_owned()),
            (b'M', self.message.clone()),
        ];
        fields.extend(self.detail.clone().map(|detail| (b'D', detail)));
        fields.extend(self.hint.clone().map(|hint| (b'H', hint)));
        fields.extend(self.position.map(|position| (b'P', position.to_string())));
        // a NUL would end the field early
        for (_, text) in &mut fields {
            if text.contains('\0') {
                *text = text.replace('\0', "\u{fffd}");
            }
        }
        fields
    }
}

impl From<EncodeFailure> for Fault {
    fn from(failure: EncodeFailure) -> Self {
        let code = match failure {
            EncodeFailure::OutOfRange(_) => "22008",
            EncodeFailure::Invalid(_) => "22P03",
            EncodeFailure::TooLarge(_) => "54000",
        };
        Self::error(code, failure.to_string())
    }
}
