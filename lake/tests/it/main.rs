//! Lake tables on a real directory, on a real S3 server, and on stores that fail in every way a store can.

// what clippy.toml allows in tests, for their helpers too
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bloom;
mod commit;
mod directories;
mod drop;
mod evolution;
mod faults;
mod faulty;
mod hangs;
mod masks;
mod merge;
mod partitions;
mod plain;
mod positions;
mod proxy;
mod readers;
mod reading;
mod roundtrip;
mod s3;
#[path = "../../../tests/services/s3.rs"]
mod s3_server;
mod support;
