//! Lakegate: connectors.
