//! Exports of large tables: of one moment, and within the memory that they were given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::postgres_server::{PASSWORD, PostgresServer};
use crate::silent::SilentProxy;
use crate::support::{PATIENCE, Serve, Site, workers};

fn manifests(port: u16, exports: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: login}}
stringData: {{username: reader, password: {PASSWORD}}}
---
apiVersion: lakegate.dev/v1alpha1
kind: DataSource
metadata: {{name: shop}}
spec:
  postgres:
    database: postgres
    primary: {{host: 127.0.0.1, port: {port}}}
    credentials: {{secretRef: {{name: login}}}}
    tls: {{mode: Disable}}
---
apiVersion: lakegate.dev/v1alpha1
kind: DataSource
metadata: {{name: lake}}
spec: {{lake: {{directory: {{}}}}}}
{exports}"
    )
}

/// An Export of all columns of a table, with more of its spec.
fn export(table: &str, more: &str) -> String {
    format!(
        "---
apiVersion: lakegate.dev/v1alpha1
kind: Export
metadata: {{name: {table}}}
spec:
  from: {{sourceRef: {{name: shop}}, table: {{schema: public, name: {table}}}}}
  allColumns: {{}}
  destination: {{lakeRef: {{name: lake}}, schema: shop, table: {table}, targetFileSize: 16Mi}}
  {more}
"
    )
}

