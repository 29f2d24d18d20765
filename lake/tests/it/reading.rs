//! What queries see, and what they do not have to read.

use std::sync::Arc;

use arrow::array::*;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{SessionConfig, SessionContext};
use lakegate_lake::{Lake, WriteOptions};

use crate::support::{Place, batch, context, info, on_every_place, options, people, query, run, tree, write};

on_every_place! {
    a_reader_keeps_its_snapshot,
    counts_and_extremes_come_from_the_manifest,
    files_are_skipped_by_their_bounds,
    nan_is_never_skipped,
    projections_limits_and_nothing_at_all,
    two_lakes_meet_in_one_session,
    a_table_in_use_costs_no_read,
    a_broken_table_says_which_file,
    a_damaged_file_is_an_error_and_not_fewer_rows,
}

async fn plan(context: &SessionContext, sql: &str) -> String {
    let plan = context
        .sql(sql)
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    displayable(plan.as_ref()).indent(true).to_string()
}

/// Files 0..8192, 8192..16384 and 16384..20000.
async fn three_files(lake: &Lake) {
    let options = WriteOptions {
        file_rows: 8192,
        ..options("run-1")
    };
    let files = write(lake, options, &people("a", 0, 20_000)).await.unwrap();
    lake.replace(files, info("run-1")).await.unwrap();
}

async fn a_reader_keeps_its_snapshot(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    run(&lake, "run-1", &people("a", 1, 3)).await.unwrap();
    let before = context(&lake).await;
    let planned = before
        .sql("select sum(id) as s from people where id > 0")
        .await
        .unwrap();
    for number in 2..5 {
        run(&lake, &format!("run-{number}"), &people("b", 100, number))
            .await
            .unwrap();
        lake.sweep("shop", "people", "run-1").await.unwrap();
    }
    let sum = planned.collect().await.unwrap();
    assert_eq!(
        sum[0]
            .column(0)
            .as_any()
            .downcast_ref::<Int64Array>()
            .unwrap()
            .value(0),
        6
    );
    assert!(query(&before, "select * from people").await.contains("a1"));
    assert!(
        !query(&context(&lake).await, "select * from people")
            .await
            .contains("a1")
    );
}

async fn counts_and_extremes_come_from_the_manifest(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    three_files(&lake).await;
    let context = context(&lake).await;
    let counted = plan(
        &context,
        "select count(*), min(id), max(id), count(name) from people",
    )
    .await;
    assert!(
        counted.contains("PlaceholderRowExec") && !counted.contains("DataSourceExec"),
        "{counted}"
    );
    let read = query(
        &context,
        "select count(*) as n, min(id) as a, max(id) as b, count(name) as c from people",
    )
    .await;
    assert!(read.contains("| 20000 | 0 | 19999 | 20000 |"), "{read}");
    // text bounds may be cut, so they are read
    let text = plan(&context, "select max(name) from people").await;
    assert!(text.contains("DataSourceExec"), "{text}");
}

async fn files_are_skipped_by_their_bounds(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    three_files(&lake).await;
    let context = context(&lake).await;
    for (filter, files, rows) in [
        ("id = 9000", 1, 1),
        ("id < 10", 1, 10),
        ("id >= 8192", 2, 11_808),
        ("name = 'a17000'", 3, 1),
        ("name > 'b'", 0, 0),
        ("id > 50000", 0, 0),
        ("id is null", 0, 0),
        ("id in (5, 17000)", 2, 2),
        ("id % 2 = 0", 3, 10_000),
        ("cast(id as varchar) like '%777'", 3, 20),
    ] {
        let shown = plan(&context, &format!("select name from people where {filter}")).await;
        assert_eq!(shown.matches(".parquet").count(), files, "{filter}: {shown}");
        let counted = query(
            &context,
            &format!("select count(name) as n from people where {filter}"),
        )
        .await;
        assert!(counted.contains(&format!("| {rows} ")), "{filter}: {counted}");
    }
}

async fn nan_is_never_skipped(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    // queries sort NaN above every number, while Parquet and Iceberg leave it out of the bounds
    let with_nan: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), Some(f64::NAN), None]));
    let without: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), Some(-0.0), None]));
    let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let rows = batch(vec![("id", id), ("x", with_nan), ("y", without)]);
    run(&lake, "run-1", &rows).await.unwrap();
    let context = context(&lake).await;
    // the same rows in memory know no bounds
    context.register_batch("plain", rows).unwrap();
    for filter in [
        "x > 5",
        "x >= 1",
        "x = 'NaN'::double",
        "x <> 1",
        "not (x <= 1)",
        "x between -1 and 2",
        "y > 5",
        "y >= 0.0",
        "y <= 0.0",
        "y < 0.0",
        "y = 0.0",
        "y = -0.0",
        "x is null",
    ] {
        let read = query(
            &context,
            &format!("select id from people where {filter} order by id"),
        )
        .await;
        let expected = query(
            &context,
            &format!("select id from plain where {filter} order by id"),
        )
        .await;
        assert_eq!(read, expected, "{filter}");
    }
    assert!(
        query(&context, "select id from people where x > 5")
            .await
            .contains("| 2 ")
    );
    let largest = query(&context, "select max(x) as m, max(y) as n from people").await;
    assert!(largest.contains("| NaN | 1.0 |"), "{largest}");
}

