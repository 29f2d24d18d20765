//! The rows of an Export.

use arrow::util::pretty::pretty_format_batches;
use futures::StreamExt;
use lakegate_crds::ExportSpec;

use crate::support::shop_and_crm;

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
    let plan = federation.plan_export(&spec(&part), Some("shop")).await?;
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
            serde_json::json!({"columns": [{"name": "Name", "mask": {"partial": {"keepLast": 4}}}]}),
            "spec.columns[0].mask: masks are not served by this version yet; remove the column, so that no clear value is exported",
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
