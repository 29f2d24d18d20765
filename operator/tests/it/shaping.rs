//! What real workers make of new columns and of values that do not fit.

use std::path::Path;

use lakegate_lake::Lake;
use lakegate_operator::{
    WorkerLauncher as _,
    protocol::{Failure, Report, WorkOrder, WorkerMessage},
};
use lakegate_store::MemoryStore;
use serde_json::{Value, json};

use crate::harness::source;
use crate::worker::{launcher, order, outcome};

/// Run `number` of an Export of `orders.csv`, which has this content.
async fn run(directory: &Path, number: u32, content: &str, spec: Value) -> Result<Report, Failure> {
    let mut order: WorkOrder = order(directory, spec, 1);
    if order.spec.from.query.is_none() {
        // it comes with a file of its own
        std::fs::write(directory.join("orders.csv"), content).unwrap();
    }
    order.run.uid = format!("run-{number}");
    order.run.attempt_id = format!("attempt-{number}");
    perform(order).await
}

async fn perform(order: WorkOrder) -> Result<Report, Failure> {
    let mut worker = launcher().launch(order, &MemoryStore::new()).await.unwrap();
    match outcome(&mut worker).await {
        (Some(WorkerMessage::Finished(report)), _) => Ok(report),
        (Some(WorkerMessage::Failed(failure)), _) => Err(failure),
        other => panic!("{other:?}"),
    }
}

async fn columns(directory: &Path) -> Vec<String> {
    let lake = Lake::open_directory(&directory.join("lake")).await.unwrap();
    let table = lake.load("shop", "orders").await.unwrap().unwrap();
    let fields = table.schema().fields().iter();
    fields
        .map(|field| format!("{} {}", field.name(), field.is_nullable()))
        .collect()
}

fn summary(directory: &Path, version: u64) -> String {
    let path = directory.join(format!("lake/shop/orders/metadata/v{version}.metadata.json"));
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_columns_are_left_out_refused_or_added() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let spec = |policy: Value| json!({"columns": null, "where": null, "allColumns": {"except": ["secret"]}, "onNewColumn": policy});
    let first = run(directory, 1, "id,Order No,secret\n1,a,x\n", spec(json!(null)))
        .await
        .unwrap();
    assert_eq!((first.rows, first.new_columns), (1, vec![]));
    assert_eq!(columns(directory).await, ["id true", "order_no true"]);

    let wider = "note,id,Order No,secret,Ünit\nhi,1,a,x,kg\n";
    let dropped = run(directory, 2, wider, spec(json!(null))).await.unwrap();
    assert_eq!(
        (dropped.rows, dropped.new_columns),
        (1, vec!["note".to_owned(), "Ünit".to_owned()])
    );
    assert_eq!(columns(directory).await, ["id true", "order_no true"]);
    assert!(summary(directory, 2).contains(r#""lakegate.new-columns":"[\"note\",\"Ünit\"]""#));

    let failed = run(directory, 3, wider, spec(json!("Fail"))).await.unwrap_err();
    assert_eq!((failed.reason.as_str(), failed.terminal), ("SchemaChanged", true));
    assert!(
        failed.message.starts_with("spec.onNewColumn: ") && failed.message.contains(": note, Ünit;"),
        "{failed:?}"
    );

    let added = run(directory, 4, wider, spec(json!("Include"))).await.unwrap();
    assert_eq!((added.rows, added.new_columns), (1, vec![]));
    let all = ["note true", "id true", "order_no true", "ünit true"];
    assert_eq!(columns(directory).await, all);
    let settled = run(directory, 5, wider, spec(json!("Fail"))).await.unwrap();
    assert_eq!(settled.new_columns, Vec::<String>::new());

    // a column that goes, and comes back, is new
    let gone = run(directory, 6, "id,Order No,secret\n1,a,x\n", spec(json!("Fail")))
        .await
        .unwrap();
    assert_eq!(gone.rows, 1);
    let back = run(directory, 7, wider, spec(json!("Drop"))).await.unwrap();
    assert_eq!(back.new_columns, ["note", "Ünit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_do_not_fit_are_counted_or_end_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let content = "id,total\n1,10.5\n2,canary-4711\n3,99999.99\n";
    let spec = |policy: Value| {
        json!({"columns": [{"name": "id"}, {"name": "total", "as": "amount", "cast": "decimal(6,2)", "onCastError": policy}],
               "where": null})
    };
    let failed = run(directory, 1, content, spec(json!(null))).await.unwrap_err();
    assert_eq!(failed.reason, "CastFailed");
    assert!(
        failed
            .message
            .contains("spec.columns[1].cast: a value of column amount cannot be cast"),
        "{failed:?}"
    );
    assert!(
        !failed.message.contains("canary") && !failed.message.contains("4711"),
        "{failed:?}"
    );

    let report = run(directory, 2, content, spec(json!("Null"))).await.unwrap();
    let nulled: Vec<(String, i64)> = report
        .nulled_columns
        .into_iter()
        .map(|column| (column.name, column.values))
        .collect();
    assert_eq!((report.rows, nulled), (3, vec![("amount".to_owned(), 2)]));
    assert!(summary(directory, 1).contains(r#""lakegate.nulled":"[\"amount=2\"]""#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_over_two_stores_becomes_one_table() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let files = |name: &str, content: &str| {
        std::fs::write(path.join(format!("{name}.csv")), content).unwrap();
        source(
            name,
            json!({"objectStore": {
                "directory": {"path": path}, "tables": [{"name": "rows", "path": format!("{name}.csv"), "format": "Csv"}],
            }}),
        )
    };
    let query = "select o.id, c.name as customer, o.total from shop.\"default\".rows o \
                 join crm.\"default\".rows c on c.id = o.customer";
    let mut order = order(
        path,
        json!({"from": {"query": query}, "columns": null, "where": "total > 1"}),
        1,
    );
    order.sources = vec![
        files("shop", "id,customer,total\n1,7,1.5\n2,8,2.5\n3,7,0.5\n"),
        files("crm", "id,name\n7,Ann\n8,Bob\n"),
    ];
    assert_eq!(perform(order).await.unwrap().rows, 2);
    assert_eq!(columns(path).await, ["id true", "customer true", "total true"]);
}
