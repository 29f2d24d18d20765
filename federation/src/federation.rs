//! The catalogs of one process and the sessions over them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use datafusion::config::Dialect;
use datafusion::execution::FunctionRegistry as _;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use lakegate_connectors::scan::AwaitJoinKeys;
use lakegate_store::{Key, ResourceStore};
use tokio::sync::{mpsc, oneshot, watch};

use crate::catalog::{Catalog, Catalogs, ViewDefinition};
use crate::dialect;
use crate::error::FederationError;
use crate::extension::SchemaExtension;
use crate::functions::aggregate::aggregates;
use crate::functions::{Library, windows};
use crate::health::{Health, SourceHealth, ViewHealth};
use crate::metadata::{Metadata, VIRTUAL_DATABASE};
use crate::planner::PlannedView;
use crate::query_log::QueryLog;
use crate::runtime::{FederationOptions, Runtimes, runtime_env};
use crate::session::{Session, SessionIdentity};
use crate::system::SystemTables;

/// The catalogs, views, threads and memory that all sessions share.
pub struct Federation {
    options: FederationOptions,
    environment: Arc<RuntimeEnv>,
    runtimes: Runtimes,
    base: RwLock<SessionState>,
    /// PostgreSQL's functions.
    library: Arc<Library>,
    catalogs: Catalogs,
    extensions: RwLock<Vec<Arc<dyn SchemaExtension>>>,
    log: Arc<QueryLog>,
    next_session: AtomicU64,
    health: Arc<Health>,
    store: RwLock<Option<Arc<dyn ResourceStore>>>,
    /// For each kept catalog, where to ask for a look at its store now.
    looks: Mutex<BTreeMap<String, mpsc::Sender<oneshot::Sender<()>>>>,
    /// Counts the changes of catalogs.
    catalog_changes: watch::Sender<u64>,
}

