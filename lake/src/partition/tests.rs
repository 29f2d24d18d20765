use arrow::array::{FixedSizeBinaryArray, TimestampMicrosecondArray};
use iceberg::spec::{Datum, NestedField};

use super::*;

fn decimals(values: &[i128], scale: i8) -> ArrayRef {
    let array = Decimal128Array::from_iter_values(values.iter().copied());
    Arc::new(array.with_precision_and_scale(20, scale).unwrap())
}

fn micros(values: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values.to_vec()))
}

fn days(values: &[i32]) -> ArrayRef {
    Arc::new(arrow::array::Date32Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn bytes(values: &[&[u8]]) -> ArrayRef {
    Arc::new(BinaryArray::from_iter_values(values))
}

fn times(values: &[i64]) -> ArrayRef {
    Arc::new(arrow::array::Time64MicrosecondArray::from(values.to_vec()))
}

fn fixed(values: &[&[u8]]) -> ArrayRef {
    Arc::new(FixedSizeBinaryArray::try_from_iter(values.iter()).unwrap())
}

fn uuids(values: &[&str]) -> ArrayRef {
    let values = values
        .iter()
        .map(|text| text.parse::<uuid::Uuid>().unwrap().into_bytes());
    Arc::new(FixedSizeBinaryArray::try_from_iter(values).unwrap())
}

/// Appendix B of Iceberg's specification: the hash of each type's value.
#[test]
fn hashes_are_the_specifications() {
    let moment = 1_510_871_468_000_000;
    for (array, expected) in [
        (
            Arc::new(Int32Array::from(vec![34])) as ArrayRef,
            2_017_239_379_i32,
        ),
        (Arc::new(arrow::array::Int64Array::from(vec![34])), 2_017_239_379),
        (decimals(&[1420], 2), -500_754_589),
        (days(&[17_486]), -653_330_422),
        (micros(&[moment]), -2_047_944_441),
        (micros(&[moment + 1]), -1_207_196_810),
        (texts(&["iceberg"]), 1_210_000_089),
        (bytes(&[&[0, 1, 2, 3]]), -188_683_207),
        (times(&[81_068_000_000]), -662_762_989),
        (uuids(&["f79c3e09-677c-4bbd-a479-3f349cb785e7"]), 1_488_055_340),
        (fixed(&[&[0, 1, 2, 3]]), -188_683_207),
    ] {
        // as many buckets as there are hashes without sign
        let found = bucket(&array, 1 << 31).unwrap();
        let found = found.as_primitive::<Int32Type>().value(0);
        assert_eq!(found, expected & i32::MAX, "{}", array.data_type());
    }
}

#[test]
fn decimals_are_hashed_by_their_fewest_bytes() {
    for (value, expected) in [
        (0_i128, &[0_u8][..]),
        (1, &[1]),
        (-1, &[0xff]),
        (127, &[0x7f]),
        (128, &[0, 0x80]),
        (-128, &[0x80]),
        (-129, &[0xff, 0x7f]),
        (1420, &[0x05, 0x8c]),
    ] {
        assert_eq!(shortest(&value.to_be_bytes()), expected, "{value}");
    }
}

fn ints(array: &ArrayRef) -> Vec<i32> {
    array.as_primitive::<Int32Type>().iter().flatten().collect()
}

#[test]
fn values_are_truncated_downwards() {
    let cut = |array: &ArrayRef, width| truncate(array, width).unwrap();
    let whole: ArrayRef = Arc::new(Int32Array::from(vec![0, 1, 9, 10, -1, -10, -11]));
    assert_eq!(ints(&cut(&whole, 10)), [0, 0, 0, 10, -10, -10, -20]);
    // 10.65 with width 50 is 10.50
    let cents = cut(&decimals(&[1065, -1065], 2), 50);
    assert_eq!(cents.as_primitive::<Decimal128Type>().values()[..], [1050, -1100]);
    let found = cut(&texts(&["iceberg", "ab", "", "이름표시"]), 3);
    assert_eq!(
        found.as_string::<i32>().iter().flatten().collect::<Vec<_>>(),
        ["ice", "ab", "", "이름표"]
    );
    let found = cut(&bytes(&[&[1, 2, 3, 4], &[1]]), 3);
    assert_eq!(found.as_binary::<i32>().value(0), [1, 2, 3]);
}

#[test]
fn times_before_1970_are_rounded_down() {
    let of = |transform, array: &ArrayRef| ints(&transformed(transform, array).unwrap());
    let moments = micros(&[0, -1, 1_510_871_468_000_000, -31_536_000_000_001]);
    assert_eq!(of(Transform::Year, &moments), [0, -1, 47, -2]);
    assert_eq!(of(Transform::Month, &moments), [0, -1, 574, -13]);
    assert_eq!(of(Transform::Day, &moments), [0, -1, 17_486, -366]);
    assert_eq!(of(Transform::Hour, &moments), [0, -1, 419_686, -8761]);
    assert_eq!(of(Transform::Day, &days(&[-1, 5])), [-1, 5]);
    assert_eq!(
        of(Transform::Month, &days(&[-1, 31, 59, 11_016])),
        [-1, 1, 2, 361]
    );
}

/// The `iceberg` crate's transforms know no Arrow of ours, but single values.
#[test]
fn transforms_agree_with_the_iceberg_crate() {
    let mut state = 7_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 20).cast_signed() - (1 << 43)
    };
    let transforms = [
        Transform::Year,
        Transform::Month,
        Transform::Day,
        Transform::Hour,
        Transform::Bucket(16),
        Transform::Bucket(1000),
        Transform::Truncate(7),
    ];
    for _ in 0..2000 {
        let number = next();
        let day = i32::try_from(number % 100_000).unwrap();
        let text = format!("é{number}x");
        let clock = number.rem_euclid(MICROSECONDS_A_DAY);
        let uuid = uuid::Uuid::from_u64_pair(number.cast_unsigned(), next().cast_unsigned());
        let cases = [
            (
                Datum::int(day),
                PrimitiveType::Int,
                Arc::new(Int32Array::from(vec![day])) as ArrayRef,
            ),
            (
                Datum::long(number),
                PrimitiveType::Long,
                Arc::new(arrow::array::Int64Array::from(vec![number])),
            ),
            (Datum::date(day), PrimitiveType::Date, days(&[day])),
            (
                Datum::timestamp_micros(number * 100),
                PrimitiveType::Timestamp,
                micros(&[number * 100]),
            ),
            (Datum::string(&text), PrimitiveType::String, texts(&[&text])),
            (
                Datum::binary(text.bytes()),
                PrimitiveType::Binary,
                bytes(&[text.as_bytes()]),
            ),
            (
                Datum::time_micros(clock).unwrap(),
                PrimitiveType::Time,
                times(&[clock]),
            ),
            (
                Datum::uuid(uuid),
                PrimitiveType::Uuid,
                uuids(&[&uuid.to_string()]),
            ),
            (
                Datum::fixed(text.bytes()),
                PrimitiveType::Fixed(text.len() as u64),
                fixed(&[text.as_bytes()]),
            ),
        ];
        for (datum, kind, array) in cases {
            for transform in transforms {
                // the crate cuts no bytes; `values_are_truncated_downwards` tells what ours are cut to
                let only_ours = matches!(
                    (transform, &kind),
                    (Transform::Truncate(_), PrimitiveType::Binary)
                );
                if only_ours || problem_with(transform, &kind).is_some() {
                    continue;
                }
                let function = iceberg::transform::create_transform_function(&transform).unwrap();
                let expected = function.transform_literal(&datum).unwrap().unwrap();
                let found = transformed(transform, &array).unwrap();
                let found = literal(&kind, &found, 0).unwrap();
                assert_eq!(&found, expected.literal(), "{transform} of {datum}");
            }
        }
    }
}

