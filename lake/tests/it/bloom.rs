//! Bloom filters: a value is looked up without reading what certainly lacks it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use datafusion::prelude::SessionContext;
use lakegate_crds::TableFormat;
use lakegate_lake::{ColumnMask, Lake, WriteOptions};
use parquet::file::metadata::ParquetMetaDataReader;

use crate::support::{Place, batch, context, data_files, info, lake, options, query, told_by_python, write};

const GROUPS: usize = 20;
const ROWS: i64 = 1000 * GROUPS as i64;

/// Values in no order, each once: bounds tell nothing of them.
fn scattered(row: i64) -> i64 {
    row.wrapping_mul(0x5851_f42d_4c95_7f2d) >> 3
}

fn rows() -> RecordBatch {
    let numbers = || (0..ROWS).map(scattered);
    let amounts = Decimal128Array::from_iter_values(numbers().map(|number| i128::from(number) * 37));
    let uuids = numbers().map(|number| uuid::Uuid::from_u64_pair(number.cast_unsigned(), 7).to_string());
    batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..ROWS)) as ArrayRef),
        (
            "Token",
            Arc::new(StringArray::from_iter_values(
                numbers().map(|number| format!("t{number}")),
            )),
        ),
        ("number", Arc::new(Int64Array::from_iter_values(numbers()))),
        (
            "amount",
            Arc::new(amounts.with_precision_and_scale(25, 2).unwrap()),
        ),
        ("uuid", Arc::new(StringArray::from_iter_values(uuids))),
        ("other", Arc::new(Int64Array::from_iter_values(numbers()))),
    ])
}

fn with_filters(run: &str, columns: &[&str]) -> WriteOptions {
    WriteOptions {
        bloom_filters: columns.iter().map(|column| (*column).to_owned()).collect(),
        row_group_rows: 1000,
        ..options(run)
    }
}

/// Row groups that filters have left out of a query, of all that they were asked about.
async fn pruned(context: &SessionContext, sql: &str) -> (usize, usize) {
    let plan = query(context, &format!("explain analyze {sql}")).await;
    let (_, rest) = plan
        .split_once("row_groups_pruned_bloom_filter=")
        .unwrap_or_else(|| panic!("{plan}"));
    let numbers: Vec<usize> = rest
        .split([' ', ','])
        .take(5)
        .filter_map(|word| word.parse().ok())
        .collect();
    let [asked, left] = numbers[..] else {
        panic!("{plan}")
    };
    (asked - left, asked)
}

