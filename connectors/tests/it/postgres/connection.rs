//! Connections: failures in words, limits, cancelling, coming back.

use std::fmt::Write as _;
use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use tokio_postgres::Client;

use super::*;
use crate::loopback::{certificates, free_port};

/// Every text an error can show, with its causes.
fn all_texts(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _ = write!(text, " {inner} {inner:?}");
        cause = inner.source();
    }
    text
}

async fn probe_failure(spec: Value, secrets: MemoryStore) -> (String, String) {
    let connector = connector(spec, secrets).await.unwrap();
    let error = connector.probe().await.unwrap_err();
    let texts = all_texts(&error);
    assert!(!texts.contains(PASSWORD), "{texts}");
    assert!(!texts.contains("wrong-canary"), "{texts}");
    let debug = format!("{connector:?}");
    assert!(!debug.contains(PASSWORD), "{debug}");
    let variant = format!("{error:?}");
    let variant = variant.split([' ', '{']).next().unwrap_or_default().to_owned();
    (variant, error.to_string())
}

#[tokio::test]
async fn failures_name_the_source_and_the_server() {
    let server = PostgresServer::shared();
    let port = server.port;
    let nobody = free_port();
    let none = json!({});
    let require = json!({"tls": {"mode": "Require"}});
    let cases = [
        (
            spec("127.0.0.1", nobody, "postgres", &none),
            secrets(USER, PASSWORD),
            "Unreachable",
            "refused",
        ),
        (
            spec("no-such-host.invalid", port, "postgres", &none),
            secrets(USER, PASSWORD),
            "Unreachable",
            "no-such-host.invalid",
        ),
        (
            spec("127.0.0.1", port, "postgres", &none),
            secrets(USER, "wrong-canary"),
            "AccessDenied",
            "password authentication failed",
        ),
        (
            spec("127.0.0.1", port, "no_such_database", &none),
            secrets(USER, PASSWORD),
            "Unreachable",
            "no_such_database",
        ),
        (
            spec("127.0.0.1", port, "postgres", &require),
            secrets(USER, PASSWORD),
            "TlsFailed",
            "does not support TLS",
        ),
        (
            spec("127.0.0.1", port, "postgres", &none),
            MemoryStore::new(),
            "SecretUnusable",
            "login",
        ),
    ];
    for (spec, secrets, variant, words) in cases {
        let place = format!(
            "{}:{}",
            spec["postgres"]["primary"]["host"].as_str().unwrap(),
            spec["postgres"]["primary"]["port"]
        );
        let (actual, message) = probe_failure(spec, secrets).await;
        assert_eq!(actual, variant, "{message}");
        assert!(message.starts_with("shop: "), "{message}");
        assert!(message.contains(words), "{message}");
        if variant != "SecretUnusable" {
            assert!(message.contains(&place), "{message}");
        }
    }
}

