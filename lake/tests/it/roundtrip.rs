//! Every Arrow type into the lake and back: the same value, or a refusal that names the column.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;

use lakegate_lake::{LakeError, WriteOptions};

use crate::support::{Place, batch, context, info, on_every_place, options, query, write};

on_every_place! {
    values_come_back_as_they_went,
    uuids_become_text,
    icebergs_own_types_come_back_as_they_went,
    what_iceberg_cannot_hold_is_refused_by_name,
    what_cannot_be_kept_is_refused_by_name,
    a_refused_value_leaves_no_file,
    files_and_row_groups_are_bounded,
}

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// One column through the lake: its type as queries see it, and its values as text.
async fn through(column: ArrayRef, place: &Place) -> Result<(String, String), LakeError> {
    let lake = place.lake().await;
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(0..column.len() as i32));
    let files = write(
        &lake,
        options("run"),
        &batch(vec![("id", ids), ("value", column)]),
    )
    .await?;
    lake.replace(files, info("run")).await?;
    let context = context(&lake).await;
    let schema = lake.load("shop", "people").await?.unwrap().schema().clone();
    let values = query(&context, "select value from people order by id").await;
    let values: Vec<&str> = values
        .lines()
        .skip(3)
        .filter_map(|line| Some(line.strip_prefix('|')?.strip_suffix('|')?.trim()))
        .collect();
    Ok((schema.field(1).data_type().to_string(), values.join(" ; ")))
}

