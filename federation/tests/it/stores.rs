//! Real stores beside each other: a SQLite file, a directory of files, a lake.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use lakegate_federation::{Federation, FederationOptions, SourceContext};
use lakegate_lake::{CommitInfo, Lake, WriteOptions};
use lakegate_store::MemoryStore;

use crate::mariadb;
use crate::mariadb::MariaDbServer;
use crate::support::{data_source, drain, federation, rows, schema, session, sqlite, try_rows};

fn context(federation: &Federation, directory: &Path) -> SourceContext {
    let secrets = MemoryStore::new();
    secrets.put_secret("default", "crm", "username", mariadb::USER);
    secrets.put_secret("default", "crm", "password", mariadb::PASSWORD);
    SourceContext {
        namespace: "default".into(),
        base_dir: directory.to_owned(),
        state_dir: directory.join("state"),
        secrets: Arc::new(secrets),
        runtime: Arc::clone(federation.runtime_env()),
    }
}

pub async fn attach(federation: &Federation, directory: &Path, name: &str, spec: serde_json::Value) {
    let spec = data_source(name, spec).spec;
    federation
        .attach(name, &spec, &context(federation, directory))
        .await
        .unwrap();
}

/// Replaces `shop.orders` of the lake by `count` rows.
async fn publish(lake: &Lake, run: &str, count: i64) {
    let batch = RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(Int64Array::from_iter_values(0..count)),
            Arc::new(StringArray::from_iter_values(
                (0..count).map(|id| format!("{run}-{id}")),
            )),
        ],
    )
    .unwrap();
    let options = WriteOptions::new(run, "1");
    let mut writer = lake
        .write("shop", "orders", batch.schema(), options)
        .await
        .unwrap();
    writer.write(batch).await.unwrap();
    let files = writer.close().await.unwrap();
    let info = CommitInfo {
        run_id: run.into(),
        attempt_id: "1".into(),
        ..CommitInfo::default()
    };
    lake.replace(files, info).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_over_three_kinds_of_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    sqlite(
        &path.join("shop.db"),
        &[
            "create table people (id integer primary key, name text)",
            "insert into people values (1, 'ann'), (2, 'bob')",
        ],
    )
    .await;
    std::fs::create_dir(path.join("files")).unwrap();
    std::fs::write(path.join("files/visits.csv"), "person,pages\n1,10\n2,20\n1,5\n").unwrap();
    let federation = federation();
    attach(
        &federation,
        path,
        "shop",
        serde_json::json!({"sqlite": {"path": "shop.db"}}),
    )
    .await;
    let files = serde_json::json!({"objectStore": {
        "directory": {"path": "files"},
        "tables": [{"name": "visits", "path": "*.csv", "format": "Csv"}],
    }});
    attach(&federation, path, "logs", files).await;
    attach(
        &federation,
        path,
        "lake",
        serde_json::json!({"lake": {"directory": {"path": "lake"}}}),
    )
    .await;
    let lake = Lake::open_directory(&path.join("lake")).await.unwrap();
    publish(&lake, "run-1", 2).await;
    let sql = "select p.name, sum(v.pages) as pages, max(o.name) as last from shop.main.people p \
               join logs.default.visits v on v.person = p.id \
               left join lake.shop.orders o on o.id = p.id group by 1 order by 1";
    let expected = ["ann|15|run-1-1", "bob|20|"];
    let session = session(&federation, "lakegate");
    assert_eq!(rows(&session, sql).await, expected);
    session.settings().set("lakegate.pushdown", "off").unwrap();
    assert_eq!(rows(&session, sql).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_in_as_many_parts_as_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    for file in 0..6 {
        std::fs::write(directory.path().join(format!("{file}.csv")), "n\n1\n2\n").unwrap();
    }
    let files = serde_json::json!({"objectStore": {
        "directory": {"path": "."},
        "tables": [{"name": "numbers", "path": "*.csv", "format": "Csv"}],
    }});
    for (partitions, expected) in [(None, "{1 group:"), (Some(3), "{3 groups:")] {
        let federation = Federation::new(FederationOptions {
            threads: 1,
            partitions,
            ..FederationOptions::default()
        })
        .unwrap();
        attach(&federation, directory.path(), "logs", files.clone()).await;
        let session = session(&federation, "lakegate");
        let plan = rows(&session, "explain select n from logs.default.numbers")
            .await
            .join("\n");
        assert!(plan.contains(expected), "{partitions:?}: {plan}");
        let sum = rows(&session, "select count(*), sum(n) from logs.default.numbers").await;
        assert_eq!(sum, ["12|18"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_of_mariadb_and_sqlite() {
    let server = MariaDbServer::shared();
    server.database(
        "crm",
        "CREATE TABLE customers (id int unsigned PRIMARY KEY, name varchar(20), since date NOT NULL DEFAULT '0000-00-00'); \
         INSERT INTO customers VALUES (1, 'Ann', '2024-02-29'), (2, 'ann', '2025-01-01'), (3, 'Bob', '0000-00-00')",
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    sqlite(
        &path.join("shop.db"),
        &[
            "create table orders (customer integer, total integer)",
            "insert into orders values (1, 10), (1, 5), (2, 7), (3, 1)",
        ],
    )
    .await;
    let federation = federation();
    let shop = serde_json::json!({"sqlite": {"path": "shop.db"}});
    attach(&federation, path, "shop", shop).await;
    let crm = serde_json::json!({"mysql": {
        "primary": {"host": "127.0.0.1", "port": server.port},
        "credentials": {"secretRef": {"name": "crm"}},
        "tls": {"mode": "Disable"},
    }});
    attach(&federation, path, "crm", crm).await;
    let cases: [(&str, &[&str]); 3] = [
        (
            "select c.name, sum(o.total) as total, max(c.since) as since from crm.crm.customers c \
             join shop.main.orders o on o.customer = c.id group by c.name order by c.name",
            &["Ann|15|2024-02-29", "Bob|1|", "ann|7|2025-01-01"],
        ),
        (
            "select o.total from shop.main.orders o join crm.crm.customers c on c.id = o.customer \
             where c.name = 'ann'",
            &["7"],
        ),
        (
            "select count(*) from crm.crm.customers where since is null",
            &["1"],
        ),
    ];
    let session = session(&federation, "lakegate");
    for pushdown in ["on", "off"] {
        session.settings().set("lakegate.pushdown", pushdown).unwrap();
        for (sql, expected) in cases {
            assert_eq!(rows(&session, sql).await, expected, "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_run_shows_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let federation = federation();
    attach(
        &federation,
        path,
        "lake",
        serde_json::json!({"lake": {"directory": {"path": "lake"}}}),
    )
    .await;
    let connected = session(&federation, "lake");
    let count = "select count(*) from lake.shop.orders";
    assert_eq!(try_rows(&connected, count).await.unwrap_err().sqlstate(), "42P01");
    let lake = Lake::open_directory(&path.join("lake")).await.unwrap();
    publish(&lake, "run-1", 3).await;
    for (database, sql) in [
        ("lakegate", count),
        ("lakegate", "select count(*) from lake__shop.orders"),
        ("lake", "select count(*) from shop.orders"),
    ] {
        assert_eq!(rows(&session(&federation, database), sql).await, ["3"], "{sql}");
    }
    // a plan that a client kept reads what is there when it runs
    let statement = lakegate_federation::parse("select * from shop.orders")
        .unwrap()
        .remove(0);
    let plan = connected.plan(statement, &[]).await.unwrap();
    publish(&lake, "run-2", 7).await;
    assert_eq!(rows(&connected, count).await, ["7"]);
    assert_eq!(drain(connected.execute(plan, "kept").unwrap()).await.unwrap(), 7);
    // one query sees one version of a table, however often it names it
    let twice = "select (select count(*) from shop.orders) = (select count(*) from lake.shop.orders) as same";
    assert_eq!(rows(&connected, twice).await, ["true"]);
}
