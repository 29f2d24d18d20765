use super::*;
use crate::encode::copy::CopyFormat;

/// A short form of what was read.
fn read(sql: &str) -> String {
    match parse(sql) {
        Err(fault) => format!(
            "{} {}{}",
            fault.code,
            fault.message,
            fault.position.map_or(String::new(), |at| format!(" @{at}"))
        ),
        Ok(statements) => statements
            .iter()
            .map(|statement| match &statement.command {
                Command::Query(query) => format!("Query({query})"),
                Command::Declare {
                    name,
                    binary,
                    hold,
                    query,
                } => format!("Declare({name}, {binary}, {hold}, {query})"),
                Command::CopyOut { query, options } => format!("Copy({query}, {:?})", options.format),
                other => format!("{other:?}"),
            })
            .collect::<Vec<_>>()
            .join("; "),
    }
}

#[test]
fn statements_are_read() {
    let cases = [
        ("", ""),
        (" ; ;-- nothing\n", ""),
        ("select 1; select ';' ;", "Query(SELECT 1); Query(SELECT ';')"),
        (
            "SET search_path TO \"My\", public, 'x y'",
            r#"Set { reach: Session, name: "search_path", value: Some("\"My\", public, \"x y\"") }"#,
        ),
        (
            "set statement_timeout = '5s'",
            r#"Set { reach: Session, name: "statement_timeout", value: Some("5s") }"#,
        ),
        (
            "set local lakegate.pushdown to off",
            r#"Set { reach: Local, name: "lakegate.pushdown", value: Some("off") }"#,
        ),
        (
            "set extra_float_digits = -3",
            r#"Set { reach: Session, name: "extra_float_digits", value: Some("-3") }"#,
        ),
        (
            "set x to default",
            r#"Set { reach: Session, name: "x", value: None }"#,
        ),
        (
            "set time zone 'Asia/Seoul'",
            r#"Set { reach: Session, name: "TimeZone", value: Some("Asia/Seoul") }"#,
        ),
        (
            "set time zone interval '+09:00' hour to minute",
            r#"Set { reach: Session, name: "TimeZone", value: Some("+09:00") }"#,
        ),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SetNothing",
        ),
        (
            "SET NAMES 'utf8'",
            r#"Set { reach: Session, name: "client_encoding", value: Some("utf8") }"#,
        ),
        (
            "set role none",
            r#"Set { reach: Session, name: "role", value: Some("none") }"#,
        ),
        ("show time zone", r#"Show("TimeZone")"#),
        ("show all", "ShowAll"),
        ("show lakegate.pushdown", r#"Show("lakegate.pushdown")"#),
        (
            "show transaction isolation level",
            r#"Show("transaction_isolation")"#,
        ),
        (
            "reset all; discard all; deallocate all",
            r#"ResetAll; Discard { all: true, tag: "DISCARD ALL" }; Deallocate(None)"#,
        ),
        ("deallocate prepare \"S_1\"", r#"Deallocate(Some("S_1"))"#),
        (
            "begin isolation level repeatable read, read only",
            r#"Begin { tag: "BEGIN", isolation: Some("repeatable read") }"#,
        ),
        (
            "start transaction",
            r#"Begin { tag: "START TRANSACTION", isolation: None }"#,
        ),
        (
            "commit work and chain; end",
            "Commit { chain: true }; Commit { chain: false }",
        ),
        (
            "rollback; abort; rollback to savepoint a; rollback to b",
            r#"Rollback { chain: false }; Rollback { chain: false }; RollbackTo("a"); RollbackTo("b")"#,
        ),
        (
            "savepoint a; release savepoint a; release a",
            r#"Savepoint("a"); Release("a"); Release("a")"#,
        ),
        (
            "declare c binary no scroll cursor with hold for select 1",
            "Declare(c, true, true, SELECT 1)",
        ),
        (
            "declare \"SQL_CUR1\" cursor for select 1; fetch 10 in \"SQL_CUR1\"",
            r#"Declare(SQL_CUR1, false, false, SELECT 1); Fetch { name: "SQL_CUR1", count: Rows(10), skip: false }"#,
        ),
        (
            "fetch c; fetch all from c; fetch forward 5 from c; move next from c; fetch next",
            r#"Fetch { name: "c", count: Rows(1), skip: false }; Fetch { name: "c", count: All, skip: false }; Fetch { name: "c", count: Rows(5), skip: false }; Fetch { name: "c", count: Rows(1), skip: true }; Fetch { name: "next", count: Rows(1), skip: false }"#,
        ),
        ("fetch backward 1 from c", "55000 cursor can only scan forward"),
        (
            "close all; close c",
            r#"CloseCursor(None); CloseCursor(Some("c"))"#,
        ),
        (
            "copy (select 1) to stdout (format csv, header)",
            "Copy(SELECT 1, Csv)",
        ),
        (
            "COPY s.\"T\" (a, b) TO STDOUT WITH CSV HEADER DELIMITER ';'",
            "Copy(SELECT a, b FROM s.\"T\", Csv)",
        ),
        (
            "COPY (select (1)) TO STDOUT WITH BINARY",
            "Copy(SELECT (1), Binary)",
        ),
        (
            "copy t from stdin",
            "25006 cannot execute COPY FROM in a read-only transaction",
        ),
        (
            "copy t to '/tmp/x'",
            "42501 COPY to a file or program of the server is not supported",
        ),
        (
            "copy t to stdout (format parquet)",
            "22023 COPY format \"parquet\" not recognized",
        ),
        ("UNLISTEN *", r#"Nothing("UNLISTEN")"#),
        (
            "prepare transaction 'x'",
            "0A000 two-phase commit is not supported",
        ),
        ("selec 1", "42601 syntax error at or near \"selec\" @1"),
        (
            "select 1;\n select 1 from )",
            "42601 syntax error at or near \")\" @26",
        ),
        ("select (1", "42601 syntax error at end of input @10"),
        ("set x", "42601 syntax error at end of input @6"),
        (
            "select 'é'; commit now",
            "42601 syntax error at or near \"now\" @20",
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(read(sql), expected, "{sql}");
    }
}

#[test]
fn copy_options_are_checked() {
    let options = |sql: &str| match parse(sql).map(|mut statements| statements.remove(0).command) {
        Ok(Command::CopyOut { options, .. }) => Ok(options),
        Ok(other) => panic!("{other:?}"),
        Err(fault) => Err(fault.code),
    };
    let csv = options(
        "copy t to stdout (format csv, delimiter ';', null 'NA', quote '''', force_quote *, header true)",
    )
    .unwrap();
    assert_eq!(
        (
            csv.delimiter,
            csv.null.as_str(),
            csv.quote,
            csv.escape,
            csv.header,
            csv.force_quote
        ),
        (b';', "NA", b'\'', b'\'', true, true)
    );
    assert_eq!(
        options("copy t to stdout").unwrap(),
        CopyOptions::of(CopyFormat::Text)
    );
    for (sql, code) in [
        ("copy t to stdout (quote 'x')", "0A000"),
        ("copy t to stdout (format csv, delimiter 'ab')", "0A000"),
        ("copy t to stdout (format binary, header)", "42601"),
        ("copy t to stdout (encoding 'latin1')", "22023"),
        ("copy t to stdout (nonsense 1)", "22023"),
        ("copy t to stdout (format csv, delimiter '\"')", "22023"),
    ] {
        assert_eq!(options(sql).unwrap_err(), code, "{sql}");
    }
}
