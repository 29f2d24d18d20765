//! One SQL over every store and every lake: catalogs, sessions, planning, execution.
//!
//! A [`Federation`] owns the threads, the memory pool and the catalogs of one
//! process; a [`Session`] is one client of it.

mod cast;
mod catalog;
mod classify;
mod dialect;
mod error;
mod export;
mod extension;
mod federation;
mod functions;
mod health;
mod interrupt;
mod json;
mod keeper;
mod lakes;
pub mod mask;
mod metadata;
mod parameters;
mod planner;
mod query_log;
mod remote;
mod replica_gauges;
mod resolve;
mod runtime;
mod session;
mod settings;
mod source;
mod source_task;
mod spatial;
mod statement;
mod stream;
mod system;
mod system_schema;
mod tables;
mod time_travel;
pub mod types;
mod unserved;
pub mod values;
mod view_call;
mod view_parameters;
mod views;

pub use datafusion::execution::runtime_env::RuntimeEnv;
pub use error::{Cause, FederationError, Location};
pub use export::{
    Anonymity, ChangedRows, Changes, ChangesPlan, ColumnMask, ColumnMaskKey, Combinations, CursorKind,
    ExportPlan, Incremental, Seen,
};
pub use extension::{SchemaContext, SchemaExtension};
pub use federation::Federation;
pub use health::{SourceHealth, ViewHealth};
pub use lakegate_connectors::scan::{LogPosition, SourcePosition};
pub use lakegate_lake::MetadataFile;
pub use lakes::{LakeCatalog, LakeCatalogError};
pub use metadata::{
    ColumnMetadata, DatabaseMetadata, FunctionMetadata, FunctionParameter, Metadata, RelationKind,
    SYSTEM_SCHEMA, SchemaKind, SchemaMetadata, TableMetadata, VIEWS_SCHEMA, VIRTUAL_DATABASE,
};
pub use parameters::{
    PARAMETERS, Parameter, ParameterKind, SERVER_VERSION, SERVER_VERSION_NUM, find_parameter,
};
pub use query_log::{QueryLog, QueryRecord, QueryState};
pub use remote::RemoteWork;
pub use runtime::FederationOptions;
pub use session::{Session, SessionIdentity};
pub use settings::{Settings, quote_identifier};
pub use source::{CatalogSource, DiscoveredTable, SourceContext, SourceError, open_source};
pub use statement::parse;
pub use stream::QueryStream;
