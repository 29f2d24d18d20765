//! The objectStore connector against real directories.

use std::fs::{create_dir_all, write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use futures::TryStreamExt;
use lakegate_connectors::Connector;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::common::{columns, connector, failure, lines, plan, rows, sessions, try_rows};

fn put(directory: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = directory.join(name);
    create_dir_all(path.parent().unwrap()).unwrap();
    write(path, text).unwrap();
}

fn put_parquet(directory: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    put(directory, name, writer.into_inner().unwrap());
}

async fn compress(text: &str, kind: datafusion::common::parsers::CompressionTypeVariant) -> Vec<u8> {
    use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
    let text = bytes::Bytes::from(text.to_owned());
    let stream = Box::pin(futures::stream::once(async move { Ok(text) }));
    let chunks: Vec<bytes::Bytes> = FileCompressionType::from(kind)
        .convert_to_compress_stream(stream)
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    chunks.concat()
}

async fn over(directory: &Path, tables: Value) -> Arc<dyn Connector> {
    connector(
        directory,
        json!({"objectStore": {"directory": {"path": "."}, "tables": tables}}),
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn csv_types_keep_every_digit() {
    let directory = tempfile::tempdir().unwrap();
    put(
        directory.path(),
        "a.csv",
        "\u{feff}zip,n,x,big,day,at,zone,ok,empty,\"odd, name\"\n\
         0123,1,1.50,3.14159265358979323846,2024-01-01,2024-01-01 10:00:00,2024-01-01T10:00:00+09:00,true,,\"a\nb\"\n\
         9,-2,2,1,2024-02-29,1969-12-31T23:59:59.5,2024-01-01T10:00:00Z,false,,\"say \"\"hi\"\"\"\n",
    );
    let shop = over(directory.path(), json!([{"name": "a", "path": "a.csv"}])).await;
    assert_eq!(
        columns(&shop, "a").await,
        [
            "zip Utf8",
            "n Int64",
            "x Float64",
            "big Utf8",
            "day Date32",
            "at Timestamp(µs)",
            "zone Timestamp(µs, \"UTC\")",
            "ok Boolean",
            "empty Utf8",
            "odd, name Utf8"
        ]
    );
    let (session, _) = sessions(&shop).await;
    assert_eq!(
        lines(&session, "SELECT * FROM a").await,
        [
            "0123|1|1.5|3.14159265358979323846|2024-01-01|2024-01-01T10:00:00|2024-01-01T01:00:00Z|true|NULL|a\nb",
            "9|-2|2.0|1|2024-02-29|1969-12-31T23:59:59.500|2024-01-01T10:00:00Z|false|NULL|say \"hi\"",
        ]
    );
    assert_eq!(lines(&session, "SELECT count(*) FROM a").await, ["2"]);
    assert_eq!(lines(&session, "SELECT n FROM a WHERE zip = '0123'").await, ["1"]);
    assert_eq!(lines(&session, "SELECT n FROM a LIMIT 1 OFFSET 1").await, ["-2"]);
    assert_eq!(rows(&session, "SELECT 1 FROM a x CROSS JOIN a y").await.len(), 4);
}

#[tokio::test]
async fn csv_columns_are_matched_by_name() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "t/1.csv", "a,b\n1,x\n");
    put(directory.path(), "t/2.csv", "b,a,c\ny,2,new\n");
    put(directory.path(), "t/3.csv", "b\nz\n");
    put(directory.path(), "t/4.csv", "");
    put(directory.path(), "t/.hidden.csv", "a\nbad\n");
    put(directory.path(), "t/README.md", "nothing");
    let shop = over(directory.path(), json!([{"name": "t", "path": "t"}])).await;
    let (session, _) = sessions(&shop).await;
    assert_eq!(
        lines(&session, "SELECT a, b, c FROM t ORDER BY b").await,
        ["1|x|NULL", "2|y|new", "NULL|z|NULL"]
    );
    assert_eq!(lines(&session, "SELECT c FROM t WHERE a = 2").await, ["new"]);
    // A new file appears, and is read, without a new discovery.
    put(directory.path(), "t/5.csv", "b,a\nzz,5\n");
    assert_eq!(lines(&session, "SELECT sum(a) FROM t").await, ["8"]);
}

#[tokio::test]
async fn csv_options_and_declared_columns() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "p.txt", "1|'a|b'|NA\n007||2.50\n");
    let shop = over(
        directory.path(),
        json!([{
            "name": "p", "path": "p.txt", "format": "Csv",
            "csv": {"header": false, "delimiter": "|", "quote": "'", "nullValue": "NA"},
            "columns": [
                {"name": "id", "dataType": "bigint"}, {"name": "s", "dataType": "text"},
                {"name": "d", "dataType": "decimal(5,2)"}
            ],
        }]),
    )
    .await;
    let (session, _) = sessions(&shop).await;
    assert_eq!(
        lines(&session, "SELECT * FROM p").await,
        ["1|a|b|NULL", "7||2.50"]
    );
}