#[tokio::test]
async fn tls_modes() {
    let server = PostgresServer::start_new("");
    let authority = server.enable_tls();
    let other_directory = tempfile::tempdir().unwrap();
    let other = certificates(other_directory.path());
    let verify = json!({"tls": {"mode": "VerifyFull", "caSecretRef": {"name": "ca", "key": "ca.crt"}}});
    let with_authority = |pem: &str| {
        let secrets = secrets(USER, PASSWORD);
        secrets.put_secret("default", "ca", "ca.crt", pem);
        secrets
    };

    for (host, extra) in [
        ("127.0.0.1", json!({"tls": {"mode": "Require"}})),
        ("localhost", verify.clone()),
    ] {
        let spec = spec(host, server.port, "postgres", &extra);
        let connector = connector(spec, with_authority(&authority)).await.unwrap();
        let tables = connector.discover().await.unwrap();
        assert_eq!(tables.len(), 0);
        let admin = server.admin("postgres").await;
        let encrypted: i64 = admin
            .query_one(
                "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
                 WHERE s.ssl AND a.application_name = 'lakegate'",
                &[],
            )
            .await
            .unwrap()
            .get(0);
        assert_eq!(encrypted, 1, "{host}");
        drop(connector);
        wait_for(
            &admin,
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'lakegate'",
        )
        .await;
    }

    for (host, pem, words) in [
        ("localhost", other.as_str(), "invalid peer certificate"),
        // The certificate is for localhost only.
        ("127.0.0.1", authority.as_str(), "127.0.0.1"),
        ("localhost", "not a certificate", "no certificate in it"),
    ] {
        let spec = spec(host, server.port, "postgres", &verify);
        let (variant, message) = probe_failure(spec, with_authority(pem)).await;
        assert_eq!(variant, "TlsFailed", "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again() {
    let server = PostgresServer::start_new("");
    let admin = server.database("restart").await;
    admin
        .batch_execute("CREATE TABLE t AS SELECT i FROM generate_series(1, 10) i")
        .await
        .unwrap();
    let connector = connector_of(&server, "restart", json!({})).await;
    let (session, _) = sessions(&connector).await;
    let count = "SELECT count(*) FROM t";
    let ten = vec![vec![Some("10".to_owned())]];
    assert_eq!(rows(&session, count).await.1, ten);
    server.stop();
    let error = collect(&session, count).await.unwrap_err();
    assert!(
        error.to_string().contains("cannot connect to 127.0.0.1:"),
        "{error}"
    );
    server.start();
    assert_eq!(rows(&session, count).await.1, ten);
    // A connection that died unnoticed while idle: the first query after it
    // does not fail.
    for _ in 0..3 {
        server
            .admin("restart")
            .await
            .batch_execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lakegate'",
            )
            .await
            .unwrap();
        assert_eq!(rows(&session, count).await.1, ten);
    }
}

/// Waits until a query answers true: for what the server does in its own time.
async fn wait_for(admin: &Client, condition: &str) {
    for _ in 0..600 {
        if admin.query_one(condition, &[]).await.unwrap().get(0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never became true: {condition}");
}

#[tokio::test]
async fn dropping_the_stream_stops_the_query() {
    let server = PostgresServer::shared();
    let admin = server.database("cancel").await;
    admin
        .batch_execute(
            "CREATE VIEW slow AS SELECT i FROM generate_series(1, 1000000) i, LATERAL (SELECT pg_sleep(0.001)) s; \
             CREATE VIEW wide AS SELECT repeat('x', 10000) AS x FROM generate_series(1, 1000000); \
             CREATE VIEW silent AS SELECT 1 AS x FROM pg_sleep(600)",
        )
        .await
        .unwrap();
    let limits = json!({"limits": {"maxConnections": 1}});
    let connector = connector_of(&server, "cancel", limits).await;
    let (session, _) = sessions(&connector).await;
    let running = "SELECT count(*) = 0 FROM pg_stat_activity \
                   WHERE datname = 'cancel' AND application_name = 'lakegate' AND state = 'active'";

    // While rows flow and nobody takes them.
    let mut stream = session
        .sql("SELECT x FROM wide")
        .await
        .unwrap()
        .execute_stream()
        .await
        .unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    wait_for(&admin, running).await;

    // Before the first row.
    let frame = session.sql("SELECT x FROM silent").await.unwrap();
    let task = tokio::spawn(frame.collect());
    wait_for(
        &admin,
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = 'cancel' AND state = 'active' \
         AND query LIKE 'COPY%silent%'",
    )
    .await;
    task.abort();
    wait_for(&admin, running).await;

    // A local LIMIT ends a scan early in the same way; with one connection at
    // most, each query here needs the one before it to be truly over.
    for _ in 0..3 {
        let sql = "SELECT i FROM slow WHERE i % 2 = 0 LIMIT 1";
        assert_eq!(rows(&session, sql).await.1, [[Some("2".to_owned())]]);
    }
}

#[tokio::test]
async fn parallel_queries_keep_to_the_limit() {
    let server = PostgresServer::shared();
    let admin = server.database("parallel").await;
    admin
        .batch_execute("CREATE VIEW v AS SELECT 1 AS x FROM pg_sleep(0.2)")
        .await
        .unwrap();
    let limits = json!({"limits": {"maxConnections": 2}});
    let connector = connector_of(&server, "parallel", limits).await;
    let (session, _) = sessions(&connector).await;
    let queries: Vec<_> = (0..10)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { rows(&session, "SELECT x FROM v").await.1.len() })
        })
        .collect();
    let mut most = 0;
    while !queries.iter().all(tokio::task::JoinHandle::is_finished) {
        let open: i64 = admin
            .query_one(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = 'parallel' AND application_name = 'lakegate'",
                &[],
            )
            .await
            .unwrap()
            .get(0);
        most = most.max(open);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for query in queries {
        assert_eq!(query.await.unwrap(), 1);
    }
    assert_eq!(most, 2);
}

#[tokio::test]
async fn timeouts_say_which_limit() {
    let server = PostgresServer::shared();
    let admin = server.database("timeouts").await;
    admin
        .batch_execute("CREATE VIEW v AS SELECT 1 AS x FROM pg_sleep(600)")
        .await
        .unwrap();
    let limits = json!({"limits": {"maxConnections": 1, "statementTimeout": "1s"}});
    let connector = connector_of(&server, "timeouts", limits).await;
    let (session, _) = sessions(&connector).await;
    let error = collect(&session, "SELECT x FROM v")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("limits.statementTimeout"), "{error}");
    assert!(error.contains("shop: ") && error.contains("1000 ms"), "{error}");

    // The only connection is held by a stream nobody reads on.
    let limits = json!({"limits": {"maxConnections": 1, "statementTimeout": "2s"}});
    let connector = connector_of(&server, "timeouts", limits).await;
    admin
        .batch_execute("CREATE VIEW wide AS SELECT repeat('x', 10000) AS x FROM generate_series(1, 100000)")
        .await
        .unwrap();
    let (session, _) = sessions(&connector).await;
    let wide = session.table("wide").await.unwrap();
    let mut held = wide.execute_stream().await.unwrap();
    held.next().await.unwrap().unwrap();
    let error = collect(&session, "SELECT x FROM v")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("limits.maxConnections"), "{error}");
    drop(held);
}