fn schema() -> IcebergSchema {
    let column = |id, name: &str, kind| Arc::new(NestedField::optional(id, name, Type::Primitive(kind)));
    IcebergSchema::builder()
        .with_fields([
            column(1, "id", PrimitiveType::Long),
            column(2, "at", PrimitiveType::Timestamptz),
            column(3, "city", PrimitiveType::String),
            column(4, "price", PrimitiveType::Double),
            column(5, "at_day", PrimitiveType::Date),
        ])
        .build()
        .unwrap()
}

fn by(fields: serde_json::Value) -> Vec<PartitionField> {
    serde_json::from_value(fields).unwrap()
}

fn partitioning(fields: serde_json::Value) -> Result<Partitioning, String> {
    let table = LakeTableName::new("shop", "orders").unwrap();
    let masks = BTreeMap::from([(
        "city".to_owned(),
        ColumnMask {
            method: "hmac".to_owned(),
            domain: None,
            key: None,
            key_id: None,
        },
    )]);
    let schema = schema();
    let parted = Parted {
        source: &crate::portable::arrow_schema(&schema, crate::portable::ArrowForm::Write),
        schema: &schema,
        masks: &masks,
        profile: Profile::Iceberg,
        format: TableFormat::Iceberg,
    };
    Partitioning::new(&table, &by(fields), &parted).map_err(|error| error.to_string())
}

