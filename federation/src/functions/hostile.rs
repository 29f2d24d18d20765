//! No argument makes a function or a cast panic.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ListArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, IntervalMonthDayNano, i256};
use datafusion::common::ScalarValue;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::scaffold::{self, Kind};
use super::{Library, cast};
use crate::cast::Target;
use crate::types::{self, BASE_TYPES, PgType};

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

fn integers() -> impl Strategy<Value = ScalarValue> {
    prop::collection::vec(int(), 0..4).prop_map(|values| {
        let values: Vec<ScalarValue> = values
            .into_iter()
            .map(|value| ScalarValue::Int32(Some(value)))
            .collect();
        ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Int32))
    })
}

fn bytes() -> impl Strategy<Value = ScalarValue> {
    prop::collection::vec(any::<u8>(), 0..8).prop_map(|bytes| ScalarValue::Binary(Some(bytes)))
}

fn interval() -> impl Strategy<Value = ScalarValue> {
    (int(), int(), long()).prop_map(|(months, days, nanos)| {
        ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanos)))
    })
}

fn decimal() -> impl Strategy<Value = ScalarValue> {
    prop_oneof![
        (long(), 0_i8..=38).prop_map(|(value, scale)| ScalarValue::Decimal128(
            Some(i128::from(value)),
            38,
            scale
        )),
        (any::<i128>(), 0_i8..=76).prop_map(|(value, scale)| ScalarValue::Decimal256(
            Some(i256::from_i128(value)),
            76,
            scale
        )),
    ]
}

/// Any value.
fn value() -> impl Strategy<Value = ScalarValue> {
    let typed = BASE_TYPES.iter().map(|base| argument(Kind::Type(base)));
    prop_oneof![
        6 => text().prop_map(|text| ScalarValue::Utf8(Some(text))),
        12 => proptest::strategy::Union::new(typed),
        1 => any::<f32>().prop_map(|value| ScalarValue::Float32(Some(value))),
        1 => integers(),
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

/// A value for a parameter.
fn argument(kind: Kind) -> BoxedStrategy<ScalarValue> {
    match kind {
        Kind::Any | Kind::Array => value().boxed(),
        Kind::ArrayOf(base) if base.oid == types::TEXT.oid => texts().boxed(),
        Kind::ArrayOf(_) => integers().boxed(),
        Kind::Type(base) => match base.oid {
            16 => any::<bool>()
                .prop_map(|value| ScalarValue::Boolean(Some(value)))
                .boxed(),
            17 => bytes().boxed(),
            20 => long().prop_map(|value| ScalarValue::Int64(Some(value))).boxed(),
            21 => int()
                .prop_map(|value| ScalarValue::Int16(Some(value as i16)))
                .boxed(),
            23 => int().prop_map(|value| ScalarValue::Int32(Some(value))).boxed(),
            700 | 701 => double()
                .prop_map(|value| ScalarValue::Float64(Some(value)))
                .boxed(),
            1082 => int().prop_map(|value| ScalarValue::Date32(Some(value))).boxed(),
            1083 => (0_i64..=86_400_000_000)
                .prop_map(|value| ScalarValue::Time64Microsecond(Some(value)))
                .boxed(),
            1114 => long()
                .prop_map(|value| ScalarValue::TimestampMicrosecond(Some(value), None))
                .boxed(),
            1184 => long()
                .prop_map(|value| ScalarValue::TimestampMicrosecond(Some(value), Some("UTC".into())))
                .boxed(),
            1186 => interval().boxed(),
            1700 => decimal().boxed(),
            _ => text().prop_map(|text| ScalarValue::Utf8(Some(text))).boxed(),
        },
    }
}

/// What makes something panic, of so many values of a strategy: the first of each name.
fn panics<S: Strategy>(
    cases: usize,
    strategy: &S,
    mut name: impl FnMut(&S::Value) -> String,
    run: impl Fn(&S::Value),
) -> BTreeMap<String, String> {
    let mut runner = TestRunner::default();
    let mut found = BTreeMap::new();
    for _ in 0..cases {
        let value = strategy.new_tree(&mut runner).unwrap().current();
        if catch_unwind(AssertUnwindSafe(|| run(&value))).is_err() {
            found.entry(name(&value)).or_insert_with(|| format!("{value:?}"));
        }
    }
    found
}

fn zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["UTC", "Asia/Seoul", "America/St_Johns", "+09:30"])
}

#[test]
fn functions_do_not_panic() {
    let mut found = BTreeMap::new();
    for function in Library::new().all() {
        let Some(own) = function.inner().downcast_ref::<scaffold::Function>() else {
            continue;
        };
        // it may take its time, up to a bound
        if function.name() == "lakegate_series" {
            continue;
        }
        for parameters in own.parameters() {
            let arguments: Vec<_> = parameters.iter().map(|kind| argument(*kind)).collect();
            let named = |_: &_| format!("{}({parameters:?})", function.name());
            found.extend(panics(150, &(arguments, zone()), named, |(arguments, zone)| {
                run(function, arguments, zone);
            }));
        }
        // of types that do not fit, and fewer or more
        let any = prop::collection::vec(value(), 0..=4);
        let named = |_: &_| function.name().to_owned();
        found.extend(panics(50, &(any, zone()), named, |(arguments, zone)| {
            run(function, arguments, zone);
        }));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn casts_do_not_panic() {
    let typmods = vec![
        -1,
        4,
        5,
        9,
        (5 << 16) + 4 + 2,
        (38 << 16) + 4 + 38,
        (3 << 16) + 4 + 0x7fe,
    ];
    let mut found = BTreeMap::new();
    for base in BASE_TYPES {
        let strategy = (
            any::<bool>(),
            prop::sample::select(typmods.clone()),
            value(),
            zone(),
        );
        let named = |(array, _, value, _): &(bool, i32, ScalarValue, &str)| {
            format!("{} to {}, array {array}", value.data_type(), base.name)
        };
        found.extend(panics(
            30_000,
            &strategy,
            named,
            |(array, typmod, value, zone)| {
                let target = Target::of(PgType {
                    array: *array,
                    typmod: *typmod,
                    ..PgType::scalar(base)
                });
                run(&cast::function(target), std::slice::from_ref(value), zone);
            },
        ));
    }
    assert!(found.is_empty(), "{found:#?}");
}
