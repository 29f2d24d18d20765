//! The PostgreSQL connector against a real server.

mod connection;
mod discovery;
mod flow;
mod hangs;
mod joins;
mod keys;
mod positions;
mod pushdown;
mod refusals;
mod replicas;
mod server;
mod shared;
mod sizes;
mod tpch;
mod values;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionContext;
use lakegate_connectors::{ConnectContext, Connector, ConnectorError, connect};
use lakegate_store::MemoryStore;
use serde_json::{Value, json};

use self::server::{PASSWORD, PostgresServer, USER};
use crate::common::{Raw, plan, sessions, table as table_of};

/// A DataSource without TLS; `extra` is merged into `spec.postgres`.
fn spec(host: &str, port: u16, database: &str, extra: &Value) -> Value {
    let mut postgres = json!({
        "database": database,
        "primary": {"host": host, "port": port},
        "credentials": {"secretRef": {"name": "login"}},
        "tls": {"mode": "Disable"},
    });
    for (key, value) in extra.as_object().into_iter().flatten() {
        postgres[key] = value.clone();
    }
    json!({ "postgres": postgres })
}

fn secrets(username: &str, password: &str) -> MemoryStore {
    let secrets = MemoryStore::new();
    secrets.put_secret("default", "login", "username", username);
    secrets.put_secret("default", "login", "password", password);
    secrets
}

async fn connector(spec: Value, secrets: MemoryStore) -> Result<Arc<dyn Connector>, ConnectorError> {
    let spec = serde_json::from_value(spec).unwrap();
    let context = ConnectContext {
        catalog: "shop".to_owned(),
        namespace: "default".to_owned(),
        base_dir: PathBuf::from("/"),
        runtime: Arc::new(RuntimeEnv::default()),
        secrets: Arc::new(secrets),
    };
    connect(&spec, context).await
}

/// The connector of one database of a test server.
async fn connector_of(server: &PostgresServer, database: &str, extra: Value) -> Arc<dyn Connector> {
    let spec = spec("127.0.0.1", server.port, database, &extra);
    connector(spec, secrets(USER, PASSWORD)).await.unwrap()
}

async fn collect(session: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    session.sql(sql).await?.collect().await
}

/// The types of all columns, and every value as text, NULL as None.
type Answer = (Vec<String>, Vec<Vec<Option<String>>>);

async fn rows(session: &SessionContext, sql: &str) -> Answer {
    try_rows(session, sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn try_rows(session: &SessionContext, sql: &str) -> Result<Answer> {
    let frame = session.sql(sql).await?;
    let types = frame
        .schema()
        .fields()
        .iter()
        .map(|field| field.data_type().to_string())
        .collect();
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in frame.collect().await? {
        let formatters = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let values = formatters.iter().zip(batch.columns());
            rows.push(
                values
                    .map(|(formatter, column)| {
                        (!column.is_null(row)).then(|| formatter.value(row).to_string())
                    })
                    .collect(),
            );
        }
    }
    Ok((types, rows))
}
