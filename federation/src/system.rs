//! The system tables, in the schema `lakegate` of every database: what the store of
//! resources and the query log say at the moment a query starts.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use jiff::Timestamp;
use lakegate_crds::conditions::{ConditionType, ConditionsExt, Reason};
use lakegate_crds::{DataSource, Export, ExportRun, LakegateResource, RetentionPolicy, Time, View};
use lakegate_store::{Entry, ResourceStore, StoreOf};

use crate::error::{Cause, FederationError};
use crate::health::Health;
use crate::query_log::QueryLog;
use crate::system_schema::{TABLES, Which};
use crate::unserved::first_problem;

/// One value of a row.
enum Cell {
    Text(Option<String>),
    Integer(Option<i64>),
    Float(Option<f64>),
    Bool(Option<bool>),
    Time(Option<Timestamp>),
    Texts(Vec<String>),
}

impl From<Vec<String>> for Cell {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Option<String>> for Cell {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<Option<i64>> for Cell {
    fn from(number: Option<i64>) -> Self {
        Self::Integer(number)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).ok())
    }
}

impl From<Option<bool>> for Cell {
    fn from(value: Option<bool>) -> Self {
        Self::Bool(value)
    }
}

impl From<Timestamp> for Cell {
    fn from(time: Timestamp) -> Self {
        Self::Time(Some(time))
    }
}

impl From<Option<Timestamp>> for Cell {
    fn from(time: Option<Timestamp>) -> Self {
        Self::Time(time)
    }
}

impl From<Option<Time>> for Cell {
    fn from(time: Option<Time>) -> Self {
        Self::Time(time.map(|time| time.0))
    }
}

/// One row per call: `cells![a, b]` for a list of anything that is a cell.
macro_rules! cells {
    ($($value:expr),* $(,)?) => { vec![$(Cell::from($value)),*] };
}

/// Where the system tables read from.
#[derive(Clone)]
pub(crate) struct SystemTables {
    pub(crate) log: Arc<QueryLog>,
    pub(crate) health: Arc<Health>,
    /// None in a process without one (a worker): tables of resources are then empty.
    pub(crate) store: Option<Arc<dyn ResourceStore>>,
}

impl SystemTables {
    pub(crate) fn provider(&self, table: &str) -> Option<Arc<dyn TableProvider>> {
        let definition = TABLES.iter().find(|definition| definition.name == table)?;
        Some(Arc::new(SystemTable {
            which: definition.which,
            schema: Arc::clone(&definition.schema),
            from: self.clone(),
        }))
    }

    async fn rows(&self, which: Which) -> Result<Vec<Vec<Cell>>, FederationError> {
        match which {
            Which::Queries => return Ok(self.queries(Timestamp::now())),
            Which::Replicas => return Ok(self.replicas()),
            _ => {}
        }
        let Some(store) = &self.store else {
            return Ok(Vec::new());
        };
        let store = store.as_ref();
        let rows = match which {
            Which::DataSources => list::<DataSource>(store).await?.iter().map(data_source).collect(),
            Which::Exports => list::<Export>(store).await?.iter().map(export).collect(),
            Which::ExportRuns => list::<ExportRun>(store).await?.iter().map(export_run).collect(),
            Which::RetentionPolicies => list::<RetentionPolicy>(store)
                .await?
                .iter()
                .map(retention_policy)
                .collect(),
            Which::Views => list::<View>(store).await?.iter().map(view).collect(),
            Which::Events => {
                let notices = store.list_notices().await.map_err(|error| unreadable(&error))?;
                let row = |notice: lakegate_store::Notice| {
                    cells![
                        notice.last,
                        notice.first,
                        notice.count,
                        notice.notice_type.as_str(),
                        notice.kind.as_str(),
                        notice.key.namespace,
                        notice.key.name,
                        notice.reason,
                        notice.message,
                    ]
                };
                notices.into_iter().map(row).collect()
            }
            Which::Queries | Which::Replicas => Vec::new(),
        };
        Ok(rows)
    }