/// The row groups that lack a value by what DuckDB reads of their filters.
fn excluded_by_duckdb(file: &Path, column: &str, value: &str) -> Vec<bool> {
    let program = "import duckdb, json, sys\n\
        sql = f'select bloom_filter_excludes from parquet_bloom_probe(?, ?, {sys.argv[3]}) order by row_group_id'\n\
        print(json.dumps([row[0] for row in duckdb.execute(sql, sys.argv[1:3]).fetchall()]))";
    let told = told_by_python(&[
        "-c".as_ref(),
        program.as_ref(),
        file.as_ref(),
        column.as_ref(),
        value.as_ref(),
    ]);
    serde_json::from_value(told).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_in_no_order_is_looked_up_in_its_row_group() {
    let place = Place::directory();
    let lake = place.lake().await;
    let files = write(
        &lake,
        with_filters("run-1", &["token", "NUMBER", "amount", "uuid"]),
        &rows(),
    )
    .await
    .unwrap();
    lake.replace(files, info("run-1")).await.unwrap();
    let context = context(&lake).await;
    let row = 12_345;
    let number = scattered(row);
    let amount = format!("{}.{:02}", number * 37 / 100, number * 37 % 100);
    let uuid = uuid::Uuid::from_u64_pair(number.cast_unsigned(), 7);
    assert!(number > 0);
    for condition in [
        format!("token = 't{number}'"),
        format!("number = {number}"),
        format!("amount = cast('{amount}' as decimal(25,2))"),
        format!("uuid = '{uuid}'"),
        format!("token in ('t{}', 't{number}')", number + 1),
    ] {
        let sql = format!("select id from people where {condition}");
        assert!(
            query(&context, &sql).await.contains(&format!("| {row} |")),
            "{condition}"
        );
        let (left_out, asked) = pruned(&context, &sql).await;
        // a filter may let one through that lacks the value
        assert!(
            asked == GROUPS && left_out + 4 >= GROUPS && left_out < GROUPS,
            "{condition}: {left_out} of {asked}"
        );
    }
    let (left_out, _) = pruned(&context, &format!("select id from people where other = {number}")).await;
    assert_eq!(left_out, 0, "it has no filter");
    let absent = format!("select id from people where token = 't{}'", number + 1);
    let (left_out, _) = pruned(&context, &absent).await;
    assert!(left_out + 3 >= GROUPS, "{left_out}");

    // only what was asked for has filters, as large as a thousand values need
    let [file] = data_files(place.path()).try_into().unwrap();
    let file = place.path().join(file);
    for (column, value) in [("number", number.to_string()), ("token", format!("'t{number}'"))] {
        let excluded = excluded_by_duckdb(&file, column, &value);
        assert_eq!(excluded.len(), GROUPS);
        assert!(!excluded[12], "the row group that has {value}");
        let others = excluded.iter().filter(|excluded| **excluded).count();
        assert!(others + 4 >= GROUPS, "{others}");
    }
    let file = std::fs::File::open(file).unwrap();
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
    assert_eq!(metadata.num_row_groups(), GROUPS);
    for group in metadata.row_groups() {
        for column in group.columns() {
            let has = ["token", "number", "amount", "uuid"].contains(&column.column_path().string().as_str());
            assert_eq!(
                column.bloom_filter_offset().is_some(),
                has,
                "{}",
                column.column_path()
            );
            assert!(
                column.bloom_filter_length().is_none_or(|bytes| bytes < 2200),
                "{:?}",
                column.bloom_filter_length()
            );
        }
    }
}

/// Every value of every column that has a filter is found by it, its nulls and what else a column holds once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_is_lost_by_a_filter() {
    let place = Place::directory();
    let lake = place.lake().await;
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef),
        ("small", Arc::new(Int16Array::from(vec![Some(-5), None, Some(7)]))),
        (
            "text",
            Arc::new(StringArray::from(vec![Some(""), None, Some("이름")])),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00"), None, Some(b"")])),
        ),
        (
            "day",
            Arc::new(Date32Array::from(vec![Some(-1), None, Some(20_000)])),
        ),
        (
            "moment",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(5)])),
        ),
        (
            "money",
            Arc::new(
                Decimal128Array::from(vec![Some(-100), None, Some(250)])
                    .with_precision_and_scale(9, 2)
                    .unwrap(),
            ),
        ),
        ("empty", Arc::new(StringArray::from(vec![None::<&str>; 3]))),
    ]);
    let columns = ["id", "small", "text", "bytes", "day", "moment", "money", "empty"];
    let files = write(&lake, with_filters("run-1", &columns), &rows)
        .await
        .unwrap();
    lake.replace(files, info("run-1")).await.unwrap();
    // an int of a file is a long of the table from now on
    let wider = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![4])) as ArrayRef),
        ("small", Arc::new(Int64Array::from(vec![1_i64 << 40]))),
    ]);
    let mut context = context(&lake).await;
    for widened in [false, true] {
        if widened {
            let mut merge = lake
                .write(
                    "shop",
                    "people",
                    wider.schema(),
                    with_filters("run-2", &["small"]),
                )
                .await
                .unwrap();
            merge.write(wider.clone()).await.unwrap();
            let files = merge.close().await.unwrap();
            lake.replace(files, info("run-2")).await.unwrap();
            context = crate::support::context(&lake).await;
            let sql = format!("select id from people where small = {}", 1_i64 << 40);
            assert!(query(&context, &sql).await.contains("| 4  |"));
            continue;
        }
        for (condition, id) in [
            ("id = 3", 3),
            ("small = -5", 1),
            ("small = cast(7 as bigint)", 3),
            ("text = ''", 1),
            ("text = '이름'", 3),
            ("bytes = x'00'", 1),
            ("bytes = x''", 3),
            ("day = date '1969-12-31'", 1),
            ("moment = timestamp '1970-01-01 00:00:00.000005'", 3),
            ("money = -1.00", 1),
            ("money = 2.5", 3),
            ("money = cast(2.5 as decimal(20,5))", 3),
            ("text is null", 2),
            ("empty is null and id = 2", 2),
        ] {
            let found = query(&context, &format!("select id from people where {condition}")).await;
            assert!(found.contains(&format!("| {id}  |")), "{condition}: {found}");
        }
    }
}

