//! One client's session: its settings, its view of the names, its queries.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Statement;
use futures::StreamExt;
use jiff::Timestamp;
use lakegate_connectors::scan::{MAX_JOIN_KEYS, MAX_JOIN_KEYS_BYTES, RemoteTableProvider};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::Federation;
use crate::catalog::ViewDefinition;
use crate::error::{Cause, FederationError};
use crate::extension::SchemaContext;
use crate::interrupt::interruptible;
use crate::planner::{PlannedView, Planner};
use crate::remote::{ReadPositions, RunningPlan};
use crate::resolve::{Scope, match_name};
use crate::settings::Settings;
use crate::source::schemas_equal;
use crate::stream::{QueryStream, Supervision, supervise};
use crate::tables::{FederatedTable, LightTable, RawTable};

/// Who is connected, and to which database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionIdentity {
    pub user: String,
    /// A catalog, or `lakegate` for the virtual database.
    pub database: String,
}

/// One session. Clones share it.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    id: u64,
    identity: SessionIdentity,
    federation: Arc<Federation>,
    settings: Mutex<Settings>,
    /// The functions and planners of this session.
    state: RwLock<SessionState>,
    /// `state` with the settings of the time zone that is named beside it: copying hundreds of functions costs more than
    /// planning a small statement.
    set_state: Mutex<Option<(String, Arc<SessionState>)>>,
    type_planner: Mutex<Option<Arc<dyn TypePlanner>>>,
    /// Cancels whatever the session runs now.
    cancel: Mutex<CancellationToken>,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Session")
            .field("id", &self.inner.id)
            .field("identity", &self.inner.identity)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(
        federation: Arc<Federation>,
        id: u64,
        identity: SessionIdentity,
    ) -> Result<Self, FederationError> {
        let snapshot = federation.catalogs().current();
        let names = snapshot
            .metadata
            .databases
            .iter()
            .map(|database| database.name.as_str());
        let Some(database) = match_name(names, &identity.database).map(str::to_owned) else {
            return Err(Cause::UnknownDatabase {
                database: identity.database,
            }
            .into());
        };
        let mut settings = Settings::default();
        settings.set_default("session_authorization", &identity.user)?;
        let state = federation.base_state();
        let identity = SessionIdentity { database, ..identity };
        Ok(Self {
            inner: Arc::new(Inner {
                id,
                identity,
                federation,
                settings: Mutex::new(settings),
                state: RwLock::new(state),
                set_state: Mutex::new(None),
                type_planner: Mutex::new(None),
                cancel: Mutex::new(CancellationToken::new()),
            }),
        })
    }

    /// Grows; unique in this process.
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    pub fn user(&self) -> &str {
        &self.inner.identity.user
    }

    /// The database connected to, as it is spelt.
    pub fn database(&self) -> &str {
        &self.inner.identity.database
    }

    pub fn federation(&self) -> &Arc<Federation> {
        &self.inner.federation
    }

    /// The settings; hold the guard briefly and never across an await.
    pub fn settings(&self) -> MutexGuard<'_, Settings> {
        self.inner.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the functions, expression planners or table functions of this session alone.
    pub fn customize(&self, change: impl FnOnce(&mut SessionState)) {
        change(&mut self.inner.state.write().unwrap_or_else(PoisonError::into_inner));
        *self.set_states() = None;
    }

    fn set_states(&self) -> MutexGuard<'_, Option<(String, Arc<SessionState>)>> {
        self.inner
            .set_state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans SQL types that DataFusion does not know (`regclass`).
    pub fn set_type_planner(&self, planner: Arc<dyn TypePlanner>) {
        *self
            .inner
            .type_planner
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(planner);
    }

    /// The schemas of unqualified names, in order, only those that exist:
    /// `current_schemas(false)`. The first one is `current_schema()`.
    pub fn search_path(&self) -> Vec<String> {
        self.scope().effective_path()
    }

    /// What an extension sees of this session.
    pub fn schema_context(&self) -> SchemaContext {
        self.context_of(&self.scope())
    }

    fn scope(&self) -> Scope {
        let federation = &self.inner.federation;
        Scope::new(
            federation.catalogs().current(),
            self.database(),
            self.user(),
            &self.settings().search_path(),
            federation.extension_names(),
        )
    }

    fn context_of(&self, scope: &Scope) -> SchemaContext {
        SchemaContext {
            session_id: self.inner.id,
            user: self.user().to_owned(),
            database: self.database().to_owned(),
            current_database: self.database().to_owned(),
            search_path: scope.effective_path(),
            settings: self.settings().clone(),
            metadata: Arc::clone(&scope.snapshot.metadata),
        }
    }

    /// A DataFusion state with this session's functions and, now, its settings.
    fn state(&self) -> Result<Arc<SessionState>, FederationError> {
        let zone = self.settings().time_zone().to_owned();
        let mut known = self.set_states();
        if let Some((of, state)) = &*known
            && *of == zone
        {
            return Ok(Arc::clone(state));
        }
        let mut state = self
            .inner
            .state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        state
            .config_mut()
            .options_mut()
            .set("datafusion.execution.time_zone", &zone)?;
        let state = Arc::new(state);
        *known = Some((zone, Arc::clone(&state)));
        Ok(state)
    }

    /// The state of a statement that starts now: `now()` is this time.
    fn started(&self) -> Result<SessionState, FederationError> {
        let mut state = SessionState::clone(self.state()?.as_ref());
        state.mark_start_execution();
        Ok(state)
    }

    fn planner(&self) -> Result<Planner, FederationError> {
        let scope = self.scope();
        Ok(Planner {
            state: self.state()?,
            context: self.context_of(&scope),
            scope,
            extensions: self.inner.federation.extensions(),
            sql_types: self
                .inner
                .type_planner
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            system: self.inner.federation.system_tables(),
            library: self.inner.federation.library(),
            named: None,
        })
    }

    /// Plans one statement. `parameters` are the types the client declared for `$1…`,
    /// None where it left them open.
    ///
    /// A plan holds the tables as they were: plan again after [`crate::Metadata::revision`] has
    /// changed. Rows are always read as of [`Self::execute`].
    ///
    /// # Errors
    /// Every cause of a wrong statement, with its place where the planner knows it.
    pub async fn plan(
        &self,
        statement: Statement,
        parameters: &[Option<DataType>],
    ) -> Result<LogicalPlan, FederationError> {
        let planner = self.planner()?;
        let parameters = parameters.to_vec();
        let light = self.inner.federation.runtimes().light()?;
        let task = light.spawn(async move { planner.plan(statement, &parameters).await });
        AbortOnDrop(task).await.map_err(|error| join_failed(&error))?
    }

    /// The columns of a saved query, and what it names.
    pub(crate) async fn plan_view(&self, view: Arc<ViewDefinition>) -> Result<PlannedView, FederationError> {
        let planner = self.planner()?;
        let light = self.inner.federation.runtimes().light()?;
        let task = light.spawn(async move { planner.plan_view(&view).await });
        AbortOnDrop(task).await.map_err(|error| join_failed(&error))?
    }

    /// The types of `$1…` of a plan: as declared, else as the plan infers them.
    /// None where neither is known: text, by PostgreSQL's rule.
    ///
    /// # Errors
    /// `TypeMismatch` when one parameter is used as two types.
    pub fn parameter_types(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>, FederationError> {
        let mut types: Vec<Option<DataType>> = Vec::new();
        for (name, data_type) in plan.get_parameter_types()? {
            let number: usize = match name.trim_start_matches('$').parse() {
                Ok(number) if (1..=65535).contains(&number) => number,
                _ => return Err(Cause::UnknownParameter { number: name }.into()),
            };
            if types.len() < number {
                types.resize(number, None);
            }
            types[number - 1] = data_type;
        }
        Ok(types)
    }

    /// The plan with its parameters replaced by values.
    ///
    /// # Errors
    /// `UnknownParameter` when a value is missing.
    pub fn bind(plan: LogicalPlan, values: Vec<ScalarValue>) -> Result<LogicalPlan, FederationError> {
        Ok(plan.with_param_values(ParamValues::from(values))?)
    }

    /// The columns a client sees of a plan's result; of EXPLAIN one column `QUERY PLAN`.
    pub fn result_schema(plan: &LogicalPlan) -> SchemaRef {
        match plan {
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => explain_schema(),
            plan => Arc::clone(plan.schema().inner()),
        }
    }

    /// Runs a plan. `sql` is what the query log shows.
    ///
    /// The work starts at once on the query threads, at most a few batches ahead of
    /// the reader. It ends when the stream is dropped, cancelled
    /// ([`Self::cancel`], [`crate::QueryLog::cancel`]) or out of time
    /// (`statement_timeout`, counted from here).
    ///
    /// # Errors
    /// Only what shows before any work: all else comes from the stream.
    pub fn execute(&self, plan: LogicalPlan, sql: &str) -> Result<QueryStream, FederationError> {
        let timeout = self.settings().statement_timeout();
        self.execute_within(plan, sql, timeout)
    }

    /// As [`Self::execute`] with a bound on its time that is not the session's: a portal
    /// that is read in parts is bounded part by part, by whoever reads it.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub fn execute_within(
        &self,
        plan: LogicalPlan,
        sql: &str,
        timeout: Option<Duration>,
    ) -> Result<QueryStream, FederationError> {
        self.start(plan, sql, timeout, None)
    }

    /// As [`Self::execute`], and the stream tells where in their logs the stores were read.
    pub(crate) fn execute_with_positions(
        &self,
        plan: LogicalPlan,
        sql: &str,
    ) -> Result<QueryStream, FederationError> {
        let timeout = self.settings().statement_timeout();
        self.start(plan, sql, timeout, Some(ReadPositions::default()))
    }

    fn start(
        &self,
        plan: LogicalPlan,
        sql: &str,
        timeout: Option<Duration>,
        positions: Option<ReadPositions>,
    ) -> Result<QueryStream, FederationError> {
        let federation = &self.inner.federation;
        let runtimes = federation.runtimes();
        let pushdown = self.settings().pushdown();
        let schema = Self::result_schema(&plan);
        let state = self.started()?;
        let worker = if is_light(&plan)? {
            runtimes.light()?
        } else {
            runtimes.cpu()?
        };
        let cancel = self.cancel_token();
        let stopped = CancellationToken::new();
        let query = federation.query_log().start(
            self.id(),
            self.user(),
            self.database(),
            sql,
            Timestamp::now(),
            cancel.clone(),
        );
        let running = query.plan();
        let supervision = Supervision {
            worker,
            supervisor: runtimes.light()?,
            schema,
            timeout,
            cancel,
            stopped: stopped.clone(),
            query,
            positions: positions.clone().unwrap_or_default(),
        };
        Ok(supervise(
            supervision,
            run(state, plan, pushdown, stopped, running, positions),
        ))
    }

    /// Parses, plans and runs one statement.
    ///
    /// # Errors
    /// As [`Self::plan`]; `Syntax` unless `sql` is one statement.
    pub async fn query(&self, sql: &str) -> Result<QueryStream, FederationError> {
        let mut statements = crate::parse(sql)?;
        let (Some(statement), true) = (statements.pop(), statements.is_empty()) else {
            return Err(Cause::Syntax {
                message: "exactly one statement is expected".into(),
            }
            .into());
        };
        let plan = self.plan(statement, &[]).await?;
        self.execute(plan, sql)
    }

    /// As [`Self::query`], with all rows in memory: for small results.
    ///
    /// # Errors
    /// As [`Self::query`], and whatever the rows' reading meets.
    pub async fn collect(&self, sql: &str) -> Result<Vec<RecordBatch>, FederationError> {
        let mut stream = self.query(sql).await?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }

    /// A token that [`Self::cancel`] cancels; one that was cancelled is replaced, so that
    /// the next statement runs.
    fn cancel_token(&self) -> CancellationToken {
        let mut current = self.inner.cancel.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_cancelled() {
            *current = CancellationToken::new();
        }
        current.child_token()
    }

    /// Cancels what the session runs now (57014). Later statements are not affected.
    pub fn cancel(&self) {
        let mut current = self.inner.cancel.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *current).cancel();
    }
}

