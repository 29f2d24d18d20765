//! Plain files in Hive's directories: what others read of the values that only the directories' names tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::*;
use lakegate_crds::{Profile, TableFormat};
use lakegate_lake::{LakeError, RunManifest, WriteOptions};
use serde_json::{Value, json};

use crate::support::{Place, batch, data_files, info, on_every_place, options, told_by_python, tree, write};

on_every_place! {
    every_value_of_a_directory_comes_back,
    derived_fields_stand_beside_their_columns,
}

const DAY: i64 = 86_400_000_000;

fn plain(fields: Value) -> WriteOptions {
    WriteOptions {
        partition_by: serde_json::from_value(fields).unwrap(),
        format: TableFormat::Parquet,
        ..options("run-1")
    }
}

fn manifest(place: &Place) -> RunManifest {
    let path = place.path().join("shop/people/_runs/run-1.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// What `tests/plain_readers.py` says of the run's directory: by reader, its rows.
fn read_elsewhere(place: &Place) -> Value {
    told_by_python(&[
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plain_readers.py").as_ref(),
        place.path().join("shop/people").as_ref(),
    ])
}

/// Paths below the run's directory.
fn paths(place: &Place) -> Vec<String> {
    let directory = format!("shop/people/{}/", manifest(place).directory);
    data_files(place.path())
        .iter()
        .map(|file| file.strip_prefix(&directory).unwrap().to_owned())
        .collect()
}

async fn every_value_of_a_directory_comes_back(make: fn() -> Place) {
    let texts = [
        Some("Paris"),
        Some("a b"),
        Some("a/b"),
        Some("x=y"),
        Some("100%"),
        Some("%2F"),
        Some("a+b"),
        Some("Łódź 漢字 😀"),
        None,
        Some("01"),
        Some("null"),
        Some("2026-01-31"),
        Some("'\"#?*:\\[]{}^"),
        Some(" a "),
        Some("a\tb\nc"),
        Some("."),
    ];
    let rows = texts.len();
    let count = i64::try_from(rows).unwrap();
    let decimals = (0..count).map(|row| (row != 3).then_some(i128::from(row - 2) * 5));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..count))),
        ("city", Arc::new(StringArray::from(texts.to_vec()))),
        (
            "day",
            Arc::new(
                (0..rows)
                    .map(|row| (row != 2).then_some(i32::try_from(row).unwrap() * 400 - 1200))
                    .collect::<Date32Array>(),
            ),
        ),
        (
            "price",
            Arc::new(
                decimals
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(12, 2)
                    .unwrap(),
            ),
        ),
        (
            "number",
            Arc::new(Int64Array::from_iter_values(
                (0..count).map(|row| (row - 3) * (i64::MAX / 20)),
            )),
        ),
        (
            "flag",
            Arc::new(
                (0..rows)
                    .map(|row| (row % 3 < 2).then_some(row % 3 == 0))
                    .collect::<BooleanArray>(),
            ),
        ),
        (
            "moment",
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                (0..count).map(|row| (row - 5) * (DAY + 1)),
            )),
        ),
        (
            "name",
            Arc::new(StringArray::from_iter_values(
                (0..rows).map(|row| format!("n{row}")),
            )),
        ),
    ];
    for column in ["city", "day", "price", "number", "flag", "moment"] {
        let place = make();
        let lake = place.lake().await;
        let all = batch(columns.clone());
        let files = write(&lake, plain(json!([{"column": column, "by": "Identity"}])), &all)
            .await
            .unwrap();
        lake.replace(files, info("run-1")).await.unwrap();
        let run = manifest(&place);
        assert_eq!(
            json!(run.partition_fields),
            json!([{"name": column, "column": column, "transform": "identity"}])
        );
        assert!(
            run.columns.iter().any(|known| known.name == column),
            "its type is told"
        );
        for file in &run.files {
            let partition = &file.partition;
            assert_eq!(partition.keys().collect::<Vec<_>>(), [column]);
            let text = partition[column]
                .clone()
                .unwrap_or_else(|| "__HIVE_DEFAULT_PARTITION__".to_owned());
            assert!(!text.is_empty());
        }
        let read = read_elsewhere(&place);
        for reader in ["duckdb", "pyarrow"] {
            let found = read[reader].as_array().unwrap();
            assert_eq!(found.len(), rows, "{reader}, {column}");
            for (row, found) in found.iter().enumerate() {
                assert_eq!(
                    found["in_file"],
                    json!(
                        ["day", "city", "flag", "id", "moment", "name", "number", "price"]
                            .iter()
                            .filter(|name| **name != column)
                            .collect::<std::collections::BTreeSet<_>>()
                    ),
                    "{reader}, {column}"
                );
                assert_eq!(found["row"], expected(&all, row), "{reader}, {column}, row {row}");
            }
        }
    }
}

/// A row as `tests/plain_readers.py` prints it.
fn expected(batch: &RecordBatch, row: usize) -> Value {
    let mut values = serde_json::Map::new();
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let text = arrow::util::display::array_value_to_string(array, row).unwrap();
        let value = match array.data_type() {
            _ if array.is_null(row) => Value::Null,
            arrow::datatypes::DataType::Int64 | arrow::datatypes::DataType::Boolean => {
                serde_json::from_str(&text).unwrap()
            }
            _ => text.into(),
        };
        values.insert(field.name().clone(), value);
    }
    values.into()
}

