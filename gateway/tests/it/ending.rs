//! Ways in which a statement or a session ends early.

use std::time::Duration;

use crate::raw::{Raw, bind, execute, parse, query, short, sync};
use crate::support::{ENDLESS, Server, eventually, options};
use lakegate_gateway::GatewayOptions;

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_stops_what_runs() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let ways = [
        query(ENDLESS),
        [
            parse("", ENDLESS, &[]),
            bind("", "", &[], 1),
            execute("", 0),
            sync(),
        ]
        .concat(),
        query(&format!("copy ({ENDLESS}) to stdout")),
    ];
    for way in ways {
        server.ticks.store(0, std::sync::atomic::Ordering::SeqCst);
        raw.send(&way).await;
        server.work_starts().await;
        // nobody else's secret will do
        Raw::cancel(server.address, raw.pid, raw.secret.wrapping_add(1)).await;
        Raw::cancel(server.address, raw.pid + 1, raw.secret).await;
        assert_eq!(server.federation.query_log().active().len(), 1);
        Raw::cancel(server.address, raw.pid, raw.secret).await;
        let messages = raw.until(|message| message.kind == 'Z').await;
        let error = messages.iter().find(|message| message.kind == 'E').unwrap();
        assert_eq!(error.sqlstate(), "57014");
        assert_eq!(
            error.field(b'M').as_deref(),
            Some("canceling statement due to user request")
        );
        server.work_stops().await;
        assert_eq!(raw.simple("select 1 as a").await, "T(a) D(1) C(SELECT 1) Z(I)");
    }
    // a request that comes too late hits nothing
    Raw::cancel(server.address, raw.pid, raw.secret).await;
    assert_eq!(raw.simple("select 1 as a").await, "T(a) D(1) C(SELECT 1) Z(I)");
}

