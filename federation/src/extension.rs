//! Schemas that another crate adds to every database, such as pg_catalog.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::catalog::SchemaProvider;

use crate::metadata::Metadata;
use crate::settings::Settings;

/// The session that asks, as an extension sees it.
#[derive(Debug, Clone)]
pub struct SchemaContext {
    /// The session's number.
    pub session_id: u64,
    pub user: String,
    /// The database whose schema is asked for: `crm` in `crm.pg_catalog.pg_class`,
    /// whichever database the session is connected to.
    pub database: String,
    /// The database the session is connected to.
    pub current_database: String,
    /// The schemas of unqualified names, in order, only those that exist.
    pub search_path: Vec<String>,
    pub settings: Settings,
    pub metadata: Arc<Metadata>,
}

/// Schemas present in every database beside the catalog's own.
///
/// Queries over extension schemas and constants alone run on the small runtime, so
/// an extension answers from memory and never waits for a store.
pub trait SchemaExtension: Debug + Send + Sync {
    /// The names, in lower case, such as `pg_catalog`.
    fn schema_names(&self) -> Vec<String>;

    /// True when an unqualified table name is looked up in this schema before the
    /// search path, as PostgreSQL does with pg_catalog.
    fn implicit(&self, schema: &str) -> bool {
        schema == "pg_catalog"
    }

    /// The schema as this session sees it; None for a name that is not the extension's.
    fn schema(&self, name: &str, context: &SchemaContext) -> Option<Arc<dyn SchemaProvider>>;
}
