//! Lakegate's gateway: the Postgres wire protocol and HTTP over the federation.
//!
//! The seams: [`types`] is the one mapping of Arrow types to Postgres types, [`encode`] puts rows together, [`hooks`] is what the system catalogs plug into, [`Gateway`] serves.

pub mod auth;
pub mod encode;
pub mod fault;
mod gateway;
pub mod hooks;
pub mod http;
pub mod introspection;
mod params;
pub mod registry;
mod session;
mod startup;
pub mod statement;
pub mod tls;
mod token;
mod wire;

pub use gateway::{Gateway, GatewayFailure, GatewayOptions};
pub use http::HttpState;
pub use lakegate_federation::types;
