//! The table of test vectors in `docs/masking.md`, row by row, and what is refused.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Date32Array, DictionaryArray, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type};
use jiff::tz::TimeZone;
use lakegate_crds::{MaskSpec, SecretKeyReference};
use lakegate_store::SecretValue;
use serde_json::json;

use super::{Mask, MaskKey, MaskKeys, MaskRefusal, detokenize};
use crate::cast::{self, Context, Target};
use crate::types::{self, PgType};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const DOMAIN: &str = "people.email";

fn reference(key: &str) -> SecretKeyReference {
    SecretKeyReference {
        name: "pii".to_owned(),
        key: key.to_owned(),
    }
}

fn keys() -> MaskKeys {
    let mut keys = MaskKeys::default();
    for (name, text) in [("hash", KEY.to_owned()), ("tokens", KEY.repeat(2))] {
        let key = MaskKey::new(&SecretValue::new(text)).unwrap();
        keys.insert(reference(name), Arc::new(key));
    }
    keys
}

/// The spec, with a key where its method takes one.
fn spec(mut text: serde_json::Value) -> MaskSpec {
    for (method, key) in [
        ("hmac", "hash"),
        ("noise", "hash"),
        ("dateShift", "hash"),
        ("tokenize", "tokens"),
    ] {
        if let Some(options) = text.get_mut(method) {
            options["keyRef"] = json!({"name": "pii", "key": key});
        }
    }
    serde_json::from_value(text).unwrap()
}

fn pg_type(name: &str) -> PgType {
    let (name, modifier) = name.split_once('(').unwrap_or((name, ""));
    let base = types::base_by_name(name).unwrap_or_else(|| panic!("{name} is no type"));
    let typmod = modifier
        .trim_end_matches(')')
        .split_once(',')
        .map_or(-1, |(precision, scale)| {
            let (precision, scale): (i32, i32) = (precision.parse().unwrap(), scale.parse().unwrap());
            (precision << 16 | scale) + 4
        });
    PgType {
        typmod,
        ..PgType::scalar(base)
    }
}

fn context() -> Context {
    Context { zone: TimeZone::UTC }
}

/// A column of the type with the values, each as its text.
fn column(pg_type: PgType, texts: &[Option<&str>]) -> (Field, ArrayRef) {
    let texts: ArrayRef = Arc::new(texts.iter().copied().collect::<StringArray>());
    let target = Target::of(pg_type);
    let field = target.field("c", &Field::new("c", DataType::Utf8, true)).unwrap();
    let array = cast::cast(
        &texts,
        &Field::new("c", DataType::Utf8, true),
        &target,
        &context(),
    )
    .unwrap();
    (field, array)
}

fn printed(array: &ArrayRef, field: &Field) -> Vec<Option<String>> {
    assert_eq!(
        array.data_type(),
        field.data_type(),
        "what is masked has the type that was planned"
    );
    let texts = cast::print(array, types::of_field(field), &context()).unwrap();
    texts.iter().map(|text| text.map(str::to_owned)).collect()
}

/// A cell of the table: `NULL`, `''` or a text.
fn cell(text: &str) -> Option<&str> {
    match text.trim().trim_matches('`') {
        "NULL" => None,
        "''" => Some(""),
        text => Some(text),
    }
}

#[test]
fn documented_vectors_hold() {
    let page = include_str!("../../../docs/masking.md");
    let (_, table) = page.split_once("| mask | type | value | masked |").unwrap();
    let mut methods = std::collections::BTreeSet::new();
    for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let [options, type_name, value, expected] = cells.as_slice() else {
            panic!("{line}: four cells")
        };
        let spec = spec(serde_json::from_str(cell(options).unwrap()).unwrap());
        let (field, array) = column(pg_type(type_name.trim()), &[cell(value)]);
        let mask = Mask::new(&spec, &field, &keys(), DOMAIN).unwrap();
        methods.insert(mask.name());
        let entity: ArrayRef = Arc::new(StringArray::from(vec![mask.entity().and_then(cell)]));
        let by = Field::new("by", DataType::Utf8, true);
        let masked = mask.apply(&array, mask.entity().map(|_| (&by, &entity))).unwrap();
        assert_eq!(
            printed(&masked, &mask.output()),
            [cell(expected).map(str::to_owned)],
            "{line}"
        );
    }
    let all = [
        "bucket",
        "constant",
        "dateShift",
        "email",
        "hmac",
        "ipPrefix",
        "jsonPath",
        "noise",
        "null",
        "partial",
        "phone",
        "redact",
        "regexReplace",
        "round",
        "tokenize",
        "truncate",
    ];
    assert!(methods.into_iter().eq(all), "each method has a vector");
}

