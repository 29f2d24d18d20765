//! What the tests of several stores share.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::TableReference;
use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use lakegate_connectors::scan::{
    AwaitJoinKeys, MAX_JOIN_KEYS, MAX_JOIN_KEYS_BYTES, PositionSlot, RemoteScanExec, SourcePosition,
    optimizer_rules,
};
use lakegate_connectors::{ConnectContext, Connector, ConnectorError, TableDescription, connect};
use lakegate_store::MemoryStore;
use serde_json::Value;

pub async fn connector(base_dir: &Path, spec: Value) -> Result<Arc<dyn Connector>, ConnectorError> {
    connector_with(base_dir, spec, MemoryStore::new()).await
}

pub async fn connector_with(
    base_dir: &Path,
    spec: Value,
    secrets: MemoryStore,
) -> Result<Arc<dyn Connector>, ConnectorError> {
    let context = ConnectContext {
        catalog: "shop".to_owned(),
        namespace: "default".to_owned(),
        base_dir: base_dir.to_owned(),
        runtime: Arc::new(RuntimeEnv::default()),
        secrets: Arc::new(secrets),
    };
    connect(&serde_json::from_value(spec).unwrap(), context).await
}

pub async fn table(connector: &Arc<dyn Connector>, name: &str) -> TableDescription {
    let tables = connector.discover().await.unwrap();
    let names: Vec<String> = tables.iter().map(|table| table.name.clone()).collect();
    tables
        .into_iter()
        .find(|table| table.name == name)
        .unwrap_or_else(|| panic!("{name} is not among {names:?}"))
}

/// The columns of a table as `name type`.
pub async fn columns(connector: &Arc<dyn Connector>, name: &str) -> Vec<String> {
    let table = table(connector, name).await;
    table
        .columns
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect()
}

/// The engine's settings, as far as an answer may depend on them.
pub fn settings() -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(2);
    // As in the gateway: a NaN among the groups is never found again, and it panics.
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.enable_topk_aggregation = false;
    optimizer.hash_join_inlist_pushdown_max_distinct_values = MAX_JOIN_KEYS;
    optimizer.hash_join_inlist_pushdown_max_size = MAX_JOIN_KEYS_BYTES;
    config
}

/// A session whose optimizer leaves groups and first rows to the stores.
pub fn pushing(config: SessionConfig) -> SessionContext {
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config)
        .with_optimizer_rules(optimizer_rules())
        .with_physical_optimizer_rule(Arc::new(AwaitJoinKeys))
        .build();
    SessionContext::new_with_state(state)
}

/// Two sessions over every table: one that pushes down, one that reads raw rows.
pub async fn sessions(connector: &Arc<dyn Connector>) -> (SessionContext, SessionContext) {
    let (pushing, raw) = (pushing(settings()), SessionContext::new_with_config(settings()));
    for table in connector.discover().await.unwrap() {
        let provider = connector.open(&table).await.unwrap();
        let name = TableReference::bare(table.name);
        pushing
            .register_table(name.clone(), Arc::clone(&provider))
            .unwrap();
        raw.register_table(name, Arc::new(Raw(provider))).unwrap();
    }
    (pushing, raw)
}

/// The rows, and for each scan of the plan where in its log the store was read.
pub async fn read_with_positions(
    session: &SessionContext,
    sql: &str,
) -> Result<(Vec<RecordBatch>, Vec<Option<SourcePosition>>)> {
    fn slots(plan: &dyn ExecutionPlan, found: &mut Vec<Arc<PositionSlot>>) {
        if let Some(scan) = plan.downcast_ref::<RemoteScanExec>() {
            scan.position().want();
            found.push(Arc::clone(scan.position()));
        }
        for child in plan.children() {
            slots(child.as_ref(), found);
        }
    }
    let plan = session.sql(sql).await?.create_physical_plan().await?;
    let mut found = Vec::new();
    slots(plan.as_ref(), &mut found);
    let batches = collect(plan, session.task_ctx()).await?;
    Ok((batches, found.iter().map(|slot| slot.found().cloned()).collect()))
}

/// The types of all columns, and every value as text, NULL as `NULL`.
pub type Answer = (Vec<String>, Vec<Vec<String>>);

pub async fn try_rows(session: &SessionContext, sql: &str) -> Result<Answer> {
    let frame = session.sql(sql).await?;
    let types = frame
        .schema()
        .fields()
        .iter()
        .map(|field| field.data_type().to_string())
        .collect();
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in frame.collect().await? {
        let formatters = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            rows.push(
                formatters
                    .iter()
                    .map(|column| column.value(row).to_string())
                    .collect(),
            );
        }
    }
    Ok((types, rows))
}

pub async fn rows(session: &SessionContext, sql: &str) -> Vec<Vec<String>> {
    try_rows(session, sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
        .1
}

/// The rows, their values joined by `|`.
pub async fn lines(session: &SessionContext, sql: &str) -> Vec<String> {
    rows(session, sql)
        .await
        .into_iter()
        .map(|row| row.join("|"))
        .collect()
}

pub async fn failure(session: &SessionContext, sql: &str) -> String {
    match try_rows(session, sql).await {
        Ok(answer) => panic!("{sql} answered {answer:?}"),
        Err(error) => error.to_string(),
    }
}

pub async fn plan(session: &SessionContext, sql: &str) -> String {
    rows(session, &format!("EXPLAIN {sql}")).await.concat().join("\n")
}

/// Hides filters and limits from a table, as `SET lakegate.pushdown = off` does.
#[derive(Debug)]
pub struct Raw(pub Arc<dyn TableProvider>);

#[async_trait::async_trait]
impl TableProvider for Raw {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        self.0.table_type()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.scan(state, projection, &[], None).await
    }
}
