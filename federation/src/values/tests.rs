use super::*;
use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Date64Array, Decimal32Array, Decimal64Array,
    Decimal128Array, Decimal256Array, DictionaryArray, DurationMillisecondArray, FixedSizeBinaryArray,
    FixedSizeListArray, Float16Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, IntervalDayTimeArray, IntervalMonthDayNanoArray, IntervalYearMonthArray, LargeListArray,
    LargeStringArray, ListArray, ListViewArray, MapBuilder, NullArray, RunArray, StringArray, StringBuilder,
    StringViewArray, StructArray, Time32SecondArray, Time64NanosecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
    UnionArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    Field, Float16Type, Int8Type, IntervalDayTime, IntervalMonthDayNano, UnionFields, i256,
};
use std::collections::HashMap;

fn context() -> EncodeContext {
    EncodeContext {
        time_zone: TimeZone::get("Asia/Seoul").unwrap(),
        reg_names: None,
    }
}

fn cell(array: &ArrayRef, pg_type: PgType, format: Format, row: usize) -> Option<Vec<u8>> {
    let context = context();
    let cells = resolve(array.as_ref(), pg_type, format, &context);
    if cells.is_null(row) {
        return None;
    }
    let mut out = BytesMut::new();
    cells.write(row, &mut out).unwrap();
    Some(out.to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_type_in_text_and_binary() {
    let string = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut map = MapBuilder::new(None, StringBuilder::new(), arrow::array::Int32Builder::new());
    map.keys().append_value("k\"1");
    map.values().append_value(7);
    map.keys().append_value("k2");
    map.values().append_null();
    map.append(true).unwrap();
    let structs = StructArray::from(vec![
        (
            Arc::new(Field::new("a", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![Some(1)])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("t", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("x\n\"y\u{1}")])),
        ),
        (
            Arc::new(Field::new("f", DataType::Float64, true)),
            Arc::new(Float64Array::from(vec![f64::NAN])),
        ),
        (
            Arc::new(Field::new("b", DataType::Boolean, true)),
            Arc::new(BooleanArray::from(vec![None::<bool>])),
        ),
        (
            Arc::new(Field::new(
                "z",
                DataType::Timestamp(arrow::datatypes::TimeUnit::Second, Some("UTC".into())),
                true,
            )),
            Arc::new(TimestampSecondArray::from(vec![0]).with_timezone("UTC")),
        ),
    ]);
    let union = UnionArray::try_new(
        UnionFields::try_new(
            vec![0, 1],
            vec![
                Field::new("i", DataType::Int32, true),
                Field::new("s", DataType::Utf8, true),
            ],
        )
        .unwrap(),
        ScalarBuffer::from(vec![1_i8]),
        None,
        vec![
            Arc::new(Int32Array::from(vec![1])),
            Arc::new(StringArray::from(vec!["u"])),
        ],
    )
    .unwrap();
    let nested = ListArray::new(
        Arc::new(Field::new(
            "item",
            DataType::List(Arc::new(Field::new("item", DataType::Int32, true))),
            true,
        )),
        arrow::buffer::OffsetBuffer::from_lengths([2]),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([
            Some(vec![Some(1), None]),
            None,
        ])),
        None,
    );
    let strings = ListArray::new(
        Arc::new(Field::new("item", DataType::Utf8, true)),
        arrow::buffer::OffsetBuffer::from_lengths([6]),
        Arc::new(StringArray::from(vec![
            Some("a"),
            Some(""),
            None,
            Some("NULL"),
            Some("x y"),
            Some("q\"\\"),
        ])),
        None,
    );
    let runs = RunArray::try_new(
        &Int32Array::from(vec![2, 3]),
        &StringArray::from(vec!["zz", "first"]),
    )
    .unwrap()
    .slice(2, 1);
    let list_view = ListViewArray::new(
        Arc::new(Field::new("item", DataType::Int32, true)),
        ScalarBuffer::from(vec![1]),
        ScalarBuffer::from(vec![2]),
        Arc::new(Int32Array::from(vec![9, 1, 2])),
        None,
    );
    let json = r#"{"a":1,"t":"x\n\"y\u0001","f":"NaN","b":null,"z":"1970-01-01T09:00:00+09:00"}"#;
    let cases: Vec<(ArrayRef, &str, String)> = vec![
        (Arc::new(BooleanArray::from(vec![true])), "t", "01".into()),
        (Arc::new(Int8Array::from(vec![-1])), "-1", "ffff".into()),
        (Arc::new(Int16Array::from(vec![i16::MIN])), "-32768", "8000".into()),
        (Arc::new(Int32Array::from(vec![258])), "258", "00000102".into()),
        (Arc::new(Int64Array::from(vec![i64::MIN])), "-9223372036854775808", "8000000000000000".into()),
        (Arc::new(UInt8Array::from(vec![255])), "255", "00ff".into()),
        (Arc::new(UInt16Array::from(vec![65535])), "65535", "0000ffff".into()),
        (Arc::new(UInt32Array::from(vec![u32::MAX])), "4294967295", "00000000ffffffff".into()),
        (
            Arc::new(UInt64Array::from(vec![u64::MAX])),
            "18446744073709551615",
            "0005000400000000".to_owned() + "07341a5802e103bb064f",
        ),
        (
            Arc::new(arrow::array::PrimitiveArray::<Float16Type>::from_iter_values(
                Float16Array::from_iter_values(Float32Array::from(vec![1.5]).values().iter().map(|v| half(*v)))
                    .values()
                    .iter()
                    .copied(),
            )),
            "1.5",
            "3fc00000".into(),
        ),
        (Arc::new(Float32Array::from(vec![0.1])), "0.1", "3dcccccd".into()),
        (Arc::new(Float64Array::from(vec![1e20])), "1e+20", "4415af1d78b58c40".into()),
        (Arc::new(StringArray::from(vec!["é"])), "é", "c3a9".into()),
        (Arc::new(LargeStringArray::from(vec!["b"])), "b", "62".into()),
        (Arc::new(StringViewArray::from(vec!["a long string that is not inlined"])), "a long string that is not inlined", string("a long string that is not inlined")),
        (Arc::new(BinaryViewArray::from(vec![&b"\x00\xff"[..]])), "\\x00ff", "00ff".into()),
        (Arc::new(FixedSizeBinaryArray::try_from_iter([vec![1_u8, 2]].into_iter()).unwrap()), "\\x0102", "0102".into()),
        (Arc::new(Date32Array::from(vec![10957])), "2000-01-01", "00000000".into()),
        (Arc::new(Date64Array::from(vec![-86_400_000])), "1969-12-31", "ffffd532".into()),
        (Arc::new(Time32SecondArray::from(vec![3661])), "01:01:01", "00000000da366d40".into()),
        (Arc::new(Time64NanosecondArray::from(vec![1_000_001_999])), "00:00:01.000001", "00000000000f4241".into()),
        (Arc::new(TimestampSecondArray::from(vec![946_684_801])), "2000-01-01 00:00:01", "00000000000f4240".into()),
        (Arc::new(TimestampMicrosecondArray::from(vec![946_684_800_000_001]).with_timezone("America/New_York")), "2000-01-01 09:00:00.000001+09", "0000000000000001".into()),
        (Arc::new(TimestampNanosecondArray::from(vec![-1])), "1969-12-31 23:59:59.999999", "fffca2fec4c81fff".into()),
        (Arc::new(IntervalYearMonthArray::from(vec![14])), "1 year 2 mons", "0000000000000000000000000000000e".into()),
        (Arc::new(IntervalDayTimeArray::from(vec![IntervalDayTime::new(1, 1)])), "1 day 00:00:00.001", "00000000000003e80000000100000000".into()),
        (Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 2, 3000)])), "1 mon 2 days 00:00:00.000003", "00000000000000030000000200000001".into()),
        (Arc::new(DurationMillisecondArray::from(vec![1])), "00:00:00.001", "00000000000003e80000000000000000".into()),
        (Arc::new(Decimal32Array::from(vec![123]).with_precision_and_scale(5, 2).unwrap()), "1.23", "000200000000000200 0108fc".replace(' ', "")),
        (Arc::new(Decimal64Array::from(vec![-5]).with_precision_and_scale(12, 4).unwrap()), "-0.0005", "0001ffff400000040005".into()),
        (Arc::new(Decimal128Array::from(vec![12345]).with_precision_and_scale(12, 2).unwrap()), "123.45", "0002000000000002007b1194".into()),
        (Arc::new(Decimal256Array::from(vec![i256::from_i128(10)]).with_precision_and_scale(50, 1).unwrap()), "1.0", "00010000000000010001".into()),
        (Arc::new(DictionaryArray::<Int8Type>::from_iter(["k"])), "k", "6b".into()),
        (Arc::new(runs), "first", string("first")),
        (Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None])])), "{1,NULL}", "000000010000000100000017000000020000000100000004 00000001ffffffff".replace(' ', "")),
        (Arc::new(LargeListArray::from_iter_primitive::<Int8Type, _, _>([Some(vec![Some(1)])])), "{1}", "000000010000000000000015000000010000000100000002 0001".replace(' ', "")),
        (Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(Vec::<Option<i64>>::new())])), "{}", "000000000000000000000014".into()),
        (Arc::new(FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(5), Some(6)])], 2)), "{5,6}", "000000010000000000000017000000020000000100000004000000050000000400000006".into()),
        (Arc::new(list_view), "{1,2}", "000000010000000000000017000000020000000100000004000000010000000400000002".into()),
        (Arc::new(strings), r#"{a,"",NULL,"NULL","x y","q\"\\"}"#, "00000001000000010000001900000006000000010000000161000000 00ffffffff000000044e554c4c0000000378207900000003 71225c".replace(' ', "")),
        (Arc::new(nested), "[[1,null],null]", string("[[1,null],null]")),
        (Arc::new(structs), json, string(json)),
        (Arc::new(map.finish()), r#"{"k\"1":7,"k2":null}"#, string(r#"{"k\"1":7,"k2":null}"#)),
        (Arc::new(union), r#""u""#, string(r#""u""#)),
    ];
    for (array, text, binary) in cases {
        let pg_type = types::of_data_type(array.data_type());
        let name = array.data_type().to_string();
        assert_eq!(
            cell(&array, pg_type, Format::Text, 0)
                .map(|v| String::from_utf8(v).unwrap())
                .as_deref(),
            Some(text),
            "{name}"
        );
        assert_eq!(
            cell(&array, pg_type, Format::Binary, 0).map(|v| hex(&v)),
            Some(binary),
            "{name}"
        );
        let null = arrow::array::new_null_array(array.data_type(), 1);
        if !matches!(array.data_type(), DataType::Union(_, _)) {
            assert_eq!(cell(&null, pg_type, Format::Text, 0), None, "{name}");
            assert_eq!(cell(&null, pg_type, Format::Binary, 0), None, "{name}");
        }
    }
    let null: ArrayRef = Arc::new(NullArray::new(1));
    assert_eq!(
        cell(&null, types::of_data_type(&DataType::Null), Format::Binary, 0),
        None
    );
}

fn half(value: f32) -> <Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native {
    <Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native::from_f32(value)
}

#[test]
fn overridden_types_have_their_own_form() {
    let field = |array: &ArrayRef, name: &str| {
        types::of_field(
            &Field::new("c", array.data_type().clone(), true).with_metadata(HashMap::from([(
                types::PG_TYPE_METADATA.to_owned(),
                name.to_owned(),
            )])),
        )
    };
    let uuid: ArrayRef =
        Arc::new(FixedSizeBinaryArray::try_from_iter([(0_u8..16).collect::<Vec<_>>()].into_iter()).unwrap());
    let uuid_text: ArrayRef = Arc::new(StringArray::from(vec!["00010203-0405-0607-0809-0a0b0c0d0e0f"]));
    let number: ArrayRef = Arc::new(UInt32Array::from(vec![4_000_000_000]));
    let vector_text: ArrayRef = Arc::new(StringArray::from(vec!["1 2"]));
    let vector: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int16Type, _, _>([Some(vec![
        Some(1),
        Some(2),
    ])]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["{}"]));
    let vector_binary = "000000010000000000000015000000020000000000000002000100000002 0002".replace(' ', "");
    let cases: Vec<(&ArrayRef, &str, &str, String)> = vec![
        (
            &uuid,
            "uuid",
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
            "000102030405060708090a0b0c0d0e0f".into(),
        ),
        (
            &uuid_text,
            "uuid",
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
            "000102030405060708090a0b0c0d0e0f".into(),
        ),
        (&number, "oid", "4000000000", "ee6b2800".into()),
        (&number, "regclass", "4000000000", "ee6b2800".into()),
        (&vector_text, "int2vector", "1 2", vector_binary.clone()),
        (&vector, "int2vector", "1 2", vector_binary),
        (&text, "jsonb", "{}", "017b7d".into()),
        (&text, "json", "{}", "7b7d".into()),
        (&text, "char", "{}", "7b".into()),
    ];
    for (array, name, text, binary) in cases {
        let pg_type = field(array, name);
        assert_eq!(pg_type.base.name, name);
        assert_eq!(
            cell(array, pg_type, Format::Text, 0)
                .map(|v| String::from_utf8(v).unwrap())
                .as_deref(),
            Some(text),
            "{name}"
        );
        assert_eq!(
            cell(array, pg_type, Format::Binary, 0).map(|v| hex(&v)),
            Some(binary),
            "{name}"
        );
    }
}

#[test]
fn out_of_range_values_are_errors() {
    let context = context();
    let array = TimestampSecondArray::from(vec![i64::MAX]);
    let cells = resolve(
        &array,
        types::of_data_type(array.data_type()),
        Format::Text,
        &context,
    );
    let failure = cells.write(0, &mut BytesMut::new()).unwrap_err();
    assert_eq!(failure.to_string(), "timestamp out of range");
}
