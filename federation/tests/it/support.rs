//! Sources made of memory, and short ways to ask.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session as DataFusionSession, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use lakegate_crds::conditions::Reason;
use lakegate_crds::{DataSource, View};
use lakegate_federation::{
    CatalogSource, ColumnMetadata, DiscoveredTable, Federation, FederationError, FederationOptions,
    RelationKind, Session, SessionIdentity, SourceError, TableMetadata,
};

/// A federation with few threads.
pub fn federation() -> Arc<Federation> {
    Federation::new(FederationOptions {
        threads: 2,
        ..FederationOptions::default()
    })
    .unwrap()
}

pub fn session(federation: &Arc<Federation>, database: &str) -> Session {
    let identity = SessionIdentity {
        user: "ann".into(),
        database: database.into(),
    };
    federation.session(identity).unwrap()
}

/// The rows of a query, one line each, columns joined by `|`.
pub async fn rows(session: &Session, sql: &str) -> Vec<String> {
    try_rows(session, sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error} {:?}", error.hint()))
}

pub async fn try_rows(session: &Session, sql: &str) -> Result<Vec<String>, FederationError> {
    let batches = session.collect(sql).await?;
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    let cells = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        cells.join("|")
    };
    Ok(lines.map(cells).collect())
}

/// The SQLSTATE a statement fails with, or `ok`.
pub async fn sqlstate(session: &Session, sql: &str) -> &'static str {
    match try_rows(session, sql).await {
        Ok(_) => "ok",
        Err(error) => error.sqlstate(),
    }
}

/// What reached a provider.
#[derive(Debug, Default)]
pub struct Recorded {
    pub filters: AtomicUsize,
    pub limits: AtomicUsize,
    pub scans: AtomicUsize,
    /// The columns of the last scan.
    pub columns: Mutex<Vec<String>>,
    /// How often the planner asked which filters could be pushed.
    pub asked: AtomicUsize,
}

/// A table that takes every filter and limit, and remembers them.
#[derive(Debug)]
struct RecordingTable {
    inner: MemTable,
    recorded: Arc<Recorded>,
}

#[async_trait]
impl TableProvider for RecordingTable {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.recorded.asked.fetch_add(1, Ordering::SeqCst);
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn DataFusionSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.recorded.scans.fetch_add(1, Ordering::SeqCst);
        self.recorded.filters.fetch_add(filters.len(), Ordering::SeqCst);
        let schema = self.schema();
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let read = projection.unwrap_or(&all).iter();
        *self.recorded.columns.lock().unwrap() =
            read.map(|index| schema.field(*index).name().clone()).collect();
        self.recorded
            .limits
            .fetch_add(usize::from(limit.is_some()), Ordering::SeqCst);
        self.inner.scan(state, projection, &[], None).await
    }
}

/// A store of tables in memory, each with the columns `id bigint` and `Name text`.
#[derive(Debug, Default)]
pub struct MemorySource {
    tables: Mutex<Vec<(String, String, i64)>>,
    pub recorded: Arc<Recorded>,
    pub down: AtomicBool,
}

impl MemorySource {
    pub fn new(tables: &[(&str, &str, i64)]) -> Arc<Self> {
        let source = Self::default();
        source.set(tables);
        Arc::new(source)
    }

    pub fn set(&self, tables: &[(&str, &str, i64)]) {
        let own = |&(schema, table, rows): &(&str, &str, i64)| (schema.into(), table.into(), rows);
        *self.tables.lock().unwrap() = tables.iter().map(own).collect();
    }

    fn error(&self) -> Result<(), SourceError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(SourceError {
                message: "memory: the store is down".into(),
                reason: Reason::ConnectionFailed,
                terminal: false,
            });
        }
        Ok(())
    }
}

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("Name", DataType::Utf8, true),
    ]))
}

#[async_trait]
impl CatalogSource for MemorySource {
    fn endpoint(&self) -> String {
        "memory".into()
    }

    async fn probe(&self) -> Result<Option<String>, SourceError> {
        self.error()?;
        Ok(Some("1.0".into()))
    }

    async fn discover(&self) -> Result<Vec<DiscoveredTable>, SourceError> {
        self.error()?;
        let tables = self.tables.lock().unwrap();
        let discovered = tables.iter().map(|(schema_name, name, rows)| DiscoveredTable {
            schema: schema_name.clone(),
            metadata: Arc::new(TableMetadata {
                name: name.clone(),
                kind: RelationKind::Table,
                comment: Some(format!("table {name}")),
                rows: Some(*rows as u64),
                columns: schema()
                    .fields()
                    .iter()
                    .map(|field| ColumnMetadata {
                        name: field.name().clone(),
                        data_type: field.data_type().clone(),
                        nullable: field.is_nullable(),
                        comment: None,
                        properties: vec![],
                    })
                    .collect(),
                primary_key: vec!["id".into()],
                definition: None,
            }),
            handle: Arc::new(*rows),
        });
        Ok(discovered.collect())
    }

    async fn open(&self, table: &DiscoveredTable) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let rows = *table.handle.downcast_ref::<i64>().unwrap();
        let ids = Int64Array::from_iter_values(0..rows);
        let names = StringArray::from_iter_values((0..rows).map(|id| format!("n{id}")));
        let batch = RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(names)])?;
        let inner = MemTable::try_new(schema(), vec![vec![batch]])?;
        Ok(Arc::new(RecordingTable {
            inner,
            recorded: Arc::clone(&self.recorded),
        }))
    }
}

/// A federation with the catalogs `shop` (schema public) and `crm` (schema main).
pub async fn shop_and_crm() -> (Arc<Federation>, Arc<MemorySource>) {
    let federation = federation();
    let shop = MemorySource::new(&[
        ("public", "orders", 5),
        ("public", "Items", 3),
        ("audit", "log", 2),
    ]);
    let crm = MemorySource::new(&[("main", "customers", 3), ("main", "notes", 1)]);
    let source: Arc<dyn CatalogSource> = Arc::clone(&shop) as _;
    federation.attach_source("shop", "shop", source).await.unwrap();
    federation.attach_source("crm", "crm-db", crm).await.unwrap();
    (federation, shop)
}

/// Waits until `check` holds; the test's own bound is the harness's.
pub async fn eventually<F: AsyncFnMut() -> bool>(what: &str, mut check: F) {
    for _ in 0..1500 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

pub fn data_source(name: &str, spec: serde_json::Value) -> DataSource {
    DataSource::new(name, serde_json::from_value(spec).unwrap())
}

pub fn view(name: &str, sql: &str) -> View {
    View::new(
        name,
        serde_json::from_value(serde_json::json!({ "sql": sql })).unwrap(),
    )
}

/// Reads a stream to its end and counts rows.
pub async fn drain(mut stream: lakegate_federation::QueryStream) -> Result<u64, FederationError> {
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows() as u64;
    }
    Ok(rows)
}

/// Makes a SQLite file and runs statements on it.
pub async fn sqlite(path: &std::path::Path, statements: &[&str]) {
    use sqlx::{ConnectOptions, Connection};
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(*statement))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection.close().await.unwrap();
}
