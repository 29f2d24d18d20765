//! Views with parameters, called as table functions.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use lakegate_crds::View;
use lakegate_federation::{Federation, RelationKind, Session};
use lakegate_store::{Key, MemoryStore};

use crate::stores::attach;
use crate::support::{drain, eventually, federation, rows, session, sqlite, try_rows, view};

fn with_parameters(name: &str, sql: &str, parameters: &serde_json::Value) -> View {
    let spec =
        serde_json::json!({"sql": sql, "parameters": parameters, "description": format!("about {name}")});
    View::new(name, serde_json::from_value(spec).unwrap())
}

/// A SQLite file with orders, and Views over it.
async fn shop(directory: &Path) -> Arc<Federation> {
    sqlite(
        &directory.join("shop.db"),
        &[
            "create table orders (id integer primary key, day text not null, customer text, total numeric(12,2))",
            "insert into orders values (1, '2026-11-01', 'ann', 10.50), (2, '2026-11-01', 'bob', 99.00), \
             (3, '2026-11-02', 'o''brien', 7.25), (4, '2026-11-03', null, 0.01)",
        ],
    )
    .await;
    let federation = federation();
    let spec = serde_json::json!({"sqlite": {"path": "shop.db"}});
    attach(&federation, directory, "shop", spec).await;
    let day = serde_json::json!([{"name": "day", "type": "date"}]);
    let views = vec![
        view("everything", "select id, customer from shop.main.orders"),
        with_parameters(
            "of-day",
            "select id, customer, total from shop.main.orders where day = $day::text",
            &day,
        ),
        with_parameters(
            "of-customer",
            "select id, $name as asked from shop.main.orders where customer = $name",
            &serde_json::json!([{"name": "name", "type": "text"}]),
        ),
        with_parameters(
            "in-range",
            "select id from shop.main.orders where id between $low and $high order by id desc limit $most",
            &serde_json::json!([
                {"name": "low", "type": "bigint", "default": "1"},
                {"name": "high", "type": "bigint", "default": "1 + 3"},
                {"name": "most", "type": "integer", "default": "10"},
            ]),
        ),
        with_parameters(
            "big",
            "select id from shop.main.orders where total >= $least",
            &serde_json::json!([{"name": "least", "type": "numeric", "default": "50"}]),
        ),
        with_parameters(
            "same-day",
            "select a.id from views.of_day(day => $day) a where a.total > (select avg(total) from of_day($day))",
            &day,
        ),
        with_parameters("echo", "select $day, $day::text, extract(year from $day)", &day),
        with_parameters("own-number", "select $1, $day", &day),
        view("stray", "select $nobody"),
        with_parameters(
            "typo",
            "select 1 as one where $x > 0",
            &serde_json::json!([{"name": "x", "type": "integer", "default": "'x'"}]),
        ),
    ];
    federation.attach_views(views).await;
    federation
}

