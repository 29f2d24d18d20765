//! Values of every type, both ways and in both formats.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch, StringViewArray,
    StructArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int8Type, Int32Type};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::Type;

use crate::support::{Server, options};

/// One row of values and one of NULLs.
pub fn everything() -> RecordBatch {
    let person = StructArray::new(
        vec![Field::new("name", DataType::Utf8View, true)].into(),
        vec![Arc::new(StringViewArray::from(vec![Some("x"), None]))],
        Some(vec![true, false].into()),
    );
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("i8", Arc::new(Int8Array::from(vec![Some(-1), None]))),
        ("i16", Arc::new(Int16Array::from(vec![Some(-2), None]))),
        ("i32", Arc::new(Int32Array::from(vec![Some(-3), None]))),
        ("i64", Arc::new(Int64Array::from(vec![Some(-4), None]))),
        ("u8", Arc::new(UInt8Array::from(vec![Some(255), None]))),
        ("u16", Arc::new(UInt16Array::from(vec![Some(65535), None]))),
        ("u32", Arc::new(UInt32Array::from(vec![Some(u32::MAX), None]))),
        ("u64", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
        ("f32", Arc::new(Float32Array::from(vec![Some(0.1), None]))),
        ("f64", Arc::new(Float64Array::from(vec![Some(1e20), None]))),
        (
            "dec",
            Arc::new(
                Decimal128Array::from(vec![Some(-12345), None])
                    .with_precision_and_scale(12, 2)
                    .unwrap(),
            ),
        ),
        ("text", Arc::new(StringViewArray::from(vec![Some("é"), None]))),
        (
            "dict",
            Arc::new(DictionaryArray::<Int8Type>::from_iter([Some("d"), None])),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), None])),
        ),
        ("date", Arc::new(Date32Array::from(vec![Some(19_782), None]))),
        (
            "ts",
            Arc::new(TimestampNanosecondArray::from(vec![
                Some(1_709_164_800_500_000_000),
                None,
            ])),
        ),
        (
            "tstz",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(1_709_164_800_500_000), None])
                    .with_timezone("Asia/Seoul"),
            ),
        ),
        ("list", Arc::new(list)),
        ("person", Arc::new(person)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn text_and_binary_agree() {
    let server = Server::with(options(), vec![("everything", everything())]).await;
    let client = server.client().await;
    client.simple_query("set time zone 'Asia/Seoul'").await.unwrap();
    let mut rows = client
        .simple_query("select * from everything")
        .await
        .unwrap()
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
    let (text, nulls) = (rows.next().unwrap(), rows.next().unwrap());
    let rows = client.query("select * from everything", &[]).await.unwrap();
    let binary = &rows[0];
    let expected = [
        ("bool", Type::BOOL, "t"),
        ("i8", Type::INT2, "-1"),
        ("i16", Type::INT2, "-2"),
        ("i32", Type::INT4, "-3"),
        ("i64", Type::INT8, "-4"),
        ("u8", Type::INT2, "255"),
        ("u16", Type::INT4, "65535"),
        ("u32", Type::INT8, "4294967295"),
        ("u64", Type::NUMERIC, "18446744073709551615"),
        ("f32", Type::FLOAT4, "0.1"),
        ("f64", Type::FLOAT8, "1e+20"),
        ("dec", Type::NUMERIC, "-123.45"),
        ("text", Type::TEXT, "é"),
        ("dict", Type::TEXT, "d"),
        ("bytes", Type::BYTEA, "\\x00ff"),
        ("date", Type::DATE, "2024-02-29"),
        ("ts", Type::TIMESTAMP, "2024-02-29 00:00:00.5"),
        ("tstz", Type::TIMESTAMPTZ, "2024-02-29 09:00:00.5+09"),
        ("list", Type::INT4_ARRAY, "{1,NULL}"),
        ("person", Type::JSON, "{\"name\":\"x\"}"),
    ];
    assert_eq!(binary.len(), expected.len());
    for (index, (name, pg_type, value)) in expected.into_iter().enumerate() {
        let column = &binary.columns()[index];
        assert_eq!((column.name(), column.type_()), (name, &pg_type));
        assert_eq!(text.get(index), Some(value), "{name}");
        assert_eq!(nulls.get(index), None, "{name}");
    }
    assert!(binary.get::<_, bool>("bool"));
    assert_eq!(
        (binary.get::<_, i16>("i8"), binary.get::<_, i16>("u8")),
        (-1, 255)
    );
    assert_eq!(
        (binary.get::<_, i32>("i32"), binary.get::<_, i32>("u16")),
        (-3, 65535)
    );
    assert_eq!(
        (binary.get::<_, i64>("i64"), binary.get::<_, i64>("u32")),
        (-4, i64::from(u32::MAX))
    );
    assert!((binary.get::<_, f32>("f32") - 0.1).abs() < f32::EPSILON);
    assert!((binary.get::<_, f64>("f64") - 1e20).abs() < 1.0);
    assert_eq!(
        (binary.get::<_, &str>("text"), binary.get::<_, &str>("dict")),
        ("é", "d")
    );
    assert_eq!(binary.get::<_, &[u8]>("bytes"), b"\x00\xff");
    assert_eq!(binary.get::<_, Vec<Option<i32>>>("list"), [Some(1), None]);
    let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_164_800_500);
    assert_eq!(
        (
            binary.get::<_, SystemTime>("ts"),
            binary.get::<_, SystemTime>("tstz")
        ),
        (moment, moment)
    );
    for index in 0..binary.len() {
        assert_eq!(
            rows[1].try_get::<_, Option<Raw>>(index).unwrap().map(|raw| raw.0),
            None
        );
    }
}

