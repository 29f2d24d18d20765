//! A primary that nobody may read, and its replicas: from the manifest to psql.

use crate::postgres_server::{PASSWORD, PostgresServer, USER};
use crate::support::Site;

/// A run that a conflict with recovery ended reads everything again, from the replica, and publishes it once.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_from_a_replica_outlives_a_conflict() {
    let primary = PostgresServer::start_new("log_connections=on");
    let admin = primary.admin("postgres").await;
    // The view is slow until the conflict has come.
    admin
        .batch_execute(&format!(
            "CREATE TABLE knob (pause float8); INSERT INTO knob VALUES (0.2); \
             CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i; \
             CREATE VIEW slow AS SELECT i, pg_sleep((SELECT pause FROM knob))::text AS nothing FROM t; \
             CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'; \
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"
        ))
        .await
        .expect("tables");
    let standby = primary.standby("hot_standby_feedback=off\nmax_standby_streaming_delay=0");
    let on_standby = standby.admin("postgres").await;
    let nobody = crate::loopback::free_port();

    let site = Site::empty();
    site.write(
        "site.yaml",
        &format!(
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
    primary: {{host: 127.0.0.1, port: {primary}}}
    replicas: [{{host: 127.0.0.1, port: {nobody}}}, {{host: 127.0.0.1, port: {standby}}}]
    credentials: {{secretRef: {{name: login}}}}
    tls: {{mode: Disable}}
---
apiVersion: lakegate.dev/v1alpha1
kind: DataSource
metadata: {{name: lake}}
spec: {{lake: {{directory: {{}}}}}}
---
apiVersion: lakegate.dev/v1alpha1
kind: Export
metadata: {{name: numbers}}
spec:
  from: {{sourceRef: {{name: shop}}, table: {{schema: public, name: slow}}}}
  columns: [{{name: i}}, {{name: nothing}}]
  schedule: {{cron: \"0 3 * * *\", timeZone: UTC, runOnCreate: true}}
  retry: {{limit: 3, backoff: 1s}}
  destination: {{lakeRef: {{name: lake}}, schema: shop, table: numbers}}
",
            primary = primary.port,
            standby = standby.port,
        ),
    );
    let serve = site.serve();

    let reading = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader' AND query LIKE '%nothing%' \
                   AND wait_event = 'PgSleep'";
    let mut waited = 0;
    while on_standby
        .query_one(reading, &[])
        .await
        .expect("activity")
        .get::<_, i64>(0)
        == 0
    {
        waited += 1;
        assert!(waited < 1200, "no export reads\n{}", serve.log().join("\n"));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    admin
        .batch_execute(
            "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; DELETE FROM t WHERE i % 10 = 0; UPDATE knob SET pause = 0; COMMIT",
        )
        .await
        .expect("a conflict");

    serve.sql_becomes(
        "lakegate",
        "select count(*), sum(i) from lake.shop.numbers",
        "900|450000",
    );
    serve.sql_becomes(
        "lakegate",
        "select state, attempts, rows from lakegate.export_runs",
        "Complete|2|900",
    );
    // One replica is down, the other reads; the primary has seen nobody.
    serve.sql_becomes(
        "lakegate",
        &format!(
            "select replica = '127.0.0.1:{nobody}', readable, problem is null from lakegate.replicas order by readable"
        ),
        "t|f|f\nf|t|t",
    );
    serve.sql_becomes(
        "lakegate",
        "select ready, reason from lakegate.data_sources where name = 'shop'",
        "t|Available",
    );
    let log = primary.log();
    assert!(
        log.contains(&format!("connection authorized: user={USER}")),
        "{log}"
    );
    assert!(!log.contains("user=reader"), "{log}");
    serve.stop();
}
