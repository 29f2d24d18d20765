//! Lakegate: federation.