async fn filters_of_table(lake: &Lake) -> Vec<String> {
    let metadata = lake.metadata_file("shop", "people").await.unwrap().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.content).unwrap();
    let properties = metadata["properties"].as_object().unwrap();
    assert_eq!(properties["write.format.default"], "parquet");
    let prefix = "write.parquet.bloom-filter-enabled.column.";
    let mut found: Vec<String> = properties
        .iter()
        .filter_map(|(key, value)| Some(format!("{}={}", key.strip_prefix(prefix)?, value.as_str()?)))
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn engines_know_which_columns_have_filters() {
    let place = Place::directory();
    let lake = place.lake().await;
    for (run, columns, expected) in [
        ("run-1", &["Token", "id"][..], &["id=true", "token=true"][..]),
        ("run-2", &["number", "id"], &["id=true", "number=true"]),
        ("run-3", &[], &[]),
        ("run-4", &["id"], &["id=true"]),
    ] {
        let files = write(&lake, with_filters(run, columns), &rows()).await.unwrap();
        lake.replace(files, info(run)).await.unwrap();
        assert_eq!(filters_of_table(&lake).await, expected, "{run}");
    }
}

#[tokio::test]
async fn columns_that_can_have_no_filter_are_refused_by_name() {
    let place = crate::support::directory();
    let opened = lake(place.path()).await;
    let mut list = ListBuilder::new(Int64Builder::new());
    list.append_value([Some(1)]);
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("email", Arc::new(StringArray::from(vec!["a"]))),
        ("flag", Arc::new(BooleanArray::from(vec![true]))),
        ("ratio", Arc::new(Float64Array::from(vec![0.5]))),
        ("list", Arc::new(list.finish())),
        ("city", Arc::new(StringArray::from(vec!["a"]))),
    ]);
    let mask = ColumnMask {
        method: "hmac".to_owned(),
        domain: None,
        key: None,
        key_id: None,
    };
    for (column, problem) in [
        ("gone", "is not exported; name a column as it is exported"),
        (
            "Email",
            "is masked; a bloom filter would tell who tries values which of them are there",
        ),
        ("flag", "has two values, which every file holds; leave it out"),
        (
            "ratio",
            "is a floating-point number, which readers do not look up by its bits; leave it out, or export a decimal",
        ),
        ("list", "has several values in a row; leave it out"),
        (
            "city",
            "is partitioned by Identity, so that directories tell its values; leave it out",
        ),
    ] {
        let options = WriteOptions {
            masks: BTreeMap::from([("email".to_owned(), mask.clone())]),
            partition_by: serde_json::from_value(serde_json::json!([{"column": "city", "by": "Identity"}]))
                .unwrap(),
            format: TableFormat::Parquet,
            ..with_filters("run-1", &["id", column])
        };
        let error = opened
            .write("shop", "people", rows.schema(), options)
            .await
            .unwrap_err();
        assert!(error.is_terminal());
        assert_eq!(
            error.to_string(),
            format!("table shop.people: spec.destination.bloomFilters[1]: \"{column}\" {problem}")
        );
    }
}
