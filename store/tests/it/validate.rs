use lakegate_store::StoreError;
use lakegate_store::folder::{Severity, load};

use crate::{Served, file, source};

fn export(name: &str, source: &str, lake: &str) -> String {
    format!(
        "apiVersion: lakegate.dev/v1alpha1\nkind: Export\nmetadata: {{name: {name}}}\nspec:\n  from: {{sourceRef: {{name: {source}}}, table: {{name: orders}}}}\n  allColumns: {{}}\n  destination: {{lakeRef: {{name: {lake}}}, schema: shop, table: {name}}}\n"
    )
}

fn lake(name: &str) -> String {
    format!(
        "apiVersion: lakegate.dev/v1alpha1\nkind: DataSource\nmetadata: {{name: {name}}}\nspec: {{lake: {{directory: {{}}}}}}\n"
    )
}

#[test]
fn a_good_folder_has_no_problems() {
    let served = Served::empty();
    served.write(
        "all.yaml",
        &file(&[
            source("shop", "shop.db"),
            lake("lake"),
            export("orders", "shop", "lake"),
        ]),
    );
    let loaded = load(&served.folder()).unwrap();
    assert_eq!(loaded.problems, []);
    let entries: Vec<_> = loaded
        .entries
        .iter()
        .map(|it| format!("{} {}:{}", it.resource, it.file, it.line))
        .collect();
    assert_eq!(
        entries,
        [
            "DataSource default/lake all.yaml:9",
            "DataSource default/shop all.yaml:1",
            "Export default/orders all.yaml:14"
        ]
    );
    // One file is a folder too.
    let one = load(&served.folder().join("all.yaml")).unwrap();
    assert_eq!((one.entries.len(), one.problems.len()), (3, 0));
    assert_eq!(one.entries[0].file, "all.yaml");
}

#[test]
fn every_problem_is_told_with_its_place() {
    let served = Served::empty();
    served.write(
        "a.yaml",
        &file(&[source("shop", "shop.db"), export("orders", "shop", "nothing")]),
    );
    served.write("b.yaml", &source("shop", "other.db"));
    served.write("c.yaml", "kind: [\n");
    served.write(
        "d.yaml",
        &source("other", "x.db").replace("    path:", "    pth:"),
    );
    served.write(
        "e/f.yaml",
        &format!("{}  catalogName: taken\n", source("one", "x.db")),
    );
    served.write(
        "e/g.yaml",
        &format!("{}  catalogName: taken\n", source("two", "x.db")),
    );
    let loaded = load(&served.folder()).unwrap();
    assert!(loaded.has_errors());
    let problems: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
    for expected in [
        "a.yaml:4: DataSource/shop: metadata.name: DataSource default/shop is defined 2 times; none is applied until one is left: a.yaml:1, b.yaml:1",
        "a.yaml:15: Export/orders: spec.destination.lakeRef",
        "b.yaml:4: DataSource/shop: metadata.name: DataSource default/shop is defined 2 times",
        "c.yaml:",
        "d.yaml:7: DataSource/other: spec.sqlite.pth",
        "e/g.yaml:8: DataSource/two: spec.catalogName",
    ] {
        assert!(
            problems.iter().any(|problem| problem.starts_with(expected)),
            "{expected} is not in {problems:#?}"
        );
    }
    assert!(
        !problems.iter().any(|problem| problem.starts_with("e/f.yaml")),
        "the first one keeps it: {problems:?}"
    );
}

#[test]
fn what_is_not_served_yet_is_a_warning() {
    let served = Served::empty();
    served.write(
        "a.yaml",
        "apiVersion: lakegate.dev/v1alpha1\nkind: RetentionPolicy\nmetadata: {name: old}\nspec:\n  files: {lakeRef: {name: lake}, schema: shop, table: orders, keep: {last: 1}, mode: DryRun}\n  schedule: {cron: \"0 4 * * *\"}\n",
    );
    served.write("lake.yaml", &lake("lake"));
    let loaded = load(&served.folder()).unwrap();
    assert!(!loaded.has_errors(), "{:?}", loaded.problems);
    assert_eq!(loaded.entries.len(), 2);
    assert_eq!(loaded.problems.len(), 1);
    assert_eq!(loaded.problems[0].severity, Severity::Warning);
    assert!(
        loaded.problems[0]
            .to_string()
            .starts_with("a.yaml:1: warning: RetentionPolicy/old: ")
    );
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let served = Served::empty();
    let error = load(&served.folder().join("missing")).unwrap_err();
    assert!(matches!(error, StoreError::FolderUnreadable { .. }), "{error}");
}

#[test]
fn data_that_goes_with_its_manifest_is_a_warning() {
    let served = Served::empty();
    let text = export("orders", "shop", "lake") + "  deletionPolicy: Delete\n";
    served.write(
        "all.yaml",
        &file(&[source("shop", "shop.db"), lake("lake"), text]),
    );
    let loaded = load(&served.folder()).unwrap();
    assert!(
        !loaded.has_errors() && loaded.problems.len() == 1,
        "{:?}",
        loaded.problems
    );
    let problem = &loaded.problems[0];
    assert_eq!((problem.severity, problem.line), (Severity::Warning, 21));
    assert!(problem.message.contains("for good"), "{problem}");
}
