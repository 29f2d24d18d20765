//! Other engines read the same rows, by the metadata alone.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use lakegate_lake::WriteOptions;
use serde_json::{Value, json};

use crate::s3_server::{KEY, S3Server, SECRET};
use crate::support::{Place, batch, info, on_every_place, options, people, run, told_by_python, tree, write};

on_every_place! {
    every_type_and_value,
    filters_over_many_files_and_versions,
    columns_that_came_and_went,
}

/// What `tests/readers.py` says of the table `shop.people`.
pub fn read_elsewhere(place: &Place, filters: &Value) -> Value {
    let versions = tree(place.path())
        .iter()
        .filter(|file| file.ends_with(".metadata.json"))
        .count();
    let mut question = json!({
        "table": place.path().join("shop/people"),
        "versions": versions,
        "filters": filters,
    });
    if place.is_bucket() {
        question["table"] = format!("{}/shop/people", place.uri()).into();
        let server = format!("127.0.0.1:{}", S3Server::shared().port);
        question["s3"] = json!({"server": server, "key": KEY, "secret": SECRET});
    }
    told_by_python(&[
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers.py").as_ref(),
        question.to_string().as_ref(),
    ])
}

fn none() -> Value {
    json!({"duckdb": [], "pyiceberg": []})
}

fn all_types() -> RecordBatch {
    let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let element = Arc::new(Field::new("item", DataType::Int32, true));
    let list = ListArray::new(
        element,
        arrow::buffer::OffsetBuffer::new(vec![0, 2, 2, 2].into()),
        Arc::new(Int32Array::from(vec![Some(7), None])),
        Some(vec![true, false, true].into()),
    );
    let place = StructArray::new(
        vec![
            Field::new("x", DataType::Int32, true),
            Field::new("y", DataType::Utf8, true),
        ]
        .into(),
        vec![
            Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])) as ArrayRef,
            Arc::new(StringArray::from(vec![Some("a"), None, Some("c")])),
        ],
        Some(vec![true, false, true].into()),
    );
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("k");
    map.values().append_value(5);
    map.append(true).unwrap();
    map.append(false).unwrap();
    map.keys().append_value("l");
    map.values().append_null();
    map.append(true).unwrap();
    let long = "z".repeat(100);
    let decimal = |values: Vec<Option<i128>>, precision, scale| -> ArrayRef {
        Arc::new(
            Decimal128Array::from(values)
                .with_precision_and_scale(precision, scale)
                .unwrap(),
        )
    };
    let micros = 1_700_000_000_123_456;
    batch(vec![
        ("id", id),
        (
            "flag",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        ),
        ("small", Arc::new(Int16Array::from(vec![Some(-5), None, Some(5)]))),
        (
            "u64",
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)])),
        ),
        (
            "f32",
            Arc::new(Float32Array::from(vec![Some(1.5), None, Some(-0.5)])),
        ),
        (
            "f64",
            Arc::new(Float64Array::from(vec![Some(f64::NAN), None, Some(0.1)])),
        ),
        ("dec9", decimal(vec![Some(-12345), None, Some(99)], 9, 2)),
        ("dec18", decimal(vec![Some(-12345), None, Some(99)], 18, 2)),
        (
            "dec38",
            decimal(vec![Some(10_i128.pow(38) - 1), None, Some(-1)], 38, 2),
        ),
        (
            "day",
            Arc::new(Date32Array::from(vec![Some(19_000), None, Some(-1)])),
        ),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(vec![
                Some(micros),
                None,
                Some(-1),
            ])),
        ),
        (
            "at_utc",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(micros), None, Some(-1)]).with_timezone("UTC"),
            ),
        ),
        (
            "time",
            Arc::new(Time64MicrosecondArray::from(vec![
                Some(1),
                None,
                Some(3_600_000_000),
            ])),
        ),
        (
            "text",
            Arc::new(StringArray::from(vec![
                Some("żółć 漢字"),
                None,
                Some(long.as_str()),
            ])),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from_opt_vec(vec![
                Some(b"\x00\xff"),
                None,
                Some(b""),
            ])),
        ),
        ("list", Arc::new(list)),
        ("place", Arc::new(place)),
        ("map", Arc::new(map.finish())),
    ])
}