/// A spawned planning that stops when its caller goes away.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, JoinError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(context)
    }
}

fn join_failed(error: &JoinError) -> FederationError {
    FederationError::internal(format!("planning failed: {error}"))
}

/// True when a plan reads nothing but memory: constants, pg_catalog, system tables.
fn is_light(plan: &LogicalPlan) -> Result<bool, FederationError> {
    let mut light = true;
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => {
                let provider = source_as_provider(&scan.source)?;
                light = provider.downcast_ref::<LightTable>().is_some();
            }
            LogicalPlan::RecursiveQuery(_) => light = false,
            _ => {}
        }
        Ok(if light {
            TreeNodeRecursion::Continue
        } else {
            TreeNodeRecursion::Stop
        })
    })?;
    Ok(light)
}

async fn run(
    mut state: SessionState,
    plan: LogicalPlan,
    pushdown: bool,
    stopped: CancellationToken,
    running: RunningPlan,
    positions: Option<ReadPositions>,
) -> Result<SendableRecordBatchStream, FederationError> {
    let explains = matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_));
    let plan = open_tables(plan, pushdown).await?;
    if asks_store(&plan)? {
        let settings = &mut state.config_mut().options_mut().optimizer;
        settings.hash_join_inlist_pushdown_max_distinct_values = MAX_JOIN_KEYS;
        settings.hash_join_inlist_pushdown_max_size = MAX_JOIN_KEYS_BYTES;
    }
    let plan = state.optimize(&plan)?;
    let physical = state.query_planner().create_physical_plan(&plan, &state).await?;
    let physical = interruptible(physical, &stopped)?;
    running.set(&physical);
    if let Some(positions) = positions {
        positions.watch(physical.as_ref());
    }
    // A plan holds its functions; those by name are for plans that come over a network.
    let context = TaskContext::new(
        None,
        state.session_id().to_owned(),
        state.config().clone(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        Arc::clone(state.runtime_env()),
    );
    let stream = execute_stream(physical, Arc::new(context))?;
    Ok(if explains { explain_lines(stream) } else { stream })
}

