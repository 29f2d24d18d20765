//! How `get`, `describe`, `run` and `delete` see an instance: through the socket of a running serve, else by opening the
//! state of a stopped one.

mod client;
mod server;
mod view;

use std::path::{Path, PathBuf};

pub use client::Client;
pub use server::serve;
pub use view::{
    Deletion, NoticeView, ObjectView, StartRun, StartedRun, decide_deletion, list_objects, parse_resource,
};

/// The socket of the instance whose state is in `state_dir`; mode 0600, so only the same user reaches it.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("the control socket {} cannot be created: check the state directory's permissions", path.display())]
    Socket { path: PathBuf, source: std::io::Error },

    #[error("the running serve at {} does not answer ({reason}): check its log", path.display())]
    Unanswered { path: PathBuf, reason: String },

    /// What the running serve said of the request.
    #[error("{0}")]
    Refused(String),
}
