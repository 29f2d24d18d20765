//! pg_catalog and information_schema: what clients ask a Postgres server about itself.
//!
//! ```text
//! statement ─ rewrite ─▶ federation's planner ─▶ tables: Snapshot of the metadata (PgCatalog)
//!                                            └─▶ functions: pg_get_…, over the same snapshot (SessionCatalog)
//! ```
//!
//! Everything is answered from memory: a store is never asked.

mod functions;
mod layout;
mod names;
mod oid;
mod provider;
mod rewrite;
mod snapshot;

pub use names::shown;
pub use provider::{PgCatalog, SessionCatalog};