async fn derived_fields_stand_beside_their_columns(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![-11, 4, 5])) as ArrayRef),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), Some(DAY), None]).with_timezone("UTC")),
        ),
        (
            "city",
            Arc::new(StringArray::from(vec![Some("Łódź"), Some(""), None])),
        ),
        ("zip", Arc::new(StringArray::from(vec!["1", "2", "2"]))),
    ]);
    let by = json!([
        {"column": "at", "by": "Hour"}, {"column": "city", "by": "Truncate", "width": 2}, {"column": "id", "by": "Truncate", "width": 10},
        {"column": "id", "by": "Bucket", "buckets": 4},
    ]);
    let options = WriteOptions {
        profile: Profile::Hive3,
        ..plain(by)
    };
    let files = write(&lake, options, &rows).await.unwrap();
    lake.replace(files, info("run-1")).await.unwrap();
    let mut paths = paths(&place);
    paths.sort();
    let bucket = |path: &str| {
        path.split("id_bucket_4=")
            .nth(1)
            .unwrap()
            .split('/')
            .next()
            .unwrap()
            .to_owned()
    };
    let buckets: Vec<String> = paths.iter().map(|path| bucket(path)).collect();
    assert_eq!(
        paths,
        [
            format!(
                "at_hour=1969-12-31-23/city_trunc_2=Łó/id_trunc_10=-20/id_bucket_4={}/00001-00000.parquet",
                buckets[0]
            ),
            format!(
                "at_hour=1970-01-02-00/city_trunc_2=__HIVE_DEFAULT_PARTITION__/id_trunc_10=0/id_bucket_4={}/00002-00000.parquet",
                buckets[1]
            ),
            format!(
                "at_hour=__HIVE_DEFAULT_PARTITION__/city_trunc_2=__HIVE_DEFAULT_PARTITION__/id_trunc_10=0/id_bucket_4={}/00000-00000.parquet",
                buckets[2]
            ),
        ]
    );
    let run = manifest(&place);
    let partition: BTreeMap<String, Option<String>> = run.files[2].partition.clone();
    assert_eq!(
        json!(partition),
        json!({"at_hour": "1970-01-02-00", "city_trunc_2": "", "id_trunc_10": "0", "id_bucket_4": buckets[1]})
    );
    assert_eq!(
        json!(run.partition_fields[3]),
        json!({"name": "id_bucket_4", "column": "id", "transform": "bucket[4]"})
    );
    let read = read_elsewhere(&place);
    for reader in ["duckdb", "pyarrow"] {
        let found = &read[reader];
        assert_eq!(
            found[0]["in_file"],
            json!(["at", "city", "id", "zip"]),
            "{reader}"
        );
        assert_eq!(found[1]["row"]["city"], "", "{reader}");
        assert_eq!(found[0]["row"]["at"], "1969-12-31 23:59:59.999999", "{reader}");
        assert_eq!(found[0]["row"]["at_hour"], "1969-12-31-23", "{reader}");
        assert_eq!(found[2]["row"]["at_hour"], Value::Null, "{reader}");
    }
    // an attempt that lost leaves nothing in the directories
    let lost = WriteOptions {
        attempt_id: "2".to_owned(),
        ..plain(json!([{"column": "city", "by": "Truncate", "width": 1}]))
    };
    let before = tree(place.path());
    let _ = write(&lake, lost, &rows).await.unwrap();
    assert_eq!(lake.sweep("shop", "people", "run-1").await.unwrap(), 3);
    assert_eq!(tree(place.path()), before);
}

#[tokio::test]
async fn what_directories_cannot_tell_is_refused_by_name() {
    let cases: [(ArrayRef, &str); 4] = [
        (
            Arc::new(StringArray::from(vec!["a", ""])),
            "an empty text cannot be told from NULL",
        ),
        (
            Arc::new(StringArray::from(vec!["__HIVE_DEFAULT_PARTITION__"])),
            "the text __HIVE_DEFAULT_PARTITION__ is read as NULL",
        ),
        (
            Arc::new(StringArray::from(vec!["é".repeat(125)])),
            "a value has 256 bytes there, above the limit of 255",
        ),
        (
            Arc::new(Date32Array::from(vec![2_932_897])),
            "a year is not among 1 to 9999, which readers know",
        ),
    ];
    for (value, problem) in cases {
        let place = Place::directory();
        let lake = place.lake().await;
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(
            0..i64::try_from(value.len()).unwrap(),
        ));
        let rows = batch(vec![("id", ids), ("value", value)]);
        let error = write(
            &lake,
            plain(json!([{"column": "value", "by": "Identity"}])),
            &rows,
        )
        .await
        .unwrap_err();
        assert!(error.is_terminal() && matches!(error, LakeError::ValueRefused { .. }));
        assert_eq!(
            error.to_string(),
            format!(
                "table shop.people, column value: {problem}, so that it cannot name a partition's directory; leave such rows \
                 out with where, or partition by Bucket"
            )
        );
        assert!(data_files(place.path()).is_empty(), "nothing is left");
    }
    let rows = batch(vec![
        ("bytes", Arc::new(BinaryArray::from_vec(vec![b"a"])) as ArrayRef),
        ("city", Arc::new(StringArray::from(vec!["a"]))),
    ]);
    let lake = Place::directory().lake().await;
    for (fields, problem) in [
        (
            json!([{"column": "bytes", "by": "Identity"}]),
            "[0]: \"bytes\" has bytes, which have no form in the name of a directory",
        ),
        (
            json!([{"column": "city", "by": "Identity"}, {"column": "bytes", "by": "Truncate", "width": 3}]),
            "[1]: \"bytes\" has bytes, which have no form in the name of a directory",
        ),
    ] {
        let error = write(&lake, plain(fields), &rows).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("table shop.people: spec.destination.partitionBy{problem}")
        );
    }
    let rows = batch(vec![("city", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)]);
    let error = write(&lake, plain(json!([{"column": "city", "by": "Identity"}])), &rows)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is the last column that files would have"),
        "{error}"
    );
}