#[tokio::test(flavor = "multi_thread")]
async fn drivers_cancel_too() {
    let server = Server::start().await;
    let client = server.client().await;
    let token = client.cancel_token();
    let running = tokio::spawn(async move { client.query(ENDLESS, &[]).await.map(|_| ()) });
    server.work_starts().await;
    token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "57014");
    server.work_stops().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_nobody_reads_is_cancelled_too() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.send(&query(
        "select repeat('x', 1000) from generate_series(1, 100000000) t(value) where tick(value) > 0",
    ))
    .await;
    server.work_starts().await;
    server.back_pressure().await;
    Raw::cancel(server.address, raw.pid, raw.secret).await;
    eventually("the query ends", async || {
        server.federation.query_log().active().is_empty()
    })
    .await;
    let last = raw.until(|message| message.kind == 'Z').await;
    assert_eq!(short(&last[last.len() - 2..]), "E(57014) Z(I)");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statement_timeout_stops_what_runs() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.simple("set statement_timeout = '200ms'").await;
    assert!(raw.simple(ENDLESS).await.ends_with("E(57014) Z(I)"));
    let extended = raw
        .asked(&[
            parse("", ENDLESS, &[]),
            bind("", "", &[], 0),
            execute("", 0),
            sync(),
        ])
        .await;
    assert_eq!(extended, "1 2 E(57014) Z(I)");
    server.work_stops().await;
    raw.simple("begin; set local statement_timeout = 0").await;
    assert_eq!(
        raw.simple("show statement_timeout").await,
        "T(statement_timeout) D(0) C(SHOW) Z(T)"
    );
    raw.simple("commit").await;
    assert_eq!(
        raw.simple("show statement_timeout").await,
        "T(statement_timeout) D(200ms) C(SHOW) Z(I)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_of_a_portal_has_the_time_for_itself() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.simple("begin; set statement_timeout = '1s'").await;
    let numbers = "select value from generate_series(1, 100000000) t(value) where tick(value) > 0";
    let opened = raw
        .asked(&[
            parse("", numbers, &[]),
            bind("p", "", &[], 0),
            execute("p", 1),
            sync(),
        ])
        .await;
    assert!(
        opened.starts_with("1 2 D(") && opened.ends_with(") s Z(T)"),
        "{opened}"
    );
    // the client thinks for longer than a statement may take
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let next = raw.asked(&[execute("p", 1), sync()]).await;
    assert!(next.starts_with("D(") && next.ends_with(") s Z(T)"), "{next}");
    // this part takes too long
    let messages = raw.ask(&[execute("p", 90_000_000), sync()].concat()).await;
    assert_eq!(short(&messages[messages.len() - 2..]), "E(57014) Z(E)");
    server.work_stops().await;
    raw.simple("rollback").await;
    // cursors are portals
    raw.simple(&format!(
        "begin; set statement_timeout = '1s'; declare c cursor for {numbers}; fetch 1 from c"
    ))
    .await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let next = raw.simple("fetch 1 from c").await;
    assert!(
        next.starts_with("T(value) D(") && next.ends_with(") C(FETCH 1) Z(T)"),
        "{next}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_end_when_they_are_told_to() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.simple("set idle_session_timeout = '300ms'").await;
    let last = raw.next().await.unwrap();
    assert_eq!(
        (last.sqlstate().as_str(), last.field(b'S').as_deref()),
        ("57P05", Some("FATAL"))
    );
    let mut raw = server.raw().await;
    raw.simple("set idle_in_transaction_session_timeout = '300ms'; begin")
        .await;
    assert_eq!(raw.next().await.unwrap().sqlstate(), "25P03");
    assert_eq!(raw.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_stops_its_work() {
    let server = Server::start().await;
    let ways = [
        query(ENDLESS),
        [
            parse("", ENDLESS, &[]),
            bind("", "", &[], 1),
            execute("", 0),
            sync(),
        ]
        .concat(),
        // it stopped reading long before
        query("select repeat('x', 1000) from generate_series(1, 100000000) t(value) where tick(value) > 0"),
    ];
    for way in ways {
        server.ticks.store(0, std::sync::atomic::Ordering::SeqCst);
        let mut raw = server.raw().await;
        raw.send(&way).await;
        server.work_starts().await;
        drop(raw);
        server.work_stops().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_room_for_so_many() {
    let limited = GatewayOptions {
        max_connections: 2,
        ..options()
    };
    let server = Server::with(limited, vec![]).await;
    let first = server.raw().await;
    let _second = server.raw().await;
    let mut third = Raw::connect(server.address).await;
    let refused = third.start(&[("user", "ann")]).await.pop().unwrap();
    assert_eq!(refused.sqlstate(), "53300");
    assert_eq!(
        refused.field(b'M').as_deref(),
        Some("sorry, too many clients already")
    );
    // a cancel request needs no room
    Raw::cancel(server.address, first.pid, first.secret).await;
    drop(first);
    eventually("there is room again", async || {
        let mut raw = Raw::connect(server.address).await;
        raw.start(&[("user", "ann")]).await.pop().unwrap().kind == 'Z'
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_idle_sessions_and_waits_for_statements() {
    let mut server = Server::start().await;
    let mut idle = server.raw().await;
    let mut busy = server.raw().await;
    busy.send(&query(
        "select count(tick(value)) as n from generate_series(1, 3000000) t(value)",
    ))
    .await;
    server.work_starts().await;
    server.shutdown.cancel();
    let last = idle.next().await.unwrap();
    assert_eq!(
        (last.sqlstate().as_str(), last.field(b'S').as_deref()),
        ("57P01", Some("FATAL"))
    );
    assert_eq!(idle.next().await, None);
    let answer = short(&busy.until(|message| message.kind == 'Z').await);
    assert_eq!(answer, "T(n) D(3000000) C(SELECT 1) Z(I)");
    assert_eq!(busy.next().await.unwrap().sqlstate(), "57P01");
    tokio::time::timeout(Duration::from_mins(1), &mut server.task)
        .await
        .unwrap()
        .unwrap();
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_cancels_what_does_not_end() {
    let mut server = Server::start().await;
    let mut busy = server.raw().await;
    busy.send(&query(ENDLESS)).await;
    server.work_starts().await;
    server.shutdown.cancel();
    let messages = busy.until(|_| false).await;
    assert_eq!(messages.last().unwrap().sqlstate(), "57P01");
    tokio::time::timeout(Duration::from_mins(1), &mut server.task)
        .await
        .unwrap()
        .unwrap();
    server.work_stops().await;
}
