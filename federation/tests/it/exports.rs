//! The rows of an Export.

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use futures::StreamExt;
use lakegate_crds::{ExportSpec, SecretKeyReference};
use lakegate_federation::ColumnMask;
use lakegate_federation::mask::{MaskKey, MaskKeys};
use lakegate_store::SecretValue;

use crate::support::shop_and_crm;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The key `hmac` of the Secret `pii`.
fn keys() -> MaskKeys {
    let mut keys = MaskKeys::default();
    let reference = SecretKeyReference {
        name: "pii".to_owned(),
        key: "hmac".to_owned(),
    };
    keys.insert(reference, Arc::new(MaskKey::new(&SecretValue::new(KEY)).unwrap()));
    keys
}

fn spec(part: &serde_json::Value) -> ExportSpec {
    let mut spec = serde_json::json!({
        "from": {"sourceRef": {"name": "shop"}, "table": {"schema": "public", "name": "orders"}},
        "destination": {"lakeRef": {"name": "lake"}, "schema": "shop", "table": "orders"},
    });
    let target = spec.as_object_mut().unwrap();
    for (key, value) in part.as_object().unwrap() {
        target.insert(key.clone(), value.clone());
    }
    serde_json::from_value(spec).unwrap()
}

async fn exported(
    part: serde_json::Value,
) -> Result<(Vec<String>, Vec<String>), lakegate_federation::FederationError> {
    let (federation, _) = shop_and_crm().await;
    let plan = federation
        .plan_export(&spec(&part), Some("shop"), &keys(), None)
        .await?;
    let columns: Vec<String> = plan
        .schema()
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect();
    assert_eq!(plan.source_columns().len(), columns.len());
    let mut stream = plan.execute()?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        batches.push(batch?);
    }
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    let rows = lines.map(|line| line.split_whitespace().collect::<String>());
    Ok((columns, rows.collect()))
}

#[tokio::test]
async fn columns_are_chosen_renamed_cast_and_computed() {
    let (columns, rows) = exported(serde_json::json!({
        "columns": [
            {"name": "Name", "as": "who"},
            {"name": "id", "cast": "decimal(10,2)"},
            {"as": "twice", "expression": "id * 2"},
            {"as": "loud", "expression": "upper(name)"},
        ],
        "where": "id >= 1 and name <> 'n2' and id < 4",
    }))
    .await
    .unwrap();
    assert_eq!(
        columns,
        ["who Utf8", "id Decimal128(10, 2)", "twice Int64", "loud Utf8"]
    );
    assert_eq!(rows, ["|n1|1.00|2|N1|", "|n3|3.00|6|N3|"]);
}

#[tokio::test]
async fn all_columns_except() {
    let (columns, rows) =
        exported(serde_json::json!({"allColumns": {"except": ["Name"]}, "where": "id = 4"}))
            .await
            .unwrap();
    assert_eq!(columns, ["id Int64"]);
    assert_eq!(rows, ["|4|"]);
}

#[tokio::test]
async fn a_query_over_several_sources() {
    let (columns, rows) = exported(serde_json::json!({
        "from": {"query": "select c.\"Name\" as customer, count(*) as n from shop.public.orders o \
                           join crm.main.customers c on o.id = c.id group by 1"},
        "where": "customer = 'n1'",
    }))
    .await
    .unwrap();
    assert_eq!(columns, ["customer Utf8", "n Int64"]);
    assert_eq!(rows, ["|n1|1|"]);
}

