//! SQL over HTTP: memory, clients that leave or do not read, time, errors behind the first rows.

use std::time::{Duration, Instant};

use lakegate_gateway::GatewayOptions;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http_query::{JSON, post, problem};
use crate::support::{ENDLESS, Server, eventually, options, request};

/// Bytes of this process in memory.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// A connection that has sent a query and read nothing.
async fn send(server: &Server, headers: &str, body: &serde_json::Value) -> TcpStream {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let body = body.to_string();
    let request = format!(
        "POST /v1/query HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{JSON}{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The end of a body that is whole.
const END: &[u8] = b"0\r\n\r\n";

/// Reads to the end and keeps nothing: how many bytes there were, and the last five.
async fn read(stream: &mut TcpStream, mut each: impl FnMut()) -> (u64, Vec<u8>) {
    let (mut total, mut tail) = (0, Vec::new());
    let mut buffer = vec![0; 1 << 20];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        total += length as u64;
        tail.extend_from_slice(&buffer[length.saturating_sub(END.len())..length]);
        tail = tail.split_off(tail.len().saturating_sub(END.len()));
        each();
    }
    (total, tail)
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_over_http() {
    let server = Server::start().await;
    let wide = "select value, repeat('x', 500) as wide from generate_series(1, 1000000) t(value)";
    for (format, headers) in [
        ("csv", ""),
        ("json", ""),
        ("arrow", ""),
        ("csv", "Accept-Encoding: gzip\r\n"),
    ] {
        let before = resident();
        let mut stream = send(&server, headers, &json!({"sql": wide, "format": format})).await;
        let mut peak = 0;
        let (total, tail) = read(&mut stream, || peak = peak.max(resident().saturating_sub(before))).await;
        println!(
            "{format} {headers:?}: {} MiB sent, resident memory grew by at most {} MiB",
            total >> 20,
            peak >> 20
        );
        assert_eq!(tail, END, "{format}");
        assert!(!headers.is_empty() || total > 500_000_000, "{format}: {total}");
        // other tests run in this process too; a result held in memory would be far beyond
        assert!(peak < 300 << 20, "{format}: {peak}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_holds_the_query_back_and_one_that_leaves_ends_it() {
    let server = Server::start().await;
    let rows = "select repeat('x', 1000) from generate_series(1, 100000000) t(value) where tick(value) > 0";
    for format in ["csv", "json", "arrow"] {
        let before = server.ticks.load(std::sync::atomic::Ordering::SeqCst);
        let mut stream = send(&server, "", &json!({"sql": rows, "format": format})).await;
        stream.read_exact(&mut [0; 4096]).await.unwrap();
        let seen = server.back_pressure().await;
        assert!(seen - before < 1_000_000, "{format}: {seen}");
        // it waits, and is known to run
        assert_eq!(server.federation.query_log().active().len(), 1);
        drop(stream);
        server.work_stops().await;
    }
    // also before there is a row
    let stream = send(&server, "", &json!({"sql": ENDLESS})).await;
    let before = server.ticks.load(std::sync::atomic::Ordering::SeqCst);
    eventually("the work starts", async || {
        server.ticks.load(std::sync::atomic::Ordering::SeqCst) > before
    })
    .await;
    let left = Instant::now();
    drop(stream);
    eventually("the query ends", async || {
        server.federation.query_log().active().is_empty()
    })
    .await;
    println!("ended {:?} after the client left", left.elapsed());
    assert!(left.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_behind_the_first_rows_is_no_short_result() {
    let server = Server::start().await;
    let late =
        "select 1000 / (400000 - value) as q, repeat('x', 100) from generate_series(1, 500000) t(value)";
    for (format, headers) in [
        ("csv", ""),
        ("json", ""),
        ("arrow", ""),
        ("json", "Accept-Encoding: gzip\r\n"),
    ] {
        let body = json!({"sql": late, "format": format}).to_string();
        let headers = format!("{JSON}{headers}");
        let answer = request(server.http, "POST", "/v1/query", &headers, &body).await;
        // rows have come, and the body has no end
        assert_eq!(answer.status, 200, "{format}");
        assert!(answer.body.len() > 100_000, "{format}: {}", answer.body.len());
        assert_eq!(answer.chunked(), None, "{format}");
    }
    // the server goes on
    assert_eq!(post(&server, "", &json!({"sql": "select 1"})).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_and_cancel_requests_end_a_query() {
    let server = Server::start().await;
    let body = json!({"sql": ENDLESS, "settings": {"statement_timeout": "300ms"}});
    let started = Instant::now();
    let answer = post(&server, "", &body).await;
    assert_eq!(problem(&answer), (504, "57014".to_owned()));
    assert!(started.elapsed() < Duration::from_secs(10));
    server.work_stops().await;
    // between rows, too
    let slow = "select repeat('x', 10000) from generate_series(1, 100000000) t(value)";
    let body = json!({"sql": slow, "format": "csv", "settings": {"statement_timeout": "500ms"}});
    let (total, tail) = read(&mut send(&server, "", &body).await, || ()).await;
    assert!(total > 0 && tail != END, "{total}");
    // another session ends it by the log of queries
    let mut waiting = send(&server, "", &json!({"sql": ENDLESS})).await;
    eventually("it runs", async || {
        server.federation.query_log().active().len() == 1
    })
    .await;
    let running = server.federation.query_log().active()[0].id;
    assert!(server.federation.query_log().cancel(running));
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\"sqlstate\":\"57014\""), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_whole_or_safely_is_refused() {
    let server = Server::start().await;
    // a body that ends with the connection
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    stream
        .write_all(b"GET /v1/views/all.csv HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains(" 505 "), "{answer}");
    // a page whose name was made to point here
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    stream
        .write_all(b"GET /v1/views/all.csv HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.contains(" 403 ") && answer.contains("--users FILE"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_take_places_and_shutdown_waits_for_them() {
    let few = GatewayOptions {
        max_connections: 1,
        drain: Duration::from_secs(30),
        ..options()
    };
    let server = Server::with(few, vec![]).await;
    let mut held = send(&server, "", &json!({"sql": "select value, repeat('x', 1000) from generate_series(1, 300000) t(value)", "format": "csv"})).await;
    eventually("it runs", async || {
        server.federation.query_log().active().len() == 1
    })
    .await;
    let answer = post(&server, "", &json!({"sql": "select 1"})).await;
    assert_eq!(problem(&answer), (503, "53300".to_owned()));
    server.shutdown.cancel();
    eventually("nothing new begins", async || {
        let answer = post(&server, "", &json!({"sql": "select 1"})).await;
        problem(&answer) == (503, "57P03".to_owned())
    })
    .await;
    // what runs is sent to its end
    let (total, tail) = read(&mut held, || ()).await;
    assert!(tail == END && total > 300_000_000, "{total}");
}
