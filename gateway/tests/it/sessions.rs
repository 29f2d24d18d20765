//! Settings, transactions and cursors, each session's own.

use crate::raw::{Raw, bind, describe, execute, parse, sync};
use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn sessions_do_not_see_each_other() {
    let server = Server::start().await;
    let mut one = server.raw().await;
    let mut two = Raw::session(server.address, &[("user", "bob"), ("database", "crm")]).await;
    one.simple("set statement_timeout = '7s'; set search_path = nowhere; set lakegate.pushdown = off; set my.own = 'x'")
        .await;
    one.asked(&[parse("s", "select 1", &[]), sync()]).await;
    assert_eq!(
        two.simple("show statement_timeout").await,
        "T(statement_timeout) D(0) C(SHOW) Z(I)"
    );
    assert_eq!(
        two.simple("show lakegate.pushdown").await,
        "T(lakegate.pushdown) D(on) C(SHOW) Z(I)"
    );
    assert_eq!(two.simple("show my.own").await, "E(42704) Z(I)");
    assert_eq!(two.asked(&[bind("", "s", &[], 0), sync()]).await, "E(26000) Z(I)");
    assert_eq!(one.simple("select count(*) from orders").await, "E(42P01) Z(I)");
    assert_eq!(
        two.simple("select current_database(), current_user").await,
        "T(current_database,current_user) D(crm,bob) C(SELECT 1) Z(I)"
    );
    assert_eq!(
        two.simple("select count(*) from main.customers").await,
        "T(count) D(5) C(SELECT 1) Z(I)"
    );
    let mut all = Raw::session(server.address, &[("user", "ann"), ("database", "lakegate")]).await;
    assert_eq!(
        all.simple("select count(*) from shop__public.orders, crm__main.customers")
            .await,
        "T(count) D(25) C(SELECT 1) Z(I)"
    );
    // without a database it is the one that shows everything
    let mut all = Raw::session(server.address, &[("user", "ann")]).await;
    assert_eq!(
        all.simple("select current_database()").await,
        "T(current_database) D(lakegate) C(SELECT 1) Z(I)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn settings() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let cases = [
        // what changes and is reported comes before ReadyForQuery
        ("set time zone 'Asia/Seoul'", "C(SET) S(TimeZone=Asia/Seoul) Z(I)"),
        (
            "select timestamptz '2024-01-01 00:00:00+00' as t",
            "T(t) D(2024-01-01 09:00:00+09) C(SELECT 1) Z(I)",
        ),
        (
            "set time zone '+05:30'; select timestamptz '2024-01-01 00:00:00Z' as t",
            "C(SET) T(t) D(2024-01-01 05:30:00+05:30) C(SELECT 1) S(TimeZone=+05:30) Z(I)",
        ),
        ("reset timezone", "C(RESET) S(TimeZone=UTC) Z(I)"),
        (
            "set application_name to 'x y'",
            "C(SET) S(application_name=x y) Z(I)",
        ),
        ("show application_name", "T(application_name) D(x y) C(SHOW) Z(I)"),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "C(SET) Z(I)",
        ),
        ("set search_path to public, \"Odd One\"", "C(SET) Z(I)"),
        (
            "show search_path",
            "T(search_path) D(public, \"Odd One\") C(SHOW) Z(I)",
        ),
        ("reset all", "C(RESET) S(application_name=) Z(I)"),
        ("show timezone", "T(TimeZone) D(UTC) C(SHOW) Z(I)"),
        (
            "show transaction isolation level",
            "T(transaction_isolation) D(read committed) C(SHOW) Z(I)",
        ),
        ("discard all", "C(DISCARD ALL) Z(I)"),
        ("deallocate all", "C(DEALLOCATE ALL) Z(I)"),
        ("UNLISTEN *", "C(UNLISTEN) Z(I)"),
        ("set local statement_timeout = 1", "N(25P01) C(SET) Z(I)"),
        ("begin; discard all", "C(BEGIN) E(25001) Z(E)"),
        ("rollback", "C(ROLLBACK) Z(I)"),
    ];
    for (sql, expected) in cases {
        assert_eq!(raw.simple(sql).await, expected, "{sql}");
    }
    let all = raw.simple("show all").await;
    assert!(
        all.starts_with("T(name,setting,description) D(application_name,,"),
        "{all}"
    );
    assert!(all.contains("D(lakegate.pushdown,on,"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let cases = [
        ("begin", "C(BEGIN) Z(T)"),
        ("begin", "N(25001) C(BEGIN) Z(T)"),
        ("select 1 as a", "T(a) D(1) C(SELECT 1) Z(T)"),
        ("savepoint a", "C(SAVEPOINT) Z(T)"),
        ("select nope", "E(42703) Z(E)"),
        ("select 1", "E(25P02) Z(E)"),
        ("set statement_timeout = 1", "E(25P02) Z(E)"),
        ("rollback to a", "C(ROLLBACK) Z(T)"),
        ("release a", "C(RELEASE) Z(T)"),
        ("rollback to a", "E(3B001) Z(E)"),
        ("commit", "C(ROLLBACK) Z(I)"),
        ("commit", "N(25P01) C(COMMIT) Z(I)"),
        ("rollback", "N(25P01) C(ROLLBACK) Z(I)"),
        ("savepoint a", "E(25P01) Z(I)"),
        (
            "start transaction isolation level serializable, read only",
            "C(START TRANSACTION) Z(T)",
        ),
        (
            "show transaction_isolation",
            "T(transaction_isolation) D(serializable) C(SHOW) Z(T)",
        ),
        ("commit and chain", "C(COMMIT) Z(T)"),
        ("end", "C(COMMIT) Z(I)"),
        (
            "begin; set application_name = 'in'; rollback",
            "C(BEGIN) C(SET) C(ROLLBACK) Z(I)",
        ),
        (
            "begin; set application_name = 'in'; commit",
            "C(BEGIN) C(SET) C(COMMIT) S(application_name=in) Z(I)",
        ),
        (
            "begin; select 1 as a; select 1/0 as b",
            "C(BEGIN) T(a) D(1) C(SELECT 1) T(b) E(22012) Z(E)",
        ),
        ("abort", "C(ROLLBACK) Z(I)"),
    ];
    for (sql, expected) in cases {
        assert_eq!(raw.simple(sql).await, expected, "{sql}");
    }
    raw.simple("begin").await;
    raw.simple("select 1/0").await;
    assert_eq!(
        raw.asked(&[parse("", "select 1", &[]), sync()]).await,
        "E(25P02) Z(E)"
    );
    assert_eq!(
        raw.asked(&[
            parse("", "rollback", &[]),
            bind("", "", &[], 0),
            execute("", 0),
            sync()
        ])
        .await,
        "1 2 C(ROLLBACK) Z(I)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let cases = [
        (
            "declare c cursor for select id from orders order by id",
            "E(25P01) Z(I)",
        ),
        (
            "begin; declare c cursor for select id from orders order by id",
            "C(BEGIN) C(DECLARE CURSOR) Z(T)",
        ),
        ("fetch 2 from c", "T(id) D(1) D(2) C(FETCH 2) Z(T)"),
        ("move 1 in c", "C(MOVE 1) Z(T)"),
        ("fetch all in c", "T(id) D(4) D(5) C(FETCH 2) Z(T)"),
        ("fetch c", "T(id) C(FETCH 0) Z(T)"),
        ("close c", "C(CLOSE CURSOR) Z(T)"),
        (
            "declare \"SQL_CUR1\" cursor with hold for select id from orders order by id; fetch 1 in \"SQL_CUR1\"",
            "C(DECLARE CURSOR) T(id) D(1) C(FETCH 1) Z(T)",
        ),
        ("declare d cursor for select 1", "C(DECLARE CURSOR) Z(T)"),
        ("commit", "C(COMMIT) Z(I)"),
        ("fetch 1 in \"SQL_CUR1\"", "T(id) D(2) C(FETCH 1) Z(I)"),
        ("fetch 1 in d", "E(34000) Z(I)"),
        ("fetch backward 1 from \"SQL_CUR1\"", "E(55000) Z(I)"),
        ("close all", "C(CLOSE CURSOR ALL) Z(I)"),
    ];
    for (sql, expected) in cases {
        assert_eq!(raw.simple(sql).await, expected, "{sql}");
    } // with parameters, and rows in the format that FETCH asks for
    raw.simple("begin").await;
    let opened = raw
        .asked(&[
            parse(
                "",
                "declare p cursor for select id from orders where id > $1 order by id",
                &[],
            ),
            describe('S', ""),
            bind("", "", &[Some("3")], 0),
            execute("", 0),
            sync(),
        ])
        .await;
    assert_eq!(opened, "1 t(20) n 2 C(DECLARE CURSOR) Z(T)");
    let fetch = [
        parse("", "fetch 1 from p", &[]),
        bind("", "", &[], 1),
        describe('P', ""),
        execute("", 0),
        sync(),
    ];
    let fetched = raw.ask(&fetch.concat()).await;
    assert_eq!(fetched[2].columns()[0].3, 1);
    assert_eq!(fetched[3].values()[0].as_deref(), Some(&4_i64.to_be_bytes()[..]));
    assert_eq!(raw.simple("fetch 1 from p").await, "T(id) D(5) C(FETCH 1) Z(T)");
}
