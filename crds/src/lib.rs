//! Lakegate: crds.
