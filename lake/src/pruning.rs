//! Files that are skipped never change an answer: tables of one row a file, by Lakegate and by another engine that
//! keeps partitions and no bounds, answer every predicate as the same rows in memory do.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::prelude::{SessionConfig, SessionContext};
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal, Manifest,
    ManifestWriterBuilder, PartitionSpec, PrimitiveType, SortOrder, Struct, TableMetadataBuilder, Transform,
};
use iceberg::transform::create_transform_function;
use proptest::prelude::*;

use crate::live::LiveFiles;
use crate::provider::LakeProvider;
use crate::versions::{LiveManifest, Version};
use crate::{CommitInfo, Lake, LakeTableName, WriteOptions, WrittenFiles};

/// The days that a timestamp or a date is near of; months, years and the epoch begin there.
const DAYS: [i64; 8] = [-1000, -366, -31, -1, 0, 1, 31, 365];

#[derive(Debug, Clone)]
struct Row {
    int: Option<i32>,
    long: Option<i64>,
    double: Option<f64>,
    cents: Option<i128>,
    text: Option<String>,
    at: Option<i64>,
    day: Option<i32>,
    flag: Option<bool>,
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("a".to_owned()),
        Just("ab".to_owned()),
        Just("abc".to_owned()),
        Just("żółć".to_owned()),
        // bounds are cut at 64 bytes
        Just("z".repeat(64)),
        Just("z".repeat(65)),
        Just(format!("{}a", "z".repeat(64))),
        // and cannot be rounded up here
        Just("\u{10ffff}".repeat(20)),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    // the iceberg crate overflows where it truncates the least of all
    let ints = prop_oneof![-3..=3_i32, Just(i32::MIN + 10), Just(i32::MAX), -30..30_i32];
    let longs = prop_oneof![-3..=3_i64, Just(i64::MIN), Just(i64::MAX)];
    let doubles = prop_oneof![
        Just(f64::NAN),
        Just(-f64::NAN),
        Just(0.0),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        (-3..=3_i32).prop_map(f64::from),
    ];
    let cents = prop_oneof![-300..=300_i128, Just(999_999_999), Just(-999_999_999)];
    let times = (proptest::sample::select(DAYS.to_vec()), -1..=1_i64)
        .prop_map(|(day, off)| day * 86_400_000_000 + off);
    let days =
        (proptest::sample::select(DAYS.to_vec()), -1..=1_i64).prop_map(|(day, off)| (day + off) as i32);
    let row = (
        proptest::option::of(ints),
        proptest::option::of(longs),
        proptest::option::of(doubles),
        proptest::option::of(cents),
        proptest::option::of(texts()),
        proptest::option::of(times),
        proptest::option::of(days),
        proptest::option::of(any::<bool>()),
    )
        .prop_map(|(int, long, double, cents, text, at, day, flag)| Row {
            int,
            long,
            double,
            cents,
            text,
            at,
            day,
            flag,
        });
    proptest::collection::vec(row, 1..12)
}

fn instant(day: i64, off: i64) -> String {
    let micros = jiff::Timestamp::from_microsecond(day * 86_400_000_000 + off).unwrap();
    micros.strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string()
}