#[test]
fn tokens_are_read_back_by_the_key_and_domain_alone() {
    let spec = spec(json!({"tokenize": {}}));
    let clear = [Some("ann@example.com"), Some(""), None, Some("가나다")];
    let (field, array) = column(pg_type("text"), &clear);
    let mask = Mask::new(&spec, &field, &keys(), DOMAIN).unwrap();
    let tokens = printed(&mask.apply(&array, None).unwrap(), &mask.output());
    let keys = keys();
    let key = keys.get(&reference("tokens")).unwrap();
    for (token, clear) in tokens.iter().zip(clear) {
        assert_eq!(
            token
                .as_deref()
                .and_then(|token| detokenize(key, DOMAIN, token))
                .as_deref(),
            clear
        );
    }
    let token = tokens[0].as_deref().unwrap();
    let other = MaskKey::new(&SecretValue::new("f".repeat(64))).unwrap();
    assert_eq!(detokenize(&other, DOMAIN, token), None);
    assert_eq!(detokenize(key, "people.phone", token), None);
    assert_eq!(detokenize(key, DOMAIN, &token[1..]), None);
    assert_eq!(
        detokenize(keys.get(&reference("hash")).unwrap(), DOMAIN, token),
        None
    );
}

#[test]
fn dictionaries_and_null_columns_are_masked_as_their_values() {
    let texts = [Some("ann"), None, Some("bob"), Some("ann"), Some("")];
    let dictionary: DictionaryArray<Int32Type> = texts.into_iter().collect();
    let dictionary: ArrayRef = Arc::new(dictionary);
    for options in [
        json!({"hmac": {}}),
        json!({"partial": {"keepFirst": 1}}),
        json!({"constant": {"value": "x"}}),
    ] {
        let spec = spec(options);
        let field = Field::new("c", dictionary.data_type().clone(), true);
        let mask = Mask::new(&spec, &field, &keys(), DOMAIN).unwrap();
        let (plain_field, plain) = column(pg_type("text"), &texts);
        let plain_mask = Mask::new(&spec, &plain_field, &keys(), DOMAIN).unwrap();
        assert_eq!(
            printed(&mask.apply(&dictionary, None).unwrap(), &mask.output()),
            printed(&plain_mask.apply(&plain, None).unwrap(), &plain_mask.output()),
        );
        let nulls = arrow::array::new_null_array(&DataType::Null, 3);
        let field = Field::new("c", DataType::Null, true);
        let masked = Mask::new(&spec, &field, &keys(), DOMAIN)
            .unwrap()
            .apply(&nulls, None)
            .unwrap();
        assert_eq!((masked.len(), masked.logical_null_count()), (3, 3));
    }
}

