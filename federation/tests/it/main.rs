//! Federation from SQL text to rows.

mod execution;
mod exports;
mod keeper;
mod names;
mod support;
