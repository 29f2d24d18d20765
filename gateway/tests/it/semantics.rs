//! The SQL of a Postgres user, run on PostgreSQL and on the gateway side by side.
//!
//! `tests/semantics/*.sql` hold one statement a line. Columns' types, rows as text and SQLSTATEs must be equal.
//! A difference that is known is written below its statement, with the name under which `docs/sql.md` explains it:
//!
//! ```text
//! select 1.0 / 3
//! --! division-scale: numeric = 0.3333333333333333
//! ```
//!
//! Such a line must be exactly what the gateway answers, and PostgreSQL must answer otherwise: a difference that
//! went away fails, too. With `LAKEGATE_SEMANTICS_REPORT` naming a file, what differs is written there;
//! with `LAKEGATE_SEMANTICS_CASES` naming a folder, the statements are those in there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lakegate_federation::{Federation, SourceContext};
use lakegate_store::MemoryStore;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::postgres::{PASSWORD, PostgresServer, USER};
use crate::support::{Server, options};

/// One statement, and what is known to differ.
struct Case {
    file: String,
    line: usize,
    sql: String,
    known: Option<Known>,
}

struct Known {
    name: String,
    outcome: String,
}

fn directory() -> PathBuf {
    match std::env::var_os("LAKEGATE_SEMANTICS_CASES") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/semantics"),
    }
}

fn cases() -> Vec<Case> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "fixture"))
        .collect();
    files.sort();
    let mut cases: Vec<Case> = Vec::new();
    for path in files {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        for (index, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            if let Some(known) = line.strip_prefix("--! ") {
                let (name, outcome) = known
                    .split_once(": ")
                    .unwrap_or_else(|| panic!("{file}:{}: a name is missing", index + 1));
                cases.last_mut().unwrap().known = Some(Known {
                    name: name.to_owned(),
                    outcome: outcome.to_owned(),
                });
            } else if !line.starts_with("--") && !line.trim().is_empty() {
                cases.push(Case {
                    file: file.clone(),
                    line: index + 1,
                    sql: line.to_owned(),
                    known: None,
                });
            }
        }
    }
    cases
}

/// `int4, text = 1 | a ; 2 | NULL`, or `error 22012`.
pub async fn outcome(client: &Client, sql: &str) -> String {
    match answer(client, sql).await {
        Ok(answer) => answer,
        Err(error) => match error.code() {
            Some(code) => format!("error {}", code.code()),
            None => panic!("{sql}: {error:?}"),
        },
    }
}

async fn answer(client: &Client, sql: &str) -> Result<String, tokio_postgres::Error> {
    let statement = client.prepare(sql).await?;
    let types: Vec<&str> = statement
        .columns()
        .iter()
        .map(|column| column.type_().name())
        .collect();
    let messages = client.simple_query(sql).await?;
    let rows: Vec<String> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        })
        .map(|row| {
            let cells: Vec<String> = (0..row.len())
                .map(|index| {
                    row.get(index)
                        .map_or_else(|| "NULL".to_owned(), |cell| cell.escape_debug().to_string())
                })
                .collect();
            cells.join(" | ")
        })
        .collect();
    Ok(format!("{} = {}", types.join(", "), rows.join(" ; ")))
}

/// The server's own words, to tell apart what has one code.
async fn words(client: &Client, sql: &str) -> String {
    let error = match client.prepare(sql).await {
        Ok(_) => client.simple_query(sql).await.err(),
        Err(error) => Some(error),
    };
    error
        .and_then(|error| error.as_db_error().map(|error| error.message().to_owned()))
        .unwrap_or_default()
}

async fn settle(client: &Client) {
    client
        .batch_execute("set timezone = 'UTC'; set datestyle = 'ISO, MDY'; set intervalstyle = 'postgres'; set extra_float_digits = 1; set bytea_output = 'hex'")
        .await
        .unwrap();
}

