//! Lakegate as its users run it: the binary, over real folders, with psql and drivers.

// The allowance of clippy.toml covers test functions, not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod buckets;
mod catalog;
mod charts;
mod cli;
mod deletion;
mod directories;
mod edits;
mod exports;
mod faults;
mod flights;
mod layering;
// the connectors' tests start the same servers
#[allow(dead_code)]
#[path = "../../connectors/tests/it/loopback.rs"]
mod loopback;
#[allow(dead_code)]
#[path = "../../connectors/tests/it/postgres/server.rs"]
mod postgres_server;
mod replicas;
#[path = "../services/s3.rs"]
mod s3_server;
#[path = "../../connectors/tests/it/silent.rs"]
mod silent;
mod support;
mod traces;
