//! Messages and their order.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::raw::{Raw, bind, close, describe, execute, frame, parse, query, short, start_up, sync};
use crate::support::{ENDLESS, Server};

#[tokio::test(flavor = "multi_thread")]
async fn start_up_tells_what_postgres_tells() {
    let server = Server::start().await;
    let mut raw = Raw::connect(server.address).await;
    let messages = raw
        .start(&[
            ("user", "ann"),
            ("database", "shop"),
            ("application_name", "test"),
            ("options", "-c statement_timeout=5s -c TimeZone=Asia/Seoul"),
        ])
        .await;
    let told = short(&messages);
    for status in [
        "S(server_version=15.",
        "S(server_encoding=UTF8)",
        "S(client_encoding=UTF8)",
        "S(DateStyle=ISO, MDY)",
        "S(TimeZone=Asia/Seoul)",
        "S(integer_datetimes=on)",
        "S(standard_conforming_strings=on)",
        "S(application_name=test)",
        "S(IntervalStyle=postgres)",
        "S(is_superuser=off)",
        "S(session_authorization=ann)",
    ] {
        assert!(told.contains(status), "{status} in {told}");
    }
    assert!(told.starts_with("R ") && told.ends_with(" K Z(I)"), "{told}");
    assert_ne!(raw.pid, 0);
    assert_eq!(
        raw.simple("show statement_timeout").await,
        "T(statement_timeout) D(5s) C(SHOW) Z(I)"
    );
    assert_eq!(
        raw.simple("select current_database(), current_user, pg_backend_pid()")
            .await,
        format!(
            "T(current_database,current_user,pg_backend_pid) D(shop,ann,{}) C(SELECT 1) Z(I)",
            raw.pid
        )
    );
}

