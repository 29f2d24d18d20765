//! The gateway as its clients see it.

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
