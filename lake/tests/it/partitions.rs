//! Partitioned tables: read and pruned by other engines, by whatever transforms, over changes of the partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use lakegate_crds::Profile;
use lakegate_lake::{ColumnMask, LakeError, WriteOptions};
use serde_json::{Value, json};

use crate::faulty::{Fault, Faults, Request};
use crate::readers::read_elsewhere;
use crate::support::{
    Place, batch, context, count_and_sum, data_files, info, on_every_place, options, people, query, tree,
    write,
};

on_every_place! {
    partitions_may_change_from_run_to_run,
    a_store_that_fails_while_partitions_are_written_leaves_nothing,
}

const DAY: i64 = 86_400_000_000;

/// Rows `from..to`: a moment some days from 1969-12-30 on, a city with a slash or none, a day and a name.
fn rows(from: i64, to: i64) -> RecordBatch {
    let cities = (from..to).map(|id| ["a b/ć", "z"].get(usize::try_from(id % 3).unwrap()).copied());
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(from..to))),
        (
            "at",
            Arc::new(
                TimestampMicrosecondArray::from_iter_values((from..to).map(|id| (id % 5 - 2) * DAY + id))
                    .with_timezone("UTC"),
            ),
        ),
        ("city", Arc::new(cities.collect::<StringArray>())),
        (
            "day",
            Arc::new(Date32Array::from_iter_values(
                (from..to).map(|id| i32::try_from(id % 90 - 40).unwrap()),
            )),
        ),
        (
            "name",
            Arc::new(StringArray::from_iter_values(
                (from..to).map(|id| format!("name{}", id % 7)),
            )),
        ),
    ];
    batch(columns)
}

fn by(fields: Value) -> WriteOptions {
    WriteOptions {
        partition_by: serde_json::from_value(fields).unwrap(),
        ..options("run-1")
    }
}

