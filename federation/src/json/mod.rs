//! JSON as PostgreSQL keeps and prints it.
//!
//! A `json` is its text, a `jsonb` the text of its normal form: keys once and in order, blanks as PostgreSQL
//! prints them, numbers without exponents. Numbers stay text throughout: no digit is lost.

mod parse;
mod path;
mod value;

pub(crate) use parse::{Kind, check, kind, members, parse};
pub(crate) use path::{at_index, at_key, at_path, text_of};
pub(crate) use value::{Value, quote};

use crate::error::FederationError;

/// The normal form of a `jsonb`.
///
/// # Errors
/// 22P02.
pub(crate) fn normalize(text: &str) -> Result<String, FederationError> {
    Ok(parse(text)?.normal().to_jsonb())
}
