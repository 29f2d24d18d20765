//! What can go wrong with a bucket, in words that help.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use lakegate_crds::conditions::Reason;
use object_store::client::{HttpError, HttpErrorKind};

use crate::{Redactor, SecretError};

/// A bucket and how it is reached, for messages.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub bucket: String,
    /// None is Amazon's.
    pub endpoint: Option<String>,
    pub region: String,
    /// Where the keys come from: `Secret lake-s3`.
    pub credentials: String,
    /// The host name was made of the bucket's and the endpoint's.
    pub guessed_host: bool,
    /// Some stores repeat keys in their messages.
    pub redactor: Redactor,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Some(endpoint) => write!(formatter, "bucket {} at {endpoint}", self.bucket),
            None => write!(formatter, "bucket {} in {}", self.bucket, self.region),
        }
    }
}

/// Why a bucket cannot be used. Messages name the bucket and what to do, and hold no secret: of what the store answers
/// only the code and the message are kept, with every known secret replaced.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum S3Error {
    #[error("{field}: {message}")]
    InvalidSpec { field: String, message: String },

    #[error("{place} cannot be used without its keys: {source}")]
    Secret { place: String, source: Arc<SecretError> },

    #[error(
        "{place}: the environment has no credentials ({message}); set credentials.secretRef in the DataSource, or give \
         the process a role (a service account's or the instance's) or the variables AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY"
    )]
    NoCredentials { place: String, message: String },

    #[error("{place} does not exist; create it, or correct bucket, region and endpoint in the DataSource")]
    BucketMissing { place: String },

    #[error("{place} denies access ({said}); allow it in the policy of the user, the role or the bucket")]
    AccessDenied { place: String, said: String },

    #[error("{place} does not accept the keys ({said}); correct them in {credentials}")]
    KeysRefused {
        place: String,
        said: String,
        credentials: String,
    },

    #[error("{place}: the session of the keys has ended ({said}); renew them in {credentials}")]
    Expired {
        place: String,
        said: String,
        credentials: String,
    },

    #[error("{place}: this machine's clock differs too much from the store's ({said}); set it right")]
    Clock { place: String, said: String },

    #[error("{place} is in another region{}; correct region in the DataSource", expected.as_ref().map(|region| format!(", {region}")).unwrap_or_default())]
    WrongRegion {
        place: String,
        /// As the store says.
        expected: Option<String>,
    },

    #[error("{place} cannot be reached: {message}{}", if *guessed_host { "; most compatible stores need pathStyle: true" } else { "" })]
    Unreachable {
        place: String,
        message: String,
        guessed_host: bool,
    },

    #[error("TLS with {place} failed: {message}")]
    Tls { place: String, message: String },

    #[error("{place} did not answer in time")]
    TimedOut { place: String },

    #[error("{place} takes no more data ({said}); free some space or raise its quota")]
    Full { place: String, said: String },

    #[error("{place} does not know this kind of request ({said})")]
    NotSupported { place: String, said: String },

    #[error("{place} refused the request ({said})")]
    Refused { place: String, said: String },

    /// The connection broke, or the answer made no sense.
    #[error("the connection to {place} broke: {message}")]
    Broken { place: String, message: String },
}

impl S3Error {
    /// The failure of a bucket that an error of an object store was caused by.
    pub fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// As a condition's reason; none where the words of whoever asked fit better.
    pub fn reason(&self) -> Option<Reason> {
        Some(match self {
            Self::InvalidSpec { .. } | Self::WrongRegion { .. } => Reason::InvalidSpec,
            Self::Secret { source, .. } => match **source {
                SecretError::NotFound { .. } => Reason::SecretNotFound,
                SecretError::KeyMissing { .. } => Reason::SecretKeyMissing,
                _ => Reason::AccessDenied,
            },
            Self::NoCredentials { .. }
            | Self::AccessDenied { .. }
            | Self::KeysRefused { .. }
            | Self::Expired { .. }
            | Self::Clock { .. } => Reason::AccessDenied,
            Self::BucketMissing { .. } => Reason::PathNotFound,
            Self::Unreachable { .. } | Self::Broken { .. } => Reason::ConnectionFailed,
            Self::Tls { .. } => Reason::TlsFailed,
            Self::TimedOut { .. } => Reason::Timeout,
            Self::Full { .. } => Reason::StorageFull,
            Self::NotSupported { .. } | Self::Refused { .. } => return None,
        })
    }

