//! Running: streams, cancel, time, memory, settings, the query log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use lakegate_federation::{Federation, FederationOptions, QueryState, Session};

use crate::support::{drain, eventually, federation, rows, session, shop_and_crm, try_rows};

#[tokio::test]
async fn push_down_can_be_switched_off() {
    let (federation, source) = shop_and_crm().await;
    let shop = session(&federation, "shop");
    let queries = [
        "select name from orders where id > 2 order by id",
        "select name from orders where id > 2 limit 1",
        "select o.id from orders o join items i on o.id = i.id where i.name = 'n1'",
        "select count(*) from orders",
    ];
    let recorded = &source.recorded;
    let mut with = Vec::new();
    for sql in queries {
        with.push(rows(&shop, sql).await);
    }
    assert!(recorded.filters.load(Ordering::SeqCst) > 0);
    assert!(recorded.scans.load(Ordering::SeqCst) > 0);
    let before = (
        recorded.filters.load(Ordering::SeqCst),
        recorded.limits.load(Ordering::SeqCst),
    );
    let asked = recorded.asked.load(Ordering::SeqCst);
    shop.settings().set("lakegate.pushdown", "off").unwrap();
    for (sql, expected) in queries.iter().zip(with) {
        assert_eq!(rows(&shop, sql).await, expected, "{sql}");
    }
    let after = (
        recorded.filters.load(Ordering::SeqCst),
        recorded.limits.load(Ordering::SeqCst),
    );
    assert_eq!(before, after);
    assert_eq!(asked, recorded.asked.load(Ordering::SeqCst));
    let plan = rows(&shop, "explain select name from orders where id > 2")
        .await
        .join("\n");
    assert!(plan.contains("RawScan") && plan.contains("FilterExec"), "{plan}");
    // another session is not affected
    rows(&session(&federation, "shop"), queries[0]).await;
    assert!(recorded.filters.load(Ordering::SeqCst) > after.0);
}

/// Registers `tick(x)`, which counts the rows it sees.
fn count_rows(federation: &Federation) -> Arc<AtomicU64> {
    let counter = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&counter);
    let tick = create_udf(
        "tick",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Volatile,
        Arc::new(move |arguments: &[ColumnarValue]| {
            if let ColumnarValue::Array(array) = &arguments[0] {
                seen.fetch_add(array.len() as u64, Ordering::SeqCst);
            }
            Ok(arguments[0].clone())
        }),
    );
    federation.customize(|state| {
        state.register_udf(Arc::new(tick)).unwrap();
    });
    counter
}

/// A query that would take very long and delivers nothing before its end.
const ENDLESS: &str = "select sum(tick(a.value + b.value)) from generate_series(1, 100000) a(value), \
                       generate_series(1, 10000000) b(value)";

async fn stops(counter: &AtomicU64) {
    eventually("the work stops", async || {
        let before = counter.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(200)).await;
        before == counter.load(Ordering::SeqCst)
    })
    .await;
}

