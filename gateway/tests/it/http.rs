//! Health and metrics.

use crate::support::{Answer, Server, request};

async fn ask(server: &Server, method: &str, path: &str) -> Answer {
    request(server.http, method, path, "", "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics() {
    let server = Server::start().await;
    assert_eq!(ask(&server, "GET", "/healthz").await.status, 200);
    assert_eq!(ask(&server, "GET", "/readyz").await.status, 503);
    server.http_state.set_ready();
    assert_eq!(ask(&server, "GET", "/readyz").await.status, 200);
    let metrics = ask(&server, "GET", "/metrics").await;
    assert_eq!(
        metrics.header("content-type"),
        ["text/plain; version=0.0.4; charset=utf-8"]
    );
    assert_eq!(metrics.text(), "lakegate_up 1\n");
    // nothing is started from here
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(&server, "POST", path).await.status, 405, "{path}");
    }
    assert_eq!(ask(&server, "GET", "/").await.status, 404);
}
