//! Casts to text, and between the types of text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use bytes::BytesMut;

use super::{Class, Context, Target, class};
use crate::error::{Cause, FederationError};
use crate::json;
use crate::types::{self, PgType};
use crate::values::read::value_error;
use crate::values::{EncodeContext, EncodeFailure, Format, resolve};

/// The values as a cast to text prints them.
pub(crate) fn print(
    array: &ArrayRef,
    pg_type: PgType,
    context: &Context,
) -> Result<StringArray, FederationError> {
    if let Some(booleans) = array.as_boolean_opt() {
        // the cast spells out what the output function abbreviates
        return Ok(booleans
            .iter()
            .map(|value| value.map(|value| if value { "true" } else { "false" }))
            .collect());
    }
    output(array, pg_type, context)
}

/// The values as their types' output functions print them.
pub(crate) fn output(
    array: &ArrayRef,
    pg_type: PgType,
    context: &Context,
) -> Result<StringArray, FederationError> {
    let encode = EncodeContext {
        time_zone: context.zone.clone(),
        reg_names: None,
    };
    let cells = resolve(array.as_ref(), pg_type, Format::Text, &encode);
    let mut out = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut scratch = BytesMut::new();
    for row in 0..array.len() {
        if cells.is_null(row) {
            out.append_null();
            continue;
        }
        scratch.clear();
        cells
            .write(row, &mut scratch)
            .map_err(|failure| unprintable(&failure))?;
        out.append_value(
            std::str::from_utf8(&scratch).map_err(|error| FederationError::internal(error.to_string()))?,
        );
    }
    Ok(out.finish())
}

fn unprintable(failure: &EncodeFailure) -> FederationError {
    Cause::Value {
        sqlstate: match failure {
            EncodeFailure::OutOfRange(_) => "22008",
            EncodeFailure::Invalid(_) => "22P03",
            EncodeFailure::TooLarge(_) => "54000",
        },
        message: failure.to_string(),
    }
    .into()
}

/// Cuts text to the length of its type; blanks at the end of a `char(n)` go when it becomes another type.
pub(crate) fn fit(array: &StringArray, from: PgType, to: PgType) -> Result<ArrayRef, FederationError> {
    let unpad = from.base.oid == types::BPCHAR.oid && to.base.oid != types::BPCHAR.oid;
    let limit = match to.base.oid {
        1042 | 1043 if to.typmod >= 4 => Some(to.typmod.unsigned_abs() as usize - 4),
        // "char" is one byte, name is 63
        18 => Some(1),
        19 => Some(63),
        _ => None,
    };
    let pad = (to.base.oid == types::BPCHAR.oid).then_some(limit).flatten();
    if !unpad && limit.is_none() {
        return Ok(Arc::new(array.clone()));
    }
    let mut total = 0;
    let fitted: StringArray = array
        .iter()
        .map(|text| {
            let Some(mut text) = text else { return Ok(None) };
            if unpad {
                text = text.trim_end_matches(' ');
            }
            let mut length = 0;
            if let Some(limit) = limit {
                match text.char_indices().nth(limit) {
                    Some((at, _)) => {
                        text = &text[..at];
                        length = limit;
                    }
                    None => length = text.chars().count(),
                }
            }
            let padding = pad.unwrap_or(0).saturating_sub(length);
            total += text.len() + padding;
            // a batch's texts are one buffer, whose places are counted in 31 bits
            if total > i32::MAX as usize {
                return Err(value_error("54000", "the texts of one batch are too long"));
            }
            let mut fitted = text.to_owned();
            fitted.extend(std::iter::repeat_n(' ', padding));
            Ok(Some(fitted))
        })
        .collect::<Result<_, FederationError>>()?;
    Ok(Arc::new(fitted))
}

/// What scalars of `jsonb` are as text, for a cast to a number or boolean.
pub(super) fn scalars_of_json(array: &StringArray, target: &Target) -> Result<StringArray, FederationError> {
    if class(target.pg_type) == Class::Json {
        return Ok(array.clone());
    }
    array
        .iter()
        .map(|text| {
            let Some(text) = text else { return Ok(None) };
            let kind = json::kind(text);
            let fits = match class(target.pg_type) {
                Class::Bool => kind == json::Kind::Boolean,
                _ => kind == json::Kind::Number,
            };
            if kind == json::Kind::Null {
                Ok(None)
            } else if fits {
                // numbers of jsonb round as numeric does
                Ok(Some(text.trim().to_owned()))
            } else {
                Err(Cause::Value {
                    sqlstate: "22023",
                    message: format!(
                        "cannot cast jsonb {} to type {}",
                        kind.name(),
                        target.pg_type.base.sql_name
                    ),
                }
                .into())
            }
        })
        .collect()
}