    fn replicas(&self) -> Vec<Vec<Cell>> {
        let sources = self.health.replicas().into_iter();
        sources
            .flat_map(|(source, replicas)| {
                replicas.into_iter().map(move |replica| {
                    let mut row = cells![
                        source.namespace.as_str(),
                        source.name.as_str(),
                        replica.address,
                        Some(replica.problem.is_none()),
                    ];
                    row.push(Cell::Float(replica.lag.map(|lag| lag.as_secs_f64())));
                    row.extend(cells![replica.problem]);
                    row
                })
            })
            .collect()
    }

    fn queries(&self, now: Timestamp) -> Vec<Vec<Cell>> {
        let row = |query: crate::query_log::QueryRecord| {
            let until = query.ended.unwrap_or(now);
            let elapsed = until.duration_since(query.started).as_secs_f64() * 1000.0;
            let mut row = cells![
                query.id,
                query.session_id,
                query.user,
                query.database,
                query.sql,
                query.state.as_str(),
                query.started,
                query.ended,
            ];
            row.push(Cell::Float(Some(elapsed)));
            row.extend(cells![query.rows, query.error, query.sqlstate.map(str::to_owned)]);
            let requests = query.remote.requests;
            row.extend(cells![
                (!requests.is_empty()).then(|| requests.join("\n")),
                query.remote.rows,
                query.remote.bytes,
            ]);
            row
        };
        self.log.queries().into_iter().map(row).collect()
    }
}

async fn list<K: LakegateResource>(store: &dyn ResourceStore) -> Result<Vec<Entry<K>>, FederationError>
where
    dyn ResourceStore: StoreOf<K>,
{
    StoreOf::<K>::of(store)
        .list()
        .await
        .map_err(|error| unreadable(&error))
}

fn unreadable(error: &lakegate_store::StoreError) -> FederationError {
    Cause::SourceFailed {
        message: format!("the resources cannot be read: {error}"),
    }
    .into()
}

/// What Ready says of an entry; of one without a status, what its manifest alone says.
fn readiness<K: LakegateResource>(entry: &Entry<K>) -> [Cell; 3] {
    let ready = entry
        .status
        .as_ref()
        .and_then(|status| K::conditions(status).find(ConditionType::Ready));
    if let Some(ready) = ready {
        let value = match ready.status.as_str() {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        };
        return [
            value.into(),
            ready.reason.as_str().into(),
            ready.message.as_str().into(),
        ];
    }
    let problem = match (&entry.object, &entry.rejected) {
        (None, Some(rejected)) => rejected
            .problems
            .first()
            .map(|first| (first.reason, rejected.to_string())),
        (Some(object), _) => first_problem(object.as_ref()).map(|problem| (problem.reason, problem.message)),
        (None, None) => None,
    };
    match problem {
        Some((reason, message)) => [Some(false).into(), reason.as_str().into(), message.into()],
        None => [
            Cell::Bool(None),
            Reason::Progressing.as_str().into(),
            Cell::Text(None),
        ],
    }
}

fn created<K: LakegateResource>(entry: &Entry<K>) -> Option<Timestamp> {
    entry
        .object
        .as_ref()?
        .meta()
        .creation_timestamp
        .as_ref()
        .map(|time| time.0)
}

fn head<K: LakegateResource>(entry: &Entry<K>) -> Vec<Cell> {
    cells![entry.key.namespace.clone(), entry.key.name.clone()]
}

fn rejected<K: LakegateResource>(entry: &Entry<K>) -> Option<String> {
    entry.rejected.as_ref().map(ToString::to_string)
}

