//! Lake tables on a real directory, and on stores that fail in every way a store can.

// what clippy.toml allows in tests, for their helpers too
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod commit;
mod evolution;
mod faults;
mod readers;
mod reading;
mod roundtrip;
mod support;
