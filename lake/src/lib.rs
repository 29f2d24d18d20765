//! Lakegate: lake.
