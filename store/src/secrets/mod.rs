//! Secrets: references in, values that cannot be printed out.

mod folder;
mod manifest;
mod redactor;

use std::path::PathBuf;

use async_trait::async_trait;
use zeroize::Zeroizing;

pub use folder::FolderSecrets;
pub(crate) use manifest::{SecretManifest, SecretManifests};
pub use redactor::{REDACTED, RedactingWriter, Redactor};

/// The content of one key of a Secret.
///
/// It has no `Debug` of its content, no `Display` and no `Serialize`, and its memory is overwritten when dropped.
/// [`SecretValue::expose`] is the only way in; search for its callers to audit where values go.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The content of a file. Editors and `echo` end one with a newline that is not part of the secret.
    pub(crate) fn of_file(mut text: String) -> Self {
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Self::new(text)
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SecretValue([redacted])")
    }
}

/// Why a secret could not be had. Names the secret and the key, never a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("secret {name} was not found: {remedy}")]
    NotFound {
        namespace: String,
        name: String,
        remedy: String,
    },

    #[error("secret {name} has no key {key:?}: {remedy}")]
    KeyMissing {
        namespace: String,
        name: String,
        key: String,
        remedy: String,
    },

    #[error("key {key:?} of secret {name} is not UTF-8 text")]
    NotText {
        namespace: String,
        name: String,
        key: String,
    },

    #[error("key {key:?} of secret {name} cannot be read from {}", path.display())]
    Unreadable {
        namespace: String,
        name: String,
        key: String,
        path: PathBuf,
        source: std::io::Error,
    },

    #[error(
        "secret {name} may not be read: {message}; bind a Role with the verb get on secrets in namespace {namespace} to this service account"
    )]
    Forbidden {
        namespace: String,
        name: String,
        /// The API server's words.
        message: String,
    },

    #[error("secret {name} of namespace {namespace} could not be asked for; it is tried again")]
    Unavailable {
        namespace: String,
        name: String,
        source: Box<kube::Error>,
    },

    #[error("secret {name} is ambiguous: {message}")]
    Rejected {
        namespace: String,
        name: String,
        message: String,
    },
}

/// Resolves references to secrets. The namespace is that of the object that holds the reference.
#[async_trait]
pub trait Secrets: Send + Sync {
    async fn get(&self, namespace: &str, name: &str, key: &str) -> Result<SecretValue, SecretError>;

    /// Knows every value handed out, so that texts made with them can be cleaned before they are shown.
    fn redactor(&self) -> Redactor;
}
