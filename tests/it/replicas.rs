//! A primary that nobody may read, and its replicas: from the manifest to psql.

use tokio_postgres::Client;

use crate::postgres_server::{PASSWORD, PostgresServer, USER};
use crate::support::{Serve, Site};

struct Shop {
    primary: PostgresServer,
    admin: Client,
    standby: PostgresServer,
    on_standby: Client,
    /// The port of a replica that is down.
    nobody: u16,
}

impl Shop {
    /// A view of a thousand rows that is slow until `knob` says otherwise.
    async fn open() -> Self {
        let primary = PostgresServer::start_new("log_connections=on");
        let admin = primary.admin("postgres").await;
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
        Self {
            primary,
            admin,
            standby,
            on_standby,
            nobody: crate::loopback::free_port(),
        }
    }

    /// A site that exports the view at once, from the replica.
    fn site(&self) -> Site {
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
  retry: {{limit: 5, backoff: 1s}}
  destination: {{lakeRef: {{name: lake}}, schema: shop, table: numbers}}
",
                primary = self.primary.port,
                standby = self.standby.port,
                nobody = self.nobody,
            ),
        );
        site
    }

    /// Until an export reads the view.
    async fn until_it_reads(&self, serve: &Serve) {
        let reading = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader' AND query LIKE '%nothing%' \
                       AND wait_event = 'PgSleep'";
        let mut waited = 0;
        while self
            .on_standby
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
    }

    /// Whoever begins to read the view from now on is not kept waiting.
    async fn hurry(&self) {
        self.admin
            .batch_execute("UPDATE knob SET pause = 0")
            .await
            .expect("the knob");
        let mut waited = 0;
        while self
            .on_standby
            .query_one("SELECT pause = 0 FROM knob", &[])
            .await
            .is_ok_and(|row| !row.get::<_, bool>(0))
        {
            waited += 1;
            assert!(waited < 600, "the standby does not follow");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Nobody but the tests' own user has ever come to the primary.
    fn assert_primary_was_left_alone(&self) {
        let log = self.primary.log();
        assert!(
            log.contains(&format!("connection authorized: user={USER}")),
            "{log}"
        );
        assert!(!log.contains("user=reader"), "{log}");
    }
}

/// A run that a conflict with recovery ended reads everything again, from the replica, and publishes it once.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_from_a_replica_outlives_a_conflict() {
    let shop = Shop::open().await;
    let site = shop.site();
    let serve = site.serve();
    shop.until_it_reads(&serve).await;
    shop.admin
        .batch_execute(
            "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; DELETE FROM t WHERE i % 10 = 0; UPDATE knob SET pause = 0; COMMIT",
        )
        .await
        .expect("a conflict");
    let changed: String = shop
        .admin
        .query_one("SELECT pg_current_wal_flush_lsn()::text", &[])
        .await
        .expect("a position")
        .get(0);

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
            "select replica = '127.0.0.1:{}', readable, problem is null from lakegate.replicas order by readable",
            shop.nobody
        ),
        "t|f|f\nf|t|t",
    );
    // What was read is what the replica had replayed, the conflict included.
    let recorded = "select summary->>'lakegate.source-positions' from lake.shop.\"numbers$snapshots\"";
    let recorded = serve.sql("lakegate", recorded).expect("the snapshot's summary");
    let sources: serde_json::Value = serde_json::from_str(&recorded).expect("JSON");
    let lsn = sources[0]["lsn"].as_str().expect("a position");
    assert_eq!(
        sources,
        serde_json::json!([{"catalog": "shop", "lsn": lsn, "replica": true}])
    );
    let between =
        format!("SELECT '{lsn}'::pg_lsn >= '{changed}' AND '{lsn}'::pg_lsn <= pg_last_wal_replay_lsn()");
    assert!(
        shop.on_standby
            .query_one(&between, &[])
            .await
            .expect("an order")
            .get::<_, bool>(0),
        "{lsn} {changed}"
    );
    serve.sql_becomes(
        "lakegate",
        "select ready, reason from lakegate.data_sources where name = 'shop'",
        "t|Available",
    );
    shop.assert_primary_was_left_alone();
    serve.stop();
}

/// A replica that dies in the middle of a run costs an attempt: nothing of it is published, and the next reads the table
/// as a whole from the replica that is back. The primary is not asked meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_outlives_its_replica() {
    let shop = Shop::open().await;
    let site = shop.site();
    let serve = site.serve();
    shop.until_it_reads(&serve).await;
    shop.hurry().await;
    shop.standby.kill();
    shop.admin
        .batch_execute("DELETE FROM t WHERE i > 500")
        .await
        .expect("a change");
    shop.standby.start();
    serve.sql_becomes(
        "lakegate",
        "select count(*), sum(i) from lake.shop.numbers",
        "500|125250",
    );
    serve.sql_becomes(
        "lakegate",
        "select state, attempts > 1, rows from lakegate.export_runs",
        "Complete|t|500",
    );
    shop.assert_primary_was_left_alone();
    serve.stop();
}

/// A column whose type changes while a run waits to read it again is either of the old or of the new type in the whole
/// table; one that goes fails the run by its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_changes_under_a_run_is_never_half_of_it() {
    let shop = Shop::open().await;
    let site = shop.site();
    let mut serve = site.serve();
    shop.until_it_reads(&serve).await;
    // The view's readers on the standby are ended by the change, for they hold it.
    shop.admin
        .batch_execute(
            "BEGIN; DROP VIEW slow; ALTER TABLE t ALTER i TYPE text USING 'n' || i; \
             CREATE VIEW slow AS SELECT i, ''::text AS nothing FROM t; GRANT SELECT ON slow TO reader; COMMIT",
        )
        .await
        .expect("another type");
    serve.sql_becomes(
        "lakegate",
        "select count(*), min(i), max(i) from lake.shop.numbers",
        "1000|n1|n999",
    );
    serve.sql_becomes(
        "lakegate",
        "select state, attempts > 1, rows from lakegate.export_runs",
        "Complete|t|1000",
    );
    shop.admin
        .batch_execute(
            "BEGIN; DROP VIEW slow; CREATE VIEW slow AS SELECT i AS j, ''::text AS nothing FROM t; \
             GRANT SELECT ON slow TO reader; COMMIT",
        )
        .await
        .expect("another name");
    let replayed = "SELECT pg_last_wal_replay_lsn() = pg_last_wal_receive_lsn()";
    while !shop
        .on_standby
        .query_one(replayed, &[])
        .await
        .expect("replayed")
        .get::<_, bool>(0)
    {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    serve.expect_log("a run failed");
    let failed = site.cli(&["run", "export/numbers"]);
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success(), "{said}");
    assert!(
        said.contains("spec.columns[0].name") && said.contains("\"i\""),
        "{said}"
    );
    assert_eq!(
        serve
            .sql("lakegate", "select count(*) from lake.shop.numbers")
            .as_deref(),
        Ok("1000"),
        "the table stays as it was"
    );
    serve.stop();
}
