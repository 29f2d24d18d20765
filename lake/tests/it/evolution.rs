//! Columns that change between runs.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use lakegate_lake::LakeError;

use crate::support::{
    Place, batch, context, data_files, info, on_every_place, options, people, query, rows, run, write,
};

on_every_place! {
    columns_are_added_dropped_and_added_again_by_id,
    types_widen_and_never_narrow,
    any_other_change_is_refused_before_a_row_is_written,
    nested_columns_evolve_within,
    writers_with_the_same_new_column_agree_and_others_must_write_again,
    not_null_holds_until_a_run_says_otherwise,
    colliding_and_missing_columns_are_refused,
}

fn ids(values: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn field_ids(directory: &std::path::Path, version: u64) -> Vec<(i64, String, String)> {
    let path = directory.join(format!("shop/people/metadata/v{version}.metadata.json"));
    let metadata: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let current = &metadata["current-schema-id"];
    let schema = metadata["schemas"]
        .as_array()
        .unwrap()
        .iter()
        .find(|schema| &schema["schema-id"] == current);
    schema.unwrap()["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| {
            (
                field["id"].as_i64().unwrap(),
                field["name"].as_str().unwrap().to_owned(),
                field["type"].as_str().unwrap_or("nested").to_owned(),
            )
        })
        .collect()
}

fn named(fields: &[(i64, &str, &str)]) -> Vec<(i64, String, String)> {
    fields
        .iter()
        .map(|(id, name, kind)| (*id, (*name).to_owned(), (*kind).to_owned()))
        .collect()
}

async fn columns_are_added_dropped_and_added_again_by_id(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    run(
        &lake,
        "run-1",
        &batch(vec![("id", ids(&[1])), ("note", text("first"))]),
    )
    .await
    .unwrap();
    let first = lake.load("shop", "people").await.unwrap().unwrap();
    let first_provider = lake.provider(&first).await.unwrap();

    run(
        &lake,
        "run-2",
        &batch(vec![("id", ids(&[2])), ("city", text("Ulm"))]),
    )
    .await
    .unwrap();
    run(
        &lake,
        "run-3",
        &batch(vec![("note", ids(&[7])), ("id", ids(&[3]))]),
    )
    .await
    .unwrap();
    assert_eq!(
        field_ids(place.path(), 1),
        named(&[(1, "id", "int"), (2, "note", "string")])
    );
    assert_eq!(
        field_ids(place.path(), 2),
        named(&[(1, "id", "int"), (3, "city", "string")])
    );
    // a new column that happens to have an old name: another id, so another type is fine
    assert_eq!(
        field_ids(place.path(), 3),
        named(&[(4, "note", "int"), (1, "id", "int")])
    );

    let expected = "\
+------+----+
| note | id |
+------+----+
| 7    | 3  |
+------+----+";
    assert_eq!(rows(&lake).await, expected);
    // who opened the first version reads it as it was
    let old = datafusion::prelude::SessionContext::new();
    old.register_table("people", first_provider).unwrap();
    let expected = "\
+----+-------+
| id | note  |
+----+-------+
| 1  | first |
+----+-------+";
    assert_eq!(query(&old, "select * from people").await, expected);

    // the same columns again make no new schema
    run(
        &lake,
        "run-4",
        &batch(vec![("note", ids(&[8])), ("id", ids(&[4]))]),
    )
    .await
    .unwrap();
    assert_eq!(field_ids(place.path(), 4), field_ids(place.path(), 3));
}

async fn types_widen_and_never_narrow(make: fn() -> Place) {
    let decimal = |value, precision, scale| -> ArrayRef {
        Arc::new(
            Decimal128Array::from(vec![value])
                .with_precision_and_scale(precision, scale)
                .unwrap(),
        )
    };
    let cases: Vec<(ArrayRef, ArrayRef, &str, &str)> = vec![
        (
            ids(&[1]),
            Arc::new(Int64Array::from(vec![1 << 40])),
            "long",
            "1099511627776",
        ),
        (Arc::new(Int64Array::from(vec![1])), ids(&[2]), "long", "2"),
        (
            Arc::new(Float32Array::from(vec![1.5])),
            Arc::new(Float64Array::from(vec![0.1])),
            "double",
            "0.1",
        ),
        (
            Arc::new(Float64Array::from(vec![0.1])),
            Arc::new(Float32Array::from(vec![2.5])),
            "double",
            "2.5",
        ),
        (decimal(12, 5, 2), decimal(34, 20, 2), "decimal(20, 2)", "0.34"),
        (decimal(12, 20, 2), decimal(34, 5, 2), "decimal(20, 2)", "0.34"),
    ];
    for (old, new, kind, value) in cases {
        let place = make();
        let lake = place.lake().await;
        run(&lake, "run-1", &batch(vec![("id", old)])).await.unwrap();
        run(&lake, "run-2", &batch(vec![("id", new)])).await.unwrap();
        assert_eq!(field_ids(place.path(), 2), named(&[(1, "id", kind)]));
        let read = rows(&lake).await;
        assert!(read.contains(&format!("| {value} ")), "{kind}: {read}");
    }
}

