//! No argument makes a function or a cast panic.

use std::sync::Arc;

use arrow::array::{ListArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, IntervalMonthDayNano, i256};
use datafusion::common::ScalarValue;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};
use proptest::prelude::*;

use super::{Library, cast, scaffold};
use crate::cast::Target;
use crate::types::{BASE_TYPES, PgType};

/// What functions look for in texts, and what is nearly that.
const TEXTS: &[&str] = &[
    "",
    " ",
    "-",
    "'",
    "\\",
    "%",
    "%1$s",
    "%-9999999999s",
    "%*2$L",
    "é",
    "𝄞",
    "NaN",
    "Infinity",
    "-infinity",
    "1e400",
    "1e-400",
    "9223372036854775808",
    "-9223372036854775808",
    "0x1F",
    "1_000",
    ".5",
    "5.",
    "1e",
    "\\x0",
    "\\x00ff",
    "{}",
    "{1,2}",
    "{{1},{2}}",
    "{\"a\\\"\",NULL}",
    "[]",
    "{\"a\": {\"b\": [1, null, \"\\u00e9\"]}}",
    "[1, 2",
    "\"\\ud800\"",
    "null",
    "$.a[*]",
    "$.a[last - 1] ? (@ > 1)",
    "$[",
    "$.\"",
    "2024-02-30",
    "2024-02-29 24:00:00",
    "infinity",
    "epoch",
    "now",
    "4714-11-24 BC",
    "294277-01-01",
    "12:34:56.789+15:59",
    "J2451187",
    "20240229T040506",
    "1 year -2 mons 3.5 days",
    "P1Y2M10DT2H30M",
    "99999999999 years",
    "1 2:3:4 ago",
    "YYYY-MM-DD HH24:MI:SS.US TZH:TZM",
    "FMMonth FMDay, IW ID IYYY J Q RM CC",
    "FM999,999.99EEEE",
    "S9G999D99PR",
    "RN",
    "9999V99",
    "L0TH",
    "day",
    "month",
    "isodow",
    "century",
    "Asia/Seoul",
    "+25:00",
    "-15:59:59",
    "(",
    "a{1000}{1000}",
    "(a|b)*?\\1",
    "[[:alpha:]]",
    "\\y",
    "gix",
    "hex",
    "base64",
    "escape",
    "C",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(TEXTS).prop_map(str::to_owned),
        2 => "\\PC{0,12}",
        2 => "[-+.,:0-9 eTZ{}\\[\\]\"]{0,16}",
        1 => (prop::sample::select(TEXTS), prop::sample::select(TEXTS)).prop_map(|(a, b)| format!("{a}{b}")),
    ]
}

fn long() -> impl Strategy<Value = i64> {
    prop_oneof![
        -3_i64..100,
        any::<i64>(),
        prop::sample::select(vec![
            i64::MIN,
            i64::MIN + 1,
            i64::MAX,
            i64::MAX - 1,
            i64::from(i32::MIN),
            i64::from(i32::MAX)
        ]),
    ]
}

fn int() -> impl Strategy<Value = i32> {
    long().prop_map(|value| i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX }))
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        prop::sample::select(vec![
            0.0,
            -0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN_POSITIVE,
            0.5,
            -2.5
        ]),
    ]
}

fn texts() -> impl Strategy<Value = ScalarValue> {
    prop::collection::vec(prop::option::of(text()), 0..4).prop_map(|texts| {
        let field: FieldRef = Arc::new(Field::new("item", DataType::Utf8, true));
        let offsets = OffsetBuffer::from_lengths([texts.len()]);
        ScalarValue::List(Arc::new(ListArray::new(
            field,
            offsets,
            Arc::new(StringArray::from(texts)),
            None,
        )))
    })
}

