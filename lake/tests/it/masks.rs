//! What a lake records of masked columns, and what it does not gather of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use lakegate_lake::{ColumnMask, WriteOptions};
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::support::{batch, context, directory, info, lake, options, query, tree, write};

fn mask(method: &str) -> ColumnMask {
    ColumnMask {
        method: method.to_owned(),
        domain: None,
        key: None,
        key_id: None,
    }
}

#[tokio::test]
async fn masks_are_recorded_and_what_keeps_parts_has_no_bounds() {
    let place = directory();
    let opened = lake(place.path()).await;
    let texts = |prefix: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            (0..100).map(|row| format!("{prefix}{row}")),
        ))
    };
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..100)) as ArrayRef),
        ("Phone", texts("part-")),
        ("email", texts("hash-")),
        ("city", texts("clear-")),
    ]);
    let hmac = ColumnMask {
        domain: Some("shop.people.email".to_owned()),
        key: Some("pii/hmac".to_owned()),
        key_id: Some("7e09792b".to_owned()),
        ..mask("hmac")
    };
    let masks = BTreeMap::from([
        ("Phone".to_owned(), mask("partial")),
        ("email".to_owned(), hmac.clone()),
    ]);
    let options = WriteOptions {
        masks,
        ..options("run-1")
    };
    let files = write(&opened, options, &rows).await.unwrap();
    opened.replace(files, info("run-1")).await.unwrap();

    let recorded = |manifest: lakegate_lake::RunManifest| -> Vec<(String, Option<ColumnMask>)> {
        let columns = manifest.columns.into_iter();
        columns
            .map(|column| (column.name.to_lowercase(), column.mask))
            .collect()
    };
    let expected = [
        ("id".to_owned(), None),
        ("phone".to_owned(), Some(mask("partial"))),
        ("email".to_owned(), Some(hmac)),
        ("city".to_owned(), None),
    ];
    let manifest = opened
        .run_manifest("shop", "people", "run-1")
        .await
        .unwrap()
        .unwrap();
    let (hash, phone) = (manifest.schema_hash.clone(), manifest.columns[1].name.clone());
    assert_eq!(recorded(manifest), expected);
    let sql = format!("select id from people where \"{phone}\" = 'part-7'");
    let found = query(&context(&opened).await, &sql).await;
    assert!(found.contains("| 7 "), "a column without bounds is read: {found}");
    // whoever finds the manifest missing writes it again from the snapshot
    std::fs::remove_file(place.path().join("shop/people/_runs/run-1.json")).unwrap();
    let again = opened
        .run_manifest("shop", "people", "run-1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again.schema_hash, hash);
    assert_eq!(recorded(again), expected);
    let metadata =
        std::fs::read_to_string(place.path().join("shop/people/metadata/v1.metadata.json")).unwrap();
    assert!(
        metadata.contains("lakegate.masks") && metadata.contains("7e09792b"),
        "{metadata}"
    );

    let mut has_bounds = BTreeMap::new();
    let names = tree(place.path());
    let data = names.iter().find(|name| name.ends_with(".parquet")).unwrap();
    let file = SerializedFileReader::new(std::fs::File::open(place.path().join(data)).unwrap()).unwrap();
    for column in file.metadata().row_group(0).columns() {
        let bounds = column.statistics().is_some_and(|it| it.min_bytes_opt().is_some());
        has_bounds.insert(column.column_path().string().to_lowercase(), bounds);
    }
    let expected = [("city", true), ("email", true), ("id", true), ("phone", false)];
    assert_eq!(
        has_bounds,
        expected.map(|(name, bounds)| (name.to_owned(), bounds)).into()
    );
    // manifests keep bounds as they are
    let manifests: Vec<u8> = names
        .iter()
        .filter(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|extension| extension == "avro")
        })
        .flat_map(|name| std::fs::read(place.path().join(name)).unwrap())
        .collect();
    let holds = |text: &str| {
        manifests
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(holds("clear-0") && holds("hash-0") && !holds("part-"));
}