#[tokio::test]
async fn what_cannot_be_exported_names_its_field() {
    let cases = [
        (
            serde_json::json!({"columns": [{"name": "id"}, {"name": "nam"}]}),
            "spec.columns[1].name: the source has no column \"nam\"; its columns are id, Name",
        ),
        (
            serde_json::json!({"columns": [{"name": "name"}]}),
            "spec.columns[0].name: the source has no column \"name\" (it is spelt \"Name\"); its columns are id, Name",
        ),
        (
            serde_json::json!({"allColumns": {"except": ["email"]}}),
            "spec.allColumns.except[0]: the source has no column \"email\"; its columns are id, Name",
        ),
        (
            serde_json::json!({"columns": [{"name": "id"}, {"name": "Name", "as": "ID"}]}),
            "spec.columns[1]: two exported columns are named \"ID\"; rename one with as",
        ),
        (
            serde_json::json!({"allColumns": {"except": ["id", "Name"]}}),
            "spec.allColumns: every column is excepted; nothing is left to export",
        ),
        (
            serde_json::json!({"columns": [{"name": "Name"}, {"name": "id", "mask": {"partial": {"keepLast": 4}}}]}),
            "spec.columns[1].mask.partial: it takes text, and the column is an integer; set cast: text, or use another method",
        ),
        (
            serde_json::json!({"columns": [{"name": "Name", "mask": {"hmac": {"keyRef": {"name": "pii", "key": "other"}}}}]}),
            "spec.columns[0].mask.hmac.keyRef: its key was not loaded",
        ),
        (
            serde_json::json!({"columns": [{"as": "day", "expression": "date '2024-02-29'", "mask":
                {"dateShift": {"by": "ID", "within": "30d", "keyRef": {"name": "pii", "key": "hmac"}}}}]}),
            "spec.columns[0].mask.dateShift.by: the source has no column \"ID\" (it is spelt \"id\")",
        ),
        (
            serde_json::json!({"columns": [{"name": "Name", "mask": {"drop": {}}}]}),
            "spec.columns: every column is dropped; nothing is left to export",
        ),
        (
            serde_json::json!({"columns": [{"name": "id"}, {"name": "nam", "mask": {"drop": {}}}]}),
            "spec.columns[1].name: the source has no column \"nam\"",
        ),
        (
            serde_json::json!({"columns": [{"as": "n", "expression": "count(*)"}]}),
            "spec.columns: an expression is computed from one row: use from.query for aggregates and windows",
        ),
        (
            serde_json::json!({"columns": [{"as": "n", "expression": "id; drop table x"}]}),
            "spec.columns[0].expression: syntax error at or near \";\" (line 1, column 3)",
        ),
        (
            serde_json::json!({"columns": [{"name": "id", "cast": "nosuch("}]}),
            "spec.columns[0].cast: syntax error ",
        ),
        (
            serde_json::json!({"columns": [{"name": "id"}], "where": "id >"}),
            "spec.where: syntax error ",
        ),
        (
            serde_json::json!({"columns": [{"name": "id"}], "where": "nope = 1"}),
            "column \"nope\" does not exist",
        ),
        (
            serde_json::json!({"from": {"sourceRef": {"name": "shop"}, "table": {"name": "nope"}}, "columns": [{"name": "id"}]}),
            "relation \"shop.nope\" does not exist",
        ),
    ];
    for (part, expected) in cases {
        let error = exported(part.clone()).await.expect_err(&part.to_string());
        assert!(error.to_string().starts_with(expected), "{part}: {error}");
    }
}

#[tokio::test]
async fn the_schema_may_be_left_out() {
    let (_, rows) = exported(serde_json::json!({
        "from": {"sourceRef": {"name": "shop"}, "table": {"name": "log"}},
        "columns": [{"name": "id"}],
    }))
    .await
    .unwrap();
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn masked_columns_are_masked_last_and_clear_ones_stay() {
    let key_ref = serde_json::json!({"name": "pii", "key": "hmac"});
    let (columns, rows) = exported(serde_json::json!({
        "columns": [
            {"name": "id", "as": "none", "mask": {"null": {}}},
            {"name": "Name", "as": "who", "mask": {"hmac": {"keyRef": key_ref, "domain": "people.email"}}},
            {"name": "Name", "as": "initial", "mask": {"partial": {"keepFirst": 1}}},
            {"name": "id", "as": "tens", "cast": "decimal(10,2)", "mask": {"bucket": {"width": 10}}},
            {"as": "day", "expression": "date '2024-02-29'",
             "mask": {"dateShift": {"by": "id", "within": "30d", "keyRef": key_ref}}},
            {"name": "Name"},
            {"as": "more", "expression": "id + 40", "mask": {"hmac": {"keyRef": key_ref, "domain": "people.email"}}},
        ],
        "where": "\"Name\" = 'n2'",
    }))
    .await
    .unwrap();
    assert_eq!(
        columns,
        [
            "none Int64",
            "who Utf8",
            "initial Utf8",
            "tens Utf8",
            "day Date32",
            "Name Utf8",
            "more Utf8"
        ]
    );
    // of "n2" under the domain, of "42", and the day that entity 2 is moved by
    assert_eq!(
        rows,
        [
            "||7105df856e08bf7b793da5cc1f010448a566e70c279a02ca20b89e7cad02cc4b|n*|[0,10)|2024-03-13|n2|61ba73b2a58c7bcbb37cdb8b04a36f209a5e5ec6204947ef0d8fed26974ca145|"
        ]
    );
}

#[tokio::test]
async fn what_is_dropped_or_null_is_not_read_and_keys_are_shown_nowhere() {
    let (federation, shop) = shop_and_crm().await;
    let key_ref = serde_json::json!({"name": "pii", "key": "hmac"});
    let part = serde_json::json!({"columns": [
        {"name": "id", "mask": {"hmac": {"keyRef": key_ref}}},
        {"name": "Name", "mask": {"drop": {}}},
        {"name": "Name", "as": "none", "mask": {"null": {}}},
    ]});
    let plan = federation
        .plan_export(&spec(&part), Some("shop"), &keys(), None)
        .await
        .unwrap();
    let hmac = plan.masks()[0].clone().unwrap();
    assert_eq!(
        (hmac.method, hmac.domain.as_deref()),
        ("hmac", Some("shop.public.orders.id"))
    );
    let key = hmac.key.unwrap();
    assert_eq!((key.name.as_str(), key.id.as_str()), ("pii/hmac", "7e09792b"));
    let null = ColumnMask {
        method: "null",
        domain: None,
        key: None,
    };
    assert_eq!(plan.masks()[1..], [Some(null)]);
    let mut stream = plan.execute().unwrap();
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch.unwrap().num_rows();
    }
    assert!(rows > 0);
    assert_eq!(*shop.recorded.columns.lock().unwrap(), ["id"]);
    let shown = format!("{plan:?} {:?} {:?}", keys(), federation.query_log().queries());
    assert!(!shown.contains(KEY) && shown.contains("SELECT"), "{shown}");
}

