//! The queries of TPC-H with their tables placed over different stores, compared with PostgreSQL's answers.
//!
//! Whatever the placement, and with push-down on and off, the answer is the one that PostgreSQL gives over all tables.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use lakegate_federation::SourceContext;
use lakegate_store::MemoryStore;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::mysql;
use crate::mysql::MariaDbServer;
use crate::postgres::{self, PostgresServer};
use crate::support::{Server, options};

const TABLES: [&str; 8] = [
    "region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem",
];

/// Which tables are read from MariaDB; the others are PostgreSQL's.
const PLACEMENTS: [(&str, &[&str]); 3] = [
    ("all in PostgreSQL", &[]),
    ("customers and orders in MariaDB", &["customer", "orders"]),
    (
        "what is joined with lineitem in MariaDB",
        &["customer", "supplier", "part", "nation"],
    ),
];

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tpch")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Each query with its name, its tables as `:name`.
fn queries() -> Vec<(String, String)> {
    let text = file("queries.sql");
    text.split("-- ")
        .filter_map(|part| part.split_once('\n'))
        .map(|(name, sql)| (name.to_owned(), sql.trim().trim_end_matches(';').to_owned()))
        .collect()
}

fn placed(sql: &str, name: impl Fn(&str) -> String) -> String {
    // Longer names first: `:part` begins `:partsupp`.
    let mut tables = TABLES;
    tables.sort_by_key(|table| std::cmp::Reverse(table.len()));
    tables.iter().fold(sql.to_owned(), |sql, table| {
        sql.replace(&format!(":{table}"), &name(table))
    })
}

/// The rows as text. Blanks at the end are PostgreSQL's padding of `char(n)`, which MariaDB does not send, and digits
/// behind the point of an average are as many as either side computes.
pub async fn rows(client: &Client, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    Ok(messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        })
        .map(|row| {
            let cells: Vec<String> = (0..row.len())
                .map(|index| row.get(index).map_or_else(|| "NULL".to_owned(), shown))
                .collect();
            cells.join("|")
        })
        .collect())
}

fn shown(cell: &str) -> String {
    match cell.split_once('.') {
        Some((whole, fraction))
            if fraction.len() > 12 && fraction.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            format!("{whole}.{}", &fraction[..12])
        }
        _ => cell.trim_end().to_owned(),
    }
}

fn remote_requests(plan: &str) -> usize {
    plan.matches("RemoteScanExec").count()
}

async fn serve(postgres: &PostgresServer, mariadb: &MariaDbServer) -> Server {
    let gateway = Server::with(options(), vec![]).await;
    let secrets = MemoryStore::new();
    for (name, user, password) in [
        ("postgres", postgres::USER, postgres::PASSWORD),
        ("mariadb", mysql::USER, mysql::PASSWORD),
    ] {
        secrets.put_secret("default", name, "username", user);
        secrets.put_secret("default", name, "password", password);
    }
    let secrets = Arc::new(secrets);
    let endpoint = |port: u16, secret: &str| {
        serde_json::json!({
            "database": "tpch",
            "primary": {"host": "127.0.0.1", "port": port},
            "credentials": {"secretRef": {"name": secret}},
            "tls": {"mode": "Disable"},
        })
    };
    for (catalog, spec) in [
        (
            "shop",
            serde_json::json!({"postgres": endpoint(postgres.port, "postgres")}),
        ),
        (
            "crm",
            serde_json::json!({"mysql": endpoint(mariadb.port, "mariadb")}),
        ),
    ] {
        gateway.federation.detach(catalog);
        let context = SourceContext {
            namespace: "default".into(),
            base_dir: std::env::temp_dir(),
            state_dir: std::env::temp_dir(),
            secrets: Arc::clone(&secrets) as _,
            runtime: Arc::clone(gateway.federation.runtime_env()),
        };
        let spec = serde_json::from_value(spec).unwrap();
        gateway.federation.attach(catalog, &spec, &context).await.unwrap();
    }
    gateway
}

