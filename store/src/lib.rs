//! Where Lakegate's resources live.
//!
//! ```text
//!  manifests (read only) ─┐
//!                         ├─> FolderStore ────┐
//!  state.db (SQLite)     ─┘                   ├─> dyn ResourceStore ─> federation, operator, gateway
//!  API server ──────────────> KubernetesStore ┤
//!                             MemoryStore ────┘
//! ```
//!
//! A store answers five questions for each kind (`watch`, `get`, `list`, `create`, `write_status`, `delete`),
//! resolves secrets and keeps notices. The code above never learns which home it has: [`contract`] is the one
//! suite that every home passes.
//!
//! [`s3`] is beside it: whatever reads or writes a bucket with keys from a Secret opens it there.

pub mod contract;
mod error;
pub mod folder;
pub mod kubernetes;
pub mod memory;
mod notices;
mod object;
mod resource;
pub mod s3;
pub mod secrets;
mod shelf;
pub mod state;

pub use error::StoreError;
pub use folder::{FileProblem, FolderOptions, FolderStore, Severity};
pub use kubernetes::{KubernetesOptions, KubernetesStore};
pub use lakegate_crds::{DEFAULT_NAMESPACE, MANIFEST_ANNOTATION, validation::Problem};
pub use memory::MemoryStore;
pub use notices::{NOTICES_KEPT, Notice, NoticeType, Notices};
pub use resource::{Created, Entry, Event, Key, Rejected, ResourceStore, Store, StoreOf};
pub use secrets::{Redactor, SecretError, SecretValue, Secrets};
pub use shelf::Shelved;
pub use state::StateDir;
