//! Where in their logs the stores of a run stood, as a real worker records it.

use std::path::Path;
use std::sync::Arc;

use lakegate_lake::{Lake, SourcePosition};
use lakegate_operator::{
    protocol::WorkOrder,
    worker::{State, perform},
};
use lakegate_store::{MemoryStore, Secrets};
use serde_json::{Value, json};

use crate::{
    harness::source,
    postgres_server::{PASSWORD, PostgresServer, USER},
    worker::order,
};

/// Performs a run and gives back what its manifest says.
async fn sources(directory: &Path, order: WorkOrder) -> Vec<SourcePosition> {
    let secrets = MemoryStore::new();
    secrets.put_secret("default", "login", "username", USER);
    secrets.put_secret("default", "login", "password", PASSWORD);
    let secrets: Arc<dyn Secrets> = Arc::new(secrets);
    let run = order.run.uid.clone();
    let table = order.spec.destination.table.clone();
    Box::pin(perform(order, secrets, Arc::new(State::default())))
        .await
        .unwrap();
    let lake = Lake::open_directory(&directory.join("lake")).await.unwrap();
    let manifest = lake.run_manifest("shop", &table, &run).await.unwrap().unwrap();
    assert!(manifest.rows > 0);
    manifest.sources
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_run_records_where_it_read() {
    let server = PostgresServer::start_new("");
    let admin = server.admin("postgres").await;
    admin
        .batch_execute(
            "CREATE TABLE orders (id int PRIMARY KEY, city text, version int); \
             INSERT INTO orders VALUES (1, 'a', 1), (2, 'b', 2); CREATE TABLE cities AS SELECT 'a' AS name",
        )
        .await
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let postgres = json!({"postgres": {
        "database": "postgres",
        "primary": {"host": "127.0.0.1", "port": server.port},
        "credentials": {"secretRef": {"name": "login"}},
        "tls": {"mode": "Disable"},
    }});
    std::fs::write(directory.join("notes.csv"), "id,note\n1,x\n").unwrap();
    let files = json!({"objectStore": {
        "directory": {"path": directory}, "tables": [{"name": "notes", "path": "notes.csv", "format": "Csv"}],
    }});
    let table = json!({"sourceRef": {"name": "shop"}, "table": {"schema": "public", "name": "orders"}});
    let all = json!([{"name": "id"}, {"name": "city"}, {"name": "version"}]);
    let query = "select o.id, c.name, n.note from shop.public.orders o join shop.public.cities c \
                 on md5(o.city) = md5(c.name) join files.\"default\".notes n on n.id = o.id";
    let incremental = json!({"cursorColumn": "version", "keyColumns": ["id"]});
    let cases: [(&str, Value); 4] = [
        ("full", json!({"from": table, "columns": all})),
        (
            "first",
            json!({"from": table, "columns": all, "incremental": incremental}),
        ),
        // merges into what the one before wrote
        (
            "second",
            json!({"from": table, "columns": all, "incremental": incremental}),
        ),
        ("query", json!({"from": {"query": query}, "columns": null})),
    ];
    for (run, mut spec) in cases {
        spec["where"] = Value::Null;
        let mut order = order(directory, spec, 1);
        run.clone_into(&mut order.run.uid);
        order.run.attempt_id = format!("attempt-{run}");
        order.run.export_uid = Some("the-export".to_owned());
        if run == "query" {
            "joined".clone_into(&mut order.spec.destination.table);
        }
        order.sources = vec![source("shop", postgres.clone()), source("files", files.clone())];
        let found = Box::pin(sources(directory, order)).await;
        // files have no log, and both tables of the query are read at one moment
        let [position] = found.as_slice() else {
            panic!("{run}: {found:?}");
        };
        assert_eq!((position.catalog.as_str(), position.replica), ("shop", false));
        let lsn = position.lsn.as_deref().unwrap();
        let order =
            format!("SELECT '{lsn}'::pg_lsn > '0/0' AND '{lsn}'::pg_lsn <= pg_current_wal_insert_lsn()");
        assert!(
            admin.query_one(&order, &[]).await.unwrap().get::<_, bool>(0),
            "{run}: {lsn}"
        );
    }
}
