//! A server that stays silent while its connections stay open: it hangs, or what is between has forgotten them.

use std::time::{Duration, Instant};

use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use serde_json::json;

use super::*;
use crate::silent::SilentProxy;

/// A connection that was read by is idle by then.
const BACK: Duration = Duration::from_millis(500);

/// A connector through a proxy, and a session over its tables that pushes nothing down.
async fn through(proxy: &SilentProxy, hold: bool) -> (Arc<dyn Connector>, SessionContext) {
    let extra = json!({"limits": {"statementTimeout": "5s"}});
    let spec = spec("127.0.0.1", proxy.port, "hangs", &extra);
    let connector = connector(spec, secrets(USER, PASSWORD)).await.unwrap();
    if hold {
        connector.hold();
    }
    let (_, raw) = sessions(&connector).await;
    (connector, raw)
}

/// What a read ends with, which must be within the statement timeout and what is added to it.
async fn given_up(mut stream: SendableRecordBatchStream, proxy: &SilentProxy) {
    let begun = Instant::now();
    let error = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error.to_string(),
            None => panic!("the stream ended as if all rows had come"),
        }
    };
    let took = begun.elapsed();
    let expected = format!("shop: 127.0.0.1:{} did not answer in 20 s", proxy.port);
    assert!(error.contains(&expected), "{error}");
    assert!((18..40).contains(&took.as_secs()), "{took:?}");
}

async fn start(session: &SessionContext, sql: &str) -> SendableRecordBatchStream {
    session.sql(sql).await.unwrap().execute_stream().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_server_that_stays_silent_is_given_up() {
    let server = PostgresServer::shared();
    let admin = server.database("hangs").await;
    admin
        .batch_execute(
            "CREATE TABLE t AS SELECT i, repeat('x', 400) AS pad FROM generate_series(1, 150000) i; \
             CREATE TABLE few AS SELECT i FROM generate_series(1, 10) i; \
             CREATE VIEW wide AS SELECT i, pad FROM t; ANALYZE",
        )
        .await
        .unwrap();
    // In the middle of the rows, of one reader and of several.
    let reading = async |table: &str| {
        let proxy = SilentProxy::start(server.port).await;
        let (_connector, session) = through(&proxy, false).await;
        let mut stream = start(&session, &format!("SELECT i, pad FROM {table}")).await;
        stream.next().await.unwrap().unwrap();
        proxy.be_silent();
        given_up(stream, &proxy).await;
        proxy.recover();
        let again = rows(&session, &format!("SELECT count(pad) FROM {table}")).await;
        assert_eq!(again.1, [[Some("150000".to_owned())]]);
    };
    // Before the first row, on a connection that is there.
    let asking = async |hold: bool| {
        let proxy = SilentProxy::start(server.port).await;
        let (_connector, session) = through(&proxy, hold).await;
        tokio::time::sleep(BACK).await;
        proxy.be_silent();
        given_up(start(&session, "SELECT i FROM few").await, &proxy).await;
        proxy.recover();
        let again = rows(&session, "SELECT count(i) FROM few").await;
        assert_eq!(again.1, [[Some("10".to_owned())]]);
    };
    let all = async {
        tokio::join!(reading("wide"), reading("t"), asking(false), asking(true));
    };
    tokio::time::timeout(Duration::from_secs(200), all)
        .await
        .expect("it hangs");
}