/// Ids below `to` for which a condition holds.
fn ids(to: i64, holds: impl Fn(i64) -> bool) -> Vec<i64> {
    (0..to).filter(|id| holds(*id)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_read_and_pruned_elsewhere() {
    // partitions, conditions, rows that meet them, files that are to be planned
    type Case = (
        Value,
        usize,
        [(&'static str, &'static str, fn(i64) -> bool, usize); 2],
    );
    let cases: [Case; 4] = [
        (
            json!([{"column": "id", "by": "Bucket", "buckets": 4}]),
            4,
            [
                // bounds would not tell: each bucket has ids from all over
                ("id = 207", "id = 207", |id| id == 207, 1),
                ("id in (0, 399)", "id in (0, 399)", |id| id == 0 || id == 399, 2),
            ],
        ),
        (
            json!([{"column": "at", "by": "Day"}, {"column": "city", "by": "Identity"}]),
            15,
            [
                (
                    "\"at\" < timestamptz '1970-01-01 00:00:00+00' and city = 'a b/ć'",
                    "at < '1970-01-01T00:00:00+00:00' and city = 'a b/ć'",
                    |id| id % 5 < 2 && id % 3 == 0,
                    2,
                ),
                ("city is null", "city is null", |id| id % 3 == 2, 5),
            ],
        ),
        (
            json!([{"column": "day", "by": "Month"}, {"column": "name", "by": "Truncate", "width": 5}]),
            4 * 7,
            [
                (
                    "day >= date '1970-02-01'",
                    "day >= '1970-02-01'",
                    |id| id % 90 - 40 >= 31,
                    7,
                ),
                ("name = 'name3'", "name = 'name3'", |id| id % 7 == 3, 4),
            ],
        ),
        (
            json!([{"column": "at", "by": "Hour"}, {"column": "day", "by": "Year"}]),
            10,
            [
                (
                    "day < date '1970-01-01'",
                    "day < '1970-01-01'",
                    |id| id % 90 < 40,
                    5,
                ),
                (
                    "\"at\" = timestamptz '1970-01-01 00:00:00.000002+00'",
                    "at = '1970-01-01T00:00:00.000002+00:00'",
                    |id| id == 2,
                    1,
                ),
            ],
        ),
    ];
    for (partition_by, files, conditions) in cases {
        let place = Place::directory();
        let lake = place.lake().await;
        let written = write(&lake, by(partition_by.clone()), &rows(0, 400))
            .await
            .unwrap();
        assert_eq!(written.files() as usize, files, "{partition_by}");
        lake.replace(written, info("run-1")).await.unwrap();
        assert_eq!(count_and_sum(&lake).await, (400, 399 * 200));
        for file in data_files(place.path()) {
            // the same text in manifests, in keys and on disk
            assert!(file.is_ascii() && !file.contains(' '), "{file}");
            let levels = partition_by.as_array().unwrap().len();
            assert_eq!(
                file.split('/').filter(|part| part.contains('=')).count(),
                levels,
                "{file}"
            );
        }
        let filters = json!({
            "duckdb": conditions.iter().map(|(duckdb, ..)| duckdb).collect::<Vec<_>>(),
            "pyiceberg": conditions.iter().map(|(_, pyiceberg, ..)| pyiceberg).collect::<Vec<_>>(),
        });
        let read = read_elsewhere(&place, &filters);
        for (index, (duckdb, _, holds, planned)) in conditions.iter().enumerate() {
            let expected = json!(ids(400, holds));
            for reader in ["duckdb", "pyiceberg"] {
                assert_eq!(
                    read[reader]["filters"][index], expected,
                    "{reader}: {duckdb} of {partition_by}"
                );
            }
            assert_eq!(
                read["pyiceberg"]["planned_files"][index], *planned,
                "{duckdb} of {partition_by}"
            );
        }
        assert_eq!(read["duckdb"]["rows"], read["pyiceberg"]["rows"]);
    }
}

async fn partitions_may_change_from_run_to_run(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let by = |run: &str, fields: Value| WriteOptions {
        run_id: run.to_owned(),
        ..by(fields)
    };
    let specs = [
        json!([]),
        json!([{"column": "at", "by": "Day"}]),
        json!([{"column": "at", "by": "Day"}, {"column": "id", "by": "Bucket", "buckets": 2}]),
        json!([{"column": "at", "by": "Day"}]),
        json!([]),
    ];
    for (number, spec) in specs.iter().enumerate() {
        let run = format!("run-{number}");
        let files = write(&lake, by(&run, spec.clone()), &rows(0, 20)).await.unwrap();
        lake.replace(files, info(&run)).await.unwrap();
    }
    let path = place.path().join("shop/people/metadata/v5.metadata.json");
    let metadata: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut specs = metadata["partition-specs"].as_array().unwrap().clone();
    specs.sort_by_key(|spec| spec["spec-id"].as_i64());
    let fields: Vec<Vec<(&str, i64)>> = specs
        .iter()
        .map(|spec| {
            let fields = spec["fields"].as_array().unwrap().iter();
            fields
                .map(|field| {
                    (
                        field["name"].as_str().unwrap(),
                        field["field-id"].as_i64().unwrap(),
                    )
                })
                .collect()
        })
        .collect();
    // a partition that comes back is the one it was
    assert_eq!(
        fields,
        [
            vec![],
            vec![("at_day", 1000)],
            vec![("at_day", 1000), ("id_bucket_2", 1001)]
        ]
    );
    assert_eq!(metadata["default-spec-id"], 0);

    // a merge keeps files of the partitions they were written by, beside files of the new ones
    let files = write(
        &lake,
        by("run-5", json!([{"column": "at", "by": "Day"}])),
        &rows(0, 20),
    )
    .await
    .unwrap();
    lake.replace(files, info("run-5")).await.unwrap();
    let changes = rows(4, 5);
    let spec = json!([{"column": "id", "by": "Bucket", "buckets": 4}]);
    let mut writer = lake
        .write("shop", "people", changes.schema(), by("run-6", spec))
        .await
        .unwrap();
    let base = lake.load("shop", "people").await.unwrap().unwrap();
    let mut merge = lake.merge(&base, &writer, &[0], 1 << 20).await.unwrap().unwrap();
    merge.add(&changes).unwrap();
    writer.write(changes).await.unwrap();
    let files = merge.finish(writer.close().await.unwrap()).await.unwrap();
    let commit = lake.replace(files, info("run-6")).await.unwrap();
    // of five files one held the key; its other rows are in other buckets
    assert!(commit.files > 5 && commit.rows == 20, "{commit:?}");
    assert_eq!(count_and_sum(&lake).await, (20, 190));

    let filters = json!({
        "duckdb": ["id = 4", "\"at\" < timestamptz '1970-01-01 00:00:00+00'"],
        "pyiceberg": ["id = 4", "at < '1970-01-01T00:00:00+00:00'"],
    });
    let read = read_elsewhere(&place, &filters);
    for reader in ["duckdb", "pyiceberg"] {
        assert_eq!(
            read[reader]["filters"],
            json!([[4], ids(20, |id| id % 5 < 2)]),
            "{reader}"
        );
        assert_eq!(
            read[reader]["versions"],
            json!(vec![ids(20, |_| true); 7]),
            "{reader}"
        );
    }
}

async fn a_store_that_fails_while_partitions_are_written_leaves_nothing(make: fn() -> Place) {
    let place = make();
    let spec = || by(json!([{"column": "city", "by": "Identity"}]));
    let lake = place.lake().await;
    let old = write(&lake, options("run-0"), &rows(0, 5)).await.unwrap();
    lake.replace(old, info("run-0")).await.unwrap();
    let before = tree(place.path());
    for step in 1..=3 {
        let faults = Faults::new(move |request: &Request| (request.number == step).then_some(Fault::Full));
        let error = write(&place.faulty_lake(&faults, true), spec(), &rows(0, 100))
            .await
            .unwrap_err();
        assert!(matches!(error, LakeError::StorageFull { .. }), "{step}: {error}");
        assert_eq!(tree(place.path()), before, "{step}");
    }
    // given up, by word or without one
    let mut writer = lake
        .write("shop", "people", rows(0, 1).schema(), spec())
        .await
        .unwrap();
    writer.write(rows(0, 100)).await.unwrap();
    writer.abort().await.unwrap();
    assert_eq!(tree(place.path()), before);
    let mut writer = lake
        .write("shop", "people", rows(0, 1).schema(), spec())
        .await
        .unwrap();
    writer.write(rows(0, 100)).await.unwrap();
    drop(writer);
    assert_eq!(count_and_sum(&place.lake().await).await, (5, 10));
}

/// Eight MiB to sort in, and a disk.
fn little_memory(directory: &std::path::Path) -> Arc<RuntimeEnv> {
    let disk =
        DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![directory.to_owned()]));
    RuntimeEnvBuilder::new()
        .with_disk_manager_builder(disk)
        .with_memory_limit(24 << 20, 1.0)
        .build_arc()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_partitions_is_written_in_little_memory() {
    let place = Place::directory();
    let lake = place.lake().await;
    let scratch = crate::support::directory();
    let options = WriteOptions {
        runtime: Some(little_memory(scratch.path())),
        ..by(json!([{"column": "no", "by": "Identity"}]))
    };
    let part = |number: i64| {
        let ids = number * 8192..(number + 1) * 8192;
        batch(vec![
            (
                "id",
                Arc::new(Int64Array::from_iter_values(ids.clone())) as ArrayRef,
            ),
            (
                "no",
                Arc::new(Int64Array::from_iter_values(ids.clone().map(|id| id * 7 % 300))),
            ),
            (
                "text",
                Arc::new(StringArray::from_iter_values(ids.map(|id| format!("{id:0>200}")))),
            ),
        ])
    };
    // 60 MiB in no order
    let mut writer = lake
        .write("shop", "people", part(0).schema(), options)
        .await
        .unwrap();
    for number in 0..32 {
        writer.write(part(number)).await.unwrap();
    }
    let files = writer.close().await.unwrap();
    assert_eq!((files.files(), files.rows()), (300, 32 * 8192));
    lake.replace(files, info("run-1")).await.unwrap();
    let context = context(&lake).await;
    let wrong = "select count(*) as n from people where id * 7 % 300 <> no";
    assert!(query(&context, wrong).await.contains("| 0 |"));
    // in a partition rows are in the order in which they came
    let first = data_files(place.path()).into_iter().next().unwrap();
    let file = std::fs::File::open(place.path().join(first)).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    for batch in reader {
        let ids =
            arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(batch.unwrap().column(0))
                .clone();
        assert!(ids.values().is_sorted());
    }
}

/// Queries see UUIDs as text and Iceberg hashes them as bytes: a bucket must be found all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_of_uuids_and_times_are_pruned() {
    let place = Place::directory();
    let lake = place.lake().await;
    let uuids: Vec<String> = (0..400_u64)
        .map(|id| uuid::Uuid::from_u64_pair(id.wrapping_mul(0x9e37_79b9_7f4a_7c15), id).to_string())
        .collect();
    let clocks = (0..400).map(|id| id * 7_919_000_001 % DAY);
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("u", DataType::Utf8, true)
            .with_metadata([(lakegate_crds::PG_TYPE_METADATA.to_owned(), "uuid".to_owned())].into()),
        Field::new("clock", DataType::Time64(TimeUnit::Microsecond), true),
    ]));
    let rows = RecordBatch::try_new(
        schema,
        vec![
            Arc::new(Int64Array::from_iter_values(0..400)),
            Arc::new(StringArray::from_iter_values(&uuids)),
            Arc::new(Time64MicrosecondArray::from_iter_values(clocks)),
        ],
    )
    .unwrap();
    let options = WriteOptions {
        profile: Profile::Iceberg,
        ..by(json!([
            {"column": "u", "by": "Bucket", "buckets": 4}, {"column": "clock", "by": "Bucket", "buckets": 3},
        ]))
    };
    let files = write(&lake, options, &rows).await.unwrap();
    assert_eq!(files.files(), 12);
    lake.replace(files, info("run-1")).await.unwrap();
    let context = context(&lake).await;
    for (condition, id, pruned) in [
        (format!("u = '{}'", uuids[207]), 207, 9),
        (
            "clock = arrow_cast('03:58:20.0001', 'Time64(Microsecond)')".to_owned(),
            100,
            8,
        ),
    ] {
        let found = query(&context, &format!("select id from people where {condition}")).await;
        assert!(
            found.contains(&format!("| {id} ")) || found.contains(&format!("| {id}  ")),
            "{condition}: {found}"
        );
        let plan = query(
            &context,
            &format!("explain select id from people where {condition}"),
        )
        .await;
        assert!(
            plan.contains(&format!("files_pruned={pruned}")),
            "{condition}: {plan}"
        );
    }
    let read = read_elsewhere(
        &place,
        &json!({
            "duckdb": [format!("u = '{}'::uuid", uuids[207]), "clock = time '03:58:20.0001'"],
            "pyiceberg": [format!("u = '{}'", uuids[207])],
        }),
    );
    assert_eq!(read["pyiceberg"]["filters"], json!([[207]]));
    assert_eq!(read["pyiceberg"]["planned_files"], json!([3]));
    // DuckDB 1.5 hashes UUIDs otherwise than the specification and loses the row: once it does not, the guide need not say so
    assert_eq!(read["duckdb"]["filters"], json!([[], [100]]));
}

#[tokio::test]
async fn a_masked_column_is_no_partition() {
    let place = Place::directory();
    let lake = place.lake().await;
    let mask = ColumnMask {
        method: "hmac".to_owned(),
        domain: None,
        key: None,
        key_id: None,
    };
    let options = WriteOptions {
        masks: BTreeMap::from([("name".to_owned(), mask)]),
        ..by(json!([{"column": "id", "by": "Bucket", "buckets": 4}, {"column": "Name", "by": "Identity"}]))
    };
    let error = lake
        .write("shop", "people", people("a", 0, 1).schema(), options)
        .await
        .unwrap_err();
    assert!(error.is_terminal() && matches!(error, LakeError::PartitionRefused { .. }));
    assert_eq!(
        error.to_string(),
        "table shop.people: spec.destination.partitionBy[1]: \"Name\" is masked; a table cannot be partitioned by a \
         masked column"
    );
}