async fn projections_limits_and_nothing_at_all(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    three_files(&lake).await;
    let context = context(&lake).await;
    for (sql, expected) in [
        ("select count(*) as n from (select * from people limit 5)", "| 5 "),
        ("select count(*) as n from people where id < 100", "| 100 "),
        (
            "select name, id from people order by id desc limit 1",
            "| a19999 | 19999 |",
        ),
        (
            "select name, id, name as again from people where id = 3",
            "| a3   | 3  | a3    |",
        ),
        ("select count(*) as n from (select 1 from people)", "| 20000 |"),
    ] {
        let read = query(&context, sql).await;
        assert!(read.contains(expected), "{sql}: {read}");
    }
}

async fn two_lakes_meet_in_one_session(make: fn() -> Place) {
    let (here, there) = (make(), make());
    let (one, other) = (here.lake().await, there.lake().await);
    run(&one, "run-1", &people("a", 1, 3)).await.unwrap();
    run(&other, "run-1", &people("b", 2, 3)).await.unwrap();
    let context = SessionContext::new_with_config(SessionConfig::new());
    for (name, lake) in [("one", &one), ("other", &other)] {
        let table = lake.load("shop", "people").await.unwrap().unwrap();
        context
            .register_table(name, lake.provider(&table).await.unwrap())
            .unwrap();
    }
    let read = query(
        &context,
        "select one.name as l, other.name as r from one join other using (id) order by l",
    )
    .await;
    let expected = "\
+----+----+
| l  | r  |
+----+----+
| a2 | b2 |
| a3 | b3 |
+----+----+";
    assert_eq!(read, expected);
}

async fn a_table_in_use_costs_no_read(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    run(&lake, "run-1", &people("a", 1, 3)).await.unwrap();
    let table = lake.load("shop", "people").await.unwrap().unwrap();
    lake.provider(&table).await.unwrap();
    // neither planning nor loading looks at manifests again: they may as well be gone
    std::fs::remove_dir_all(place.path().join("shop/people/metadata/run-1")).unwrap();
    let again = lake.load("shop", "people").await.unwrap().unwrap();
    let context = SessionContext::new();
    context
        .register_table("people", lake.provider(&again).await.unwrap())
        .unwrap();
    assert!(
        query(&context, "select count(*) as n from people")
            .await
            .contains("| 3 |")
    );
}

async fn a_broken_table_says_which_file(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    run(&lake, "run-1", &people("a", 1, 3)).await.unwrap();
    let path = place.path().join("shop/people/metadata/v1.metadata.json");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "{}").unwrap();
    let error = lake.load("shop", "people").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "shop/people/metadata/v1.metadata.json in lake {} is not a readable Iceberg file",
            place.uri()
        )
    );
}

/// A data file that is gone, cut, or another one than the table refers to fails each query that reads it, by its name; the
/// rows of the others are not given as if they were all.
async fn a_damaged_file_is_an_error_and_not_fewer_rows(make: fn() -> Place) {
    type Damage = fn(&[u8]) -> Option<Vec<u8>>;
    let damages: [(&str, Damage); 5] = [
        ("gone", |_| None),
        ("empty", |_| Some(Vec::new())),
        ("cut in half", |content| {
            Some(content[..content.len() / 2].to_vec())
        }),
        ("without its last byte", |content| {
            Some(content[..content.len() - 1].to_vec())
        }),
        ("of zeros", |content| Some(vec![0; content.len()])),
    ];
    for (damage, damaged) in damages {
        let place = make();
        let lake = place.lake().await;
        three_files(&lake).await;
        let file = tree(place.path())
            .into_iter()
            .find(|file| file.ends_with("/00001.parquet"))
            .unwrap();
        let path = place.path().join(&file);
        let content = std::fs::read(&path).unwrap();
        // a file that is written over stays open to who has it mapped or linked
        std::fs::remove_file(&path).unwrap();
        if let Some(content) = damaged(&content) {
            std::fs::write(&path, content).unwrap();
        }
        let context = context(&lake).await;
        for sql in [
            "select sum(id) as s from people where id > 0",
            "select * from people",
            "select name from people where id = 9000",
        ] {
            let read = match context.sql(sql).await {
                Ok(planned) => planned.collect().await,
                Err(error) => Err(error),
            };
            let error = read.expect_err(&format!("{damage}: {sql}")).to_string();
            assert!(error.contains("00001.parquet"), "{damage}: {sql}: {error}");
        }
        // who needs nothing of it is not kept from the others
        let others = query(&context, "select name from people where id = 17000").await;
        assert!(others.contains("a17000"), "{damage}: {others}");
    }
}