async fn every_type_and_value(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    run(&lake, "run-1", &all_types()).await.unwrap();
    let read = read_elsewhere(&place, &none());
    let nulls = |id: i64| {
        let names = [
            "flag", "small", "u64", "f32", "f64", "dec9", "dec18", "dec38", "day", "at", "at_utc", "time",
            "text", "bytes", "list", "place", "map",
        ];
        let mut row = json!({"id": id});
        for name in names {
            row[name] = Value::Null;
        }
        row
    };
    let expected = json!([
        {
            "id": 1, "flag": true, "small": -5, "u64": "18446744073709551615", "f32": "1.5", "f64": "nan",
            "dec9": "-123.45", "dec18": "-123.45", "dec38": "999999999999999999999999999999999999.99",
            "day": "2022-01-08", "at": "2023-11-14T22:13:20.123456", "at_utc": "2023-11-14T22:13:20.123456+00:00",
            "time": "00:00:00.000001", "text": "żółć 漢字", "bytes": "hex:00ff", "list": [7, null],
            "place": {"x": 1, "y": "a"}, "map": {"k": 5},
        },
        nulls(2),
        {
            "id": 3, "flag": false, "small": 5, "u64": "0", "f32": "-0.5", "f64": "0.1",
            "dec9": "0.99", "dec18": "0.99", "dec38": "-0.01",
            "day": "1969-12-31", "at": "1969-12-31T23:59:59.999999", "at_utc": "1969-12-31T23:59:59.999999+00:00",
            "time": "01:00:00.000000", "text": "z".repeat(100), "bytes": "hex:", "list": [],
            "place": {"x": 3, "y": "c"}, "map": {"l": null},
        },
    ]);
    for reader in ["duckdb", "pyiceberg"] {
        let rows = read[reader]["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 3, "{reader}");
        for (row, expected) in rows.iter().zip(expected.as_array().unwrap()) {
            for (column, value) in expected.as_object().unwrap() {
                assert_eq!(
                    &row[column], value,
                    "{reader}: {column} of row {}",
                    expected["id"]
                );
            }
            assert_eq!(
                row.as_object().unwrap().len(),
                expected.as_object().unwrap().len(),
                "{reader}"
            );
        }
    }
}

/// Readers skip files by our bounds and counts: what they answer must not change by it.
async fn filters_over_many_files_and_versions(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    run(&lake, "run-0", &people("x", 100, 2)).await.unwrap();
    run(&lake, "run-1", &people("x", 0, 0)).await.unwrap();

    // one file a batch: other bounds, another mix of nulls, NaN only, text above the 64 bytes kept of a bound
    let long = |letter: &str| letter.repeat(80);
    let options = WriteOptions {
        file_rows: 1,
        ..options("run-2")
    };
    let part = |id: i64, x: Option<f64>, amount: Option<i128>, at: Option<i64>, name: Option<String>| {
        let amount: ArrayRef = Arc::new(
            Decimal128Array::from(vec![amount])
                .with_precision_and_scale(12, 2)
                .unwrap(),
        );
        batch(vec![
            ("id", Arc::new(Int64Array::from(vec![id])) as ArrayRef),
            ("x", Arc::new(Float64Array::from(vec![x]))),
            ("amount", amount),
            ("moment", Arc::new(TimestampMicrosecondArray::from(vec![at]))),
            ("name", Arc::new(StringArray::from(vec![name]))),
        ])
    };
    let parts = [
        part(1, Some(1.0), Some(-500), Some(0), Some(long("a"))),
        part(
            2,
            Some(f64::NAN),
            Some(500),
            Some(86_400_000_000),
            Some(long("b")),
        ),
        part(3, None, None, None, None),
        part(
            4,
            Some(-7.5),
            Some(12_345_678_901),
            Some(-1),
            Some("m".to_owned()),
        ),
    ];
    let mut writer = lake
        .write("shop", "people", parts[0].schema(), options)
        .await
        .unwrap();
    for part in parts {
        writer.write(part).await.unwrap();
    }
    let files = writer.close().await.unwrap();
    assert_eq!(files.files(), 4);
    lake.replace(files, info("run-2")).await.unwrap();

    let cases = [
        ("x = 1.0", "x = 1.0", vec![1]),
        ("x < 0", "x < 0", vec![4]),
        ("x is null", "x is null", vec![3]),
        ("amount = -5.00", "amount = -5.00", vec![1]),
        ("amount > 100", "amount > 100", vec![4]),
        ("amount is not null", "amount is not null", vec![1, 2, 4]),
        (
            "moment = timestamp '1970-01-02'",
            "moment = '1970-01-02T00:00:00'",
            vec![2],
        ),
        (
            "moment < timestamp '1970-01-01'",
            "moment < '1970-01-01T00:00:00'",
            vec![4],
        ),
        ("name > 'aab'", "name > 'aab'", vec![2, 4]),
        ("name >= 'b'", "name >= 'b'", vec![2, 4]),
        ("name = 'm'", "name = 'm'", vec![4]),
        ("name is null", "name is null", vec![3]),
        ("id in (1, 3)", "id in (1, 3)", vec![1, 3]),
        ("id > 10", "id > 10", vec![]),
    ];
    let filters = json!({
        "duckdb": cases.iter().map(|(filter, _, _)| filter).collect::<Vec<_>>(),
        "pyiceberg": cases.iter().map(|(_, filter, _)| filter).collect::<Vec<_>>(),
    });
    let read = read_elsewhere(&place, &filters);
    for reader in ["duckdb", "pyiceberg"] {
        for ((filter, _, ids), found) in cases.iter().zip(read[reader]["filters"].as_array().unwrap()) {
            assert_eq!(found, &json!(ids), "{reader}: {filter}");
        }
        assert_eq!(
            read[reader]["versions"],
            json!([[100, 101], [], [1, 2, 3, 4]]),
            "{reader}"
        );
    }
    // and the bounds do let them skip
    let planned = &read["pyiceberg"]["planned_files"];
    assert_eq!(
        (&planned[3], &planned[6], &planned[10], &planned[13]),
        (&json!(1), &json!(1), &json!(1), &json!(0))
    );
}

async fn columns_that_came_and_went(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    run(&lake, "run-1", &people("a", 1, 2)).await.unwrap();
    let id: ArrayRef = Arc::new(Int64Array::from(vec![5]));
    let name: ArrayRef = Arc::new(Int32Array::from(vec![42]));
    run(&lake, "run-2", &batch(vec![("id", id.clone())]))
        .await
        .unwrap();
    run(&lake, "run-3", &batch(vec![("id", id), ("name", name)]))
        .await
        .unwrap();
    let read = read_elsewhere(&place, &none());
    for reader in ["duckdb", "pyiceberg"] {
        assert_eq!(read[reader]["rows"], json!([{"id": 5, "name": 42}]), "{reader}");
        assert_eq!(read[reader]["versions"], json!([[1, 2], [5], [5]]), "{reader}");
    }
    // the first version's own rows are still what they were
    let _ = write(&lake, options("run-4"), &people("b", 1, 1))
        .await
        .unwrap_err();
}