/// The same rows in both servers.
async fn load(postgres: &Client, mariadb: &MariaDbServer) {
    let schema = file("schema.sql");
    postgres.batch_execute(&schema).await.unwrap();
    postgres.batch_execute(&file("data.sql")).await.unwrap();
    let mut statements = schema.clone();
    for table in TABLES {
        let rows = postgres
            .simple_query(&format!("select * from {table}"))
            .await
            .unwrap();
        for rows in rows.chunks(500) {
            let mut separator = format!(";\ninsert into {table} values ");
            for row in rows {
                let SimpleQueryMessage::Row(row) = row else {
                    continue;
                };
                let cells: Vec<String> = (0..row.len())
                    .map(|index| {
                        row.get(index)
                            .map_or_else(|| "NULL".to_owned(), |cell| format!("'{cell}'"))
                    })
                    .collect();
                let _ = write!(statements, "{separator}({})", cells.join(", "));
                ", ".clone_into(&mut separator);
            }
        }
    }
    mariadb.database("tpch", &statements);
    for table in TABLES {
        mariadb.sql("tpch", &format!("analyze table {table}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tpch_is_answered_alike_wherever_its_tables_are() {
    let server = PostgresServer::shared();
    let oracle = server.database("tpch").await;
    oracle.batch_execute("set datestyle = 'ISO, MDY'").await.unwrap();
    let mariadb = MariaDbServer::shared();
    load(&oracle, &mariadb).await;
    let gateway = serve(&server, &mariadb).await;
    let mut clients = Vec::new();
    for pushdown in ["on", "off"] {
        let client = gateway.client().await;
        client
            .batch_execute(&format!("set lakegate.pushdown = {pushdown}"))
            .await
            .unwrap();
        clients.push((pushdown, client));
    }
    let (mut compared, mut report) = (0, String::new());
    for (name, sql) in queries() {
        let expected = rows(&oracle, &placed(&sql, str::to_owned)).await.unwrap();
        if expected.is_empty() {
            let _ = writeln!(report, "{name} has no row to compare");
        }
        for (placement, elsewhere) in PLACEMENTS {
            let sql = placed(&sql, |table| {
                if elsewhere.contains(&table) {
                    format!("crm.tpch.{table}")
                } else {
                    format!("shop.public.{table}")
                }
            });
            for (pushdown, client) in &clients {
                compared += 1;
                match rows(client, &sql).await {
                    Ok(answered) if answered == expected => {}
                    Ok(answered) => {
                        let _ = writeln!(
                            report,
                            "{name}, {placement}, push-down {pushdown}:\n  PostgreSQL: {expected:?}\n  Lakegate:   {answered:?}"
                        );
                    }
                    Err(error) => {
                        let message = error
                            .as_db_error()
                            .map_or_else(|| error.to_string(), ToString::to_string);
                        let _ = writeln!(report, "{name}, {placement}, push-down {pushdown}: {message}");
                    }
                }
            }
        }
    }
    println!("TPC-H: {compared} answers compared with PostgreSQL's");
    assert!(report.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tpch_is_computed_where_the_rows_are() {
    let server = PostgresServer::shared();
    let oracle = server.database("tpch_plans").await;
    oracle.batch_execute(&file("schema.sql")).await.unwrap();
    oracle.batch_execute(&file("data.sql")).await.unwrap();
    let gateway = crate::semantics::serve(&server, "tpch_plans").await;
    let client = gateway.client().await;
    for (wanted, parts) in [
        (
            "q1",
            &["GROUP BY \"l_returnflag\", \"l_linestatus\"", "pg_catalog.sum("][..],
        ),
        ("q6", &["pg_catalog.sum((\"l_extendedprice\" * \"l_discount\")"]),
        ("top-n", &["ORDER BY", "LIMIT 10"]),
    ] {
        let (_, sql) = queries().into_iter().find(|(name, _)| name == wanted).unwrap();
        let sql = format!("explain {}", placed(&sql, str::to_owned));
        let plan = rows(&client, &sql).await.unwrap().join("\n");
        assert_eq!(remote_requests(&plan), 1, "{wanted}\n{plan}");
        for part in parts {
            assert!(plan.contains(part), "{wanted} has no {part}\n{plan}");
        }
        assert!(
            !plan.contains("AggregateExec") && !plan.contains("FilterExec"),
            "{wanted}\n{plan}"
        );
    }
}
