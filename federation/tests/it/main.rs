//! Federation from SQL text to rows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod execution;
mod exports;
mod keeper;
// The server that the connector is tested against.
#[allow(dead_code)]
#[path = "../../../connectors/tests/it/loopback.rs"]
mod loopback;
#[allow(dead_code)]
#[path = "../../../connectors/tests/it/mysql/server.rs"]
mod mariadb;
mod names;
mod stores;
mod support;
mod time_travel;
mod view_functions;
