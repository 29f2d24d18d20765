//! Manifests change while Lakegate runs.

use crate::support::{Site, eventually};

const NUMBERS: &str = "apiVersion: lakegate.dev/v1alpha1
kind: DataSource
metadata: {name: numbers}
spec:
  objectStore:
    directory: {path: files}
    tables:
      - {name: numbers, path: numbers.csv, format: Csv}
";

fn site() -> Site {
    let site = Site::empty();
    std::fs::create_dir(site.manifests().join("files")).expect("a directory");
    site.write("files/numbers.csv", "n\n1\n2\n3\n");
    site.write("numbers.yaml", NUMBERS);
    site
}

#[test]
fn an_edit_is_served_while_it_runs() {
    let site = site();
    let serve = site.serve();
    serve.sql_becomes("lakegate", "select sum(n) from numbers.\"default\".numbers", "6");

    site.write(
        "more.yaml",
        "apiVersion: lakegate.dev/v1alpha1\nkind: View\nmetadata: {name: total}\nspec: {sql: 'select sum(n) as total from numbers.\"default\".numbers'}\n",
    );
    serve.sql_becomes("lakegate", "select total from views.total", "6");

    site.write(
        "more.yaml",
        &site.read("more.yaml").replace("sum(n)", "sum(n) * 2"),
    );
    serve.sql_becomes("lakegate", "select total from views.total", "12");

    std::fs::remove_file(site.manifests().join("more.yaml")).expect("a removal");
    eventually("the end of the view", || {
        serve.sql("lakegate", "select total from views.total").err()
    })
    .split_once("42P01")
    .expect("undefined table");
    serve.sql_becomes("lakegate", "select sum(n) from numbers.\"default\".numbers", "6");
}

#[test]
fn an_invalid_edit_changes_nothing_and_is_reported() {
    let site = site();
    let mut serve = site.serve();
    serve.expect_log("numbers.yaml");
    serve.sql_becomes("lakegate", "select sum(n) from numbers.\"default\".numbers", "6");

    site.write("numbers.yaml", &NUMBERS.replace("format: Csv", "fromat: Csv"));
    serve.sql_becomes(
        "lakegate",
        "select count(*) from lakegate.data_sources where name = 'numbers' and reason = 'InvalidSpec' and message like '%numbers.yaml%fromat%'",
        "1",
    );
    assert_eq!(
        serve
            .sql("lakegate", "select sum(n) from numbers.\"default\".numbers")
            .expect("still served"),
        "6"
    );
    let get = site.cli(&["get", "datasources", "numbers"]);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&get.stdout),
        String::from_utf8_lossy(&get.stderr)
    );
    assert!(said.contains("numbers.yaml") && said.contains("fromat"), "{said}");
    assert!(
        serve
            .log()
            .iter()
            .any(|line| line.contains("numbers.yaml") && line.contains("fromat")),
        "in the log"
    );

    // Half a file, as an editor leaves it between two writes.
    site.write("numbers.yaml", &NUMBERS[..NUMBERS.len() / 2]);
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert_eq!(
        serve
            .sql("lakegate", "select sum(n) from numbers.\"default\".numbers")
            .expect("still served"),
        "6"
    );

    site.write("numbers.yaml", NUMBERS);
    serve.sql_becomes(
        "lakegate",
        "select ready from lakegate.data_sources where name = 'numbers'",
        "t",
    );
}

#[test]
fn one_broken_source_disturbs_no_other() {
    let site = site();
    site.write(
        "gone.yaml",
        "apiVersion: lakegate.dev/v1alpha1\nkind: DataSource\nmetadata: {name: gone}\nspec: {sqlite: {path: nowhere.db}}\n---\n\
         apiVersion: lakegate.dev/v1alpha1\nkind: DataSource\nmetadata: {name: down}\nspec:\n  postgres:\n    database: shop\n    primary: {host: 127.0.0.1, port: 1}\n    tls: {mode: Disable}\n    credentials: {secretRef: {name: shop}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: shop}\nstringData: {username: ana, password: canary-8d1f}\n",
    );
    let mut serve = site.serve();
    serve.expect_log("gone");
    serve.expect_log("down");
    serve.sql_becomes("lakegate", "select sum(n) from numbers.\"default\".numbers", "6");
    serve.sql_becomes(
        "lakegate",
        "select string_agg(name || '=' || ready::text, ',' order by name) from lakegate.data_sources",
        "down=false,gone=false,numbers=true",
    );
    let refused = serve
        .sql("lakegate", "select * from down.public.orders")
        .expect_err("the source is down");
    assert!(refused.contains("down"), "{refused}");
    let everything = format!(
        "{}{}{}{}",
        serve.log().join("\n"),
        refused,
        serve
            .sql("lakegate", "select * from lakegate.data_sources")
            .expect("rows"),
        String::from_utf8_lossy(&site.cli(&["get", "datasources", "-o", "yaml"]).stdout)
    );
    assert!(
        !everything.contains("canary-8d1f"),
        "a secret leaked: {everything}"
    );
}

#[test]
fn what_is_not_served_yet_is_refused() {
    let site = site();
    site.write(
        "lenient.yaml",
        "apiVersion: lakegate.dev/v1alpha1\nkind: DataSource\nmetadata: {name: lake}\nspec: {lake: {directory: {}}}\n---\n\
         apiVersion: lakegate.dev/v1alpha1\nkind: Export\nmetadata: {name: lenient}\nspec:\n  from: {sourceRef: {name: numbers}, index: numbers}\n  columns: [{name: n}]\n  schedule: {cron: '@daily', runOnCreate: true}\n  destination: {lakeRef: {name: lake}, schema: public, table: lenient}\n",
    );
    let mut serve = site.serve();
    serve.expect_log("lenient");
    serve.sql_becomes(
        "lakegate",
        "select ready, reason from lakegate.exports where name = 'lenient'",
        "f|NotImplemented",
    );
    let message = serve
        .sql(
            "lakegate",
            "select message from lakegate.exports where name = 'lenient'",
        )
        .expect("a message");
    assert!(message.contains("spec.from.index"), "{message}");
    let run = site.cli(&["run", "export/lenient"]);
    assert!(!run.status.success(), "a run by hand is refused too");
    assert_eq!(
        serve
            .sql("lakegate", "select count(*) from lakegate.export_runs")
            .expect("none"),
        "0"
    );
}