#[tokio::test]
async fn compressed_files_by_ending() {
    use datafusion::common::parsers::CompressionTypeVariant::{GZIP, ZSTD};
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "l/a.jsonl", "{\"n\": 1}\n");
    put(
        directory.path(),
        "l/b.jsonl.gz",
        compress("{\"n\": 2}\n", GZIP).await,
    );
    put(
        directory.path(),
        "l/deep/c.jsonl.zst",
        compress("{\"n\": 3}\n{\"n\": 4}", ZSTD).await,
    );
    put(directory.path(), "l/deep/c.log", "no match");
    let shop = over(directory.path(), json!([{"name": "l", "path": "l/**/*.jsonl*"}])).await;
    let (session, _) = sessions(&shop).await;
    assert_eq!(
        lines(&session, "SELECT n FROM l ORDER BY n").await,
        ["1", "2", "3", "4"]
    );
    put(
        directory.path(),
        "l/torn.jsonl.gz",
        &compress(&"{\"n\": 5}\n".repeat(1000), GZIP).await[..20],
    );
    let message = failure(&session, "SELECT n FROM l").await;
    assert!(message.contains("l/torn.jsonl.gz"), "{message}");
}

#[tokio::test]
async fn json_of_mixed_types_is_text() {
    let directory = tempfile::tempdir().unwrap();
    put(
        directory.path(),
        "j.jsonl",
        "{\"id\": 1, \"mix\": \"a\", \"nest\": {\"k\": 1.5, \"l\": [1, 2]}, \"big\": 12345678901234567890}\n\n\
         {\"id\": 2, \"mix\": {\"x\": 1.50}, \"nest\": {\"k\": null, \"m\": \"é\"}, \"big\": 1}\n\
         {\"mix\": [1, \"2\"], \"id\": 3, \"when\": \"2024-01-01\"}",
    );
    let shop = over(directory.path(), json!([{"name": "j", "path": "j.jsonl"}])).await;
    let (session, _) = sessions(&shop).await;
    assert_eq!(
        lines(
            &session,
            "SELECT id, mix, big, \"when\", nest['k'], nest['m'], nest['l'] FROM j"
        )
        .await,
        [
            "1|a|12345678901234567890|NULL|1.5|NULL|[1, 2]",
            "2|{\"x\": 1.50}|1|NULL|NULL|é|NULL",
            "3|[1, \"2\"]|NULL|2024-01-01|NULL|NULL|NULL",
        ]
    );
    put(directory.path(), "array.json", "[{\"a\": 1}]");
    let shop = over(directory.path(), json!([{"name": "array", "path": "array.json"}])).await;
    assert!(
        shop.discover().await.unwrap().is_empty(),
        "a bad table hides only itself"
    );
}

#[tokio::test]
async fn a_later_value_is_refused_then_the_column_is_text() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "t/1.csv", "n\n1\n");
    let shop = over(directory.path(), json!([{"name": "t", "path": "t/*.csv"}])).await;
    let (session, _) = sessions(&shop).await;
    put(directory.path(), "t/2.csv", "n\n0123\n");
    let message = failure(&session, "SELECT n FROM t").await;
    assert!(
        message.contains("column \"n\" in record 1 of t/2.csv") && message.contains("no integer"),
        "{message}"
    );
    let (session, _) = sessions(&shop).await;
    assert_eq!(lines(&session, "SELECT n FROM t ORDER BY n").await, ["0123", "1"]);
}

#[tokio::test]
async fn ragged_and_broken_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "t/1.csv", "a,b\n1,2\n");
    put(directory.path(), "j/1.jsonl", "{\"a\": 1}\n");
    let tables = json!([{"name": "t", "path": "t"}, {"name": "j", "path": "j"}]);
    let shop = over(directory.path(), tables).await;
    let (session, _) = sessions(&shop).await;
    put(directory.path(), "t/2.csv", "a,b\n1\n");
    put(directory.path(), "j/2.jsonl", "{\"a\": 1}\n{\"a\": \n");
    let message = failure(&session, "SELECT a FROM t").await;
    assert!(
        message.contains("t/2.csv") && message.contains("incorrect number of fields"),
        "{message}"
    );
    let message = failure(&session, "SELECT a FROM j").await;
    assert!(
        message.contains("j/2.jsonl: line 2 is not a JSON object"),
        "{message}"
    );
}