fn value() -> impl Strategy<Value = ScalarValue> {
    let zone = prop::option::of(Just(Arc::<str>::from("UTC")));
    prop_oneof![
        6 => text().prop_map(|text| ScalarValue::Utf8(Some(text))),
        2 => int().prop_map(|value| ScalarValue::Int32(Some(value))),
        2 => long().prop_map(|value| ScalarValue::Int64(Some(value))),
        1 => int().prop_map(|value| ScalarValue::Int16(Some(value as i16))),
        2 => double().prop_map(|value| ScalarValue::Float64(Some(value))),
        1 => any::<f32>().prop_map(|value| ScalarValue::Float32(Some(value))),
        1 => any::<bool>().prop_map(|value| ScalarValue::Boolean(Some(value))),
        2 => (long(), 0_i8..=38).prop_map(|(value, scale)| ScalarValue::Decimal128(Some(i128::from(value)), 38, scale)),
        1 => (any::<i128>(), 0_i8..=76)
            .prop_map(|(value, scale)| ScalarValue::Decimal256(Some(i256::from_i128(value)), 76, scale)),
        2 => int().prop_map(|value| ScalarValue::Date32(Some(value))),
        2 => (long(), zone).prop_map(|(value, zone)| ScalarValue::TimestampMicrosecond(Some(value), zone)),
        1 => (0_i64..=86_400_000_000).prop_map(|value| ScalarValue::Time64Microsecond(Some(value))),
        2 => (int(), int(), long())
            .prop_map(|(months, days, nanos)| ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanos)))),
        1 => prop::collection::vec(any::<u8>(), 0..8).prop_map(|bytes| ScalarValue::Binary(Some(bytes))),
        1 => prop::collection::vec(int(), 0..4).prop_map(|values| {
            let values: Vec<ScalarValue> = values.into_iter().map(|value| ScalarValue::Int32(Some(value))).collect();
            ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Int32))
        }),
        1 => texts(),
        1 => Just(ScalarValue::Utf8(None)),
        1 => Just(ScalarValue::Null),
    ]
}

/// Calls the function as DataFusion does; errors are answers, too.
fn run(function: &ScalarUDF, arguments: &[ScalarValue], zone: &str) {
    let fields: Vec<FieldRef> = arguments
        .iter()
        .map(|value| Arc::new(Field::new("", value.data_type(), true)))
        .collect();
    let scalars: Vec<Option<&ScalarValue>> = arguments.iter().map(Some).collect();
    let Ok(field) = function.return_field_from_args(ReturnFieldArgs {
        arg_fields: &fields,
        scalar_arguments: &scalars,
    }) else {
        return;
    };
    let mut options = ConfigOptions::default();
    options.execution.time_zone = Some(zone.to_owned());
    let result = function.invoke_with_args(ScalarFunctionArgs {
        args: arguments.iter().cloned().map(ColumnarValue::Scalar).collect(),
        arg_fields: fields,
        number_rows: 1,
        return_field: Arc::clone(&field),
        config_options: Arc::new(options),
    });
    if let Ok(value) = result {
        assert_eq!(
            &value.data_type(),
            field.data_type(),
            "{} of {arguments:?}",
            function.name()
        );
    }
}

fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut all: Vec<Arc<ScalarUDF>> = Library::new()
        .all()
        .filter(|function| function.inner().downcast_ref::<scaffold::Function>().is_some())
        // it may take its time, up to a bound
        .filter(|function| function.name() != "lakegate_series")
        .cloned()
        .collect();
    all.sort_by(|left, right| left.name().cmp(right.name()));
    all
}

fn zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["UTC", "Asia/Seoul", "America/St_Johns", "+09:30"])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn functions_do_not_panic(
        function in prop::sample::select(functions()),
        arguments in prop::collection::vec(value(), 0..=4),
        zone in zone(),
    ) {
        run(&function, &arguments, zone);
    }

    #[test]
    fn casts_do_not_panic(
        base in 0..BASE_TYPES.len(),
        array in any::<bool>(),
        typmod in prop::sample::select(vec![-1, 4, 5, 9, (5 << 16) + 4 + 2, (38 << 16) + 4 + 38, (3 << 16) + 4 + 0x7fe]),
        value in value(),
        zone in zone(),
    ) {
        let target = Target::of(PgType { array, typmod, ..PgType::scalar(&BASE_TYPES[base]) });
        run(&cast::function(target), &[value], zone);
    }
}
