//! Exports of plain files in Hive's directories, read back by the gateway as any other files.

use crate::support::{Site, eventually};

const MANIFESTS: &str = r"apiVersion: lakegate.dev/v1alpha1
kind: DataSource
metadata: {name: given}
spec:
  objectStore:
    directory: {path: files}
    tables:
      - name: cities
        path: cities.csv
        csv: {nullValue: '\N'}
        columns:
          - {name: id, dataType: bigint}
          - {name: city, dataType: text}
          - {name: day, dataType: date}
          - {name: price, dataType: 'decimal(9,2)'}
---
apiVersion: lakegate.dev/v1alpha1
kind: DataSource
metadata: {name: lake}
spec: {lake: {directory: {path: lake}}}
---
apiVersion: lakegate.dev/v1alpha1
kind: Export
metadata: {name: cities}
spec:
  from: {sourceRef: {name: given}, table: {name: cities}}
  allColumns: {}
  destination:
    lakeRef: {name: lake}
    schema: shop
    table: cities
    format: Parquet
    partitionBy: [{column: city, by: Identity}, {column: day, by: Identity}, {column: price, by: Identity}]
    bloomFilters: [id]
  runToken: go
";

const BACK: &str = "apiVersion: lakegate.dev/v1alpha1
kind: DataSource
metadata: {name: back}
spec:
  objectStore:
    directory: {path: lake}
    tables:
      - name: cities
        path: shop/cities/data/*/*/**/*.parquet
        format: Parquet
        partitionColumns:
          - {name: city, dataType: text}
          - {name: day, dataType: date}
          - {name: price, dataType: 'decimal(9,2)'}
";

const ROWS: &str = r#"id,city,day,price
1,Paris,1969-12-31,-0.05
2,a b,2026-01-31,12.00
3,a/b,0001-01-01,0.00
4,x=y,9999-12-31,1.10
5,100%,\N,\N
6,%2F,2026-01-31,-9999999.99
7,"Łódź 漢字 😀",2026-01-31,1.00
8,\N,2026-01-31,1.00
9,01,2026-01-31,1.00
10,null,2026-01-31,1.00
11,"a:""b""?#[c]{d}^*",2026-01-31,1.00
12,a+b,2026-01-31,1.00
"#;

#[test]
fn values_of_directories_come_back() {
    let site = Site::empty();
    std::fs::create_dir(site.manifests().join("files")).expect("a directory");
    site.write("files/cities.csv", ROWS);
    site.write("cities.yaml", MANIFESTS);
    let serve = site.serve();
    serve.sql_becomes("lakegate", "select state from lakegate.export_runs", "Complete");
    site.write("back.yaml", BACK);
    serve.sql_becomes("lakegate", "select count(*) from back.\"default\".cities", "12");
    let columns = "id, city, day, price";
    let (given, back) = (
        format!("select {columns} from given.\"default\".cities"),
        format!("select {columns} from back.\"default\".cities"),
    );
    for (one, other) in [(&given, &back), (&back, &given)] {
        let apart = format!("select count(*) from ({one} except {other}) apart");
        assert_eq!(serve.sql("lakegate", &apart).expect("an answer"), "0");
    }
    // and what directories tell leaves files out
    let plan = serve.sql(
        "lakegate",
        "explain select id from back.\"default\".cities where city = 'a/b' and day = date '0001-01-01'",
    );
    let plan = plan.expect("a plan");
    assert!(plan.contains("a%2Fb") && !plan.contains("city=Paris"), "{plan}");
    let found = eventually("the row", || {
        serve
            .sql(
                "lakegate",
                "select id from back.\"default\".cities where city = 'a/b'",
            )
            .ok()
    });
    assert_eq!(found, "3");
}
