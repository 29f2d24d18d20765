//! The MySQL connector against a real MariaDB server.

mod connection;
mod discovery;
mod hangs;
mod joins;
mod patterns;
mod positions;
mod pushdown;
mod replicas;
mod server;
mod traps;
mod values;

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::Result;
use datafusion::prelude::SessionContext;
use lakegate_connectors::{Connector, ConnectorError};
use lakegate_store::MemoryStore;
use serde_json::{Value, json};

use self::server::{MariaDbServer, PASSWORD, USER};
use crate::common::connector_with;

/// A DataSource without TLS; `extra` is merged into `spec.mysql`.
fn spec(host: &str, port: u16, database: Option<&str>, extra: &Value) -> Value {
    let mut mysql = json!({
        "primary": {"host": host, "port": port},
        "credentials": {"secretRef": {"name": "login"}},
        "tls": {"mode": "Disable"},
    });
    if let Some(database) = database {
        mysql["database"] = database.into();
    }
    for (key, value) in extra.as_object().into_iter().flatten() {
        mysql[key] = value.clone();
    }
    json!({ "mysql": mysql })
}

fn secrets(username: &str, password: &str) -> MemoryStore {
    let secrets = MemoryStore::new();
    secrets.put_secret("default", "login", "username", username);
    secrets.put_secret("default", "login", "password", password);
    secrets
}

async fn connector(spec: Value, secrets: MemoryStore) -> Result<Arc<dyn Connector>, ConnectorError> {
    connector_with(Path::new("/"), spec, secrets).await
}

/// The connector of one database of a test server.
async fn connector_of(server: &MariaDbServer, database: &str, extra: Value) -> Arc<dyn Connector> {
    let spec = spec("127.0.0.1", server.port, Some(database), &extra);
    connector(spec, secrets(USER, PASSWORD)).await.unwrap()
}

async fn collect(session: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    session.sql(sql).await?.collect().await
}
