//! Tables of a lake as they were.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use lakegate_federation::{Federation, Session};
use lakegate_lake::{CommitInfo, Lake, LakeTable, WriteOptions};

use crate::stores::attach;
use crate::support::{drain, federation, rows, session, try_rows};

/// Replaces `shop.orders`, and waits for another millisecond, so that no two snapshots have one time.
async fn publish(lake: &Lake, run: &str, columns: Vec<(&str, ArrayRef)>) -> LakeTable {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let options = WriteOptions::new(run, "1");
    let mut writer = lake
        .write("shop", "orders", batch.schema(), options)
        .await
        .unwrap();
    writer.write(batch).await.unwrap();
    let files = writer.close().await.unwrap();
    let info = CommitInfo {
        run_id: run.into(),
        attempt_id: "1".into(),
        ..CommitInfo::default()
    };
    lake.replace(files, info).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    lake.load("shop", "orders").await.unwrap().unwrap()
}

fn ids(count: i64) -> (&'static str, ArrayRef) {
    ("id", Arc::new(Int64Array::from_iter_values(0..count)))
}

fn texts(name: &'static str, count: i64) -> (&'static str, ArrayRef) {
    let values = (0..count).map(|id| format!("{name}-{id}"));
    (name, Arc::new(StringArray::from_iter_values(values)))
}

/// Three runs: of 2 rows, of 5 with a column more, of 3 without the first one's second column.
async fn three_runs(directory: &Path) -> (Arc<Federation>, Runs) {
    let lake = Lake::open_directory(&directory.join("lake")).await.unwrap();
    let first = publish(&lake, "run-1", vec![ids(2), texts("name", 2)]).await;
    let second = publish(&lake, "run-2", vec![ids(5), texts("name", 5), texts("extra", 5)]).await;
    let third = publish(&lake, "run-3", vec![ids(3), texts("extra", 3)]).await;
    let federation = federation();
    let spec = serde_json::json!({"lake": {"directory": {"path": "lake"}}});
    attach(&federation, directory, "lake", spec).await;
    (
        federation,
        Runs {
            lake,
            first,
            second,
            third,
        },
    )
}

struct Runs {
    lake: Arc<Lake>,
    first: LakeTable,
    second: LakeTable,
    third: LakeTable,
}

fn id(table: &LakeTable) -> i64 {
    table.snapshot_id().unwrap()
}

