//! Manifests of Exports that go, and what becomes of their tables.

use crate::support::{Site, eventually};

const STORES: &str = "apiVersion: lakegate.dev/v1alpha1
kind: DataSource
metadata: {name: numbers}
spec:
  objectStore:
    directory: {path: files}
    tables:
      - {name: numbers, path: numbers.csv, format: Csv}
---
apiVersion: lakegate.dev/v1alpha1
kind: DataSource
metadata: {name: lake}
spec: {lake: {directory: {}}}
";

fn export(name: &str, policy: &str) -> String {
    format!(
        "apiVersion: lakegate.dev/v1alpha1
kind: Export
metadata: {{name: {name}}}
spec:
  from: {{sourceRef: {{name: numbers}}, table: {{name: numbers}}}}
  allColumns: {{}}
  runToken: go
  deletionPolicy: {policy}
  destination: {{lakeRef: {{name: lake}}, schema: copies, table: {name}}}
"
    )
}

/// Two Exports that take their tables along, and one that does not, each with its table.
fn site() -> Site {
    let site = Site::empty();
    std::fs::create_dir(site.manifests().join("files")).expect("a directory");
    site.write("files/numbers.csv", "n\n1\n2\n3\n");
    site.write("stores.yaml", STORES);
    for (name, policy) in [("goes", "Delete"), ("stays", "Retain"), ("kept", "Delete")] {
        site.write(&format!("{name}.yaml"), &export(name, policy));
    }
    site
}

fn remove(site: &Site, name: &str) {
    std::fs::remove_file(site.manifests().join(format!("{name}.yaml"))).expect("a removal");
}

fn says(output: &std::process::Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

const TABLES: &str = "select string_agg(table_name, ' ' order by table_name) from information_schema.tables where table_schema = 'copies'";

#[test]
fn a_table_goes_with_its_export_and_no_query_but_its_own_notices() {
    let site = site();
    let serve = site.serve();
    serve.sql_becomes("lake", TABLES, "goes kept stays");
    let refused = site.cli(&["delete", "export/goes"]);
    assert!(
        !refused.status.success() && says(&refused).contains("the manifest of export/goes is still there"),
        "{}",
        says(&refused)
    );

    for name in ["goes", "stays", "kept"] {
        remove(&site, name);
    }
    serve.sql_becomes(
        "lakegate",
        "select string_agg(name || ' ' || reason, ', ' order by name) from lakegate.exports",
        "goes Deleting, kept Deleting",
    );
    let described = says(&site.cli(&["describe", "export/goes"]));
    assert!(
        described.contains("unless the manifest comes back before"),
        "{described}"
    );
    // What may come back has not gone; what is retained never goes.
    serve.sql_becomes("lake", TABLES, "goes kept stays");
    let refused = says(&site.cli(&["run", "export/goes"]));
    assert!(refused.contains("it is being deleted"), "{refused}");

    let deleted = site.cli(&["delete", "export/goes"]);
    assert!(deleted.status.success(), "{}", says(&deleted));
    // Others are asked all the while, and each of their queries has its answer.
    eventually("the end of the table", || {
        for (database, query, expected) in [
            ("lake", "select sum(n) from copies.stays", "6"),
            ("numbers", "select sum(n) from numbers", "6"),
            ("lake", "select count(*) from copies.kept", "3"),
        ] {
            assert_eq!(serve.sql(database, query).as_deref(), Ok(expected));
        }
        let tables = serve.sql("lake", TABLES).expect("an answer");
        assert!(tables == "kept stays" || tables == "goes kept stays", "{tables}");
        (tables == "kept stays").then_some(())
    });
    let error = serve
        .sql("lake", "select * from copies.goes")
        .expect_err("no such table");
    assert!(error.contains("42P01"), "{error}");
    assert!(
        !site
            .state()
            .join("lake/copies/goes/metadata/v1.metadata.json")
            .exists()
    );
    serve.sql_becomes(
        "lakegate",
        "select count(*) from lakegate.events where name = 'goes' and reason = 'TableDeleted'",
        "1",
    );

    let kept = site.cli(&["delete", "export/kept", "--keep-data"]);
    assert!(
        kept.status.success() && says(&kept).contains("its table stays"),
        "{}",
        says(&kept)
    );
    serve.sql_becomes("lakegate", "select count(*) from lakegate.exports", "0");
    serve.sql_becomes("lake", TABLES, "kept stays");
    let refused = says(&site.cli(&["delete", "export/kept"]));
    assert!(refused.contains("is not being deleted"), "{refused}");

    // Made anew under its name, it does not take a table along that the one before it has left.
    site.write(
        "kept.yaml",
        &export("kept", "Delete").replace("runToken: go", "suspend: true"),
    );
    serve.sql_becomes("lakegate", "select name from lakegate.exports", "kept");
    eventually("the Export is held", || {
        says(&site.cli(&["get", "exports", "-o", "yaml"]))
            .contains("lakegate.dev/export-data")
            .then_some(())
    });
    remove(&site, "kept");
    serve.sql_becomes("lakegate", "select reason from lakegate.exports", "Deleting");
    serve.stop();
    let decided = says(&site.cli(&["delete", "export/kept"]));
    assert!(decided.contains("the next `lakegate serve`"), "{decided}");
    let serve = site.serve();
    serve.sql_becomes("lakegate", "select count(*) from lakegate.exports", "0");
    serve.sql_becomes(
        "lakegate",
        "select count(*) from lakegate.events where name = 'kept' and reason = 'TableKept' and message like '%Export default/kept%wrote it last%'",
        "1",
    );
    serve.sql_becomes("lake", TABLES, "kept stays");
}

#[test]
fn an_export_that_comes_back_within_the_hour_goes_on() {
    let site = site();
    let serve = site.serve();
    serve.sql_becomes("lake", TABLES, "goes kept stays");
    let before = says(&site.cli(&["describe", "export/goes"]));
    let uid_of = |text: &str| {
        text.lines()
            .find(|line| line.starts_with("UID:"))
            .map(str::to_owned)
    };
    remove(&site, "goes");
    serve.sql_becomes(
        "lakegate",
        "select reason from lakegate.exports where name = 'goes'",
        "Deleting",
    );
    serve.stop();
    let serve = site.serve();
    serve.sql_becomes(
        "lakegate",
        "select reason from lakegate.exports where name = 'goes'",
        "Deleting",
    );
    site.write("elsewhere.yaml", &export("goes", "Delete"));
    serve.sql_becomes(
        "lakegate",
        "select reason from lakegate.exports where name = 'goes'",
        "OnRequest",
    );
    let after = says(&site.cli(&["describe", "export/goes"]));
    assert_eq!(uid_of(&after), uid_of(&before), "it is the same Export");
    serve.sql_becomes("lake", TABLES, "goes kept stays");
}
