//! Connectors against real stores.

// helpers of tests are not within a #[test] themselves
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bucket;
mod common;
mod differential;
mod files;
mod loopback;
mod mysql;
mod postgres;
#[path = "../../../tests/services/s3.rs"]
mod s3_server;
mod silent;
mod sqlite;
