//! Errors as the drivers branch on them.

use crate::raw::query;
use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn every_error_has_its_code() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    // statement, SQLSTATE, part of the message, part of the hint, position
    let cases: &[(&str, &str, &str, &str, Option<&str>)] = &[
        (
            "select * from nope",
            "42P01",
            "relation \"nope\" does not exist",
            "",
            None,
        ),
        (
            "select * from nope.orders",
            "42P01",
            "\"nope.orders\" does not exist",
            "",
            None,
        ),
        (
            "select * from shop.nope.orders",
            "42P01",
            "does not exist",
            "",
            None,
        ),
        ("select nam from orders", "42703", "column", "name", None),
        ("select o.zzz from orders o", "42703", "column", "", None),
        ("select nofunction(1)", "42883", "function nofunction", "", None),
        (
            "selec 1",
            "42601",
            "syntax error at or near \"selec\"",
            "",
            Some("1"),
        ),
        (
            "select 1 +",
            "42601",
            "syntax error at end of input",
            "",
            Some("11"),
        ),
        (
            "select 'é', (1 from orders",
            "42601",
            "syntax error at or near \"from\"",
            "",
            Some("16"),
        ),
        ("select 1/0", "22012", "division by zero", "", None),
        ("select 'x'::int", "22P02", "", "", None),
        ("select 3000000000::bigint::int", "22003", "", "", None),
        ("select id from orders group by name", "42803", "", "", None),
        (
            "select id from orders, crm.main.customers",
            "42702",
            "ambiguous",
            "",
            None,
        ),
        (
            "insert into orders values (1, 'x')",
            "25006",
            "cannot execute INSERT in a read-only transaction",
            "manifests",
            None,
        ),
        (
            "create table t (a int)",
            "25006",
            "cannot execute CREATE TABLE in a read-only transaction",
            "",
            None,
        ),
        (
            "drop table orders",
            "25006",
            "cannot execute DROP TABLE",
            "",
            None,
        ),
        (
            "update orders set id = 1",
            "25006",
            "cannot execute UPDATE",
            "",
            None,
        ),
        ("listen x", "0A000", "LISTEN is not supported", "", None),
        (
            "show nope",
            "42704",
            "unrecognized configuration parameter \"nope\"",
            "",
            None,
        ),
        (
            "set nope = 1",
            "42704",
            "unrecognized configuration parameter \"nope\"",
            "",
            None,
        ),
        (
            "set statement_timeout = 'soon'",
            "22023",
            "invalid value for parameter \"statement_timeout\"",
            "",
            None,
        ),
        ("set server_version = '1'", "55P02", "cannot be changed", "", None),
        (
            "set session authorization bob",
            "42501",
            "permission denied",
            "",
            None,
        ),
        (
            "deallocate nope",
            "26000",
            "prepared statement \"nope\" does not exist",
            "",
            None,
        ),
        (
            "fetch 1 from nope",
            "34000",
            "cursor \"nope\" does not exist",
            "",
            None,
        ),
        (
            "release savepoint a",
            "25P01",
            "can only be used in transaction blocks",
            "",
            None,
        ),
    ];
    for (sql, code, message, hint, position) in cases {
        let messages = raw.ask(&query(sql)).await;
        let error = messages.iter().find(|message| message.kind == 'E');
        let error = error.unwrap_or_else(|| panic!("{sql}: {messages:?}"));
        let told = error.field(b'M').unwrap();
        assert_eq!(error.sqlstate(), *code, "{sql}: {told}");
        assert!(told.contains(message), "{sql}: {told}");
        assert!(
            error.field(b'H').unwrap_or_default().contains(hint),
            "{sql}: {:?}",
            error.field(b'H')
        );
        if position.is_some() {
            assert_eq!(error.field(b'P').as_deref(), *position, "{sql}: {told}");
        }
        assert_eq!(error.field(b'S').as_deref(), Some("ERROR"), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_those_of_the_whole_text() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let messages = raw.ask(&query("select 'ü';\n  select nope from orders")).await;
    let error = messages.iter().find(|message| message.kind == 'E').unwrap();
    assert_eq!(
        (error.sqlstate().as_str(), error.field(b'P').as_deref()),
        ("42703", Some("22"))
    );
}