/// One comparison, of a column with what its rows hold and a bit beside.
fn atom() -> impl Strategy<Value = String> {
    let op = proptest::sample::select(vec![
        "=",
        "<>",
        "<",
        "<=",
        ">",
        ">=",
        "is distinct from",
        "is not distinct from",
    ]);
    let day = proptest::sample::select(DAYS.to_vec());
    let column = proptest::sample::select(vec![
        "int", "long", "double", "cents", "text", "at", "day", "flag",
    ]);
    let number = prop_oneof![
        -4..=4_i64,
        Just(i64::from(i32::MAX)),
        Just(i64::from(i32::MIN)),
        -40..40_i64
    ];
    prop_oneof![
        (column, any::<bool>())
            .prop_map(|(column, not)| format!("{column} is {}null", if not { "not " } else { "" })),
        (op.clone(), number.clone()).prop_map(|(op, number)| format!("int {op} {number}")),
        (op.clone(), number.clone()).prop_map(|(op, number)| format!("long {op} {number}")),
        (op.clone(), -4..=4_i32).prop_map(|(op, number)| format!("double {op} {number}.0")),
        (op.clone(), -4..=4_i32).prop_map(|(op, number)| format!("double {op} int and double {op} {number}")),
        op.clone()
            .prop_map(|op| format!("double {op} cast('NaN' as double)")),
        op.clone().prop_map(|op| format!("double {op} -0.0")),
        (op.clone(), -301..=301_i64).prop_map(|(op, n)| format!("cents {op} {:.2}", n as f64 / 100.0)),
        (op.clone(), -3001..=3001_i64).prop_map(|(op, n)| format!("cents {op} {:.3}", n as f64 / 1000.0)),
        (op.clone(), -3..=3_i32).prop_map(|(op, n)| format!("cast(cents as decimal(20, 4)) {op} {n}")),
        (op.clone(), -3..=3_i32).prop_map(|(op, n)| format!("cents {op} {n}")),
        (op.clone(), texts()).prop_map(|(op, text)| format!("text {op} '{text}'")),
        (texts(), any::<bool>())
            .prop_map(|(text, not)| format!("text {}like '{text}%'", if not { "not " } else { "" })),
        texts().prop_map(|text| format!("text like '%{text}'")),
        (op.clone(), day.clone(), -1..=1_i64)
            .prop_map(|(op, day, off)| format!("at {op} timestamp '{}'", instant(day, off))),
        (op.clone(), day.clone(), -1..=1_i64)
            .prop_map(|(op, day, off)| format!("day {op} date '{}'", &instant(day + off, 0)[..10])),
        (op.clone(), day.clone())
            .prop_map(|(op, day)| format!("cast(at as date) {op} date '{}'", &instant(day, 0)[..10])),
        (op.clone(), day.clone()).prop_map(|(op, day)| format!("day {op} timestamp '{}'", instant(day, 1))),
        op.clone()
            .prop_map(|op| format!("cast(at as time) {op} time '12:00:00'")),
        (op.clone(), any::<bool>()).prop_map(|(op, value)| format!("flag {op} {value}")),
        (op.clone(), any::<bool>()).prop_map(|(op, value)| format!("cast(int as boolean) {op} {value}")),
        (op.clone(), -4..=4_i64).prop_map(|(op, n)| format!("-int {op} {n} and int > -2147483648")),
        (op, -4..=4_i64).prop_map(|(op, n)| format!("cast(int as bigint) + 1 {op} {n}")),
        Just("flag".to_owned()),
        Just("cast(int as boolean)".to_owned()),
        (proptest::collection::vec(-4..=4_i64, 1..4), any::<bool>()).prop_map(|(values, not)| {
            let values: Vec<String> = values.iter().map(i64::to_string).collect();
            format!("int {}in ({})", if not { "not " } else { "" }, values.join(", "))
        }),
        proptest::collection::vec(texts(), 1..4)
            .prop_map(|values| format!("text in ('{}')", values.join("', '"))),
        proptest::collection::vec(day, 1..4).prop_map(|days| {
            let days: Vec<String> = days
                .iter()
                .map(|day| format!("timestamp '{}'", instant(*day, 0)))
                .collect();
            format!("at in ({})", days.join(", "))
        }),
        (-4..=4_i64, -4..=4_i64).prop_map(|(low, high)| format!("long between {low} and {high}")),
        Just("text in ('a', null)".to_owned()),
    ]
}

fn predicate() -> impl Strategy<Value = String> {
    atom().prop_recursive(3, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} and {right})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} or {right})")),
            inner.prop_map(|inner| format!("not ({inner})")),
        ]
    })
}