#[tokio::test]
async fn hive_partitions_prune_and_type() {
    let directory = tempfile::tempdir().unwrap();
    for (day, month, n) in [
        ("2024-01-01", "01", 1),
        ("2024-01-02", "01", 2),
        ("__HIVE_DEFAULT_PARTITION__", "02", 3),
    ] {
        put(
            directory.path(),
            &format!("h/day={day}/month={month}/a%20b.csv"),
            format!("n,month\n{n},ignored\n"),
        );
    }
    let shop = over(directory.path(), json!([{"name": "h", "path": "h"}])).await;
    assert_eq!(columns(&shop, "h").await, ["n Int64", "day Date32", "month Utf8"]);
    let (pushing, raw) = sessions(&shop).await;
    for query in [
        "SELECT n, day, month FROM h ORDER BY n",
        "SELECT n FROM h WHERE day = date '2024-01-02'",
        "SELECT n FROM h WHERE day <> date '2024-01-02' ORDER BY n",
        "SELECT n FROM h WHERE day IS NULL",
        "SELECT n FROM h WHERE month = '01' AND n > 1",
        "SELECT n FROM h WHERE month = '01' OR n > 2 ORDER BY n",
        "SELECT x.n FROM h AS x WHERE x.month > '01'",
        "SELECT day, count(*) FROM h GROUP BY day ORDER BY day NULLS FIRST",
        "SELECT count(day), count(*), max(day) FROM h",
        "SELECT n FROM h WHERE month = '09'",
    ] {
        let pushed = try_rows(&pushing, query).await.unwrap();
        assert_eq!(pushed, try_rows(&raw, query).await.unwrap(), "{query}");
    }
    assert_eq!(lines(&pushing, "SELECT n FROM h WHERE day IS NULL").await, ["3"]);
    let explained = plan(&pushing, "SELECT n FROM h WHERE day = date '2024-01-02'").await;
    assert!(
        explained.contains("day=2024-01-02") && !explained.contains("day=2024-01-01"),
        "{explained}"
    );
}

#[tokio::test]
async fn parquet_of_drifting_schemas() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let text = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
    put_parquet(
        root,
        "p/1.parquet",
        vec![
            ("id", Arc::new(Int32Array::from(vec![1, 2]))),
            ("mix", Arc::new(Int64Array::from(vec![10, 20]))),
        ],
    );
    put_parquet(
        root,
        "p/2.parquet",
        vec![
            ("mix", text(vec!["x"])),
            ("id", Arc::new(Int64Array::from(vec![1_i64 << 40]))),
        ],
    );
    put_parquet(
        root,
        "p/3.parquet",
        vec![
            ("id", Arc::new(Int64Array::from(vec![3]))),
            ("new", Arc::new(Float64Array::from(vec![0.5]))),
        ],
    );
    let shop = over(root, json!([{"name": "p", "path": "p"}])).await;
    assert_eq!(columns(&shop, "p").await, ["id Int64", "mix Utf8", "new Float64"]);
    let (pushing, raw) = sessions(&shop).await;
    for query in [
        "SELECT id, mix, new FROM p ORDER BY id",
        "SELECT count(*), count(mix), count(new), max(id), min(mix), max(mix) FROM p",
        "SELECT id FROM p WHERE mix = '10'",
        "SELECT id FROM p WHERE mix > '1' ORDER BY id",
        "SELECT id FROM p WHERE new IS NULL ORDER BY id LIMIT 2 OFFSET 1",
        "SELECT count(*) FROM p WHERE id > 2",
    ] {
        assert_eq!(
            try_rows(&pushing, query).await.unwrap(),
            try_rows(&raw, query).await.unwrap(),
            "{query}"
        );
    }
    assert_eq!(
        lines(&pushing, "SELECT id, mix, new FROM p ORDER BY id").await,
        ["1|10|NULL", "2|20|NULL", "3|NULL|0.5", "1099511627776|x|NULL"]
    );
    assert_eq!(
        lines(&pushing, "SELECT count(*), min(mix), max(mix) FROM p").await,
        ["4|10|x"]
    );
}