/// While an export is read by two connections, rows are changed, added and moved: what is published is the table of one
/// moment.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_of_one_moment_whoever_writes_meanwhile() {
    const ROWS: i64 = 60_000;
    let postgres = PostgresServer::start_new("log_statement=all");
    let admin = postgres.admin("postgres").await;
    admin
        .batch_execute(&format!(
            "CREATE TABLE accounts (id int PRIMARY KEY, moment int NOT NULL, balance int NOT NULL, filler text NOT NULL); \
             ALTER TABLE accounts ALTER filler SET STORAGE PLAIN; \
             INSERT INTO accounts SELECT i, 0, 100, repeat('x', 700) FROM generate_series(1, {ROWS}) i; \
             CREATE VIEW slow AS SELECT id, moment, pg_sleep(0.5)::text AS nothing FROM accounts WHERE id = 1; \
             CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'; GRANT SELECT ON accounts, slow TO reader; \
             ANALYZE accounts"
        ))
        .await
        .expect("a table of 48 MiB");
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let done = Arc::clone(&done);
        let admin = postgres.admin("postgres").await;
        async move {
            let mut moment: i64 = 0;
            while !done.load(Ordering::Acquire) {
                moment += 1;
                // Rows in the first block and in the last say which moment it is; two rows more a moment, and what one
                // account loses another has.
                let (from, to) = (moment * 7919 % ROWS + 1, moment * 104_729 % ROWS + 1);
                admin
                    .batch_execute(&format!(
                        "BEGIN; UPDATE accounts SET moment = {moment} WHERE id IN (1, {ROWS}); \
                         UPDATE accounts SET balance = balance - 1 WHERE id = {from}; \
                         UPDATE accounts SET balance = balance + 1 WHERE id = {to}; \
                         INSERT INTO accounts VALUES ({ROWS} + {moment} * 2, 0, 3, ''), ({ROWS} + {moment} * 2 + 1, 0, -3, ''); \
                         COMMIT"
                    ))
                    .await
                    .expect("a change");
            }
            moment
        }
    });

    let site = Site::empty();
    let resources = "parallelism: 2\n  schedule: {cron: \"0 3 1 1 *\", timeZone: UTC, runOnCreate: true}";
    // A join that the store is not asked for: one of its sides is read when the other has been.
    let pair = format!(
        "---
apiVersion: lakegate.dev/v1alpha1
kind: Export
metadata: {{name: pair}}
spec:
  from: {{query: \"select one.moment as one, other.moment as other, nothing from shop.public.slow one join \\
    shop.public.accounts other on md5(one.id::text) = md5(other.id::text)\"}}
  destination: {{lakeRef: {{name: lake}}, schema: shop, table: pair}}
  {resources}
"
    );
    let exports = format!("{}{pair}", export("accounts", resources));
    site.write("site.yaml", &manifests(postgres.port, &exports));
    let mut serve = site.serve();
    serve.expect_log("slow statement");
    let published = "select count(*) - 2 * max(moment), sum(balance), min(case when id = 1 then moment end) \
                     = min(case when id = 60000 then moment end), max(moment) > 0 from lake.shop.accounts";
    serve.sql_becomes("lakegate", published, &format!("{ROWS}|{}|t|t", ROWS * 100));
    let published = "select count(*), bool_and(one = other), min(one) > 0 from lake.shop.pair";
    serve.sql_becomes("lakegate", published, "1|t|t");
    done.store(true, Ordering::Release);
    let moments = writer.await.expect("the writer");
    let last = serve
        .sql("lakegate", "select max(moment) from lake.shop.accounts")
        .expect("a moment");
    assert!(
        last.parse::<i64>().expect("a number") < moments,
        "{last} of {moments}"
    );
    let shared = postgres.log().matches("SET TRANSACTION SNAPSHOT").count();
    assert!(shared > 0, "no other connection read");
    serve.stop();
}

/// The most memory of its own that a worker of the serve has until its export is published, in MiB. What it maps of the
/// binary is not counted: a debug build has several times as much, and the kernel takes it back when it must.
fn most_memory(serve: &Serve, published: &str, expected: &str) -> u64 {
    let done = Arc::new(AtomicBool::new(false));
    let watching = std::thread::spawn({
        let (done, serve) = (Arc::clone(&done), serve.id());
        move || {
            let mut most = 0;
            while !done.load(Ordering::Acquire) {
                for worker in workers(serve) {
                    let status =
                        std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap_or_default();
                    let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
                    let kibibytes =
                        own.and_then(|own| own.trim().trim_end_matches(" kB").parse::<u64>().ok());
                    most = most.max(kibibytes.unwrap_or(0) / 1024);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        }
    });
    let start = Instant::now();
    loop {
        let answer = serve.sql("lakegate", published);
        if answer.as_deref() == Ok(expected) {
            break;
        }
        // A debug build encodes slowly, and other tests have their share.
        assert!(start.elapsed() < 5 * PATIENCE, "{answer:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    done.store(true, Ordering::Release);
    watching.join().expect("the watcher")
}

/// The smallest limit, and tables that would not fit: 200 columns, and values of a megabyte.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_keeps_within_its_memory() {
    let postgres = PostgresServer::start_new("");
    let admin = postgres.admin("postgres").await;
    let columns: Vec<String> = (1..=200)
        .map(|column| match column % 4 {
            0 => format!("i * {column} AS number_{column}"),
            1 => format!("(i * {column})::numeric(12, 2) AS amount_{column}"),
            _ => format!("repeat(chr(97 + i % 26), 40) || i * {column} AS text_{column}"),
        })
        .collect();
    admin
        .batch_execute(&format!(
            "CREATE TABLE wide AS SELECT {} FROM generate_series(1, 8000) i; \
             CREATE TABLE large AS SELECT i, repeat(md5(i::text), 32768) AS text FROM generate_series(1, 150) i; \
             CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'; GRANT SELECT ON wide, large TO reader; ANALYZE",
            columns.join(", ")
        ))
        .await
        .expect("tables");
    for (table, published, expected) in [
        (
            "wide",
            "select count(*), sum(number_200), max(length(text_199)) from lake.shop.wide",
            "8000|6400800000|47",
        ),
        (
            "large",
            "select count(*), sum(i), sum(length(text)) from lake.shop.large",
            "150|11325|157286400",
        ),
    ] {
        let site = Site::empty();
        let resources = "resources: {limits: {memory: 256Mi}}\n  \
                         schedule: {cron: \"0 3 1 1 *\", timeZone: UTC, runOnCreate: true}";
        site.write("site.yaml", &manifests(postgres.port, &export(table, resources)));
        let mut serve = site.serve();
        // The state directory's own, on a machine that has much to do.
        serve.expect_log("slow statement");
        let most = most_memory(&serve, published, expected);
        // What is left of 256 MiB is the release binary's own code.
        assert!((1..=176).contains(&most), "{table}: {most} MiB");
        serve.stop();
    }
}

/// A store that stops answering in the middle of a run, its connections open, costs an attempt: that ends with the name of
/// the store, and the next one publishes the table.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_outlives_a_store_that_hangs() {
    let postgres = PostgresServer::start_new("");
    let admin = postgres.admin("postgres").await;
    admin
        .batch_execute(&format!(
            "CREATE VIEW slow AS SELECT i, (SELECT pg_sleep(2))::text AS nothing FROM generate_series(1, 1000) i; \
             CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'; GRANT SELECT ON slow TO reader"
        ))
        .await
        .expect("a view");
    let proxy = SilentProxy::start(postgres.port).await;
    let site = Site::empty();
    let more =
        "retry: {limit: 5, backoff: 1s}\n  schedule: {cron: \"0 3 1 1 *\", timeZone: UTC, runOnCreate: true}";
    let limits = "tls: {mode: Disable}\n    limits: {statementTimeout: 5s}";
    let text = manifests(proxy.port, &export("slow", more)).replace("tls: {mode: Disable}", limits);
    site.write("site.yaml", &text);
    let mut serve = site.serve();
    // The gateway's own looks at the store fail meanwhile.
    serve.expect_log("did not answer");
    let reading =
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'reader' AND wait_event = 'PgSleep'";
    let begun = Instant::now();
    while !admin
        .query_one(reading, &[])
        .await
        .expect("activity")
        .get::<_, bool>(0)
    {
        assert!(
            begun.elapsed() < PATIENCE,
            "no export reads\n{}",
            serve.log().join("\n")
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    proxy.be_silent();
    let told = format!(
        "select count(*) from lakegate.events \
         where message like 'attempt 1 failed%shop: 127.0.0.1:{} did not answer in 20 s'",
        proxy.port
    );
    serve.sql_becomes("lakegate", &told, "1");
    proxy.recover();
    let published = "select count(*), sum(i) from lake.shop.slow";
    serve.sql_becomes("lakegate", published, "1000|500500");
    serve.sql_becomes(
        "lakegate",
        "select state, attempts > 1, rows from lakegate.export_runs",
        "Complete|t|1000",
    );
    serve.stop();
}