fn data_source(entry: &Entry<DataSource>) -> Vec<Cell> {
    let spec = entry.object.as_ref().map(|object| &object.spec);
    let status = entry.status.clone().unwrap_or_default();
    let mut row = head(entry);
    row.extend(readiness(entry));
    row.extend(cells![
        spec.and_then(lakegate_crds::DataSourceSpec::source_kind)
            .map(|kind| kind.to_string()),
        spec.map(|spec| spec.catalog_name(&entry.key.name)),
        status.endpoint,
        status.server_version,
        status.tables,
        status.last_discovery_time,
        status.catalog_revision,
        spec.map(lakegate_crds::DataSourceSpec::is_suspended),
        spec.and_then(|spec| spec.description.clone()),
        created(entry),
        rejected(entry),
    ]);
    row
}

fn export(entry: &Entry<Export>) -> Vec<Cell> {
    let spec = entry.object.as_ref().map(|object| &object.spec);
    let status = entry.status.clone().unwrap_or_default();
    let source = spec.map(|spec| match (&spec.from.source_ref, &spec.from.table) {
        (Some(source), Some(table)) => match &table.schema {
            Some(schema) => format!("{}.{schema}.{}", source.name, table.name),
            None => format!("{}.{}", source.name, table.name),
        },
        (Some(source), None) => source.name.clone(),
        (None, _) => "query".to_owned(),
    });
    let destination = spec.map(|spec| {
        let to = &spec.destination;
        format!("{}.{}.{}", to.lake_ref.name, to.schema, to.table)
    });
    let schedule = spec.and_then(|spec| spec.schedule.as_ref());
    let last = status.last_run.unwrap_or_default();
    let has_run = !last.name.is_empty();
    let mut row = head(entry);
    row.extend(readiness(entry));
    row.extend(cells![
        source,
        destination,
        schedule.map(|schedule| schedule.cron.clone()),
        schedule.and_then(|schedule| schedule.time_zone.clone()),
        spec.map(lakegate_crds::ExportSpec::is_suspended),
        has_run.then_some(last.outcome),
        has_run.then_some(last.name),
        last.rows,
        last.bytes,
        last.duration,
        status.last_successful_time,
        status.next_schedule_time,
        status.active_run,
        status.consecutive_failures,
        spec.and_then(|spec| spec.description.clone()),
        created(entry),
        rejected(entry),
    ]);
    row
}

fn export_run(entry: &Entry<ExportRun>) -> Vec<Cell> {
    let spec = entry.object.as_ref().map(|object| &object.spec);
    let status = entry.status.clone().unwrap_or_default();
    let progress = status.progress.clone().unwrap_or_default();
    let failure = status.failure.clone();
    let mut row = head(entry);
    row.extend(cells![
        spec.and_then(|spec| spec.export_ref.as_ref())
            .map(|export| export.name.clone()),
        status.state().to_string(),
        failure.as_ref().map(|failure| failure.reason.clone()),
        failure.map(|failure| failure.message),
        spec.map(|spec| spec.cause().to_string()),
        status.attempts,
        status.rows_written,
        status.bytes_written,
        status.files,
        status.start_time,
        status.finish_time,
        status.duration,
        status.snapshot_id,
        progress.rows,
        progress.total_rows,
        spec.and_then(|spec| spec.scheduled_time.clone()),
        created(entry),
    ]);
    row
}

fn retention_policy(entry: &Entry<RetentionPolicy>) -> Vec<Cell> {
    let spec = entry.object.as_ref().map(|object| &object.spec);
    let status = entry.status.clone().unwrap_or_default();
    let schedule = spec.and_then(|spec| spec.schedule.as_ref());
    let mut row = head(entry);
    row.extend(readiness(entry));
    row.extend(cells![
        spec.map(|spec| if spec.rows.is_some() { "rows" } else { "files" }.to_owned()),
        status.mode,
        schedule.map(|schedule| schedule.cron.clone()),
        spec.map(|spec| spec.suspend.unwrap_or(false)),
        status.last_run.map(|run| run.outcome),
        status.last_evaluation_time,
        status.next_evaluation_time,
        status.marked.and_then(|counts| counts.rows),
        status.deleted.and_then(|counts| counts.rows),
        status.active_run,
        created(entry),
        rejected(entry),
    ]);
    row
}

