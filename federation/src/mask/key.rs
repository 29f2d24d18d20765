//! Keys of masks: read once from Secrets, kept where nothing prints them, overwritten when dropped.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes256Siv;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use lakegate_crds::conditions::Reason;
use lakegate_crds::{ExportSpec, SecretKeyReference};
use lakegate_store::{SecretError, SecretValue, Secrets};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Least bytes of a key that hashes: what cannot be guessed by trying.
const LEAST_BYTES: usize = 16;

/// Bytes of a key that encrypts: two of AES-256, as AES-SIV has it.
const TOKEN_BYTES: usize = 64;

/// What the key's id is the hash of. What masks hash has a zero byte in it, so that no token ever shows an id's hash.
const ID_TEXT: &[u8] = b"lakegate key id";

/// One key. Printing it shows its id only.
pub struct MaskKey {
    bytes: Zeroizing<Vec<u8>>,
    hasher: Hmac<Sha256>,
    id: String,
}

impl fmt::Debug for MaskKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MaskKey({})", self.id)
    }
}

/// Why a key is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongKey {
    /// `hex:` is not followed by pairs of hexadecimal digits.
    #[error("what follows hex: is no pairs of hexadecimal digits")]
    Hex,
    /// `base64:` is not followed by Base64.
    #[error("what follows base64: is no Base64")]
    Base64,
    /// No hash takes it.
    #[error("it is no key")]
    Unusable,
}

impl MaskKey {
    /// The key that a Secret holds: its text's bytes, or what they encode behind `hex:` or `base64:`.
    ///
    /// # Errors
    /// An encoding that is broken.
    pub fn new(value: &SecretValue) -> Result<Self, WrongKey> {
        let text = value.expose();
        let bytes = Zeroizing::new(if let Some(digits) = text.strip_prefix("hex:") {
            from_hex(digits.trim()).ok_or(WrongKey::Hex)?
        } else if let Some(encoded) = text.strip_prefix("base64:") {
            STANDARD.decode(encoded.trim()).map_err(|_| WrongKey::Base64)?
        } else {
            text.as_bytes().to_vec()
        });
        let hasher = Hmac::<Sha256>::new_from_slice(&bytes).map_err(|_| WrongKey::Unusable)?;
        let hash = hasher.clone().chain_update(ID_TEXT).finalize().into_bytes();
        let id = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { bytes, hasher, id })
    }

    /// Tells keys apart and reveals nothing of them: the first eight digits of HMAC-SHA-256(key, "lakegate key id").
    pub fn id(&self) -> &str {
        &self.id
    }

    /// In bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the key has no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// HMAC-SHA-256 with this key.
    pub(super) fn hasher(&self) -> Hmac<Sha256> {
        self.hasher.clone()
    }

    /// AES-SIV with this key; None unless it has 64 bytes.
    pub(super) fn cipher(&self) -> Option<Aes256Siv> {
        Aes256Siv::new_from_slice(&self.bytes).ok()
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits
        .chunks_exact(2)
        .map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8))
        .collect()
}

/// The text behind a token of `tokenize`, for whoever holds the key; None when the token is not of this key and domain.
pub fn detokenize(key: &MaskKey, domain: &str, token: &str) -> Option<String> {
    let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
    let clear = key.cipher()?.decrypt([domain.as_bytes()], &sealed).ok()?;
    String::from_utf8(clear).ok()
}

/// A key of a mask cannot be used. Names the field and the Secret, never a value.
#[derive(Debug, thiserror::Error)]
pub enum MaskKeyError {
    /// The Secret or its key cannot be read.
    #[error("{field}")]
    Secret {
        /// The reference in the Export.
        field: String,
        /// Names the Secret and what to do.
        source: SecretError,
    },

    /// The text in the Secret is no key.
    #[error("{field}: key {key:?} of secret {name}: {problem}; write the key anew")]
    Encoding {
        /// The reference in the Export.
        field: String,
        /// Of the Secret.
        name: String,
        /// Within the Secret.
        key: String,
        /// What is wrong.
        problem: WrongKey,
    },

    /// The key has another length than the method needs.
    #[error("{field}: key {key:?} of secret {name} has {length} bytes, and {method} needs {needs}")]
    Length {
        /// The reference in the Export.
        field: String,
        /// Of the Secret.
        name: String,
        /// Within the Secret.
        key: String,
        /// The mask's.
        method: &'static str,
        /// What there is, in bytes.
        length: usize,
        /// What there should be, and how to make it.
        needs: String,
    },
}

impl MaskKeyError {
    /// In one word.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Secret { source, .. } => match source {
                SecretError::NotFound { .. } => Reason::SecretNotFound,
                SecretError::KeyMissing { .. } => Reason::SecretKeyMissing,
                SecretError::Unavailable { .. } => Reason::ConnectionFailed,
                SecretError::NotText { .. } => Reason::SecretInvalid,
                _ => Reason::AccessDenied,
            },
            Self::Encoding { .. } | Self::Length { .. } => Reason::SecretInvalid,
        }
    }
}

/// The keys that the masks of an Export need, by their references.
#[derive(Debug, Default, Clone)]
pub struct MaskKeys(HashMap<SecretKeyReference, Arc<MaskKey>>);

impl MaskKeys {
    /// Reads the keys of an Export's masks from the Secrets of its namespace.
    ///
    /// # Errors
    /// The first key that is missing or does not serve its method.
    pub async fn load(
        spec: &ExportSpec,
        namespace: &str,
        secrets: &dyn Secrets,
    ) -> Result<Self, MaskKeyError> {
        let mut keys = Self::default();
        for used in spec.mask_keys() {
            let reference = used.reference;
            let known = keys.0.get(reference).cloned();
            let key = if let Some(key) = known {
                key
            } else {
                let value = secrets.get(namespace, &reference.name, &reference.key).await;
                let value = value.map_err(|source| MaskKeyError::Secret {
                    field: used.field.clone(),
                    source,
                })?;
                let key = MaskKey::new(&value).map_err(|problem| MaskKeyError::Encoding {
                    field: used.field.clone(),
                    name: reference.name.clone(),
                    key: reference.key.clone(),
                    problem,
                })?;
                let key = Arc::new(key);
                keys.insert(reference.clone(), Arc::clone(&key));
                key
            };
            let needs = match used.method {
                "tokenize" if key.len() != TOKEN_BYTES => Some(format!(
                    "exactly {TOKEN_BYTES}: write hex: and the output of `openssl rand -hex {TOKEN_BYTES}`"
                )),
                _ if key.len() < LEAST_BYTES => Some(format!(
                    "at least {LEAST_BYTES}: write hex: and the output of `openssl rand -hex 32`"
                )),
                _ => None,
            };
            if let Some(needs) = needs {
                return Err(MaskKeyError::Length {
                    field: used.field,
                    name: reference.name.clone(),
                    key: reference.key.clone(),
                    method: used.method,
                    length: key.len(),
                    needs,
                });
            }
        }
        Ok(keys)
    }

    /// Adds a key.
    pub fn insert(&mut self, reference: SecretKeyReference, key: Arc<MaskKey>) {
        self.0.insert(reference, key);
    }

    /// The key of a reference.
    pub fn get(&self, reference: &SecretKeyReference) -> Option<&Arc<MaskKey>> {
        self.0.get(reference)
    }
}