/// Start-up parameters, SQLSTATE and message.
type Refused<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn start_up_refuses_with_a_reason() {
    let server = Server::start().await;
    let cases: [Refused<'_>; 5] = [
        (
            &[("user", "ann"), ("database", "nope")],
            "3D000",
            "database \"nope\" does not exist",
        ),
        (
            &[("database", "shop")],
            "28000",
            "no PostgreSQL user name specified in startup packet",
        ),
        (
            &[("user", "ann"), ("database", "shop"), ("nonsense", "1")],
            "42704",
            "unrecognized configuration parameter \"nonsense\"",
        ),
        (
            &[("user", "ann"), ("options", "-c server_version=16")],
            "55P02",
            "parameter \"server_version\" cannot be changed",
        ),
        (
            &[("user", "ann"), ("replication", "database")],
            "0A000",
            "replication is not supported",
        ),
    ];
    for (parameters, code, message) in cases {
        let mut raw = Raw::connect(server.address).await;
        let last = raw.start(parameters).await.pop().unwrap();
        assert_eq!(
            (last.sqlstate().as_str(), last.field(b'M').as_deref()),
            (code, Some(message))
        );
        assert_eq!(last.field(b'S').as_deref(), Some("FATAL"));
        assert_eq!(raw.next().await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_and_versions_are_negotiated() {
    let server = Server::start().await;
    let mut raw = Raw::connect(server.address).await;
    for code in [80_877_104_u32, 80_877_103] {
        raw.send(&[8_u32.to_be_bytes(), code.to_be_bytes()].concat())
            .await;
        assert_eq!(raw.stream.read_u8().await.unwrap(), b'N');
    }
    // a newer minor version and an option nobody knows are negotiated away
    raw.send(&start_up(196_610, &[("user", "ann"), ("_pq_.future", "1")]))
        .await;
    let messages = raw.until(|message| message.kind == 'Z').await;
    assert_eq!(messages[0].kind, 'v');
    assert_eq!(&messages[0].body, b"\0\x03\0\0\0\0\0\x01_pq_.future\0");
    assert_eq!(raw.simple("select 1").await, "T(?column?) D(1) C(SELECT 1) Z(I)");
    let mut old = Raw::connect(server.address).await;
    old.send(&start_up(131_072, &[])).await;
    assert_eq!(old.next().await.unwrap().sqlstate(), "0A000");
}

#[tokio::test(flavor = "multi_thread")]
async fn simple_queries() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let cases = [
        ("", "I Z(I)"),
        (" ; -- nothing", "I Z(I)"),
        ("select 1 as a, null as b", "T(a,b) D(1,NULL) C(SELECT 1) Z(I)"),
        (
            "select 1 as a; select 2 as b;",
            "T(a) D(1) C(SELECT 1) T(b) D(2) C(SELECT 1) Z(I)",
        ),
        // what ran before the error is answered, what follows it is not
        (
            "select 1 as a; select 1/0 as b; select 3 as c",
            "T(a) D(1) C(SELECT 1) T(b) E(22012) Z(I)",
        ),
        (
            "select 1 as a; select nope; select 3",
            "T(a) D(1) C(SELECT 1) E(42703) Z(I)",
        ),
        // nothing runs of a text with a syntax error
        ("select 1 as a; selec 2", "E(42601) Z(I)"),
        (
            "select id from orders where id > 3 order by id",
            "T(id) D(4) D(5) C(SELECT 2) Z(I)",
        ),
        ("select id from orders where false", "T(id) C(SELECT 0) Z(I)"),
        (
            "select count(*) from shop.public.orders o join crm.main.customers c on o.id = c.id",
            "T(count) D(5) C(SELECT 1) Z(I)",
        ),
        ("values (1, 'x')", "T(column1,column2) D(1,x) C(SELECT 1) Z(I)"),
        (
            "explain select 1 as a",
            "T(QUERY PLAN) D(ProjectionExec: expr=[1 as a]) D(  PlaceholderRowExec) C(EXPLAIN) Z(I)",
        ),
        ("select $1", "E(42P02) Z(I)"),
    ];
    for (sql, expected) in cases {
        assert_eq!(raw.simple(sql).await, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_extended_protocol() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let answer = raw
        .asked(&[
            parse("s", "select id, name from orders where id <= $1 order by id", &[]),
            describe('S', "s"),
            bind("", "s", &[Some("2")], 0),
            describe('P', ""),
            execute("", 0),
            sync(),
        ])
        .await;
    assert_eq!(
        answer,
        "1 t(20) T(id,name) 2 T(id,name) D(1,a) D(2,b,\"c\") C(SELECT 2) Z(I)"
    );
    // the statement stays, the portal is gone
    assert_eq!(raw.asked(&[execute("", 0), sync()]).await, "E(34000) Z(I)");
    // two in one pipeline, binary
    let messages = raw
        .ask(
            &[
                bind("", "s", &[Some("1")], 1),
                execute("", 0),
                bind("", "s", &[None], 0),
                execute("", 0),
                sync(),
            ]
            .concat(),
        )
        .await;
    assert_eq!(messages[1].values()[0].as_deref(), Some(&1_i64.to_be_bytes()[..]));
    assert_eq!(short(&messages[2..]), "C(SELECT 1) 2 C(SELECT 0) Z(I)");
    // an error skips to Sync, and only to there
    let answer = raw
        .asked(&[
            parse("", "select nope", &[]),
            bind("", "", &[], 0),
            execute("", 0),
            sync(),
            query("select 1 as a"),
        ])
        .await;
    assert_eq!(answer, "E(42703) Z(I)");
    assert_eq!(
        short(&raw.until(|message| message.kind == 'Z').await),
        "T(a) D(1) C(SELECT 1) Z(I)"
    );
    // with Flush in place of Sync the answer comes too, be it an error
    raw.send(&[parse("", "select 1 as a", &[]), frame(b'H', &[])].concat())
        .await;
    assert_eq!(raw.next().await.unwrap().kind, '1');
    raw.send(&[parse("", "select nope", &[]), frame(b'H', &[])].concat())
        .await;
    assert_eq!(raw.next().await.unwrap().sqlstate(), "42703");
    assert_eq!(raw.asked(&[sync()]).await, "Z(I)");
    let answer = raw
        .asked(&[
            parse("", "", &[]),
            describe('S', ""),
            bind("", "", &[], 0),
            execute("", 0),
            parse("", "set statement_timeout = '1min'", &[]),
            bind("", "", &[], 0),
            describe('P', ""),
            execute("", 0),
            parse("", "show statement_timeout", &[]),
            bind("", "", &[], 0),
            describe('P', ""),
            execute("", 0),
            close('S', "s"),
            close('S', "never"),
            sync(),
        ])
        .await;
    assert_eq!(
        answer,
        "1 t() n 2 I 1 2 n C(SET) 1 2 T(statement_timeout) D(1min) C(SHOW) 3 3 Z(I)"
    );
    let cases: [(Vec<Vec<u8>>, &str); 7] = [
        (vec![bind("", "s", &[Some("1")], 0)], "26000"),
        (
            vec![parse("x", "select 1", &[]), parse("x", "select 1", &[])],
            "42P05",
        ),
        (vec![parse("", "select 1; select 2", &[])], "42601"),
        (
            vec![parse("", "select $1::int", &[]), bind("", "", &[], 0)],
            "08P01",
        ),
        (
            vec![parse("", "select $1::int", &[]), bind("", "", &[Some("x")], 0)],
            "22P02",
        ),
        (vec![describe('P', "none")], "34000"),
        (vec![parse("", "select $1", &[999_999])], "42704"),
    ];
    for (mut messages, code) in cases {
        messages.push(sync());
        let answer = raw.asked(&messages).await;
        assert!(answer.ends_with(&format!("E({code}) Z(I)")), "{code}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn portals_suspend() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let ids = |limit| {
        vec![
            parse(
                "",
                &format!("select id from orders order by id limit {limit}"),
                &[],
            ),
            bind("p", "", &[], 0),
        ]
    };
    let mut messages = ids(5);
    messages.extend([
        execute("p", 2),
        execute("p", 2),
        execute("p", 2),
        execute("p", 2),
        sync(),
    ]);
    assert_eq!(
        raw.asked(&messages).await,
        "1 2 D(1) D(2) s D(3) D(4) s D(5) C(SELECT 1) C(SELECT 0) Z(I)"
    );
    // exactly as many rows as asked for: the end shows with the next Execute only
    let mut messages = ids(2);
    messages.extend([execute("p", 2), execute("p", 2), sync()]);
    assert_eq!(raw.asked(&messages).await, "1 2 D(1) D(2) s C(SELECT 0) Z(I)");
    // outside of a transaction a Sync ends the portal, within one it does not
    let mut messages = ids(5);
    messages.extend([execute("p", 1), sync()]);
    assert_eq!(raw.asked(&messages).await, "1 2 D(1) s Z(I)");
    assert_eq!(raw.asked(&[execute("p", 1), sync()]).await, "E(34000) Z(I)");
    assert_eq!(raw.simple("begin").await, "C(BEGIN) Z(T)");
    assert_eq!(raw.asked(&messages).await, "1 2 D(1) s Z(T)");
    assert_eq!(raw.asked(&[execute("p", 1), sync()]).await, "D(2) s Z(T)");
    assert_eq!(raw.asked(&[bind("p", "", &[], 0), sync()]).await, "E(42P03) Z(E)");
    assert_eq!(raw.simple("rollback").await, "C(ROLLBACK) Z(I)");
    assert_eq!(raw.asked(&[execute("p", 1), sync()]).await, "E(34000) Z(I)");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_many_batches_keep_their_order_over_portals() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.simple("begin").await;
    raw.asked(&[
        parse(
            "",
            "select value from generate_series(1, 30000) t(value) order by value",
            &[],
        ),
        bind("p", "", &[], 0),
        sync(),
    ])
    .await;
    let mut expected = 1;
    loop {
        let messages = raw.ask(&[execute("p", 7_001), sync()].concat()).await;
        for message in messages.iter().filter(|message| message.kind == 'D') {
            assert_eq!(message.short(), format!("D({expected})"));
            expected += 1;
        }
        if messages.iter().any(|message| message.kind == 'C') {
            break;
        }
    }
    assert_eq!(expected, 30_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_is_an_error_and_the_session_goes_on() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let truncated = frame(b'B', b"\0\0\0\0\0\x01\0\0\0\x09x");
    assert_eq!(raw.asked(&[truncated, sync()]).await, "E(08P01) Z(I)");
    assert_eq!(
        raw.asked(&[frame(b'Q', b"select '\xff'\0")]).await,
        "E(22021) Z(I)"
    );
    assert_eq!(raw.asked(&[frame(b'F', b"")]).await, "E(0A000) Z(I)");
    assert_eq!(raw.simple("select 1 as a").await, "T(a) D(1) C(SELECT 1) Z(I)");
    raw.send(b"?\0\0\0\x04").await;
    let last = raw.next().await.unwrap();
    assert_eq!(
        (last.sqlstate().as_str(), last.field(b'S').as_deref()),
        ("08P01", Some("FATAL"))
    );
    assert_eq!(raw.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_sent_before_the_next_statement_ends() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.send(&query(&format!("select 1 as a; {ENDLESS}"))).await;
    assert_eq!(
        short(&raw.until(|message| message.kind == 'C').await),
        "T(a) D(1) C(SELECT 1)"
    );
    Raw::cancel(server.address, raw.pid, raw.secret).await;
    assert!(short(&raw.until(|message| message.kind == 'Z').await).ends_with("E(57014) Z(I)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_to_stdout() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let cases = [
        (
            "copy orders to stdout with csv header",
            "H d(id,name) d(1,a) d(2,\"b,\"\"c\"\"\") d(3,) d(4,\"\") d(5,é) c C(COPY 5) Z(I)",
        ),
        (
            "copy (select id, name from orders where id in (2, 3) order by id) to stdout",
            "H d(2\tb,\"c\") d(3\t\\N) c C(COPY 2) Z(I)",
        ),
        ("copy (select 1/0 as a) to stdout", "H E(22012) Z(I)"),
        ("copy nope to stdout", "E(42P01) Z(I)"),
        ("copy orders from stdin", "E(25006) Z(I)"),
    ];
    for (sql, expected) in cases {
        assert_eq!(raw.simple(sql).await, expected, "{sql}");
    }
    let messages = raw
        .ask(&query("copy (select 258::int as a, null::text) to stdout binary"))
        .await;
    let data: Vec<u8> = messages
        .iter()
        .filter(|message| message.kind == 'd')
        .flat_map(|message| message.body.clone())
        .collect();
    assert_eq!(
        data,
        b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x04\0\0\x01\x02\xff\xff\xff\xff\xff\xff"
    );
    let answer = raw
        .asked(&[
            parse("", "copy (select 1) to stdout", &[]),
            bind("", "", &[], 0),
            describe('P', ""),
            execute("", 0),
            sync(),
        ])
        .await;
    assert_eq!(answer, "1 2 n H d(1) c C(COPY 1) Z(I)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_sensible_ends() {
    let server = Server::start().await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\0\0\0\x04\0\0\0\0",
        b"\x16\x03\x01\0\x05hello",
    ] {
        let mut raw = Raw::connect(server.address).await;
        raw.send(bytes).await;
        let mut rest = Vec::new();
        // a reset says the same
        let _ = raw.stream.read_to_end(&mut rest).await;
        let _ = raw.stream.shutdown().await;
    }
    assert_eq!(
        server.raw().await.simple("select 1 as a").await,
        "T(a) D(1) C(SELECT 1) Z(I)"
    );
}