async fn values_come_back_as_they_went(make: fn() -> Place) {
    let utc: Option<Arc<str>> = Some("UTC".into());
    let micros = "Timestamp(µs)";
    let strings = vec![Some("a"), None, Some("żółć 漢字 \u{1F600}"), Some("")];
    let list = |nullable| {
        let element = Arc::new(Field::new("item", DataType::Int16, nullable));
        let values = Arc::new(Int16Array::from(vec![1, 2, 3]));
        let nulls = NullBuffer::from(vec![true, false, true, true]);
        ListArray::new(
            element,
            OffsetBuffer::new(vec![0, 2, 2, 2, 3].into()),
            values,
            Some(nulls),
        )
    };
    let cases: Vec<(&str, ArrayRef, &str, &str)> = vec![
        (
            "bool",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
            "Boolean",
            "true ; NULL ; false",
        ),
        (
            "i8",
            Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(i8::MAX)])),
            "Int32",
            "-128 ; NULL ; 127",
        ),
        (
            "i16",
            Arc::new(Int16Array::from(vec![i16::MIN, i16::MAX])),
            "Int32",
            "-32768 ; 32767",
        ),
        (
            "i32",
            Arc::new(Int32Array::from(vec![i32::MIN, i32::MAX])),
            "Int32",
            "-2147483648 ; 2147483647",
        ),
        (
            "i64",
            Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX])),
            "Int64",
            "-9223372036854775808 ; 9223372036854775807",
        ),
        (
            "u8",
            Arc::new(UInt8Array::from(vec![0, u8::MAX])),
            "Int32",
            "0 ; 255",
        ),
        (
            "u16",
            Arc::new(UInt16Array::from(vec![0, u16::MAX])),
            "Int32",
            "0 ; 65535",
        ),
        (
            "u32",
            Arc::new(UInt32Array::from(vec![0, u32::MAX])),
            "Int64",
            "0 ; 4294967295",
        ),
        (
            "u64",
            Arc::new(UInt64Array::from(vec![Some(0), None, Some(u64::MAX)])),
            "Decimal128(20, 0)",
            "0 ; NULL ; 18446744073709551615",
        ),
        (
            "f16",
            Arc::new(Float16Array::from(vec![F16::from_f32(1.5), F16::NAN])),
            "Float32",
            "1.5 ; NaN",
        ),
        (
            "f32",
            Arc::new(Float32Array::from(vec![
                Some(-0.0),
                None,
                Some(f32::NAN),
                Some(f32::INFINITY),
            ])),
            "Float32",
            "-0.0 ; NULL ; NaN ; inf",
        ),
        (
            "f64",
            Arc::new(Float64Array::from(vec![
                f64::MIN_POSITIVE,
                f64::NEG_INFINITY,
                f64::NAN,
                0.1,
            ])),
            "Float64",
            "2.2250738585072014e-308 ; -inf ; NaN ; 0.1",
        ),
        (
            "utf8",
            Arc::new(StringArray::from(strings.clone())),
            "Utf8View",
            "a ; NULL ; żółć 漢字 \u{1F600} ; ",
        ),
        (
            "large utf8",
            Arc::new(LargeStringArray::from(strings.clone())),
            "Utf8View",
            "a ; NULL ; żółć 漢字 \u{1F600} ; ",
        ),
        (
            "utf8 view",
            Arc::new(StringViewArray::from(strings)),
            "Utf8View",
            "a ; NULL ; żółć 漢字 \u{1F600} ; ",
        ),
        (
            "dictionary",
            Arc::new(DictionaryArray::<Int8Type>::from_iter([
                Some("x"),
                None,
                Some("x"),
                Some("y"),
            ])),
            "Utf8View",
            "x ; NULL ; x ; y",
        ),
        (
            "run ends",
            Arc::new(
                RunArray::<Int32Type>::try_new(&Int32Array::from(vec![2, 3]), &Int16Array::from(vec![7, 8]))
                    .unwrap(),
            ),
            "Int32",
            "7 ; 7 ; 8",
        ),
        ("null", Arc::new(NullArray::new(2)), "Utf8View", "NULL ; NULL"),
        (
            "binary",
            Arc::new(BinaryArray::from_opt_vec(vec![
                Some(b"\x00\xff"),
                None,
                Some(b""),
            ])),
            "BinaryView",
            "00ff ; NULL ; ",
        ),
        (
            "large binary",
            Arc::new(LargeBinaryArray::from_vec(vec![b"\x01"])),
            "BinaryView",
            "01",
        ),
        (
            "fixed",
            Arc::new(FixedSizeBinaryArray::try_from_iter([[1_u8, 2]].into_iter()).unwrap()),
            "BinaryView",
            "0102",
        ),
        (
            "date",
            Arc::new(Date32Array::from(vec![-719_162, 0, 20_000])),
            "Date32",
            "0001-01-01 ; 1970-01-01 ; 2024-10-04",
        ),
        (
            "date64",
            Arc::new(Date64Array::from(vec![Some(86_400_000 * -3), None])),
            "Date32",
            "1969-12-29 ; NULL",
        ),
        (
            "timestamp s",
            Arc::new(TimestampSecondArray::from(vec![-1, 1_700_000_000])),
            micros,
            "1969-12-31T23:59:59 ; 2023-11-14T22:13:20",
        ),
        (
            "timestamp ms",
            Arc::new(TimestampMillisecondArray::from(vec![-1])),
            micros,
            "1969-12-31T23:59:59.999",
        ),
        (
            "timestamp us",
            Arc::new(TimestampMicrosecondArray::from(vec![1, -62_135_596_800_000_000])),
            micros,
            "1970-01-01T00:00:00.000001 ; 0001-01-01T00:00:00",
        ),
        (
            "timestamp ns",
            Arc::new(TimestampNanosecondArray::from(vec![-1_000])),
            micros,
            "1969-12-31T23:59:59.999999",
        ),
        (
            "timestamptz",
            Arc::new(TimestampMillisecondArray::from(vec![Some(0), None]).with_timezone("+09:00")),
            "Timestamp(µs, \"UTC\")",
            "1970-01-01T00:00:00Z ; NULL",
        ),
        (
            "timestamptz utc",
            Arc::new(TimestampMicrosecondArray::from(vec![5]).with_timezone_opt(utc)),
            "Timestamp(µs, \"UTC\")",
            "1970-01-01T00:00:00.000005Z",
        ),
        (
            "time s",
            Arc::new(Time32SecondArray::from(vec![86_400, 1])),
            "Utf8View",
            "24:00:00.000000 ; 00:00:01.000000",
        ),
        (
            "time ms",
            Arc::new(Time32MillisecondArray::from(vec![Some(1), None])),
            "Utf8View",
            "00:00:00.001000 ; NULL",
        ),
        (
            "time us",
            Arc::new(Time64MicrosecondArray::from(vec![86_399_999_999])),
            "Utf8View",
            "23:59:59.999999",
        ),
        (
            "time ns",
            Arc::new(Time64NanosecondArray::from(vec![3_600_000_001_000])),
            "Utf8View",
            "01:00:00.000001",
        ),
        (
            "interval",
            Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(
                14,
                -3,
                1_500_000_000,
            )])),
            "Utf8View",
            "P1Y2M-3DT1.5S",
        ),
        (
            "duration",
            Arc::new(DurationMillisecondArray::from(vec![-61_001])),
            "Utf8View",
            "PT-1M-1.001S",
        ),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from(vec![Some(-12_345), None, Some(0)])
                    .with_precision_and_scale(7, 2)
                    .unwrap(),
            ),
            "Decimal128(7, 2)",
            "-123.45 ; NULL ; 0.00",
        ),
        (
            "decimal64",
            Arc::new(
                Decimal64Array::from(vec![-1])
                    .with_precision_and_scale(18, 4)
                    .unwrap(),
            ),
            "Decimal128(18, 4)",
            "-0.0001",
        ),
        (
            "widest decimal",
            Arc::new(
                Decimal128Array::from(vec![10_i128.pow(38) - 1])
                    .with_precision_and_scale(38, 10)
                    .unwrap(),
            ),
            "Decimal128(38, 10)",
            "9999999999999999999999999999.9999999999",
        ),
        (
            "negative scale",
            Arc::new(
                Decimal128Array::from(vec![123])
                    .with_precision_and_scale(5, -2)
                    .unwrap(),
            ),
            "Decimal128(7, 0)",
            "12300",
        ),
        (
            "narrow decimal256",
            Arc::new(
                Decimal256Array::from(vec![i256::from(-5)])
                    .with_precision_and_scale(30, 1)
                    .unwrap(),
            ),
            "Decimal128(30, 1)",
            "-0.5",
        ),
        (
            "wide decimal256",
            Arc::new(
                Decimal256Array::from(vec![i256::from_i128(i128::MAX)])
                    .with_precision_and_scale(50, 9)
                    .unwrap(),
            ),
            "Utf8View",
            "170141183460469231731687303715.884105727",
        ),
        (
            "numeric without digits",
            Arc::new(
                Decimal256Array::from(vec![
                    Some(free(15, 37)),
                    Some(free(100, 38)),
                    Some(free(0, 0)),
                    None,
                    Some(free(-5, 37)),
                    Some(free(-1, 0)),
                    Some(free(10_i128.pow(38) - 1, 38)),
                ])
                .with_precision_and_scale(76, 38)
                .unwrap(),
            ),
            "Utf8View",
            "1.5 ; 100 ; 0 ; NULL ; -0.5 ; -0.00000000000000000000000000000000000001 ; \
             99999999999999999999999999999999999999",
        ),
        (
            "numerics without digits",
            Arc::new({
                let mut lists =
                    ListBuilder::new(Decimal256Builder::new().with_precision_and_scale(76, 38).unwrap());
                lists.append_value([Some(free(250, 36)), None]);
                lists.finish()
            }),
            "List(Utf8, field: 'element')",
            "[2.5, NULL]",
        ),
        (
            "list",
            Arc::new(list(true)),
            "List(Int32, field: 'element')",
            "[1, 2] ; NULL ; [] ; [3]",
        ),
        (
            "large list",
            Arc::new(LargeListArray::from_iter_primitive::<Int64Type, _, _>([
                Some(vec![Some(1), None]),
                None,
                Some(vec![]),
            ])),
            "List(Int64, field: 'element')",
            "[1, NULL] ; NULL ; []",
        ),
        (
            "fixed list",
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(
                [Some(vec![Some(1.0), Some(2.0)])],
                2,
            )),
            "List(Float64, field: 'element')",
            "[1.0, 2.0]",
        ),
        (
            "list view",
            Arc::new(ListViewArray::new(
                Arc::new(Field::new_list_field(DataType::UInt32, true)),
                ScalarBuffer::from(vec![1, 0]),
                ScalarBuffer::from(vec![1, 2]),
                Arc::new(UInt32Array::from(vec![5, 6])),
                None,
            )),
            "List(Int64, field: 'element')",
            "[6] ; [5, 6]",
        ),
        (
            "struct",
            Arc::new(StructArray::new(
                Fields::from(vec![
                    Field::new("Inner Id", DataType::UInt8, true),
                    Field::new("when", DataType::Time32(TimeUnit::Second), true),
                ]),
                vec![
                    Arc::new(UInt8Array::from(vec![Some(1), None, None])),
                    Arc::new(Time32SecondArray::from(vec![Some(2), Some(3), None])),
                ],
                Some(NullBuffer::from(vec![true, true, false])),
            )),
            "Struct(\"inner_id\": Int32, \"when\": Utf8)",
            "{inner_id: 1, when: 00:00:02.000000} ; {inner_id: NULL, when: 00:00:03.000000} ; NULL",
        ),
        ("map", map(), "", "{a: 1, b: NULL} ; NULL ; {}"),
    ];
    for (name, column, data_type, values) in cases {
        let (read_type, read) = through(column, &make())
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read, values, "{name}");
        if !data_type.is_empty() {
            assert_eq!(read_type, data_type, "{name}");
        }
    }
}