fn view(entry: &Entry<View>) -> Vec<Cell> {
    let spec = entry.object.as_ref().map(|object| &object.spec);
    let status = entry.status.clone().unwrap_or_default();
    let columns = status.columns.into_iter().map(|column| column.name);
    let parameters = spec.map(|spec| spec.parameters.as_slice()).unwrap_or_default();
    let mut row = head(entry);
    row.push(spec.map(|spec| spec.sql_name(&entry.key.name)).into());
    row.extend(readiness(entry));
    row.extend(cells![
        spec.map(|spec| spec.sql.clone()),
        (!parameters.is_empty()).then(|| {
            let shown = parameters.iter().map(|parameter| match &parameter.default {
                Some(default) => format!("{} {} DEFAULT {default}", parameter.name, parameter.r#type),
                None => format!("{} {}", parameter.name, parameter.r#type),
            });
            shown.collect::<Vec<_>>().join(", ")
        }),
        columns.collect::<Vec<_>>(),
        status.dependencies,
        spec.and_then(|spec| spec.description.clone()),
        spec.map(|spec| spec.tags.clone()).unwrap_or_default(),
        spec.map(lakegate_crds::ViewSpec::is_suspended),
        created(entry),
        rejected(entry),
    ]);
    row
}

fn batch(schema: &SchemaRef, rows: &[Vec<Cell>]) -> DataFusionResult<RecordBatch> {
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for (index, field) in schema.fields().iter().enumerate() {
        // a cell of another kind than its column is null: the tests read every table
        let cells = rows.iter().map(|row| row.get(index));
        columns.push(match field.data_type() {
            DataType::Int64 => Arc::new(
                cells
                    .map(|cell| match cell {
                        Some(Cell::Integer(value)) => *value,
                        _ => None,
                    })
                    .collect::<Int64Array>(),
            ),
            DataType::Float64 => Arc::new(
                cells
                    .map(|cell| match cell {
                        Some(Cell::Float(value)) => *value,
                        _ => None,
                    })
                    .collect::<Float64Array>(),
            ),
            DataType::Boolean => Arc::new(
                cells
                    .map(|cell| match cell {
                        Some(Cell::Bool(value)) => *value,
                        _ => None,
                    })
                    .collect::<BooleanArray>(),
            ),
            DataType::Timestamp(..) => {
                let times = cells
                    .map(|cell| match cell {
                        Some(Cell::Time(value)) => value.map(Timestamp::as_microsecond),
                        _ => None,
                    })
                    .collect::<TimestampMicrosecondArray>();
                Arc::new(times.with_timezone("UTC"))
            }
            DataType::List(item) => {
                let mut lists = ListBuilder::new(StringBuilder::new()).with_field(Arc::clone(item));
                for cell in cells {
                    let texts = match cell {
                        Some(Cell::Texts(texts)) => texts.as_slice(),
                        _ => &[],
                    };
                    lists.append_value(texts.iter().map(Some));
                }
                Arc::new(lists.finish())
            }
            _ => Arc::new(
                cells
                    .map(|cell| match cell {
                        Some(Cell::Text(value)) => value.as_deref(),
                        _ => None,
                    })
                    .collect::<StringArray>(),
            ),
        });
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

struct SystemTable {
    which: Which,
    schema: SchemaRef,
    from: SystemTables,
}

impl fmt::Debug for SystemTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SystemTable")
            .field("which", &self.which)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let rows = self.from.rows(self.which).await.map_err(DataFusionError::from)?;
        let batch = batch(&self.schema, &rows)?;
        let partitions = [vec![batch]];
        let schema = Arc::clone(&self.schema);
        Ok(MemorySourceConfig::try_new_exec(
            &partitions,
            schema,
            projection.cloned(),
        )?)
    }
}
