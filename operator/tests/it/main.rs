//! The operator as a whole: the loop over a store in memory with workers of the tests' making, and real child processes.

// Helpers of tests fail by panicking, as tests do; clippy.toml allows it only inside #[test]. Their JSON arguments are
// written in place.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value
)]

mod adoption;
mod cluster;
mod crash;
mod deletion;
mod gitops;
mod harness;
mod incremental;
mod job;
mod kubernetes;
// the connectors' tests start the same servers
#[allow(dead_code)]
#[path = "../../../connectors/tests/it/loopback.rs"]
mod loopback;
mod masks;
mod orders;
mod pod;
mod positions;
#[allow(dead_code)]
#[path = "../../../connectors/tests/it/postgres/server.rs"]
mod postgres_server;
mod process;
mod runs;
mod shaping;
mod status;
mod worker;