/// `digits` × 10^`exponent` in units of 10^-38.
fn free(digits: i128, exponent: u32) -> i256 {
    let ten = i256::from_i128(10);
    (0..exponent).fold(i256::from_i128(digits), |value, _| value.wrapping_mul(ten))
}

fn map() -> ArrayRef {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int8Builder::new());
    builder.keys().append_value("a");
    builder.values().append_value(1);
    builder.keys().append_value("b");
    builder.values().append_null();
    builder.append(true).unwrap();
    builder.append(false).unwrap();
    builder.append(true).unwrap();
    Arc::new(builder.finish())
}

async fn uuids_become_text(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let bytes = [
        0x55, 0x0e, 0x84, 0x00, 0xe2, 0x9b, 0x41, 0xd4, 0xa7, 0x16, 0x44, 0x66, 0x55, 0x44, 0x00, 0x00,
    ];
    let column =
        FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some(bytes), None].into_iter(), 16).unwrap();
    let field = Field::new("id", DataType::FixedSizeBinary(16), true)
        .with_metadata([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())].into());
    let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(column)]).unwrap();
    let files = write(&lake, options("run"), &rows).await.unwrap();
    lake.replace(files, info("run")).await.unwrap();
    let read = query(&context(&lake).await, "select * from people").await;
    assert!(read.contains("550e8400-e29b-41d4-a716-446655440000"), "{read}");
}