fn batch(rows: &[Row], first: i64) -> RecordBatch {
    let cents = rows.iter().map(|row| row.cents).collect::<Decimal128Array>();
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        (
            "id",
            Arc::new(Int64Array::from_iter_values(
                (0..rows.len() as i64).map(|row| first + row),
            )),
            false,
        ),
        (
            "int",
            Arc::new(rows.iter().map(|row| row.int).collect::<Int32Array>()),
            true,
        ),
        (
            "long",
            Arc::new(rows.iter().map(|row| row.long).collect::<Int64Array>()),
            true,
        ),
        (
            "double",
            Arc::new(rows.iter().map(|row| row.double).collect::<Float64Array>()),
            true,
        ),
        (
            "cents",
            Arc::new(cents.with_precision_and_scale(9, 2).unwrap()),
            true,
        ),
        (
            "text",
            Arc::new(
                rows.iter()
                    .map(|row| row.text.as_deref())
                    .collect::<StringArray>(),
            ),
            true,
        ),
        (
            "at",
            Arc::new(
                rows.iter()
                    .map(|row| row.at)
                    .collect::<TimestampMicrosecondArray>(),
            ),
            true,
        ),
        (
            "day",
            Arc::new(rows.iter().map(|row| row.day).collect::<Date32Array>()),
            true,
        ),
        (
            "flag",
            Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()),
            true,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// One file a row.
async fn write(lake: &Lake, rows: &[Row]) -> WrittenFiles {
    write_files(lake, rows, 1).await
}

async fn write_files(lake: &Lake, rows: &[Row], file_rows: u64) -> WrittenFiles {
    let options = WriteOptions {
        file_rows,
        ..WriteOptions::new("run-1", "1")
    };
    let schema = batch(rows, 0).schema();
    let mut writer = lake.write("shop", "rows", schema, options).await.unwrap();
    for (id, row) in rows.iter().enumerate() {
        writer
            .write(batch(std::slice::from_ref(row), id as i64))
            .await
            .unwrap();
    }
    writer.close().await.unwrap()
}

async fn ours(lake: &Lake, rows: &[Row]) -> Arc<dyn TableProvider> {
    publish(lake, write(lake, rows).await).await
}

async fn publish(lake: &Lake, files: WrittenFiles) -> Arc<dyn TableProvider> {
    let info = CommitInfo {
        run_id: "run-1".into(),
        attempt_id: "1".into(),
        ..CommitInfo::default()
    };
    lake.replace(files, info).await.unwrap();
    let table = lake.load("shop", "rows").await.unwrap().unwrap();
    lake.provider(&table).await.unwrap()
}

/// What a row has in a partition of each kind; bounds and counts are left out, as an engine may. A column has one
/// transform of time: of those of `at` and of `day`.
async fn partitioned(lake: &Lake, rows: &[Row], at: Transform, day: Transform) -> Arc<LakeProvider> {
    let files = write(lake, rows).await;
    let kinds = [
        ("int", Transform::Bucket(3)),
        ("int", Transform::Truncate(10)),
        ("long", Transform::Identity),
        ("cents", Transform::Truncate(50)),
        ("cents", Transform::Bucket(2)),
        ("text", Transform::Truncate(2)),
        ("text", Transform::Bucket(4)),
        ("at", at),
        ("at", Transform::Bucket(2)),
        ("day", day),
        ("flag", Transform::Identity),
        ("id", Transform::Void),
    ];
    let schema = Arc::clone(&files.schema);
    let spec = kinds.iter().enumerate().fold(
        PartitionSpec::builder(Arc::clone(&schema)).with_spec_id(0),
        |spec, (number, (column, transform))| {
            spec.add_partition_field(*column, format!("p{number}"), *transform)
                .unwrap()
        },
    );
    let spec = spec.build().unwrap();
    let objects = &lake.versions.objects;
    let metadata = TableMetadataBuilder::new(
        schema.as_ref().clone(),
        spec,
        SortOrder::unsorted_order(),
        format!("{}/shop/rows", objects.base),
        FormatVersion::V2,
        HashMap::new(),
    )
    .unwrap()
    .build()
    .unwrap()
    .metadata;
    let io = FileIO::new_with_memory();
    let uri = "memory:/m.avro";
    let mut writer = ManifestWriterBuilder::new(
        io.new_output(uri).unwrap(),
        Some(1),
        Arc::clone(metadata.current_schema()),
        metadata.default_partition_spec().as_ref().clone(),
    )
    .build_v2_data();
    for (row, file) in rows.iter().zip(&files.files) {
        let value = |column: &str| match column {
            "int" => row.int.map(Datum::int),
            "long" => row.long.map(Datum::long),
            "cents" => row.cents.map(|cents| {
                let decimal = PrimitiveType::Decimal {
                    precision: 9,
                    scale: 2,
                };
                Datum::try_from_bytes(&cents.to_be_bytes(), decimal).unwrap()
            }),
            "text" => row.text.as_ref().map(Datum::string),
            "at" => row.at.map(Datum::timestamp_micros),
            "day" => row.day.map(Datum::date),
            "flag" => row.flag.map(Datum::bool),
            _ => None,
        };
        let partition: Struct = kinds
            .iter()
            .map(|(column, transform)| {
                let function = create_transform_function(transform).unwrap();
                let value = function.transform_literal(&value(column)?).unwrap()?;
                Some(Literal::from(value))
            })
            .collect();
        let data_file = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(objects.uri(&file.path))
            .file_format(DataFileFormat::Parquet)
            .record_count(1)
            .file_size_in_bytes(file.size)
            .partition(partition)
            .partition_spec_id(0)
            .build()
            .unwrap();
        writer.add_file(data_file, 1).unwrap();
    }
    let file = writer.write_manifest_file().await.unwrap();
    let content = io.new_input(uri).unwrap().read().await.unwrap();
    let manifest = Manifest::parse_avro(&content).unwrap();
    let name = LakeTableName::new("shop", "rows").unwrap();
    let version = Version::new(name, 1, None, metadata, None).unwrap();
    let live = LiveFiles::of(objects, &version, &[LiveManifest { file, manifest }]).unwrap();
    Arc::new(LakeProvider {
        version: Arc::new(version),
        live: Arc::new(live),
        store: Arc::clone(&objects.store),
        url: lake.url.clone(),
    })
}

fn context(tables: &[(&str, Arc<dyn TableProvider>)]) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for (name, table) in tables {
        context.register_table(*name, Arc::clone(table)).unwrap();
    }
    context
}

