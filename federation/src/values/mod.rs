//! Values as PostgreSQL prints and sends them.
//!
//! For each column of a batch a writer of its cells is resolved once ([`resolve`]). The gateway puts rows together
//! from them; casts to text, `||`, `to_json` and their like print with the same writers.

pub mod datetime;
mod json;
mod nested;
pub mod number;
pub mod read;
mod scalar;

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type, RunEndIndexType};
use bytes::{BufMut, BytesMut};
use jiff::tz::TimeZone;

pub use json::cells as json_cells;

use crate::types::{self, PgType};

/// What begins the suffix that makes a repeated name of a column distinct.
pub const NAME_MARK: char = '\u{1}';

/// The name of a column as it is shown.
pub fn shown_name(name: &str) -> &str {
    name.split(NAME_MARK).next().unwrap_or(name)
}

/// How a value is written: the format codes of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Code 0: what the type's output function prints.
    #[default]
    Text,
    /// Code 1: what the type's send function sends.
    Binary,
}

/// Names of the objects that `regclass`, `regtype` and their kin print.
pub trait RegNames: Send + Sync {
    /// The name of the object with the oid `value`, for a column of the type `type_oid`.
    fn name(&self, type_oid: u32, value: u32) -> Option<String>;
}

/// What the session contributes to the text of a value.
#[derive(Clone)]
pub struct EncodeContext {
    /// The session's `TimeZone`, in which `timestamptz` is printed.
    pub time_zone: TimeZone,
    /// Resolves oids to names; without it they print as numbers.
    pub reg_names: Option<Arc<dyn RegNames>>,
}

/// A value that its Postgres type cannot carry.
#[derive(Debug, thiserror::Error)]
pub enum EncodeFailure {
    /// A date or time outside of what 64 bits of microseconds hold (SQLSTATE 22008).
    #[error("{0} out of range")]
    OutOfRange(&'static str),
    /// A value that is not what the column's Postgres type says (SQLSTATE 22P03).
    #[error("invalid value for type {0}")]
    Invalid(&'static str),
    /// A value whose length does not fit the protocol's 32 bits (SQLSTATE 54000).
    #[error("a value of {0} bytes is larger than the protocol can carry")]
    TooLarge(usize),
}

/// A value has been written, or cannot be.
pub type Written = Result<(), EncodeFailure>;

/// The cells of one column in one batch and one format.
pub trait Cells {
    /// Whether the value is NULL.
    fn is_null(&self, row: usize) -> bool;
    /// Writes the value, without its length; never called for NULL.
    fn write(&self, row: usize, out: &mut BytesMut) -> Written;
}

/// The writer of some column.
pub type BoxedCells<'a> = Box<dyn Cells + 'a>;

/// Cells written by a closure over a typed array.
struct With<'a, A, F> {
    array: &'a A,
    write: F,
}

impl<A: Array, F: Fn(&A, usize, &mut BytesMut) -> Written> Cells for With<'_, A, F> {
    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    fn write(&self, row: usize, out: &mut BytesMut) -> Written {
        (self.write)(self.array, row, out)
    }
}

fn with<'a, A: Array, F: Fn(&A, usize, &mut BytesMut) -> Written + 'a>(
    array: &'a A,
    write: F,
) -> BoxedCells<'a> {
    Box::new(With { array, write })
}

/// Cells that stand at another place of another column: dictionaries and runs.
struct Indirect<'a> {
    outer: Option<arrow::buffer::NullBuffer>,
    place: Box<dyn Fn(usize) -> usize + 'a>,
    inner: BoxedCells<'a>,
}

impl Cells for Indirect<'_> {
    fn is_null(&self, row: usize) -> bool {
        self.outer.as_ref().is_some_and(|nulls| nulls.is_null(row)) || self.inner.is_null((self.place)(row))
    }

    fn write(&self, row: usize, out: &mut BytesMut) -> Written {
        self.inner.write((self.place)(row), out)
    }
}

struct AllNull;

impl Cells for AllNull {
    fn is_null(&self, _row: usize) -> bool {
        true
    }

    fn write(&self, _row: usize, _out: &mut BytesMut) -> Written {
        Ok(())
    }
}

fn runs<'a, R: RunEndIndexType>(
    array: &'a dyn Array,
    pg_type: PgType,
    format: Format,
    context: &'a EncodeContext,
) -> Option<BoxedCells<'a>> {
    let runs = array.as_run_opt::<R>()?;
    let inner = resolve(runs.values().as_ref(), pg_type, format, context);
    Some(Box::new(Indirect {
        outer: None,
        place: Box::new(move |row| runs.get_physical_index(row)),
        inner,
    }))
}

/// The writer of a column's cells.
pub fn resolve<'a>(
    array: &'a dyn Array,
    pg_type: PgType,
    format: Format,
    context: &'a EncodeContext,
) -> BoxedCells<'a> {
    match array.data_type() {
        DataType::Null => Box::new(AllNull),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            if dictionary.values().is_empty() {
                return Box::new(AllNull);
            }
            let keys = dictionary.normalized_keys();
            let inner = resolve(dictionary.values().as_ref(), pg_type, format, context);
            Box::new(Indirect {
                outer: dictionary.keys().nulls().cloned(),
                place: Box::new(move |row| keys[row]),
                inner,
            })
        }
        DataType::RunEndEncoded(_, _) => runs::<Int16Type>(array, pg_type, format, context)
            .or_else(|| runs::<Int32Type>(array, pg_type, format, context))
            .or_else(|| runs::<Int64Type>(array, pg_type, format, context))
            // Arrow has no other run end type
            .unwrap_or_else(|| Box::new(AllNull)),
        _ if pg_type.array => nested::array(array, pg_type, format, context),
        data_type if pg_type.base.oid == types::JSON.oid && data_type.is_nested() => {
            json::column(array, context)
        }
        data_type if data_type.is_nested() => nested::vector(array, pg_type, format, context),
        _ => match format {
            Format::Text => scalar::text(array, pg_type, context),
            Format::Binary => scalar::binary(array, pg_type),
        },
    }
}

/// Writes `write`'s bytes behind their length.
pub fn put_sized(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut) -> Written) -> Written {
    let start = out.len();
    out.put_i32(0);
    write(out)?;
    let length = out.len() - start - 4;
    let length = i32::try_from(length).map_err(|_| EncodeFailure::TooLarge(length))?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests;
