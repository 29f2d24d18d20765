//! Text as PostgreSQL's input functions read it.
//!
//! What only guesses could read is refused with PostgreSQL's own SQLSTATE: 22P02 for a wrong form, 22007 for a
//! wrong date or time, 22003 and 22008 for one out of range.

pub mod array;
pub mod bytes;
pub mod datetime;
pub mod interval;
pub mod number;
pub mod zone;

use crate::error::{Cause, FederationError};
use crate::spatial::Geometry;

/// `invalid input syntax for type integer: "x"`.
pub(crate) fn invalid(type_name: &str, text: &str) -> FederationError {
    Cause::InvalidText {
        message: format!("invalid input syntax for type {type_name}: \"{text}\""),
    }
    .into()
}

/// `value "99999" is out of range for type smallint`.
pub(crate) fn out_of_range(type_name: &str, text: &str) -> FederationError {
    Cause::OutOfRange {
        message: format!("value \"{text}\" is out of range for type {type_name}"),
    }
    .into()
}

/// An error of a value with a code of its own.
pub(crate) fn value_error(sqlstate: &'static str, message: impl Into<String>) -> FederationError {
    Cause::Value {
        sqlstate,
        message: message.into(),
    }
    .into()
}

/// `t`, `yes`, `on`, `1` and the other spellings of a boolean; a prefix that is unique counts.
///
/// # Errors
/// 22P02.
pub fn boolean(text: &str) -> Result<bool, FederationError> {
    let word = text.trim().to_ascii_lowercase();
    let prefix = |of: &str, least: usize| word.len() >= least && of.starts_with(&word);
    if prefix("true", 1) || prefix("yes", 1) || word == "on" || word == "1" {
        Ok(true)
    } else if prefix("false", 1) || prefix("no", 1) || prefix("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(invalid("boolean", text))
    }
}

/// A `geometry` as EWKB, from well-known text or from EWKB in hexadecimal.
///
/// # Errors
/// 22023 for what is no geometry, 0A000 for one with Z or M.
pub fn geometry(text: &str) -> Result<Vec<u8>, FederationError> {
    Geometry::from_text(text).map(|geometry| geometry.ewkb())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_have_many_spellings() {
        for text in ["t", "TRUE", " tr ", "y", "yes", "on", "1"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["f", "false", "n", "no", "of", "off", "0"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["", "o", "2", "truee", "maybe"] {
            assert_eq!(boolean(text).unwrap_err().sqlstate(), "22P02", "{text}");
        }
    }
}