/// Serves the database as the catalog `shop`.
pub async fn serve(server: &PostgresServer, database: &str) -> Server {
    let gateway = Server::with(options(), vec![]).await;
    let federation: &Arc<Federation> = &gateway.federation;
    federation.detach("shop");
    let secrets = MemoryStore::new();
    secrets.put_secret("default", "login", "username", USER);
    secrets.put_secret("default", "login", "password", PASSWORD);
    let spec = serde_json::from_value(serde_json::json!({"postgres": {
        "database": database,
        "primary": {"host": "127.0.0.1", "port": server.port},
        "credentials": {"secretRef": {"name": "login"}},
        "tls": {"mode": "Disable"},
    }}))
    .unwrap();
    let context = SourceContext {
        namespace: "default".into(),
        base_dir: std::env::temp_dir(),
        state_dir: std::env::temp_dir(),
        secrets: Arc::new(secrets),
        runtime: Arc::clone(federation.runtime_env()),
    };
    federation.attach("shop", &spec, &context).await.unwrap();
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_means_what_it_means_in_postgres() {
    let server = PostgresServer::shared();
    let postgres = server.database("semantics").await;
    let fixture = std::fs::read_to_string(directory().join("fixture.sql")).unwrap();
    postgres.batch_execute(&fixture).await.unwrap();
    let gateway = serve(&server, "semantics").await;
    let clients = [
        ("push-down on", gateway.client().await, "on"),
        ("push-down off", gateway.client().await, "off"),
    ];
    for (_, client, pushdown) in &clients {
        client
            .batch_execute(&format!("set lakegate.pushdown = {pushdown}"))
            .await
            .unwrap();
    }
    // So that what is compared below is computed by the store, and by the functions of the gateway.
    for (sql, request) in [
        (
            "select date_trunc('month', ts) as m, count(*) from things group by 1",
            "GROUP BY pg_catalog.date_trunc('month'",
        ),
        (
            "select i4 + i2 as s, count(*) from things group by 1",
            "GROUP BY (\"i4\" + \"i2\"::pg_catalog.int4)",
        ),
        (
            "select sum(n) filter (where t = 'a' or n < 0) from things",
            "FILTER (WHERE ((\"t\" = 'a'::pg_catalog.text) OR",
        ),
    ] {
        let plan = crate::tpch::rows(&clients[0].1, &format!("explain {sql}"))
            .await
            .unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains(request), "{sql}\n{plan}");
    }
    let mut report = String::new();
    let mut differences: BTreeMap<String, usize> = BTreeMap::new();
    let (mut compared, mut file) = (0, String::new());
    for case in cases() {
        if case.file != file {
            file.clone_from(&case.file);
            settle(&postgres).await;
            for (_, client, _) in &clients {
                settle(client).await;
            }
        }
        if case.sql.starts_with("set ") {
            postgres.batch_execute(&case.sql).await.unwrap();
            for (_, client, _) in &clients {
                client.batch_execute(&case.sql).await.unwrap();
            }
            continue;
        }
        compared += 1;
        let expected = outcome(&postgres, &case.sql).await;
        for (mode, client, _) in &clients {
            let actual = outcome(client, &case.sql).await;
            let wanted = case.known.as_ref().map_or(&expected, |known| &known.outcome);
            let gone = case.known.is_some() && actual == expected;
            if actual == *wanted && !gone {
                continue;
            }
            let words = words(client, &case.sql).await;
            let why = if gone {
                "the known difference is gone"
            } else {
                "differs"
            };
            let _ = writeln!(
                report,
                "{}:{} ({mode}) {why}\n  {}\n  PostgreSQL: {expected}\n  Lakegate:   {actual}  {words}",
                case.file, case.line, case.sql
            );
        }
        if let Some(known) = case.known {
            *differences.entry(known.name).or_default() += 1;
        }
    }
    if let Some(path) = std::env::var_os("LAKEGATE_SEMANTICS_REPORT") {
        std::fs::write(path, &report).unwrap();
    }
    println!("{compared} statements compared; known differences: {differences:?}");
    assert!(report.is_empty(), "{report}");
    let explained = explained();
    let known: BTreeSet<&str> = differences.keys().map(String::as_str).collect();
    let explained: BTreeSet<&str> = explained.iter().map(String::as_str).collect();
    assert_eq!(known, explained, "docs/sql.md must explain each known difference");
}

/// The differences that docs/sql.md explains: "* `name`: …" below its heading.
fn explained() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sql.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, list) = text
        .split_once("## Differences\n")
        .expect("docs/sql.md has a heading \"Differences\"");
    list.lines()
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("* `")?.split_once("`: "))
        .map(|(name, _)| name.to_owned())
        .collect()
}