async fn any_other_change_is_refused_before_a_row_is_written(make: fn() -> Place) {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![
        Some(1),
    ])]));
    let date: ArrayRef = Arc::new(Date32Array::from(vec![1]));
    let timestamp: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]));
    let decimal = |scale| -> ArrayRef {
        Arc::new(
            Decimal128Array::from(vec![1])
                .with_precision_and_scale(9, scale)
                .unwrap(),
        )
    };
    for (old, new, old_name, new_name) in [
        (ids(&[1]), text.clone(), "int", "string"),
        (text, ids(&[1]), "string", "int"),
        (ids(&[1]), list.clone(), "int", "list"),
        (list, ids(&[1]), "list", "int"),
        (date, timestamp, "date", "timestamp"),
        (decimal(2), decimal(3), "decimal(9, 2)", "decimal(9, 3)"),
    ] {
        let place = make();
        let lake = place.lake().await;
        run(&lake, "run-1", &batch(vec![("value", old)])).await.unwrap();
        let before = crate::support::tree(place.path());
        let error = run(&lake, "run-2", &batch(vec![("value", new)]))
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "table shop.people, column value: the table has type {old_name}, the new rows have {new_name}; cast the column to {old_name}, export it under another name, or export into another table"
            )
        );
        assert!(error.is_terminal());
        assert_eq!(crate::support::tree(place.path()), before);
    }
}

async fn nested_columns_evolve_within(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let of = |fields: Vec<(&str, ArrayRef)>| -> ArrayRef {
        let (fields, arrays): (Vec<_>, Vec<_>) = fields
            .into_iter()
            .map(|(name, array)| (Arc::new(Field::new(name, array.data_type().clone(), true)), array))
            .unzip();
        Arc::new(StructArray::new(fields.into(), arrays, None))
    };
    run(
        &lake,
        "run-1",
        &batch(vec![
            ("id", ids(&[1])),
            ("place", of(vec![("x", ids(&[5])), ("y", ids(&[6]))])),
        ]),
    )
    .await
    .unwrap();
    let wide: ArrayRef = Arc::new(Int64Array::from(vec![1 << 40]));
    run(
        &lake,
        "run-2",
        &batch(vec![
            ("id", ids(&[2])),
            ("place", of(vec![("x", wide), ("z", ids(&[7]))])),
        ]),
    )
    .await
    .unwrap();
    let read = query(
        &context(&lake).await,
        "select id, place, place['z'] as z from people",
    )
    .await;
    assert!(read.contains("| 2  | {x: 1099511627776, z: 7} | 7 |"), "{read}");
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let error = run(
        &lake,
        "run-3",
        &batch(vec![("id", ids(&[3])), ("place", of(vec![("x", text)]))]),
    )
    .await
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("table shop.people, column place.x: the table has type long"),
        "{error}"
    );
}

async fn writers_with_the_same_new_column_agree_and_others_must_write_again(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    run(&lake, "run-1", &people("a", 1, 1)).await.unwrap();
    let with = |name: &str| batch(vec![("id", ids(&[1])), (name, ids(&[9]))]);
    let long_ids = |rows: RecordBatch| {
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        batch(vec![
            ("id", id),
            (rows.schema().field(1).name(), rows.column(1).clone()),
        ])
    };
    let one = write(&lake, options("run-2"), &long_ids(with("age")))
        .await
        .unwrap();
    let same = write(&lake, options("run-3"), &long_ids(with("age")))
        .await
        .unwrap();
    let other = write(&lake, options("run-4"), &long_ids(with("size")))
        .await
        .unwrap();
    lake.replace(one, info("run-2")).await.unwrap();
    // planned the same id for the same column: rebased
    assert_eq!(lake.replace(same, info("run-3")).await.unwrap().version, 3);
    // planned id 3 for another column: its files would be misread
    let files = data_files(place.path()).len();
    let error = lake.replace(other, info("run-4")).await.unwrap_err();
    assert!(
        matches!(&error, LakeError::ColumnsMoved { column, .. } if column == "size"),
        "{error}"
    );
    assert!(!error.is_terminal());
    assert_eq!(data_files(place.path()).len(), files - 1);
    run(&lake, "run-4", &long_ids(with("size"))).await.unwrap();
    assert!(rows(&lake).await.contains("| id | size |"));
}

async fn not_null_holds_until_a_run_says_otherwise(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let nullable = |run: &'static str| {
        let lake = &lake;
        async move {
            lake.load("shop", "people")
                .await
                .unwrap()
                .unwrap()
                .schema()
                .field(0)
                .is_nullable()
                .then_some(run)
        }
    };
    run(&lake, "run-1", &people("a", 1, 1)).await.unwrap();
    assert_eq!(nullable("run-1").await, None);
    let id: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1)]));
    let name: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
    run(&lake, "run-2", &batch(vec![("id", id), ("name", name)]))
        .await
        .unwrap();
    assert_eq!(nullable("run-2").await, Some("run-2"));
    // not back: another writer may count on nulls being allowed
    run(&lake, "run-3", &people("a", 1, 1)).await.unwrap();
    assert_eq!(nullable("run-3").await, Some("run-3"));
}

async fn colliding_and_missing_columns_are_refused(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let error = run(&lake, "run-1", &batch(vec![("Id", ids(&[1])), ("iD", ids(&[1]))]))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "table shop.people: columns \"Id\" and \"iD\" would both be named \"id\" in the lake; rename one of them"
    );
    let none = Arc::new(Schema::empty());
    let error = lake
        .write("shop", "people", none, options("run-1"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "table shop.people: no column is exported; export at least one"
    );
    run(
        &lake,
        "run-2",
        &batch(vec![("ID", ids(&[1])), ("Full Name", ids(&[2]))]),
    )
    .await
    .unwrap();
    assert!(rows(&lake).await.contains("| id | full_name |"));
}