/// The ids of the rows for which a predicate is true; None when it fails.
async fn ids(context: &SessionContext, table: &str, predicate: &str) -> Option<Vec<i64>> {
    let sql = format!("select id from {table} where {predicate} order by id");
    let batches = context.sql(&sql).await.ok()?.collect().await.ok()?;
    let ids = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    Some(ids.collect())
}

/// The files that EXPLAIN says were left out.
async fn pruned(context: &SessionContext, table: &str, predicate: &str) -> usize {
    let sql = format!("explain select id from {table} where {predicate}");
    let batches = context.sql(&sql).await.unwrap().collect().await.unwrap();
    let plan = arrow::util::pretty::pretty_format_batches(&batches)
        .unwrap()
        .to_string();
    let (_, rest) = plan
        .split_once("files_pruned=")
        .unwrap_or_else(|| panic!("{predicate}: {plan}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn skipping_files_changes_no_answer(
        rows in rows(),
        predicates in proptest::collection::vec(predicate(), 24),
    ) {
        runtime().block_on(async {
            let directories: [_; 4] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
            let lake = Lake::open_directory(directories[0].path()).await.unwrap();
            let coarse = Lake::open_directory(directories[1].path()).await.unwrap();
            let fine = Lake::open_directory(directories[2].path()).await.unwrap();
            let whole = Lake::open_directory(directories[3].path()).await.unwrap();
            let in_memory = batch(&rows, 0);
            let in_memory = MemTable::try_new(in_memory.schema(), vec![vec![in_memory]]).unwrap();
            let context = context(&[
                ("memory", Arc::new(in_memory)),
                ("ours", ours(&lake, &rows).await),
                ("whole", publish(&whole, write_files(&whole, &rows, u64::MAX).await).await),
                ("coarse", partitioned(&coarse, &rows, Transform::Month, Transform::Year).await),
                ("fine", partitioned(&fine, &rows, Transform::Hour, Transform::Day).await),
            ]);
            for predicate in &predicates {
                // a predicate that fails on some row may be spared that row
                let Some(expected) = ids(&context, "memory", predicate).await else {
                    continue;
                };
                for table in ["ours", "whole", "coarse", "fine"] {
                    let found = ids(&context, table, predicate).await;
                    prop_assert_eq!(found.as_ref(), Some(&expected), "{}: {}", table, predicate);
                }
            }
            Ok(())
        })?;
    }
}

/// A row a tens of `int`, a day apart; the last one holds nothing.
fn apart() -> Vec<Row> {
    let empty = Row {
        int: None,
        long: None,
        double: None,
        cents: None,
        text: None,
        at: None,
        day: None,
        flag: None,
    };
    let mut rows: Vec<Row> = (0..5_i32)
        .map(|n| Row {
            int: Some(10 * n),
            long: Some(i64::from(n)),
            double: Some(f64::from(n)),
            cents: Some(100 * i128::from(n)),
            text: Some(format!("{n}{}", "x".repeat(70))),
            at: Some(i64::from(n) * 86_400_000_000 + 1),
            day: Some(31 * n),
            flag: Some(n % 2 == 0),
        })
        .collect();
    rows.push(empty);
    rows
}

#[tokio::test]
async fn what_bounds_and_partitions_exclude_is_not_read() {
    let rows = apart();
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let lake = Lake::open_directory(one.path()).await.unwrap();
    let elsewhere = Lake::open_directory(other.path()).await.unwrap();
    let context = context(&[
        ("ours", ours(&lake, &rows).await),
        (
            "partitioned",
            partitioned(&elsewhere, &rows, Transform::Day, Transform::Month).await,
        ),
    ]);
    let mut differ = Vec::new();
    // of six files, by our bounds and by another engine's partitions
    for (predicate, ours, partitioned) in [
        ("id >= 0", 0, 0),
        ("int = 20", 5, 5),
        // within the ten that a partition holds, if not within a bound
        ("int = 25", 6, 5),
        ("int in (0, 40)", 4, 4),
        ("int is null", 5, 5),
        ("int is not null", 1, 1),
        ("long > 2", 4, 4),
        ("double > 2", 4, 0),
        ("cents < 1.00", 5, 5),
        ("text like '3%'", 5, 2),
        ("text < '1'", 5, 5),
        ("at >= timestamp '1970-01-03T00:00:00'", 3, 3),
        ("at = timestamp '1970-01-03T00:00:00.000001'", 5, 5),
        ("cast(at as date) = date '1970-01-02'", 5, 5),
        ("day = date '1970-02-01'", 5, 5),
        // a column alone is not known to be NULL
        ("flag", 2, 2),
        ("not flag", 3, 3),
        ("int = 20 and long = 3", 6, 6),
        ("int = 20 or long = 3", 4, 4),
        ("cast(at as time) < time '12:00:00'", 0, 0),
    ] {
        let found = (
            pruned(&context, "ours", predicate).await,
            pruned(&context, "partitioned", predicate).await,
        );
        if found != (ours, partitioned) {
            differ.push(format!("{predicate}: {found:?} for {:?}", (ours, partitioned)));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    let plan = context
        .sql("explain select * from ours where int = 20")
        .await
        .unwrap();
    let plan = arrow::util::pretty::pretty_format_batches(&plan.collect().await.unwrap()).unwrap();
    let plan = plan.to_string();
    assert!(
        plan.contains("table=shop.rows, snapshot=") && plan.contains("files=6, files_pruned=5"),
        "{plan}"
    );
}

/// Between the bounds of one file is what no bound becomes.
#[tokio::test]
async fn what_keeps_no_order_is_not_decided_by_bounds() {
    const HOUR: i64 = 3_600_000_000;
    let mut rows = apart();
    rows.truncate(3);
    for (row, (int, at)) in rows
        .iter_mut()
        .zip([(-1, 23 * HOUR), (0, 24 * HOUR), (1, 37 * HOUR)])
    {
        (row.int, row.at) = (Some(int), Some(at));
    }
    let directory = tempfile::tempdir().unwrap();
    let lake = Lake::open_directory(directory.path()).await.unwrap();
    let table = publish(&lake, write_files(&lake, &rows, 3).await).await;
    let context = context(&[("whole", table)]);
    for predicate in [
        "cast(at as time) < time '12:00:00'",
        "not cast(int as boolean)",
        "cast(int as text) = '0'",
    ] {
        assert_eq!(
            ids(&context, "whole", predicate).await,
            Some(vec![1]),
            "{predicate}"
        );
    }
}
