//! Text formats: CSV and JSON lines.
//!
//! DataFusion's own readers are not used: its CSV reader matches columns by
//! position even where files order them differently and reads `0123` as 123, and
//! its JSON reader fails on a key with values of several types.

mod builder;
mod csv;
mod evidence;
pub mod json;
mod read;
mod source;
mod value;

pub use self::csv::CsvDialect;
pub use evidence::{Evidence, Fields};
pub use read::{TextFailure, TextFile, infer};
pub use source::{TextSource, TextTable};
pub use value::date;