impl fmt::Debug for Federation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Federation")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Federation {
    /// Starts the threads and makes the memory pool; no catalog is served yet.
    ///
    /// # Errors
    /// `DiskFull` when the spill directory cannot be made, `Internal` when threads cannot start.
    pub fn new(options: FederationOptions) -> Result<Arc<Self>, FederationError> {
        let environment = runtime_env(&options)?;
        let runtimes = Runtimes::new(options.threads)?;
        let library = Library::new();
        let builder = SessionStateBuilder::new()
            .with_default_features()
            .with_config(session_config(&options))
            .with_physical_optimizer_rule(Arc::new(AwaitJoinKeys))
            .with_runtime_env(Arc::clone(&environment));
        let mut base = dialect::install(builder, &library).build();
        register(&mut base, &library)?;
        Ok(Arc::new(Self {
            options,
            environment,
            runtimes,
            base: RwLock::new(base),
            library,
            catalogs: Catalogs::default(),
            extensions: RwLock::default(),
            log: Arc::default(),
            next_session: AtomicU64::new(1),
            health: Arc::default(),
            store: RwLock::default(),
            looks: Mutex::default(),
            catalog_changes: watch::Sender::new(0),
        }))
    }

    /// Memory pool, spill files and object stores of all queries.
    pub fn runtime_env(&self) -> &Arc<RuntimeEnv> {
        &self.environment
    }

    /// Changes the functions or planners of every session opened later.
    pub fn customize(&self, change: impl FnOnce(&mut SessionState)) {
        change(&mut self.base.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds schemas to every database.
    pub fn register_extension(&self, extension: Arc<dyn SchemaExtension>) {
        self.extensions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(extension);
    }

    /// Opens a session.
    ///
    /// # Errors
    /// `UnknownDatabase` (3D000).
    pub fn session(self: &Arc<Self>, identity: SessionIdentity) -> Result<Session, FederationError> {
        let id = self.next_session.fetch_add(1, Ordering::Relaxed);
        Session::new(Arc::clone(self), id, identity)
    }

    /// The names of all databases, the virtual one included, sorted.
    pub fn databases(&self) -> Vec<String> {
        self.metadata()
            .databases
            .iter()
            .map(|database| database.name.clone())
            .collect()
    }

    /// Every schema, table and column, from memory.
    pub fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.catalogs.current().metadata)
    }

    /// Running and recent queries.
    pub fn query_log(&self) -> &Arc<QueryLog> {
        &self.log
    }

    /// The last word about a DataSource; None while there is none, or it is gone.
    pub fn health(&self, key: &Key) -> Option<SourceHealth> {
        self.health.source(key)
    }

    /// The last word about a View; None before it was first planned.
    pub fn view_health(&self, key: &Key) -> Option<ViewHealth> {
        self.health.view(key)
    }

    /// Marks a change of any source's or view's health.
    pub fn health_changes(&self) -> watch::Receiver<u64> {
        self.health.changes()
    }

    pub(crate) fn health_map(&self) -> &Health {
        &self.health
    }

    pub(crate) fn set_store(&self, store: Arc<dyn ResourceStore>) {
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = Some(store);
    }

    pub(crate) fn looks(&self) -> MutexGuard<'_, BTreeMap<String, mpsc::Sender<oneshot::Sender<()>>>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn catalog_changes(&self) -> watch::Receiver<u64> {
        self.catalog_changes.subscribe()
    }

    pub(crate) fn put_catalog(&self, catalog: Catalog) {
        self.catalogs.put(catalog);
        self.catalog_changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn remove_catalog(&self, name: &str) {
        self.catalogs.remove(name);
        self.catalog_changes.send_modify(|count| *count += 1);
    }

    /// Plans a saved query and tells its columns.
    pub(crate) async fn plan_view(
        self: &Arc<Self>,
        view: &Arc<ViewDefinition>,
    ) -> Result<PlannedView, FederationError> {
        let identity = SessionIdentity {
            user: "lakegate".into(),
            database: VIRTUAL_DATABASE.into(),
        };
        self.session(identity)?.plan_view(Arc::clone(view)).await
    }

    pub(crate) fn catalogs(&self) -> &Catalogs {
        &self.catalogs
    }

    pub(crate) fn runtimes(&self) -> &Runtimes {
        &self.runtimes
    }

    pub(crate) fn library(&self) -> Arc<Library> {
        Arc::clone(&self.library)
    }

    pub(crate) fn base_state(&self) -> SessionState {
        self.base.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn extensions(&self) -> Vec<Arc<dyn SchemaExtension>> {
        self.extensions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The names of extension schemas, and whether each comes before the search path.
    pub(crate) fn extension_names(&self) -> Vec<(String, bool)> {
        let mut names = BTreeMap::new();
        for extension in self.extensions() {
            for name in extension.schema_names() {
                let implicit = extension.implicit(&name);
                names.insert(name, implicit);
            }
        }
        names.into_iter().collect()
    }

    pub(crate) fn system_tables(&self) -> SystemTables {
        SystemTables {
            log: Arc::clone(&self.log),
            health: Arc::clone(&self.health),
            store: self.store.read().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// Makes PostgreSQL's functions known, in place of DataFusion's of the same names.
fn register(state: &mut SessionState, library: &Library) -> Result<(), FederationError> {
    for function in library.all() {
        state.register_udf(Arc::clone(function))?;
    }
    for (_, aggregate) in aggregates() {
        state.register_udaf(aggregate)?;
    }
    for window in windows() {
        state.register_udwf(window)?;
    }
    Ok(())
}

fn session_config(options: &FederationOptions) -> SessionConfig {
    let partitions = options.partitions.unwrap_or(options.threads).max(1);
    let mut config = SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_target_partitions(partitions)
        .with_batch_size(options.batch_rows);
    let settings = config.options_mut();
    settings.sql_parser.dialect = Dialect::PostgreSQL;
    // 0.1 is numeric in PostgreSQL, not a float
    settings.sql_parser.parse_float_as_decimal = true;
    settings.sql_parser.map_string_types_to_utf8view = false;
    settings.sql_parser.collect_spans = true;
    settings.sql_parser.default_null_ordering = "nulls_max".into();
    // A saved query keeps its order when it is selected from, as in PostgreSQL.
    settings.sql_parser.enable_subquery_sort_elimination = false;
    settings.execution.time_zone = Some("UTC".into());
    settings.explain.physical_plan_only = true;
    // Its table finds a group by `==`, so a NaN is never found again: it panics or gives two groups, and a NaN among the
    // values drives out a better one.
    settings.optimizer.enable_topk_aggregation = false;
    // statistics of files are read when a table is opened
    settings.execution.collect_statistics = true;
    // each sorting partition sets this much aside to merge what it spilt: the default of
    // 10 MiB each is more than a small pool has
    let aside = options.memory_bytes / (partitions * 8);
    settings.execution.sort_spill_reservation_bytes = aside.clamp(64 << 10, 10 << 20);
    config
}
