//! Lakegate: store.