const UUID: [u8; 16] = [
    0x55, 0x0e, 0x84, 0x00, 0xe2, 0x9b, 0x41, 0xd4, 0xa7, 0x16, 0x44, 0x66, 0x55, 0x44, 0x00, 0x00,
];
const UUID_TEXT: &str = "550e8400-e29b-41d4-a716-446655440000";

fn of_postgres(name: &str) -> std::collections::HashMap<String, String> {
    [("lakegate.pg_type".to_owned(), name.to_owned())].into()
}

fn in_iceberg(run: &str) -> WriteOptions {
    WriteOptions {
        profile: lakegate_crds::Profile::Iceberg,
        ..options(run)
    }
}

async fn icebergs_own_types_come_back_as_they_went(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let bytes =
        || FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some(UUID), None].into_iter(), 16).unwrap();
    let text = Field::new("text", DataType::Utf8, true).with_metadata(of_postgres("uuid"));
    let own = Field::new("own", DataType::FixedSizeBinary(16), true)
        .with_metadata([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())].into());
    let listed = text.clone().with_name("item");
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            text.clone(),
            Arc::new(StringArray::from(vec![Some(UUID_TEXT), None])),
        ),
        (own.clone(), Arc::new(bytes())),
        (
            Field::new("list", DataType::List(Arc::new(listed.clone())), true),
            Arc::new(ListArray::new(
                Arc::new(listed),
                OffsetBuffer::new(vec![0, 2, 2].into()),
                Arc::new(StringArray::from(vec![Some(UUID_TEXT.to_uppercase()), None])),
                None,
            )),
        ),
        (
            Field::new("nested", DataType::Struct(vec![own.clone()].into()), true),
            Arc::new(StructArray::new(
                vec![own].into(),
                vec![Arc::new(bytes()) as ArrayRef],
                None,
            )),
        ),
        (
            Field::new("time", DataType::Time64(TimeUnit::Nanosecond), true),
            Arc::new(Time64NanosecondArray::from(vec![Some(86_399_999_999_000), None])),
        ),
        (
            Field::new("seconds", DataType::Time32(TimeUnit::Second), true),
            Arc::new(Time32SecondArray::from(vec![0, 1])),
        ),
        (
            Field::new("fixed", DataType::FixedSizeBinary(2), true),
            Arc::new(FixedSizeBinaryArray::try_from_iter([[1_u8, 2], [3, 4]].into_iter()).unwrap()),
        ),
    ];
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let files = write(&lake, in_iceberg("run"), &rows).await.unwrap();
    lake.replace(files, info("run")).await.unwrap();
    let context = context(&lake).await;
    let table = lake.load("shop", "people").await.unwrap().unwrap();
    let uuid = table.schema().field(0);
    assert_eq!(
        (uuid.data_type(), uuid.metadata()),
        (&DataType::Utf8View, &of_postgres("uuid"))
    );
    let expected = "\
+--------------------------------------+--------------------------------------+----------------------------------------------+---------------------------------------------+-----------------+----------+-------+
| text                                 | own                                  | list                                         | nested                                      | time            | seconds  | fixed |
+--------------------------------------+--------------------------------------+----------------------------------------------+---------------------------------------------+-----------------+----------+-------+
| 550e8400-e29b-41d4-a716-446655440000 | 550e8400-e29b-41d4-a716-446655440000 | [550e8400-e29b-41d4-a716-446655440000, NULL] | {own: 550e8400-e29b-41d4-a716-446655440000} | 23:59:59.999999 | 00:00:00 | 0102  |
| NULL                                 | NULL                                 | []                                           | {own: NULL}                                 | NULL            | 00:00:01 | 0304  |
+--------------------------------------+--------------------------------------+----------------------------------------------+---------------------------------------------+-----------------+----------+-------+";
    let read = query(&context, "select * from people order by seconds").await;
    assert_eq!(read, expected);
    for (condition, rows) in [
        (format!("text = '{UUID_TEXT}'"), 1),
        (format!("own < '{UUID_TEXT}'"), 0),
        (format!("own > '550e8400' and nested.own = '{UUID_TEXT}'"), 1),
        ("text is null".to_owned(), 1),
        (
            "time > arrow_cast('12:00:00', 'Time64(Microsecond)')".to_owned(),
            1,
        ),
        ("fixed = x'0304'".to_owned(), 1),
    ] {
        let read = query(
            &context,
            &format!("select count(*) as n from people where {condition}"),
        )
        .await;
        assert!(read.contains(&format!("| {rows} |")), "{condition}: {read}");
    }
    // another profile makes other types of the same columns
    let error = write(&lake, options("other"), &rows).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("column text: the table has type uuid, the new rows have string"),
        "{error}"
    );
}