async fn started(counter: &AtomicU64) {
    eventually("the work starts", async || counter.load(Ordering::SeqCst) > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_stops_running_work() {
    let federation = federation();
    let counter = count_rows(&federation);
    let running = session(&federation, "lakegate");
    let stream = running.query(ENDLESS).await.unwrap();
    let query = stream.query_id();
    started(&counter).await;
    assert_eq!(federation.query_log().active().len(), 1);
    assert!(federation.query_log().cancel(query));
    let error = drain(stream).await.unwrap_err();
    assert_eq!(error.sqlstate(), "57014");
    assert_eq!(error.to_string(), "canceling statement due to user request");
    stops(&counter).await;
    // by the session, and the next statement is not affected
    let stream = running.query(ENDLESS).await.unwrap();
    running.cancel();
    assert_eq!(drain(stream).await.unwrap_err().sqlstate(), "57014");
    stops(&counter).await;
    assert_eq!(rows(&running, "select 1").await, ["1"]);
    let states: Vec<_> = federation
        .query_log()
        .queries()
        .iter()
        .map(|query| query.state)
        .collect();
    assert_eq!(
        states,
        [QueryState::Finished, QueryState::Cancelled, QueryState::Cancelled]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_stops_a_join_that_finds_nothing() {
    let federation = federation();
    let counter = count_rows(&federation);
    let running = session(&federation, "lakegate");
    let sql = "select count(*) from generate_series(1, 100000) a(value) join generate_series(1, 10000000) b(value) \
               on tick(a.value + b.value) < 0";
    let stream = running.query(sql).await.unwrap();
    started(&counter).await;
    running.cancel();
    assert_eq!(drain(stream).await.unwrap_err().sqlstate(), "57014");
    stops(&counter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statement_timeout_stops_running_work() {
    let federation = federation();
    let counter = count_rows(&federation);
    let running = session(&federation, "lakegate");
    running.settings().set("statement_timeout", "300").unwrap();
    let stream = running.query(ENDLESS).await.unwrap();
    let error = drain(stream).await.unwrap_err();
    assert_eq!(error.sqlstate(), "57014");
    assert_eq!(error.to_string(), "canceling statement due to statement timeout");
    stops(&counter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_stops_running_work() {
    let federation = federation();
    let counter = count_rows(&federation);
    let running = session(&federation, "lakegate");
    let stream = running.query(ENDLESS).await.unwrap();
    started(&counter).await;
    drop(stream);
    stops(&counter).await;
    eventually("the log says closed", async || {
        federation.query_log().queries()[0].state == QueryState::Closed
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_the_work_back() {
    let federation = federation();
    let counter = count_rows(&federation);
    let running = session(&federation, "lakegate");
    let mut stream = running
        .query("select tick(value) from generate_series(1, 10000000) t(value)")
        .await
        .unwrap();
    let mut rows = stream.next().await.unwrap().unwrap().num_rows() as u64;
    stops(&counter).await;
    // a few batches, not ten million rows
    let ahead = counter.load(Ordering::SeqCst);
    assert!(
        ahead < 500_000,
        "{ahead} rows were produced for a reader of {rows}"
    );
    while let Some(batch) = stream.next().await {
        rows += batch.unwrap().num_rows() as u64;
    }
    assert_eq!(rows, 10_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_plans_do_not_wait_for_big_ones() {
    let federation = Federation::new(FederationOptions {
        threads: 1,
        ..FederationOptions::default()
    })
    .unwrap();
    let counter = count_rows(&federation);
    let busy = session(&federation, "lakegate");
    let streams = [
        busy.query(ENDLESS).await.unwrap(),
        busy.query(ENDLESS).await.unwrap(),
    ];
    started(&counter).await;
    let other = session(&federation, "lakegate");
    assert_eq!(rows(&other, "select 1").await, ["1"]);
    assert_eq!(
        rows(
            &other,
            "select count(*) from lakegate.queries where state = 'Running'"
        )
        .await,
        ["3"]
    );
    drop(streams);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded() {
    let options = FederationOptions {
        threads: 2,
        memory_bytes: 4 << 20,
        ..FederationOptions::default()
    };
    let small = Federation::new(options).unwrap();
    let running = session(&small, "lakegate");
    let sql = "select value % 3000000 as k, count(*) from generate_series(1, 3000000) t(value) group by 1 order by 2";
    let error = try_rows(&running, sql).await.unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
    assert_eq!(error.sqlstate(), "53200");
    // what fits still runs
    assert_eq!(
        rows(&running, "select count(*) from generate_series(1, 100)").await,
        ["100"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sorts_spill() {
    let directory = tempfile::tempdir().unwrap();
    let options = FederationOptions {
        threads: 2,
        memory_bytes: 24 << 20,
        spill_dir: Some(directory.path().to_owned()),
        ..FederationOptions::default()
    };
    let federation = Federation::new(options).unwrap();
    let running = session(&federation, "lakegate");
    let sql =
        "select value, 'padding ' || value as p from generate_series(1, 1500000) t(value) order by 1 desc";
    let stream = running.query(sql).await.unwrap();
    assert_eq!(drain(stream).await.unwrap(), 1_500_000);
    assert!(directory.path().join("spill").is_dir());
}

#[tokio::test]
async fn sessions_are_their_own() {
    let (federation, _) = shop_and_crm().await;
    let (one, two) = (session(&federation, "shop"), session(&federation, "crm"));
    one.settings().set("TimeZone", "Asia/Seoul").unwrap();
    one.settings().set("statement_timeout", "5s").unwrap();
    assert_eq!(two.settings().get("TimeZone"), Some("UTC"));
    assert_eq!(two.settings().statement_timeout(), None);
    assert_eq!(one.settings().get("session_authorization"), Some("ann"));
    assert_ne!(one.id(), two.id());
    let instant = "select timestamptz '2024-06-01 00:00:00'::text";
    let (seoul, utc) = (rows(&one, instant).await, rows(&two, instant).await);
    assert_ne!(seoul, utc, "the session's zone reads a time without one");
}

#[tokio::test]
async fn postgres_semantics() {
    let federation = federation();
    let session = session(&federation, "lakegate");
    let cases: [(&str, &[&str]); 7] = [
        (
            "select x from (values (2), (null), (1)) t(x) order by x",
            &["1", "2", ""],
        ),
        (
            "select x from (values (2), (null), (1)) t(x) order by x desc",
            &["", "2", "1"],
        ),
        ("select 0.1 + 0.2", &["0.3"]),
        ("select 7 / 2", &["3"]),
        ("select count(*) from generate_series(1, 3)", &["3"]),
        (
            "select value from generate_series(1, 3) t(value) order by 1",
            &["1", "2", "3"],
        ),
        ("select extract(year from date '2024-02-29')", &["2024"]),
    ];
    for (sql, expected) in cases {
        assert_eq!(rows(&session, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn explain_is_one_text_column() {
    let (federation, _) = shop_and_crm().await;
    let shop = session(&federation, "shop");
    for sql in [
        "explain select * from orders where id = 1",
        "explain analyze select count(*) from orders",
    ] {
        let batches = shop.collect(sql).await.unwrap();
        assert_eq!(batches[0].schema().field(0).name(), "QUERY PLAN");
        assert_eq!(batches[0].num_columns(), 1);
        assert!(batches[0].num_rows() > 1, "{sql}");
    }
}

#[tokio::test]
async fn parameters_are_inferred_and_bound() {
    let (federation, _) = shop_and_crm().await;
    let shop = session(&federation, "shop");
    let sql = "select name from orders where id = $1 and name <> $2";
    let statement = lakegate_federation::parse(sql).unwrap().remove(0);
    let plan = shop.plan(statement, &[]).await.unwrap();
    let types = Session::parameter_types(&plan).unwrap();
    assert_eq!(types, [Some(DataType::Int64), Some(DataType::Utf8)]);
    for id in [1, 3] {
        let values = vec![ScalarValue::Int64(Some(id)), ScalarValue::Utf8(Some("x".into()))];
        let bound = Session::bind(plan.clone(), values).unwrap();
        let mut stream = shop.execute(bound, sql).unwrap();
        let batch = stream.next().await.unwrap().unwrap();
        let expected: ArrayRef = Arc::new(arrow::array::StringArray::from(vec![format!("n{id}")]));
        assert_eq!(batch.column(0), &expected);
    }
    // declared types win
    let statement = lakegate_federation::parse("select $1 + 1").unwrap().remove(0);
    let plan = shop.plan(statement, &[Some(DataType::Int32)]).await.unwrap();
    assert_eq!(Session::parameter_types(&plan).unwrap(), [Some(DataType::Int32)]);
}

#[tokio::test]
async fn the_query_log_remembers() {
    let (federation, _) = shop_and_crm().await;
    let shop = session(&federation, "shop");
    rows(&shop, "select * from orders").await;
    let _ = try_rows(&shop, "select 1/(id - id) from orders").await;
    let queries = federation.query_log().queries();
    assert_eq!(queries.len(), 2);
    assert_eq!(queries[1].sql, "select * from orders");
    assert_eq!((queries[1].rows, queries[1].user.as_str()), (5, "ann"));
    assert_eq!(queries[0].sqlstate, Some("22012"));
    let seen = rows(
        &shop,
        "select sql, state, rows, sqlstate from lakegate.queries where id = 1",
    )
    .await;
    assert_eq!(seen, ["select * from orders|Finished|5|"]);
}
