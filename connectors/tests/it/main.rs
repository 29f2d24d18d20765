//! Connectors against real stores.

mod postgres;
