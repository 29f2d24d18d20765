//! Runs as plain directories of Parquet files, and the types of Hive 3.

use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use lakegate_crds::{Profile, TableFormat};
use lakegate_lake::{CommitInfo, Dropped, LakeError, RunManifest, TableOwner, WriteOptions};
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use crate::support::{Place, batch, data_files, info, on_every_place, options, people, run, tree, write};

on_every_place! {
    a_run_is_a_directory_and_its_manifest_the_commit,
    a_run_is_published_once,
    an_iceberg_table_and_plain_files_keep_apart,
    only_its_owner_removes_plain_files,
    types_are_those_of_hive_3,
    what_hive_3_reads_otherwise_is_refused_by_name,
}

fn plain(run: &str, attempt: &str) -> WriteOptions {
    WriteOptions {
        profile: Profile::Hive3,
        format: TableFormat::Parquet,
        ..WriteOptions::new(run, attempt)
    }
}

fn manifest(place: &Place, run: &str) -> RunManifest {
    let path = place.path().join(format!("shop/people/_runs/{run}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

async fn a_run_is_a_directory_and_its_manifest_the_commit(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    assert_eq!(lake.published_columns("shop", "people").await.unwrap(), None);
    for (run, rows) in [("run-1", 3), ("run-2", 4)] {
        let files = write(&lake, plain(run, "1"), &people("a", 0, rows))
            .await
            .unwrap();
        let commit = lake.replace(files, info(run)).await.unwrap();
        assert_eq!(
            (commit.rows, commit.files, commit.already),
            (rows as u64, 1, false)
        );
    }
    let (first, second) = (manifest(&place, "run-1"), manifest(&place, "run-2"));
    assert_eq!((second.rows, second.version, second.snapshot_id), (4, None, None));
    assert!(first.committed_at <= second.committed_at);
    for run in [&first, &second] {
        let directory = place.path().join("shop/people").join(&run.directory);
        assert!(directory.join("_SUCCESS").exists());
        assert_eq!(
            std::fs::read_dir(directory).unwrap().count(),
            2,
            "one file and _SUCCESS"
        );
    }
    assert!(!place.path().join("shop/people/metadata").exists());
    assert!(lake.list().await.unwrap().is_empty(), "it is no table");
    let columns = lake.published_columns("shop", "people").await.unwrap().unwrap();
    assert_eq!(columns.into_iter().collect::<Vec<_>>(), ["id", "name"]);
    // what is published stays, what is not goes
    let lost = write(&lake, plain("run-2", "2"), &people("b", 0, 1))
        .await
        .unwrap();
    assert_eq!(lost.rows(), 1);
    assert_eq!(lake.sweep("shop", "people", "run-2").await.unwrap(), 1);
    assert_eq!(lake.sweep("shop", "people", "run-1").await.unwrap(), 0);
}

async fn a_run_is_published_once(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    assert!(
        lake.find_commit("shop", "people", "run-1")
            .await
            .unwrap()
            .is_none()
    );
    let (one, two) = (place.lake().await, place.lake().await);
    let first = write(&one, plain("run-1", "1"), &people("a", 0, 3))
        .await
        .unwrap();
    let second = write(&two, plain("run-1", "2"), &people("a", 0, 3))
        .await
        .unwrap();
    let (first, second) = tokio::join!(
        one.replace(first, info("run-1")),
        two.replace(second, info("run-1"))
    );
    let already = [first.unwrap().already, second.unwrap().already];
    assert!(already.contains(&true) && already.contains(&false), "{already:?}");
    assert_eq!(data_files(place.path()).len(), 1, "the loser's files are gone");
    // a winner that died before its last step
    let success = place
        .path()
        .join("shop/people")
        .join(manifest(&place, "run-1").directory)
        .join("_SUCCESS");
    std::fs::remove_file(&success).unwrap();
    let found = lake
        .find_commit("shop", "people", "run-1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.rows, found.already), (3, true));
    assert!(success.exists());
}

async fn an_iceberg_table_and_plain_files_keep_apart(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    run(&lake, "run-1", &people("a", 0, 3)).await.unwrap();
    let error = write(&lake, plain("run-2", "1"), &people("a", 0, 3))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "table shop.people is written with format Iceberg: export with format Parquet into another table, or delete this one"
    );
    let place = make();
    let lake = place.lake().await;
    let files = write(&lake, plain("run-1", "1"), &people("a", 0, 3))
        .await
        .unwrap();
    lake.replace(files, info("run-1")).await.unwrap();
    let error = write(&lake, options("run-2"), &people("a", 0, 3))
        .await
        .unwrap_err();
    assert!(
        matches!(error, LakeError::FormatDiffers { there: "Parquet", .. }),
        "{error}"
    );
}

async fn only_its_owner_removes_plain_files(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let owner = |uid: &str| TableOwner {
        export_uid: uid.to_owned(),
        ..TableOwner::default()
    };
    let files = write(&lake, plain("run-1", "1"), &people("a", 0, 3))
        .await
        .unwrap();
    let info = CommitInfo {
        export_uid: Some("u1".to_owned()),
        ..info("run-1")
    };
    lake.replace(files, info).await.unwrap();
    let before = tree(place.path());
    assert_eq!(
        lake.drop_owned("shop", "people", &owner("u2")).await.unwrap(),
        Dropped::Foreign("Export default/people, in run run-1".to_owned())
    );
    assert_eq!(tree(place.path()), before, "nothing was touched");
    for expected in [Dropped::Removed, Dropped::Absent] {
        assert_eq!(
            lake.drop_owned("shop", "people", &owner("u1")).await.unwrap(),
            expected
        );
    }
    assert_eq!(tree(place.path()), Vec::<String>::new());
}

fn decimal(value: i128, precision: u8, scale: i8) -> ArrayRef {
    let values = Decimal128Array::from(vec![Some(value), None]);
    Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
}

/// The message type of a file, a line a column, and its rows.
fn file(path: &Path) -> (Vec<String>, Vec<String>) {
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut schema = Vec::new();
    parquet::schema::printer::print_schema(&mut schema, reader.metadata().file_metadata().schema());
    let schema = String::from_utf8(schema).unwrap();
    let columns = schema
        .lines()
        .filter(|line| line.starts_with("  "))
        .map(|line| line.trim().to_owned());
    let rows = reader.get_row_iter(None).unwrap();
    (
        columns.collect(),
        rows.map(|row| row.unwrap().to_string()).collect(),
    )
}

async fn types_are_those_of_hive_3(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let utc = |values: Vec<Option<i64>>| TimestampMicrosecondArray::from(values).with_timezone("UTC");
    let prices: ArrayRef = Arc::new({
        let mut lists = ListBuilder::new(Decimal128Builder::new().with_precision_and_scale(3, 1).unwrap());
        lists.append_value([Some(-15)]);
        lists.append_null();
        lists.finish()
    });
    let rows = batch(vec![
        ("small", decimal(-12_345, 9, 2)),
        ("middle", decimal(10_i128.pow(18) - 1, 18, 4)),
        ("wide", decimal(1 - 10_i128.pow(38), 38, 0)),
        ("prices", prices),
        ("day", Arc::new(Date32Array::from(vec![Some(-141_427), None]))),
        (
            "at",
            Arc::new(TimestampSecondArray::from(vec![Some(-62_135_596_800), None])),
        ),
        (
            "instant",
            Arc::new(utc(vec![Some(253_402_300_799_999_999), None])),
        ),
        ("byte", Arc::new(Int8Array::from(vec![Some(-1), None]))),
        (
            "time",
            Arc::new(Time64MicrosecondArray::from(vec![Some(1), None])),
        ),
    ]);
    let files = write(&lake, plain("run-1", "1"), &rows).await.unwrap();
    lake.replace(files, info("run-1")).await.unwrap();
    let [path] = data_files(place.path()).try_into().unwrap();
    let (columns, rows) = file(&place.path().join(path));
    assert_eq!(
        columns
            .iter()
            .filter(|line| line.contains("DECIMAL"))
            .cloned()
            .collect::<Vec<_>>(),
        [
            "OPTIONAL FIXED_LEN_BYTE_ARRAY (4) small [1] (DECIMAL(9,2));",
            "OPTIONAL FIXED_LEN_BYTE_ARRAY (8) middle [2] (DECIMAL(18,4));",
            "OPTIONAL FIXED_LEN_BYTE_ARRAY (16) wide [3] (DECIMAL(38,0));",
            "OPTIONAL FIXED_LEN_BYTE_ARRAY (2) element [10] (DECIMAL(3,1));",
        ],
        "{columns:#?}"
    );
    assert!(
        columns
            .iter()
            .all(|line| !line.contains("TIMESTAMP") && !line.contains("INT64")),
        "{columns:#?}"
    );
    assert_eq!(
        rows,
        [
            "{small: -123.45, middle: 99999999999999.9999, wide: -99999999999999999999999999999999999999., \
             prices: [-1.5], day: 1582-10-15, at: \"0001-01-01 00:00:00.000000\", \
             instant: \"9999-12-31 23:59:59.999999\", byte: -1, time: \"00:00:00.000001\"}",
            "{small: null, middle: null, wide: null, prices: null, day: null, at: null, instant: null, byte: null, \
             time: null}",
        ]
    );
}

async fn what_hive_3_reads_otherwise_is_refused_by_name(make: fn() -> Place) {
    let cases: Vec<(ArrayRef, &str)> = vec![
        (
            Arc::new(Date32Array::from(vec![-141_428])),
            "a date is before 1582-10-15, which Hive 3 reads by another calendar; cast the column to text",
        ),
        (
            Arc::new(TimestampSecondArray::from(vec![-62_135_596_801])),
            "a timestamp is not in the years 1 to 9999, which Hive reads; leave such rows out with where, or cast the column \
             to text",
        ),
        (
            Arc::new(TimestampSecondArray::from(vec![253_402_300_800])),
            "a timestamp is not in the years 1 to 9999, which Hive reads; leave such rows out with where, or cast the column \
             to text",
        ),
    ];
    for (column, problem) in cases {
        let lake = make().lake().await;
        let error = write(&lake, plain("run-1", "1"), &batch(vec![("value", column)]))
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("table shop.people, column value: {problem}")
        );
    }
}