async fn what_iceberg_cannot_hold_is_refused_by_name(make: fn() -> Place) {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["not-a-uuid"]));
    let field = Field::new("value", DataType::Utf8, true).with_metadata(of_postgres("uuid"));
    let uuid = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![text]).unwrap();
    let day: ArrayRef = Arc::new(Time32SecondArray::from(vec![86_400]));
    let fine: ArrayRef = Arc::new(Time64NanosecondArray::from(vec![1]));
    for (rows, problem) in [
        (uuid, "a text is no UUID"),
        (batch(vec![("value", day)]), "a time is 24:00:00 or finer"),
        (batch(vec![("value", fine)]), "a time is 24:00:00 or finer"),
    ] {
        let lake = make().lake().await;
        let error = write(&lake, in_iceberg("run"), &rows).await.unwrap_err();
        let expected = format!("table shop.people, column value: {problem}");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}

async fn what_cannot_be_kept_is_refused_by_name(make: fn() -> Place) {
    let cases: Vec<(ArrayRef, &str)> = vec![
        (
            Arc::new(TimestampNanosecondArray::from(vec![1_001])),
            "table shop.people, column value: a timestamp has nanoseconds below the microsecond, which the lake cannot keep; truncate it to microseconds or cast the column to text",
        ),
        (
            Arc::new(TimestampSecondArray::from(vec![i64::MAX])),
            "table shop.people, column value: a timestamp is outside the range of microseconds since 1970; cast the column to text",
        ),
        (
            Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX])),
            "table shop.people, column value: the last day or microsecond that the type can count reads as infinity in some engines; cast the column to text",
        ),
        (
            Arc::new(Date32Array::from(vec![-i32::MAX])),
            "table shop.people, column value: the last day or microsecond that the type can count reads as infinity in some engines; cast the column to text",
        ),
        (
            Arc::new(Date64Array::from(vec![1])),
            "table shop.people, column value: a date holds a time of day; cast the column to timestamp",
        ),
        (
            Arc::new(Time64NanosecondArray::from(vec![1])),
            "table shop.people, column value: a time is outside a day or finer than a microsecond; cast the column to text",
        ),
        (
            Arc::new(Time32SecondArray::from(vec![-1])),
            "table shop.people, column value: a time is outside a day or finer than a microsecond; cast the column to text",
        ),
        (
            // more digits than the type has, which Arrow does not check
            Arc::new(
                Decimal128Array::from(vec![1_000_000])
                    .with_precision_and_scale(4, 0)
                    .unwrap(),
            ),
            "table shop.people, column value: a value has more than 4 digits; cast the column to a wider decimal",
        ),
        (
            Arc::new(StructArray::new_empty_fields(1, None)),
            "table shop.people, column value: type Struct() cannot be exported: a struct without fields has no form in Parquet; exclude the column",
        ),
        (
            union(),
            "table shop.people, column value: type Union(Sparse, 0: (\"a\": Int32)) cannot be exported: cast it to text, or exclude the column",
        ),
        (
            Arc::new(StringArray::from(vec!["x".repeat(64 * 1024 * 1024 + 1)])),
            "table shop.people, column value: a value of 67108865 bytes is above the limit of 67108864 bytes; exclude the column or shorten the value",
        ),
    ];
    for (column, message) in cases {
        let error = through(column, &make()).await.unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(error.is_terminal());
    }
}