#[test]
fn fields_are_named_and_checked() {
    let partitioning_of = partitioning(serde_json::json!([
        {"column": "AT", "by": "Day"}, {"column": "id", "by": "Bucket", "buckets": 16}, {"column": "at_day", "by": "Identity"},
    ]))
    .unwrap();
    let names: Vec<&str> = partitioning_of
        .fields
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    // a column has the name that the first would have
    assert_eq!(names, ["at_day_part", "id_bucket_16", "at_day"]);
    for (fields, problem) in [
        (
            serde_json::json!([{"column": "zip", "by": "Identity"}]),
            "is not exported",
        ),
        (
            serde_json::json!([{"column": "city", "by": "Identity"}]),
            "is masked",
        ),
        (
            serde_json::json!([{"column": "price", "by": "Identity"}]),
            "has no exact values",
        ),
        (
            serde_json::json!([{"column": "price", "by": "Bucket", "buckets": 4}]),
            "has no buckets",
        ),
        (
            serde_json::json!([{"column": "id", "by": "Day"}]),
            "is neither a date nor a timestamp",
        ),
        (
            serde_json::json!([{"column": "at_day", "by": "Hour"}]),
            "is no timestamp",
        ),
        (
            serde_json::json!([{"column": "at", "by": "Truncate", "width": 3}]),
            "cannot be truncated",
        ),
        (
            serde_json::json!([{"column": "at", "by": "Day"}, {"column": "at", "by": "Hour"}]),
            "partitionBy[1]",
        ),
    ] {
        let error = partitioning(fields).unwrap_err();
        assert!(
            error.contains("spec.destination.partitionBy[") && error.contains(problem),
            "{error}"
        );
    }
}

#[test]
fn rows_are_parted_by_all_fields() {
    let partitioning = partitioning(serde_json::json!([
        {"column": "at", "by": "Day"}, {"column": "id", "by": "Truncate", "width": 10},
    ]))
    .unwrap();
    let day = MICROSECONDS_A_DAY;
    let columns: [ArrayRef; 2] = [
        Arc::new(TimestampMicrosecondArray::from(vec![
            Some(0),
            Some(day),
            Some(day),
            Some(5),
            None,
        ])),
        Arc::new(arrow::array::Int64Array::from(vec![1, 2, 11, 3, 4])),
    ];
    let parts = Parter::new(Arc::new(partitioning)).part(&columns).unwrap();
    let found: Vec<_> = parts
        .iter()
        .map(|part| (part.value.0.clone(), part.rows.clone()))
        .collect();
    let value = |day: Option<i32>, id| vec![day.map(PrimitiveLiteral::Int), Some(PrimitiveLiteral::Long(id))];
    assert_eq!(
        found,
        [
            (value(Some(0), 0), vec![0, 3]),
            (value(Some(1), 0), vec![1]),
            (value(Some(1), 10), vec![2]),
            (value(None, 0), vec![4]),
        ]
    );
}
