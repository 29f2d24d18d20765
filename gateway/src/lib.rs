//! Lakegate: gateway.