async fn call(session: &Session, from: &str) -> Vec<String> {
    rows(session, &format!("select id from {from} order by id")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_find_their_values() {
    let directory = tempfile::tempdir().unwrap();
    let federation = shop(directory.path()).await;
    let cases: [(&str, &[&str]); 24] = [
        ("views.of_day(day => date '2026-11-01')", &["1", "2"]),
        ("views.of_day(day => ('2026-11-01'))", &["1", "2"]),
        ("views.of_day('2026-11-02')", &["3"]),
        ("views.of_day(DAY => '2026-11-02'::date)", &["3"]),
        ("views.of_day(date '2026-11-01' + 1)", &["3"]),
        ("views.of_day(null)", &[]),
        ("views.of_day(current_date)", &[]),
        ("shop.views.of_day('2026-11-02') as o", &["3"]),
        ("lakegate.views.of_day('2026-11-02')", &["3"]),
        ("of_day('2026-11-02')", &["3"]),
        ("views.of_customer(name => 'ann')", &["1"]),
        ("views.of_customer('o''brien')", &["3"]),
        ("views.of_customer('o' || '''brien')", &["3"]),
        ("views.in_range()", &["1", "2", "3", "4"]),
        ("views.in_range(3)", &["3", "4"]),
        ("views.in_range(high => 2)", &["1", "2"]),
        ("views.in_range(2, 3)", &["2", "3"]),
        ("views.in_range(2, high => 3)", &["2", "3"]),
        ("views.in_range(high => 3, low => 3)", &["3"]),
        ("views.in_range(most => 1)", &["4"]),
        ("views.big()", &["2"]),
        ("views.big(10.50)", &["1", "2"]),
        ("views.big(least => 10)", &["1", "2"]),
        ("views.same_day('2026-11-01')", &["2"]),
    ];
    for database in ["lakegate", "shop"] {
        let session = session(&federation, database);
        for (from, expected) in cases {
            if database == "shop" && from.starts_with("of_day") {
                continue;
            }
            assert_eq!(call(&session, from).await, expected, "{database}: {from}");
        }
        // the name of the View is the name of its rows, and an alias goes before it
        for sql in [
            "select of_day.customer from views.of_day('2026-11-02')",
            "select o.customer from views.of_day('2026-11-02') o",
            "select x from views.of_day('2026-11-02') as t(i, x, y)",
            "select e.customer from views.everything e join views.of_day('2026-11-02') d using (id)",
            "select customer from views.everything where id in (select id from views.of_day('2026-11-02'))",
            "with d as (select * from views.of_day('2026-11-02')) select customer from d",
        ] {
            assert_eq!(rows(&session, sql).await, ["o'brien"], "{sql}");
        }
        // two calls in one statement are two
        let both = "select a.id, b.id from views.of_day('2026-11-02') a, views.of_day('2026-11-03') b";
        assert_eq!(rows(&session, both).await, ["3|4"]);
    }
    let session = session(&federation, "shop");
    let echo = session
        .collect("select * from views.echo('2024-02-29')")
        .await
        .unwrap();
    let schema = echo[0].schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names[0], "day");
    // names do not tell the value
    assert!(names.iter().all(|name| !name.contains("2024")), "{names:?}");
    assert_eq!(
        rows(&session, "select * from views.echo('2024-02-29')").await,
        ["2024-02-29|2024-02-29|2024"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_calls_name_the_view_and_the_parameter() {
    let directory = tempfile::tempdir().unwrap();
    let federation = shop(directory.path()).await;
    let session = session(&federation, "shop");
    let cases = [
        (
            "views.of_day()",
            "42883",
            "views.of_day needs a value for the parameter \"day\" of type date",
        ),
        (
            "views.of_day(nope => 1)",
            "42883",
            "views.of_day has no parameter \"nope\"",
        ),
        (
            "views.of_day('2026-11-01', 2)",
            "42883",
            "views.of_day takes 1 arguments at most, and has 2",
        ),
        (
            "views.of_day(5)",
            "42883",
            "the parameter \"day\" of views.of_day is of type date, and is given integer",
        ),
        (
            "views.of_day(now())",
            "42883",
            "the parameter \"day\" of views.of_day is of type date, and is given timestamp with time zone",
        ),
        (
            "views.in_range(1.5)",
            "42883",
            "the parameter \"low\" of views.in_range is of type bigint, and is given numeric(2,1)",
        ),
        (
            "views.of_day('nonsense')",
            "22007",
            "parameter \"day\" of views.of_day: invalid input syntax for type date: \"nonsense\"",
        ),
        (
            "views.in_range(most => 3000000000)",
            "22003",
            "parameter \"most\" of views.in_range: integer out of range",
        ),
        (
            "views.in_range(1, low => 2)",
            "42601",
            "parameter \"low\" of views.in_range is given twice",
        ),
        (
            "views.in_range(low => 1, 2)",
            "42601",
            "positional argument cannot follow named argument",
        ),
        (
            "views.of_customer((select 'ann'))",
            "0A000",
            "the parameter \"name\" of views.of_customer must be given a value: it is given a subquery",
        ),
        (
            "views.everything e, lateral views.of_customer(e.customer)",
            "0A000",
            "the parameter \"name\" of views.of_customer must be given a value: it is given a column",
        ),
        (
            "views.in_range(low => (random() * 5)::bigint)",
            "0A000",
            "the parameter \"low\" of views.in_range must be given a value: it is given what may be another value each time",
        ),
        (
            "views.everything()",
            "42883",
            "function views.everything() does not exist",
        ),
        ("views.nope(1)", "42883", "function views.nope does not exist"),
        (
            "views.of_day",
            "42P01",
            "relation \"views.of_day\" does not exist",
        ),
        (
            "views.of_day('2026-11-01') with ordinality",
            "0A000",
            "WITH ORDINALITY of views.of_day is not supported",
        ),
        (
            "views.own_number('2026-11-01')",
            "42P02",
            "view \"own_number\" is broken: there is no parameter $1",
        ),
        (
            "views.stray",
            "42P02",
            "view \"stray\" is broken: there is no parameter $nobody",
        ),
    ];
    for (from, sqlstate, message) in cases {
        let sql = format!("select * from {from}");
        let error = try_rows(&session, &sql).await.expect_err(from);
        assert_eq!(
            (error.sqlstate(), error.to_string().as_str()),
            (sqlstate, message),
            "{from}"
        );
        if sqlstate == "42883" || sqlstate == "0A000" {
            assert!(error.position(&sql).is_some(), "{from}: {error:?}");
            assert!(
                error.hint().is_some() || from.ends_with("ordinality"),
                "{from}: {error:?}"
            );
        }
    }
    let error = try_rows(&session, "select * from views.in_range(x => 1)")
        .await
        .unwrap_err();
    assert_eq!(
        error.hint(),
        Some("Call it as views.in_range([low => bigint], [high => bigint], [most => integer]).")
    );
}

/// Whatever a value is, it is a value.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_never_sql() {
    let directory = tempfile::tempdir().unwrap();
    let federation = shop(directory.path()).await;
    let session = session(&federation, "shop");
    for hostile in [
        "' or '1'='1",
        "'; drop table orders; --",
        "$name",
        "$1",
        "x') union select 1, 'y",
        "\\' or 1=1 --",
        "\"customer\"",
        "customer",
        "ann' --",
        "$$ann$$",
    ] {
        // as a literal, and bound
        let literal = hostile.replace('\'', "''");
        let sql = format!("select id from views.of_customer('{literal}')");
        assert!(rows(&session, &sql).await.is_empty(), "{hostile}");
        let statement = lakegate_federation::parse("select count(id) from views.of_customer($1)")
            .unwrap()
            .remove(0);
        let plan = session.plan(statement, &[]).await.unwrap();
        let bound = Session::bind(plan, vec![ScalarValue::from(hostile)]).unwrap();
        let stream = session.execute(bound, "bound").unwrap();
        let batches: Vec<_> = futures::StreamExt::collect::<Vec<_>>(stream).await;
        let count = batches[0].as_ref().unwrap().column(0).clone();
        assert_eq!(
            ScalarValue::try_from_array(&count, 0).unwrap(),
            ScalarValue::Int64(Some(0))
        );
    }
    assert_eq!(call(&session, "views.everything").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn bound_parameters_have_the_type_of_the_views() {
    /// A call, the types of its parameters, their values, and how many rows it gives.
    type Case<'a> = (&'a str, &'a [Option<DataType>], Vec<ScalarValue>, u64);
    let directory = tempfile::tempdir().unwrap();
    let federation = shop(directory.path()).await;
    let session = session(&federation, "shop");
    let cases: [Case<'_>; 5] = [
        (
            "views.of_day(day => $1)",
            &[Some(DataType::Date32)],
            vec![ScalarValue::Date32(Some(20_758))],
            2,
        ),
        (
            "views.in_range($2, $1)",
            &[Some(DataType::Int64), Some(DataType::Int64)],
            vec![ScalarValue::from(3_i64), ScalarValue::from(2_i64)],
            2,
        ),
        (
            "views.same_day(($1))",
            &[Some(DataType::Date32)],
            vec![ScalarValue::Date32(Some(20_758))],
            1,
        ),
        // the caller's $1 is not the View's
        (
            "views.of_customer($1) v where v.id = $2",
            &[Some(DataType::Utf8), Some(DataType::Int64)],
            vec![ScalarValue::from("ann"), ScalarValue::from(1_i64)],
            1,
        ),
        (
            "views.of_day($1) where $1 = date '2026-11-01'",
            &[Some(DataType::Date32)],
            vec![ScalarValue::Date32(Some(20_758))],
            2,
        ),
    ];
    for (from, types, values, expected) in cases {
        let statement = lakegate_federation::parse(&format!("select * from {from}"))
            .unwrap()
            .remove(0);
        let plan = session
            .plan(statement, &[])
            .await
            .unwrap_or_else(|error| panic!("{from}: {error}"));
        assert_eq!(Session::parameter_types(&plan).unwrap(), types, "{from}");
        let bound = Session::bind(plan, values).unwrap();
        let found = drain(session.execute(bound, from).unwrap()).await.unwrap();
        assert_eq!(found, expected, "{from}");
    }
    // a declared type that is another one is told as in a call
    let statement = lakegate_federation::parse("select * from views.of_day($1)")
        .unwrap()
        .remove(0);
    let error = session
        .plan(statement, &[Some(DataType::Int64)])
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), "42883", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_reach_the_store_and_rows_are_the_same_without() {
    let directory = tempfile::tempdir().unwrap();
    let federation = shop(directory.path()).await;
    for (from, pushed) in [
        ("views.of_customer('ann')", "'ann'"),
        ("views.of_customer(name => 'o''brien')", "'o''brien'"),
        ("views.in_range(2, 3)", "3"),
        ("views.same_day('2026-11-01')", ""),
        ("views.of_day('2026-11-01')", "'2026-11-01'"),
        ("views.big(10)", ""),
    ] {
        let pushing = session(&federation, "shop");
        let raw = session(&federation, "shop");
        raw.settings().set("lakegate.pushdown", "off").unwrap();
        assert_eq!(call(&pushing, from).await, call(&raw, from).await, "{from}");
        let explain = format!("explain select id from {from}");
        let plan = rows(&pushing, &explain).await.join("\n");
        let request = plan
            .lines()
            .find(|line| line.to_lowercase().contains("where"))
            .unwrap_or_default();
        if pushed.is_empty() {
            continue;
        }
        assert!(request.contains(pushed), "{from}: {plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn views_tell_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    sqlite(
        &path.join("shop.db"),
        &["create table orders (id integer primary key, day date)"],
    )
    .await;
    let federation = federation();
    let store = Arc::new(MemoryStore::new());
    let shutdown = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(Arc::clone(&federation).run_catalogs(
        Arc::clone(&store) as _,
        path.join("state"),
        shutdown.clone(),
    ));
    store.put(crate::support::data_source(
        "shop",
        serde_json::json!({"sqlite": {"path": path.join("shop.db")}}),
    ));
    let spec = serde_json::json!({
        "sql": "select o.id, o.day from shop.main.orders o where o.day = $day::text and o.id in (select id from views.all_ids)",
        "parameters": [{"name": "day", "type": "date", "default": "current_date"}],
        "description": "Orders of a day",
        "tags": ["sales", "daily"],
        "columns": [{"name": "id", "description": "The number"}, {"name": "gone", "description": "?"}],
    });
    store.put(View::new("of-day", serde_json::from_value(spec).unwrap()));
    store.put(view("all-ids", "select id from shop.main.orders"));
    let bad = serde_json::json!({"sql": "select $x as x", "parameters": [{"name": "x", "type": "colour"}]});
    store.put(View::new("bad-type", serde_json::from_value(bad).unwrap()));
    let bad = serde_json::json!({"sql": "select $x as x", "parameters": [{"name": "x", "type": "date", "default": "5"}]});
    store.put(View::new("bad-default", serde_json::from_value(bad).unwrap()));
    let health = |name: &str| federation.view_health(&Key::named(name));
    eventually("all are planned", async || {
        health("of-day").is_some_and(|health| health.reason.is_none()) && health("bad-default").is_some()
    })
    .await;
    let planned = health("of-day").unwrap();
    assert_eq!(
        planned.columns,
        [
            ("id".to_owned(), "bigint".to_owned()),
            ("day".to_owned(), "text".to_owned())
        ]
    );
    assert_eq!(planned.dependencies, ["shop.main.orders", "views.all_ids"]);
    assert_eq!(planned.unknown_columns, ["gone"]);
    assert_eq!(
        health("bad-type").unwrap().message.as_deref(),
        Some(
            "spec.parameters[0].type: \"colour\" is no type here; use one such as date, bigint, numeric(12,2), text or \
             timestamptz"
        )
    );
    let message = health("bad-default").unwrap().message.unwrap();
    assert!(
        message.contains("\"x\" of views.bad_default is of type date, and is given integer"),
        "{message}"
    );
    let metadata = federation.metadata();
    let schema = metadata.database("shop").unwrap().schema("views").unwrap();
    let shown = schema.table("of_day").unwrap();
    assert_eq!(shown.kind, RelationKind::TableFunction);
    assert_eq!(shown.comment.as_deref(), Some("Orders of a day"));
    assert_eq!(shown.columns[0].comment.as_deref(), Some("The number"));
    assert_eq!(schema.table("all_ids").unwrap().kind, RelationKind::View);
    assert_eq!(
        metadata.function("of_day").unwrap().signature(),
        "day date DEFAULT current_date"
    );
    // found by name, tag and text
    let session = session(&federation, "lakegate");
    for condition in [
        "view like 'of%'",
        "'sales' = any(tags)",
        "description ilike '%orders OF%'",
        "sql ilike '%shop.main.orders%' and parameters is not null",
    ] {
        let sql = format!("select view, parameters from lakegate.views where {condition}");
        assert_eq!(
            rows(&session, &sql).await,
            ["of_day|day date DEFAULT current_date"],
            "{condition}"
        );
    }
    shutdown.cancel();
    task.await.unwrap();
}
