//! `hmac` and `tokenize`, and the numbers that other methods draw from a key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::sync::Arc;

use super::distinct::{MaskText, TextMask};
use super::key::MaskKey;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// HMAC-SHA-256(key, domain ‖ 0x00 ‖ text).
pub(super) struct Hash {
    /// What comes before the text is hashed already.
    begun: Hmac<Sha256>,
}

impl Hash {
    pub(super) fn new(key: &MaskKey, domain: &str) -> Self {
        let mut begun = key.hasher();
        begun.update(domain.as_bytes());
        begun.update(&[0]);
        Self { begun }
    }

    pub(super) fn of(&self, text: &str) -> [u8; 32] {
        let mut hash = self.begun.clone();
        hash.update(text.as_bytes());
        hash.finalize().into_bytes().into()
    }

    /// The first eight bytes of the hash as a number.
    pub(super) fn number(&self, text: &str) -> u64 {
        self.of(text)
            .iter()
            .take(8)
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl TextMask for Hash {
    fn begin(&self) -> MaskText<'_> {
        Box::new(|text, out| {
            let mut digits = [0; 64];
            for (pair, byte) in digits.chunks_exact_mut(2).zip(self.of(text)) {
                pair[0] = DIGITS[usize::from(byte >> 4)];
                pair[1] = DIGITS[usize::from(byte & 15)];
            }
            // digits are ASCII
            std::str::from_utf8(&digits).is_ok_and(|digits| {
                out.push_str(digits);
                true
            })
        })
    }
}

/// AES-SIV with the domain as associated data, in Base64 for URLs.
pub(super) struct Tokens {
    key: Arc<MaskKey>,
    domain: String,
}

impl Tokens {
    pub(super) fn new(key: Arc<MaskKey>, domain: String) -> Self {
        Self { key, domain }
    }
}

impl TextMask for Tokens {
    fn begin(&self) -> MaskText<'_> {
        let mut cipher = self.key.cipher();
        Box::new(move |text, out| {
            let sealed = cipher
                .as_mut()
                .and_then(|cipher| cipher.encrypt([self.domain.as_bytes()], text.as_bytes()).ok());
            match sealed {
                Some(sealed) => {
                    URL_SAFE_NO_PAD.encode_string(sealed, out);
                    true
                }
                // a key of another length is refused when it is loaded; without one there is no token
                None => false,
            }
        })
    }
}
