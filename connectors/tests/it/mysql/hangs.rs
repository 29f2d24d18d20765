//! A server that stays silent while its connections stay open.

use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::json;

use super::*;
use crate::common::{failure, lines, sessions};
use crate::silent::SilentProxy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stays_silent_is_given_up() {
    let server = MariaDbServer::shared();
    server.database(
        "hangs",
        "CREATE TABLE t (i int, pad text); INSERT INTO t SELECT seq, REPEAT('x', 400) FROM seq_1_to_150000",
    );
    let proxy = SilentProxy::start(server.port).await;
    let limits = json!({"limits": {"statementTimeout": "5s"}});
    let spec = spec("127.0.0.1", proxy.port, Some("hangs"), &limits);
    let connector = connector(spec, secrets(USER, PASSWORD)).await.unwrap();
    let (_, session) = sessions(&connector).await;
    let expected = format!("shop: 127.0.0.1:{} did not answer in 20 s", proxy.port);

    // In the middle of the rows.
    let frame = session.sql("SELECT i, pad FROM t").await.unwrap();
    let mut stream = frame.execute_stream().await.unwrap();
    stream.next().await.unwrap().unwrap();
    proxy.be_silent();
    let begun = Instant::now();
    let error = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error.to_string(),
            None => panic!("the stream ended as if all rows had come"),
        }
    };
    assert!(error.contains(&expected), "{error}");
    assert!(
        (18..40).contains(&begun.elapsed().as_secs()),
        "{:?}",
        begun.elapsed()
    );
    proxy.recover();
    assert_eq!(lines(&session, "SELECT count(pad) FROM t").await, ["150000"]);

    // Before the first row, on a connection that is idle by then.
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.be_silent();
    let error = failure(&session, "SELECT count(pad) FROM t").await;
    assert!(error.contains(&expected), "{error}");
    proxy.recover();
    assert_eq!(lines(&session, "SELECT count(pad) FROM t").await, ["150000"]);
}
