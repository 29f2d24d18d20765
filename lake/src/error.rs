//! What can go wrong with a lake, one variant per cause.

use std::path::PathBuf;

/// Why a lake operation failed.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The directory cannot be created or used.
    #[error("lake directory {} cannot be used: create it or give lakegate the right to", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    /// Accepted by the API, served by no code yet.
    #[error("{what} is not implemented yet")]
    NotImplemented { what: String },
}
