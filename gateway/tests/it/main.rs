//! The gateway as its clients see it.

// helpers fail their test, as the tests themselves do
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod auth;
mod ending;
mod errors;
mod http;
mod protocol;
mod psql;
mod raw;
mod sessions;
mod streaming;
mod support;
mod types;