#[test]
fn what_hides_nothing_or_cannot_take_the_type_is_refused() {
    let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    let cases = [
        (
            json!({"partial": {"keepLast": 4}}),
            "int4",
            "partial: it takes text, and the column is an integer; set cast: text, or use another method",
        ),
        (
            json!({"email": {}}),
            "date",
            "email: it takes text, and the column is a date",
        ),
        (
            json!({"jsonPath": {"keep": ["$.a"]}}),
            "bool",
            "jsonPath: it takes text, and the column is boolean",
        ),
        (
            json!({"round": {"digits": 0}}),
            "text",
            "round: it takes numbers, and the column is text",
        ),
        (
            json!({"noise": {"percent": 5}}),
            "date",
            "noise: it takes numbers, and the column is a date",
        ),
        (
            json!({"bucket": {"width": 5}}),
            "timestamp",
            "bucket: it takes numbers",
        ),
        (
            json!({"truncate": {"to": "Day"}}),
            "int8",
            "truncate: it takes dates and timestamps",
        ),
        (
            json!({"dateShift": {"by": "id", "within": "3d"}}),
            "text",
            "dateShift: it takes dates and timestamps",
        ),
        (
            json!({"round": {"digits": 0}}),
            "int4",
            "round.digits: the column has 0 digits after the point",
        ),
        (
            json!({"round": {"digits": 2}}),
            "numeric(8,2)",
            "round.digits: the column has 2 digits",
        ),
        (
            json!({"truncate": {"to": "Day"}}),
            "date",
            "truncate.to: a date has nothing below a day",
        ),
        (
            json!({"dateShift": {"by": "id", "within": "12h"}}),
            "date",
            "dateShift.within: must be whole days",
        ),
        (
            json!({"dateShift": {"by": "id", "within": "1d12h"}}),
            "date",
            "dateShift.within: must be whole days",
        ),
        (
            json!({"bucket": {"bounds": [1, 1]}}),
            "int4",
            "bucket.bounds: each must be larger",
        ),
        (
            json!({"partial": {"keepFirst": 0}}),
            "text",
            "partial: it keeps no character",
        ),
        (
            json!({"partial": {"keepFirst": 1, "with": "ab"}}),
            "text",
            "partial.with: must be one character",
        ),
        (
            json!({"regexReplace": {"pattern": "(", "with": ""}}),
            "text",
            "regexReplace.pattern: it cannot be used",
        ),
        (
            json!({"jsonPath": {"keep": ["$.a", "$"]}}),
            "text",
            "jsonPath.keep[1]: $ keeps everything",
        ),
        (
            json!({"jsonPath": {"keep": ["a.b"]}}),
            "text",
            "jsonPath.keep[0]: it is no path",
        ),
        (
            json!({"jsonPath": {"keep": ["$.a[x]"]}}),
            "text",
            "jsonPath.keep[0]: it is no path",
        ),
        (
            json!({"hmac": {"domain": "lakegate noise"}}),
            "text",
            "hmac.domain: domains that begin with \"lakegate \"",
        ),
    ];
    for (options, type_name, expected) in cases {
        let (field, _) = column(pg_type(type_name), &[]);
        let refusal = Mask::new(&spec(options.clone()), &field, &keys(), DOMAIN).unwrap_err();
        assert!(refusal.to_string().starts_with(expected), "{options}: {refusal}");
    }
    let field = Field::new("c", list, true);
    for options in [
        json!({"hmac": {}}),
        json!({"tokenize": {}}),
        json!({"partial": {"keepFirst": 1}}),
    ] {
        let refusal = Mask::new(&spec(options), &field, &keys(), DOMAIN).unwrap_err();
        assert!(refusal.message.contains("the column is a list"), "{refusal}");
    }
    for options in [
        json!({"null": {}}),
        json!({"constant": {"value": "x"}}),
        json!({"redact": {}}),
    ] {
        assert!(Mask::new(&spec(options), &field, &keys(), DOMAIN).is_ok());
    }
    let missing: Result<_, MaskRefusal> = Mask::new(
        &spec(json!({"hmac": {}})),
        &column(pg_type("text"), &[]).0,
        &MaskKeys::default(),
        DOMAIN,
    );
    assert_eq!(missing.unwrap_err().field, "hmac.keyRef");
}

#[test]
fn errors_show_no_value() {
    // the last day that there is
    let array: ArrayRef = Arc::new(Date32Array::from(vec![i32::MAX]));
    let field = Field::new("c", DataType::Date32, true);
    let spec = spec(json!({"dateShift": {"by": "id", "within": "30d"}}));
    let mask = Mask::new(&spec, &field, &keys(), DOMAIN).unwrap();
    let by = Field::new("id", DataType::Utf8, true);
    let errors: Vec<String> = (0..20)
        .filter_map(|id| {
            let entity: ArrayRef = Arc::new(StringArray::from(vec![id.to_string()]));
            mask.apply(&array, Some((&by, &entity))).err()
        })
        .map(|error| error.to_string())
        .collect();
    assert!(!errors.is_empty(), "some entity's days move forward");
    assert!(
        errors
            .iter()
            .all(|error| error == "a masked date is out of range"),
        "{errors:?}"
    );
}

#[test]
fn keys_are_read_in_three_forms_and_never_printed() {
    let key = |text: &str| MaskKey::new(&SecretValue::new(text));
    let plain = key(KEY).unwrap();
    assert_eq!((plain.id(), plain.len()), ("7e09792b", 32));
    let hex: String = KEY.bytes().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(key(&format!("hex:{hex}")).unwrap().id(), plain.id());
    assert_eq!(
        key("base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
            .unwrap()
            .id(),
        plain.id()
    );
    assert_eq!(format!("{plain:?}"), "MaskKey(7e09792b)");
    for broken in ["hex:0", "hex:0g", "base64:*"] {
        let error = key(broken).unwrap_err().to_string();
        assert!(error.starts_with("what follows"), "{error}");
    }
    let spec = spec(json!({"hmac": {}}));
    let mask = Mask::new(&spec, &Field::new("c", DataType::Utf8, true), &keys(), DOMAIN).unwrap();
    assert_eq!(format!("{mask:?}"), "Mask { method: \"hmac\", output: Utf8, .. }");
}
