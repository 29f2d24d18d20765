//! Federation from SQL text to rows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod execution;
mod exports;
mod keeper;
mod names;
mod stores;
mod support;
