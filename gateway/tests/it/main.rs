//! The gateway as its clients see it.

// helpers fail their test, as the tests themselves do
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod auth;
mod ending;
mod errors;
mod http;
mod http_document;
mod http_limits;
mod http_query;
mod iceberg;
// the connectors' tests start the same servers
#[allow(dead_code)]
#[path = "../../../connectors/tests/it/loopback.rs"]
mod loopback;
#[allow(dead_code)]
#[path = "../../../connectors/tests/it/mysql/server.rs"]
mod mysql;
#[allow(dead_code)]
#[path = "../../../connectors/tests/it/postgres/server.rs"]
mod postgres;
mod protocol;
mod psql;
mod raw;
mod semantics;
mod sessions;
mod spatial;
mod spread;
mod streaming;
mod support;
mod tpch;
mod types;
