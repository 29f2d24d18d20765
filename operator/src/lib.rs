//! Lakegate: operator.