#[tokio::test]
async fn a_parquet_file_replaced_after_planning_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let numbers = |values: Vec<i64>| vec![("n", Arc::new(Int64Array::from(values)) as ArrayRef)];
    put_parquet(directory.path(), "p.parquet", numbers(vec![1, 2, 3]));
    let shop = over(directory.path(), json!([{"name": "p", "path": "p.parquet"}])).await;
    let (session, _) = sessions(&shop).await;
    let planned = session
        .sql("SELECT n FROM p")
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    put_parquet(directory.path(), "p.parquet", numbers((0..1000).collect()));
    let answer = datafusion::physical_plan::collect(planned, session.task_ctx()).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(lines(&session, "SELECT count(*) FROM p").await, ["1000"]);
}

#[tokio::test]
async fn two_directories_never_mix() {
    let directory = tempfile::tempdir().unwrap();
    let session = datafusion::prelude::SessionContext::new();
    for name in ["one", "two"] {
        let root = directory.path().join(name);
        put(&root, "t.csv", format!("s\n{name}\n"));
        let shop = over(&root, json!([{"name": "t", "path": "t.csv"}])).await;
        let table = shop.discover().await.unwrap().remove(0);
        session
            .register_table(name, shop.open(&table).await.unwrap())
            .unwrap();
    }
    assert_eq!(
        lines(&session, "SELECT one.s, two.s FROM one CROSS JOIN two").await,
        ["one|two"]
    );
}

#[tokio::test]
async fn without_tables_every_file_and_folder_is_one() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "airlines.csv", "code\nAA\n");
    put(directory.path(), "Odd [Name]/a b#1.csv", "x\n1\n");
    put(directory.path(), "logs/2024/a.jsonl", "{\"a\": 1}\n");
    put(directory.path(), "both/a.csv", "x\n1\n");
    put(directory.path(), "both/a.jsonl", "{\"x\": 2}\n");
    put(directory.path(), "_temporary/a.csv", "x\n1\n");
    put(directory.path(), "notes.md", "nothing");
    let shop = over(directory.path(), json!([])).await;
    let names: Vec<String> = shop
        .discover()
        .await
        .unwrap()
        .into_iter()
        .map(|table| table.name)
        .collect();
    assert_eq!(names, ["Odd [Name]", "airlines", "both_csv", "both_json", "logs"]);
    let (session, _) = sessions(&shop).await;
    assert_eq!(lines(&session, "SELECT x FROM \"Odd [Name]\"").await, ["1"]);
    assert_eq!(lines(&session, "SELECT x FROM both_json").await, ["2"]);
}

#[tokio::test]
async fn empty_and_missing() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "a.csv", "n\n1\n");
    let shop = over(
        directory.path(),
        json!([
            {"name": "a", "path": "a.csv"},
            {"name": "none", "path": "none/*.csv"},
            {"name": "later", "path": "later/*.csv", "columns": [{"name": "n", "dataType": "bigint"}]},
        ]),
    )
    .await;
    let names: Vec<String> = shop
        .discover()
        .await
        .unwrap()
        .into_iter()
        .map(|table| table.name)
        .collect();
    assert_eq!(names, ["a", "later"]);
    let (session, _) = sessions(&shop).await;
    assert_eq!(lines(&session, "SELECT count(*) FROM later").await, ["0"]);
    put(directory.path(), "later/x.csv", "n\n5\n");
    assert_eq!(lines(&session, "SELECT n FROM later").await, ["5"]);

    let missing = connector(
        directory.path(),
        json!({"objectStore": {"directory": {"path": "nowhere"}, "tables": []}}),
    )
    .await
    .unwrap();
    let message = missing.probe().await.unwrap_err().to_string();
    assert!(
        message.starts_with("shop: there is no directory") && message.contains("nowhere"),
        "{message}"
    );
    for (spec, field) in [
        (
            json!({"s3": {"bucket": "a/b"}, "tables": []}),
            "spec.objectStore.s3.bucket",
        ),
        (
            json!({"tables": []}),
            "spec.objectStore: set exactly one of s3 and directory",
        ),
        (
            json!({"directory": {"path": "."}, "tables": [{"name": "x", "path": "x", "format": "AlbLog"}]}),
            "spec.objectStore.tables[0].format",
        ),
        (
            json!({"directory": {"path": "."}, "tables": [{"name": "x", "path": "x", "columns": [{"name": "p", "dataType": "point"}]}]}),
            "spec.objectStore.tables[0].columns[0].dataType",
        ),
    ] {
        let error = connector(directory.path(), json!({ "objectStore": spec }))
            .await
            .unwrap_err();
        assert!(
            error.is_terminal() && error.to_string().contains(field),
            "{error}"
        );
    }
}