/// True when keys of a join can be sent to a store. A list of so many is of no use to whoever reads files: it looks at
/// their bounds, and would simplify the list for each file.
fn asks_store(plan: &LogicalPlan) -> Result<bool, FederationError> {
    let mut asks = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            asks |= source_as_provider(&scan.source)?
                .downcast_ref::<RemoteTableProvider>()
                .is_some();
        }
        Ok(if asks {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    Ok(asks)
}

/// Replaces the providers that planning left in the plan by those that run: a table of
/// a lake at its newest version, the same one for every mention of it in the query.
async fn open_tables(plan: LogicalPlan, pushdown: bool) -> Result<LogicalPlan, FederationError> {
    let mut versioned: Vec<(Arc<crate::catalog::Served>, String, String, SchemaRef)> = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            if let Some(table) = provider.downcast_ref::<FederatedTable>()
                && table.served.source.versioned()
                && !versioned.iter().any(|(served, schema, name, _)| {
                    Arc::ptr_eq(served, &table.served) && *schema == table.schema && *name == table.table
                })
            {
                versioned.push((
                    Arc::clone(&table.served),
                    table.schema.clone(),
                    table.table.clone(),
                    scan.source.schema(),
                ));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let mut opened = Vec::with_capacity(versioned.len());
    for (served, schema, table, planned) in versioned {
        let newest = served.open(&schema, &table).await?;
        let Some(newest) = newest else {
            return Err(Cause::UnknownTable {
                relation: format!("{schema}.{table}"),
            }
            .into());
        };
        if !schemas_equal(&newest.schema(), &planned) {
            return Err(FederationError::from(Cause::NotSupported {
                message: format!(
                    "the columns of {schema}.{table} have changed since the statement was prepared"
                ),
            })
            .with_hint("Prepare the statement again."));
        }
        opened.push((served, schema, table, newest));
    }
    let plan = plan.transform_down_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = node else {
            return Ok(Transformed::no(node));
        };
        let provider = source_as_provider(&scan.source)?;
        let replacement = if let Some(table) = provider.downcast_ref::<FederatedTable>() {
            let newest = opened.iter().find(|(served, schema, name, _)| {
                Arc::ptr_eq(served, &table.served) && *schema == table.schema && *name == table.table
            });
            let inner = newest.map_or_else(|| Arc::clone(&table.inner), |(.., newest)| Arc::clone(newest));
            if pushdown {
                inner
            } else {
                Arc::new(RawTable(inner))
            }
        } else if let Some(table) = provider.downcast_ref::<LightTable>() {
            Arc::clone(&table.0)
        } else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        let source = provider_as_source(replacement);
        Ok(Transformed::yes(LogicalPlan::TableScan(TableScan {
            source,
            ..scan
        })))
    })?;
    Ok(plan.data)
}

fn explain_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]))
}

/// EXPLAIN as PostgreSQL's clients expect it: one text column, one row a line.
fn explain_lines(stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = explain_schema();
    let shown = Arc::clone(&schema);
    let lines = stream.map(move |batch| {
        let batch = batch?;
        let mut lines = StringBuilder::new();
        let plans = batch.column(batch.num_columns() - 1).as_string::<i32>();
        for line in plans.iter().flatten().flat_map(str::lines) {
            lines.append_value(line);
        }
        let column: ArrayRef = Arc::new(lines.finish());
        Ok(RecordBatch::try_new(Arc::clone(&shown), vec![column])?)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, lines))
}
