//! Connectors against real stores.

// helpers of tests are not within a #[test] themselves
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod files;
mod loopback;
mod mysql;
mod postgres;
mod sqlite;