async fn refused(session: &Session, sql: &str) -> (String, String, String) {
    let error = try_rows(session, sql).await.unwrap_err();
    (
        error.sqlstate().to_owned(),
        error.detail().unwrap_or_default().to_owned(),
        error.hint().unwrap_or_default().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_read_with_its_rows_and_columns() {
    let directory = tempfile::tempdir().unwrap();
    let (federation, runs) = three_runs(directory.path()).await;
    let (first, second) = (id(&runs.first), id(&runs.second));
    let lake = session(&federation, "lake");
    for pushdown in ["on", "off"] {
        lake.settings().set("lakegate.pushdown", pushdown).unwrap();
        for (sql, expected) in [
            (
                format!("select * from \"orders@{first}\" order by id"),
                vec!["0|name-0", "1|name-1"],
            ),
            (
                format!("select count(*) from shop.\"orders@{second}\""),
                vec!["5"],
            ),
            (
                format!("select id from lake.shop.\"orders@{second}\" where extra = 'extra-4'"),
                vec!["4"],
            ),
            // beside the newest, and another one, in one query
            (
                format!(
                    "select a.id, b.name, c.name from shop.orders a left join \"orders@{first}\" b using (id) \
                     join \"orders@{second}\" c using (id) order by 1"
                ),
                vec!["0|name-0|name-0", "1|name-1|name-1", "2||name-2"],
            ),
        ] {
            assert_eq!(rows(&lake, &sql).await, expected, "{sql}");
        }
        // columns are the snapshot's: one added later is none, one dropped since is there
        assert_eq!(
            refused(&lake, &format!("select extra from \"orders@{first}\""))
                .await
                .0,
            "42703"
        );
        assert_eq!(refused(&lake, "select name from orders").await.0, "42703");
    }
    let virtual_session = session(&federation, "lakegate");
    let sql = format!("select count(*) from lake__shop.\"orders@{first}\"");
    assert_eq!(rows(&virtual_session, &sql).await, ["2"]);
    // a plan that is kept reads the same snapshot after another run
    let statement = lakegate_federation::parse(&format!("select * from shop.\"orders@{first}\""))
        .unwrap()
        .remove(0);
    let plan = lake.plan(statement, &[]).await.unwrap();
    publish(&runs.lake, "run-4", vec![ids(9), texts("extra", 9)]).await;
    let stream = lake.execute(plan, "kept").unwrap();
    assert_eq!(drain(stream).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_of_a_time_is_the_one_that_was_current() {
    let directory = tempfile::tempdir().unwrap();
    let (federation, runs) = three_runs(directory.path()).await;
    let lake = session(&federation, "lake");
    let millisecond = jiff::SignedDuration::from_millis(1);
    let [first, second, third] =
        [&runs.first, &runs.second, &runs.third].map(|table| table.committed_at().unwrap());
    for (time, expected) in [
        (first, "2"),
        (second - millisecond, "2"),
        (second, "5"),
        (third - millisecond, "5"),
        (third, "3"),
        (third + jiff::SignedDuration::from_hours(1000), "3"),
    ] {
        for text in [
            time.to_string(),
            // UTC when nothing is said
            time.to_string().replace('T', " ").replace('Z', ""),
            time.display_with_offset(jiff::tz::offset(9)).to_string(),
        ] {
            let sql = format!("select count(*) from shop.\"orders@{text}\"");
            assert_eq!(rows(&lake, &sql).await, [expected], "{text}");
        }
    }
    let before = first - millisecond;
    let (code, detail, hint) = refused(&lake, &format!("select 1 from \"orders@{before}\"")).await;
    assert_eq!(
        (code.as_str(), detail),
        ("42P01", format!("Table shop.orders has no snapshot of {before}."))
    );
    assert!(
        hint.contains(&format!("oldest snapshot is {}, of {first}", id(&runs.first))),
        "{hint}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_a_table_and_no_list_has_them() {
    let directory = tempfile::tempdir().unwrap();
    let (federation, runs) = three_runs(directory.path()).await;
    let [first, second, third] = [&runs.first, &runs.second, &runs.third].map(id);
    let lake = session(&federation, "lake");
    let listed = rows(
        &lake,
        "select run_id, snapshot_id, parent_id, operation, summary->>'total-records' \
         from shop.\"orders$snapshots\" order by committed_at",
    )
    .await;
    assert_eq!(
        listed,
        [
            format!("run-1|{first}||append|2"),
            format!("run-2|{second}|{first}|overwrite|5"),
            format!("run-3|{third}|{second}|overwrite|3"),
        ]
    );
    let matching = format!(
        "select count(*) from \"orders$snapshots\" where committed_at = '{}' and summary->>'lakegate.run-id' = run_id \
         and manifest_list like '%/snap-{second}-%'",
        runs.second.committed_at().unwrap()
    );
    assert_eq!(rows(&lake, &matching).await, ["1"]);
    // what it lists can be read
    assert_eq!(
        rows(&lake, &format!("select count(*) from \"orders@{third}\"")).await,
        ["3"]
    );
    let metadata = federation.metadata();
    let names = metadata
        .databases
        .iter()
        .flat_map(|database| database.schemas.iter());
    let names: Vec<_> = names
        .flat_map(|schema| schema.tables.iter())
        .map(|table| &table.name)
        .collect();
    assert!(names.iter().all(|name| !name.contains(['@', '$'])), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_is_refused_with_what_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let (federation, runs) = three_runs(directory.path()).await;
    let lake = session(&federation, "lake");
    let (code, detail, hint) = refused(&lake, "select 1 from shop.\"orders@1\"").await;
    assert_eq!(
        (code.as_str(), detail.as_str()),
        ("42P01", "Table shop.orders has no snapshot 1.")
    );
    assert!(
        hint.contains(&format!("oldest snapshot is {}", id(&runs.first)))
            && hint.contains("shop.\"orders$snapshots\""),
        "{hint}"
    );
    for sql in [
        "select 1 from shop.\"orders@yesterday\"",
        "select 1 from shop.\"orders$files\"",
        "select 1 from \"orders@yesterday\"",
    ] {
        let (code, _, hint) = refused(&lake, sql).await;
        assert!(
            code == "42P01" && hint.contains("orders@<snapshot id>"),
            "{sql}: {code} {hint}"
        );
    }
    for sql in [
        "select 1 from shop.\"nope@1\"",
        "select 1 from shop.\"nope$snapshots\"",
        "select 1 from \"nope@1\"",
        "select 1 from nope.\"orders@1\"",
    ] {
        assert_eq!(refused(&lake, sql).await.0, "42P01", "{sql}");
    }
}
