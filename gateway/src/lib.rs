//! Lakegate's gateway: the Postgres wire protocol and HTTP over the federation.
//!
//! The seams: [`types`] is the one mapping of Arrow types to Postgres types.

pub mod introspection;
pub mod encode;
pub mod types;