#[tokio::test]
async fn a_query_has_domains_of_its_table_in_the_lake() {
    let (federation, _) = shop_and_crm().await;
    let part = serde_json::json!({
        "from": {"query": "select id, \"Name\" as who from shop.public.orders"},
        "columns": [{"name": "who", "as": "hash", "mask": {"hmac": {"keyRef": {"name": "pii", "key": "hmac"}}}}],
    });
    let plan = federation
        .plan_export(&spec(&part), None, &keys(), None)
        .await
        .unwrap();
    let domain = plan.masks()[0].as_ref().and_then(|mask| mask.domain.as_deref());
    assert_eq!(domain, Some("query.shop.orders.who"));
}

/// Columns, rows, and how many values became NULL.
async fn cast(columns: serde_json::Value) -> Result<(Vec<String>, Vec<(String, u64)>), String> {
    let (federation, _) = shop_and_crm().await;
    let spec = spec(&serde_json::json!({"columns": columns, "where": "id >= 1 and id <= 4"}));
    let plan = federation
        .plan_export(&spec, Some("shop"), &keys(), None)
        .await
        .map_err(|error| error.to_string())?;
    let mut stream = plan.execute().map_err(|error| error.to_string())?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        batches.push(batch.map_err(|error| error.to_string())?);
    }
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    let rows = lines.map(|line| line.split_whitespace().collect::<String>());
    Ok((rows.collect(), plan.nulled().collect()))
}

#[tokio::test]
async fn a_value_that_does_not_fit_becomes_null_and_is_counted() {
    let (rows, nulled) = cast(serde_json::json!([
        {"name": "id"},
        {"as": "text", "expression": "case when id <> 2 then id::text else 'x' end", "cast": "smallint", "onCastError": "Null"},
        {"as": "digits", "expression": "id * 40", "cast": "decimal(3,1)", "onCastError": "Null"},
        {"as": "absent", "expression": "nullif(\"Name\", 'n1')", "cast": "varchar(9)", "onCastError": "Null"},
        {"as": "constant", "expression": "'x'", "cast": "date", "onCastError": "Null"},
        {"as": "again", "expression": "'x'", "cast": "date", "onCastError": "Null"},
        {"name": "Name", "as": "masked", "cast": "integer", "onCastError": "Null", "mask": {"constant": {"value": "7"}}},
    ]))
    .await
    .unwrap();
    assert_eq!(
        rows,
        [
            "|1|1|40.0|||||",
            "|2||80.0|n2||||",
            "|3|3||n3||||",
            "|4|4||n4||||",
        ]
    );
    let counted = [
        ("text", 1),
        ("digits", 2),
        ("absent", 0),
        ("constant", 4),
        ("again", 4),
        ("masked", 4),
    ];
    assert_eq!(nulled, counted.map(|(name, values)| (name.to_owned(), values)));
}

#[tokio::test]
async fn a_value_that_does_not_fit_fails_by_column_and_is_not_shown() {
    for (column, expected) in [
        (
            serde_json::json!({"name": "Name", "as": "who", "cast": "bigint"}),
            "spec.columns[0].cast: a value of column who cannot be cast: it is not spelt as a bigint; cast to a type \
             that holds every value, or set onCastError: Null",
        ),
        (
            serde_json::json!({"as": "many", "expression": "id * 4711000", "cast": "smallint"}),
            "spec.columns[0].cast: a value of column many cannot be cast: it is out of the range of smallint; ",
        ),
        (
            serde_json::json!({"as": "many", "expression": "id * 471.1", "cast": "numeric(4,2)"}),
            "spec.columns[0].cast: a value of column many cannot be cast: it is out of the range of numeric(4,2); ",
        ),
        (
            serde_json::json!({"name": "Name", "cast": "date", "mask": {"truncate": {"to": "Year"}}}),
            "spec.columns[0].cast: a value of column Name cannot be cast: it is not spelt as a date; ",
        ),
    ] {
        let error = cast(serde_json::json!([column.clone()])).await.unwrap_err();
        assert!(error.starts_with(expected), "{column}: {error}");
        assert!(
            !error.contains("n1") && !error.contains("471"),
            "{column}: {error}"
        );
    }
    for (column, expected) in [
        (
            serde_json::json!({"name": "id", "cast": "uuid"}),
            "spec.columns[0].cast: cannot cast type bigint to uuid",
        ),
        (
            serde_json::json!({"name": "id", "cast": "no_such_type"}),
            "spec.columns[0].cast: there is no type no_such_type here",
        ),
    ] {
        let error = cast(serde_json::json!([column])).await.unwrap_err();
        assert_eq!(error, expected);
    }
}