    /// Whether only an edit of the spec can help. Buckets, policies and keys are changed where nobody tells us.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::InvalidSpec { .. } | Self::WrongRegion { .. })
    }

    /// Whether the same request may be answered otherwise a moment later. What the client has repeated already is not
    /// worth repeating.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Broken { .. })
    }

    /// Whether the store gave no reason, as answers to HEAD requests have no room for one.
    pub fn is_unexplained(&self) -> bool {
        match self {
            Self::AccessDenied { said, .. } | Self::Refused { said, .. } => said.starts_with("HTTP "),
            _ => false,
        }
    }
}

/// What a store answered instead of success.
pub(super) struct Answer {
    pub status: u16,
    pub code: Option<String>,
    pub message: Option<String>,
    /// The region it says to ask in.
    pub region: Option<String>,
}

impl Answer {
    pub fn said(&self, place: &Place) -> String {
        let said = match (&self.code, &self.message) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.clone(),
            (None, _) => format!("HTTP {}", self.status),
        };
        place.redactor.redact(&said)
    }
}

impl Place {
    /// The failure that an answer stands for.
    pub fn failure(&self, answer: &Answer) -> S3Error {
        let (place, said) = (self.to_string(), answer.said(self));
        let credentials = self.credentials.clone();
        match answer.code.as_deref().unwrap_or_default() {
            "NoSuchBucket" => S3Error::BucketMissing { place },
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidSecurity" => S3Error::KeysRefused {
                place,
                said,
                credentials,
            },
            "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "ExpiredTokenException" => {
                S3Error::Expired {
                    place,
                    said,
                    credentials,
                }
            }
            "RequestTimeTooSkewed" | "RequestExpired" => S3Error::Clock { place, said },
            "QuotaExceeded" | "InsufficientStorage" | "XMinioStorageFull" | "InsufficientCapacity" => {
                S3Error::Full { place, said }
            }
            "NotImplemented" | "MethodNotAllowed" => S3Error::NotSupported { place, said },
            _ if self.is_elsewhere(answer) => S3Error::WrongRegion {
                place: self.to_string(),
                expected: answer.region.clone(),
            },
            _ => match answer.status {
                401 | 403 => S3Error::AccessDenied { place, said },
                501 | 405 => S3Error::NotSupported { place, said },
                507 => S3Error::Full { place, said },
                _ => S3Error::Refused { place, said },
            },
        }
    }

    /// Whether the bucket is in another region. Stores that know no regions name one of their own beside other
    /// reasons, so that a reason that was given counts first.
    fn is_elsewhere(&self, answer: &Answer) -> bool {
        let named_another = answer
            .region
            .as_ref()
            .is_some_and(|region| *region != self.region);
        match (answer.code.as_deref(), answer.status) {
            (Some("PermanentRedirect" | "TemporaryRedirect"), _) | (None, 301 | 307) => true,
            (Some("AuthorizationHeaderMalformed" | "IllegalLocationConstraintException"), _) => named_another,
            (None, 400 | 403) => named_another,
            _ => false,
        }
    }

    /// The failure of a request that got no answer.
    pub fn silence(&self, error: &HttpError) -> S3Error {
        let place = self.to_string();
        let message = innermost(error);
        let tls = tls_failure(error);
        match error.kind() {
            _ if tls => S3Error::Tls { place, message },
            HttpErrorKind::Timeout => S3Error::TimedOut { place },
            HttpErrorKind::Connect => S3Error::Unreachable {
                place,
                message,
                guessed_host: self.guessed_host,
            },
            _ => S3Error::Broken { place, message },
        }
    }
}

/// What the lowest layer says: `Connection refused (os error 111)`.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn tls_failure(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<rustls::Error>() {
            return true;
        }
        // an io::Error that wraps another error does not show it as its source
        if let Some(inner) = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            && tls_failure(inner)
        {
            return true;
        }
        next = error.source();
    }
    false
}