/// Whatever the bytes are.
struct Raw(#[allow(dead_code)] Vec<u8>);

impl<'a> tokio_postgres::types::FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_have_types() {
    let server = Server::start().await;
    let client = server.client().await;
    // types come from the plan
    let statement = client
        .prepare("select name from orders where id = $1")
        .await
        .unwrap();
    assert_eq!(
        (statement.params(), statement.columns()[0].type_()),
        (&[Type::INT8][..], &Type::TEXT)
    );
    assert_eq!(
        client
            .query_one(&statement, &[&1_i64])
            .await
            .unwrap()
            .get::<_, &str>(0),
        "a"
    );
    assert!(
        client
            .query(&statement, &[&None::<i64>])
            .await
            .unwrap()
            .is_empty()
    );
    // or from the client
    let statement = client
        .prepare_typed(
            "select $1, $2, $3, $4, $5",
            &[
                Type::BOOL,
                Type::INT4,
                Type::FLOAT8,
                Type::TEXT,
                Type::TIMESTAMPTZ,
            ],
        )
        .await
        .unwrap();
    let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_164_800_500);
    let row = client
        .query_one(&statement, &[&true, &7_i32, &1.5_f64, &"x", &moment])
        .await
        .unwrap();
    assert_eq!(
        (row.get::<_, bool>(0), row.get::<_, i32>(1), row.get::<_, &str>(3)),
        (true, 7, "x")
    );
    assert!((row.get::<_, f64>(2) - 1.5).abs() < f64::EPSILON);
    assert_eq!(row.get::<_, SystemTime>(4), moment);
    // or are text
    let statement = client.prepare("select $1").await.unwrap();
    assert_eq!(statement.params(), [Type::TEXT]);
    // one parameter in two places, and one that is compared with a text
    let row = client
        .query_one(
            "select count(*) from orders where ($1::text is null or name = $1::text) and id > $2",
            &[&Some("a"), &0_i64],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
    let found = client
        .query(
            "select id from orders where id = any($1) order by id",
            &[&vec![1_i64, 3]],
        )
        .await;
    let found: Vec<i64> = found.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(found, [1, 3]);
    let limited = client
        .query("select id from orders order by id limit $1", &[&2_i64])
        .await
        .unwrap();
    assert_eq!(limited.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_outlives_changes_around_it() {
    let server = Server::start().await;
    let client = server.client().await;
    let statement = client
        .prepare("select current_setting('TimeZone'), timestamptz '2024-01-01 00:00:00+00'::text")
        .await
        .unwrap();
    assert_eq!(
        client.query_one(&statement, &[]).await.unwrap().get::<_, &str>(0),
        "UTC"
    );
    client.batch_execute("set time zone 'Asia/Seoul'").await.unwrap();
    assert_eq!(
        client.query_one(&statement, &[]).await.unwrap().get::<_, &str>(0),
        "Asia/Seoul"
    );
    client.batch_execute("deallocate all").await.unwrap();
    assert_eq!(
        client
            .query(&statement, &[])
            .await
            .unwrap_err()
            .code()
            .unwrap()
            .code(),
        "26000"
    );
}
