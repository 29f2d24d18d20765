//! Large results.

use crate::raw::{bind, execute, parse, query, sync};
use crate::support::Server;
use tokio::io::AsyncReadExt;

/// Bytes of this process in memory.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat() {
    let server = Server::start().await;
    let wide = "select value, repeat('x', 500) as wide from generate_series(1, 1000000) t(value)";
    let ways = [
        ("simple", query(wide)),
        (
            "extended",
            [parse("", wide, &[]), bind("", "", &[], 1), execute("", 0), sync()].concat(),
        ),
        ("copy", query(&format!("copy ({wide}) to stdout"))),
    ];
    for (name, way) in ways {
        let mut raw = server.raw().await;
        raw.simple("select 1").await;
        raw.send(&way).await;
        let before = resident();
        let (mut total, mut peak) = (0_u64, 0);
        let mut buffer = vec![0; 1 << 20];
        let mut tail = Vec::new();
        loop {
            let read = raw.stream.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "{name}");
            total += read as u64;
            peak = peak.max(resident().saturating_sub(before));
            tail.extend_from_slice(&buffer[read.saturating_sub(6)..read]);
            tail = tail.split_off(tail.len().saturating_sub(6));
            if tail == b"Z\0\0\0\x05I" {
                break;
            }
        }
        println!(
            "{name}: {} MiB sent, resident memory grew by at most {} MiB",
            total >> 20,
            peak >> 20
        );
        assert!(total > 500_000_000, "{name}: {total}");
        // other tests run in this process too; a result held in memory would be far beyond
        assert!(peak < 300 << 20, "{name}: {peak}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_the_query_back() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.send(&query(
        "select repeat('x', 1000) from generate_series(1, 100000000) t(value) where tick(value) > 0",
    ))
    .await;
    server.work_starts().await;
    let rows = server.back_pressure().await;
    assert!(rows < 1_000_000, "{rows}");
    // another session is not held back
    assert_eq!(
        server.raw().await.simple("select 1 as a").await,
        "T(a) D(1) C(SELECT 1) Z(I)"
    );
}