fn union() -> ArrayRef {
    let fields = UnionFields::from_fields(vec![Field::new("a", DataType::Int32, true)]);
    let child: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    Arc::new(UnionArray::try_new(fields, ScalarBuffer::from(vec![0_i8]), None, vec![child]).unwrap())
}

async fn a_refused_value_leaves_no_file(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let good: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000; 20_000]));
    let bad: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1]));
    let options = WriteOptions {
        file_rows: 5_000,
        ..options("run")
    };
    let good = batch(vec![("at", good)]);
    let mut writer = lake
        .write("shop", "people", good.schema(), options)
        .await
        .unwrap();
    writer.write(good.clone()).await.unwrap();
    assert!(!crate::support::data_files(place.path()).is_empty());
    writer.write(batch(vec![("at", bad)])).await.unwrap_err();
    assert_eq!(crate::support::tree(place.path()), Vec::<String>::new());
    // and the writer does not go on as if nothing had happened
    assert!(matches!(
        writer.write(good).await.unwrap_err(),
        LakeError::WrongBatch { .. }
    ));
}

async fn files_and_row_groups_are_bounded(make: fn() -> Place) {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let place = make();
    let lake = place.lake().await;
    // hard to compress, so that bytes count
    let mut state = 88_172_645_463_325_252_u64;
    let noise = Int64Array::from_iter_values((0..200_000).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.cast_signed()
    }));
    let rows = batch(vec![("id", Arc::new(noise))]);
    let calls = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let options = WriteOptions {
        row_group_rows: 50_000,
        row_group_bytes: 200_000,
        file_bytes: 600_000,
        progress: Some(Arc::new(move |progress| seen.lock().unwrap().push(progress))),
        ..options("run")
    };
    let files = write(&lake, options, &rows).await.unwrap();
    assert_eq!(files.rows(), 200_000);
    assert!(files.files() >= 2, "{}", files.files());
    let last = *calls.lock().unwrap().last().unwrap();
    assert_eq!(
        (last.rows, last.bytes, last.files),
        (200_000, files.bytes(), files.files())
    );
    for file in crate::support::data_files(place.path()) {
        let path = place.path().join(file);
        assert!(path.metadata().unwrap().len() < 1_000_000);
        let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
        let metadata = reader.metadata();
        assert_eq!(metadata.file_metadata().version(), 1);
        assert!(
            metadata
                .file_metadata()
                .key_value_metadata()
                .unwrap()
                .iter()
                .all(|pair| pair.key != "ARROW:schema")
        );
        for group in metadata.row_groups() {
            assert!(group.num_rows() <= 50_000);
            assert!(group.compressed_size() < 400_000, "{}", group.compressed_size());
            let column = group.column(0);
            assert_eq!(column.column_descr().self_type().get_basic_info().id(), 1);
            assert!(column.column_index_offset().is_some() && column.offset_index_offset().is_some());
            assert!(matches!(
                column.compression(),
                parquet::basic::Compression::ZSTD(_)
            ));
        }
    }
}
