//! Health and metrics.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::Server;

async fn get(server: &Server, path: &str, method: &str) -> String {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics() {
    let server = Server::start().await;
    assert!(get(&server, "/healthz", "GET").await.starts_with("HTTP/1.1 200 "));
    assert!(get(&server, "/readyz", "GET").await.starts_with("HTTP/1.1 503 "));
    server.http_state.set_ready();
    assert!(get(&server, "/readyz", "GET").await.starts_with("HTTP/1.1 200 "));
    let metrics = get(&server, "/metrics", "GET").await;
    assert!(
        metrics.contains("text/plain; version=0.0.4") && metrics.ends_with("lakegate_up 1\n"),
        "{metrics}"
    );
    // nothing is started from here
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert!(
            get(&server, path, "POST").await.starts_with("HTTP/1.1 405 "),
            "{path}"
        );
    }
    assert!(get(&server, "/", "GET").await.starts_with("HTTP/1.1 404 "));
}
