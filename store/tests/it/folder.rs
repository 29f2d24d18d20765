use std::{fs, os::unix::fs::symlink};

use lakegate_crds::{DataSource, DataSourceStatus, Export, View};
use lakegate_store::{
    Event, FolderOptions, FolderStore, Key, MANIFEST_ANNOTATION, Secrets, Store, StoreError,
};

use crate::{PATIENCE, Served, file, path_of, replace_link, source, until, view};

#[tokio::test]
async fn folders_documents_and_lists_are_read() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: lakegate.dev/v1alpha1\n  kind: DataSource\n  metadata: {name: e}\n  spec: {sqlite: {path: e.db}}\n- apiVersion: lakegate.dev/v1alpha1\n  kind: DataSource\n  metadata: {name: f}\n  spec: {sqlite: {path: f.db}}\n";
    let json = r#"{"apiVersion": "lakegate.dev/v1alpha1", "kind": "DataSource", "metadata": {"name": "g"}, "spec": {"sqlite": {"path": "g.db"}}}"#;
    let served = Served::new(&[
        ("a.yaml", &source("a", "a.db")),
        ("deep/er/b.yml", &source("b", "b.db")),
        (
            "two.yaml",
            &format!(
                "---\n# only a comment\n---\n{}",
                file(&[source("c", "c.db"), source("d", "d.db")])
            ),
        ),
        ("list.yaml", list),
        ("g.json", json),
        // Data, not manifests.
        ("lake/metadata/v1.metadata.json", r#"{"format-version": 2}"#),
        ("rows.json", "{\"a\": 1}\n{\"a\": 2}\n"),
        ("notes.txt", "not: [a manifest"),
        // Editors' and version control's own.
        (".hidden.yaml", &source("hidden", "x.db")),
        (".git/config.yaml", &source("hidden", "x.db")),
        ("a.yaml~", &source("hidden", "x.db")),
        (".a.yaml.swp", "\u{0}"),
        ("#a.yaml", &source("hidden", "x.db")),
    ])
    .await;
    assert_eq!(served.names().await, ["a", "b", "c", "d", "e", "f", "g"]);
    assert_eq!(served.problems(), [""; 0]);
    let b = served.source("b").await.object.unwrap();
    let manifest = &b.metadata.annotations.as_ref().unwrap()[MANIFEST_ANNOTATION];
    assert_eq!(manifest, &served.folder().join("deep/er/b.yml").to_string_lossy());
}

#[tokio::test]
async fn the_manifests_are_never_written() {
    let served = Served::new(&[("a.yaml", &source("a", "a.db")), ("b.yaml", "broken: [")]).await;
    let listing = || {
        let mut found: Vec<_> = walkdir::WalkDir::new(served.folder())
            .into_iter()
            .map(|entry| {
                let entry = entry.unwrap();
                let meta = entry.metadata().unwrap();
                (entry.path().to_owned(), meta.modified().unwrap(), meta.len())
            })
            .collect();
        found.sort();
        found
    };
    let before = listing();
    let entry = served.source("a").await;
    Store::<DataSource>::write_status(
        &**served.store(),
        &entry.key,
        &entry.uid,
        DataSourceStatus::default(),
    )
    .await
    .unwrap();
    served.look().await;
    assert_eq!(listing(), before);
    let object = entry.object.unwrap();
    let created = Store::<DataSource>::create(&**served.store(), DataSource::clone(&object))
        .await
        .unwrap_err();
    let deleted = Store::<DataSource>::delete(&**served.store(), &entry.key, &entry.uid)
        .await
        .unwrap_err();
    for error in [created, deleted] {
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    }
}

#[tokio::test]
async fn one_bad_document_concerns_only_itself() {
    let good = file(&[source("a", "1.db"), source("b", "1.db"), source("c", "1.db")]);
    let served = Served::new(&[("all.yaml", &good)]).await;
    // `b` no longer parses, `c` is edited in the same file.
    let broken = "apiVersion: lakegate.dev/v1alpha1\nkind: DataSource\nmetadata: {name: [b\n".to_owned();
    served.write(
        "all.yaml",
        &file(&[source("a", "2.db"), broken, source("c", "2.db")]),
    );
    served.look().await;
    let [a, b, c] = [
        served.source("a").await,
        served.source("b").await,
        served.source("c").await,
    ];
    assert_eq!(
        [path_of(&a), path_of(&b), path_of(&c)],
        [Some("2.db"), Some("1.db"), Some("2.db")]
    );
    assert!(a.rejected.is_none() && c.rejected.is_none());
    let rejected = b.rejected.expect("b is rejected");
    assert!(rejected.origin.starts_with("all.yaml:"), "{rejected}");
    // `b` is wrong in its spec.
    let wrong = source("b", "3.db").replace("path:", "pathh:");
    served.write(
        "all.yaml",
        &file(&[source("a", "3.db"), wrong, source("c", "3.db")]),
    );
    served.look().await;
    let [a, b, c] = [
        served.source("a").await,
        served.source("b").await,
        served.source("c").await,
    ];
    assert_eq!(
        [path_of(&a), path_of(&b), path_of(&c)],
        [Some("3.db"), Some("1.db"), Some("3.db")]
    );
    let rejected = b.rejected.expect("b is rejected").to_string();
    assert!(
        rejected.starts_with("all.yaml:") && rejected.contains("pathh"),
        "{rejected}"
    );
    // A document that lost its kind still is the object it was.
    let kindless = source("b", "4.db").replace("kind: DataSource", "kind: DataSauce");
    served.write(
        "all.yaml",
        &file(&[source("a", "4.db"), kindless, source("c", "4.db")]),
    );
    served.look().await;
    let b = served.source("b").await;
    assert_eq!(path_of(&b), Some("1.db"));
    assert!(b.rejected.is_some());
    served.write(
        "all.yaml",
        &file(&[source("a", "4.db"), source("b", "4.db"), source("c", "4.db")]),
    );
    served.look().await;
    let b = served.source("b").await;
    assert_eq!((path_of(&b), &b.rejected, b.generation), (Some("4.db"), &None, 2));
    assert_eq!(served.problems(), [""; 0]);
}

#[tokio::test]
async fn an_invalid_edit_keeps_the_last_good_version_also_over_a_restart() {
    let mut served = Served::new(&[("dir/a.yaml", &source("a", "1.db"))]).await;
    let good = served.source("a").await;
    let wrong = source("a", "2.db").replace("    path:", "    bogus:");
    served.write("dir/a.yaml", &wrong);
    served.look().await;
    for restarted in [false, true] {
        if restarted {
            served.restart().await;
        }
        let entry = served.source("a").await;
        assert_eq!(
            (path_of(&entry), &entry.uid, entry.generation),
            (Some("1.db"), &good.uid, 1),
            "{restarted}"
        );
        let rejected = entry.rejected.unwrap();
        assert!(
            rejected.origin == "dir/a.yaml:7" || rejected.origin == "dir/a.yaml:6",
            "{rejected}"
        );
        let problems = served.problems();
        assert!(
            problems.iter().any(|problem| problem.starts_with("dir/a.yaml:")),
            "{problems:?}"
        );
        assert!(
            problems
                .iter()
                .all(|problem| problem.contains("DataSource/a: spec.sqlite")),
            "{problems:?}"
        );
    }
    // A file that is no longer YAML at all, at start.
    served.stop().await;
    served.write("dir/a.yaml", "\u{1}{{{");
    served.start().await;
    let entry = served.source("a").await;
    assert_eq!((path_of(&entry), &entry.uid), (Some("1.db"), &good.uid));
    assert!(entry.rejected.unwrap().origin.starts_with("dir/a.yaml"));
    // Not UTF-8.
    fs::write(served.folder().join("dir/a.yaml"), b"a: \xff\n").unwrap();
    served.look().await;
    let rejected = served.source("a").await.rejected.unwrap();
    assert_eq!(
        rejected.to_string(),
        "dir/a.yaml:1: is not UTF-8 text: save the file as UTF-8"
    );
}

#[tokio::test]
async fn an_object_that_never_was_good_has_an_entry_without_object() {
    let wrong = source("a", "1.db").replace("    path:", "    bogus:");
    let mut served = Served::new(&[("a.yaml", &wrong)]).await;
    let first = served.source("a").await;
    assert!(first.object.is_none() && first.rejected.is_some() && first.generation == 0);
    let status = DataSourceStatus {
        observed_generation: Some(0),
        ..DataSourceStatus::default()
    };
    Store::<DataSource>::write_status(&**served.store(), &first.key, &first.uid, status.clone())
        .await
        .unwrap();
    served.restart().await;
    let again = served.source("a").await;
    assert_eq!((again.status, again.uid), (Some(status), first.uid.clone()));
    served.write("a.yaml", &source("a", "1.db"));
    served.look().await;
    let good = served.source("a").await;
    assert_eq!((good.uid, good.generation, good.rejected), (first.uid, 1, None));
}

#[tokio::test]
async fn the_same_object_in_two_files_is_applied_from_neither() {
    let served = Served::new(&[("a.yaml", &source("a", "1.db")), ("z.yaml", &source("z", "1.db"))]).await;
    served.write("b/copy.yaml", &source("a", "2.db"));
    served.write("c.yaml", &file(&[source("new", "1.db"), source("new", "2.db")]));
    served.look().await;
    let a = served.source("a").await;
    assert_eq!(path_of(&a), Some("1.db"), "the last good version stays");
    let rejected = a.rejected.unwrap().to_string();
    assert!(rejected.contains("a.yaml:1, b/copy.yaml:1"), "{rejected}");
    let new = served.source("new").await;
    assert!(new.object.is_none() && new.rejected.is_some());
    assert!(served.source("z").await.rejected.is_none());
    assert_eq!(
        served.problems().len(),
        4,
        "each place is told: {:?}",
        served.problems()
    );
    served.delete("a.yaml");
    served.look().await;
    let moved = served.source("a").await;
    assert_eq!(
        (path_of(&moved), &moved.rejected, &moved.uid),
        (Some("2.db"), &None, &a.uid)
    );
}

#[tokio::test]
async fn an_object_moves_between_files_as_itself() {
    let served = Served::new(&[("a.yaml", &source("a", "1.db"))]).await;
    let before = served.source("a").await;
    let mut watch = served.watch();
    until(&mut watch, |event| matches!(event, Event::Synced)).await;
    served.delete("a.yaml");
    served.write("teams/data/a.yaml", &source("a", "1.db"));
    served.look().await;
    let after = served.source("a").await;
    assert_eq!((after.uid, after.generation), (before.uid, 1));
    let manifest = &after.object.unwrap().metadata.annotations.clone().unwrap()[MANIFEST_ANNOTATION];
    assert!(
        manifest.ends_with("teams/data/a.yaml"),
        "relative paths follow the file: {manifest}"
    );
    let seen = until(&mut watch, |event| matches!(event, Event::Applied(_))).await;
    assert_eq!(seen.len(), 1, "never deleted in between: {seen:?}");
}

#[tokio::test]
async fn what_vanished_comes_back_as_itself() {
    let mut served = Served::new(&[("a.yaml", &source("a", "1.db")), ("b.yaml", &source("b", "1.db"))]).await;
    let before = served.source("a").await;
    let status = DataSourceStatus {
        observed_generation: Some(1),
        ..DataSourceStatus::default()
    };
    Store::<DataSource>::write_status(&**served.store(), &before.key, &before.uid, status.clone())
        .await
        .unwrap();
    served.delete("a.yaml");
    served.look().await;
    assert_eq!(served.names().await, ["b"]);
    let gone =
        Store::<DataSource>::write_status(&**served.store(), &before.key, &before.uid, status.clone()).await;
    assert!(matches!(gone, Err(StoreError::Gone { .. })));
    let since = served.store().vanished().await[0].vanished_at;
    served.restart().await;
    let vanished = served.store().vanished().await;
    assert_eq!(vanished.len(), 1);
    assert_eq!(
        (
            vanished[0].vanished_at,
            &vanished[0].uid,
            vanished[0].key.name.as_str()
        ),
        (since, &before.uid, "a")
    );
    assert!(vanished[0].resource.is_some());
    served.write("other.yaml", &source("a", "2.db"));
    served.look().await;
    let back = served.source("a").await;
    assert_eq!(
        (back.uid, back.generation, back.status),
        (before.uid, 2, Some(status))
    );
    assert!(served.store().vanished().await.is_empty());
}

#[tokio::test]
async fn what_was_forgotten_comes_back_as_another() {
    let served = Served::new(&[("a.yaml", &source("a", "1.db"))]).await;
    let before = served.source("a").await;
    served.store().forget(&before.uid).await.unwrap();
    assert_eq!(
        served.source("a").await.uid,
        before.uid,
        "what lives is not forgotten"
    );
    served.delete("a.yaml");
    served.look().await;
    served.store().forget(&before.uid).await.unwrap();
    assert!(served.store().vanished().await.is_empty());
    served.write("a.yaml", &source("a", "1.db"));
    served.look().await;
    assert_ne!(served.source("a").await.uid, before.uid);
}

#[tokio::test]
async fn an_immutable_field_needs_a_new_object() {
    let named = |name: &str| format!("{}  catalogName: {name}\n", source("a", "1.db"));
    let served = Served::new(&[("a.yaml", &named("first"))]).await;
    let before = served.source("a").await;
    served.write("a.yaml", &named("second"));
    served.look().await;
    let refused = served.source("a").await;
    assert_eq!(
        refused.object.unwrap().spec.catalog_name.as_deref(),
        Some("first")
    );
    assert!(refused.rejected.unwrap().to_string().contains("catalogName"));
    // Deleted and made anew, it is another object.
    served.delete("a.yaml");
    served.look().await;
    served.write("a.yaml", &named("second"));
    served.look().await;
    let after = served.source("a").await;
    assert_eq!(after.object.unwrap().spec.catalog_name.as_deref(), Some("second"));
    assert_eq!((after.generation, after.rejected), (1, None));
    assert_ne!(after.uid, before.uid);
    assert_eq!(
        served.store().vanished().await.len(),
        1,
        "the old one is still remembered"
    );
}

#[tokio::test]
async fn a_mounted_config_map_is_followed_over_its_swaps() {
    let served = Served::empty();
    let folder = served.folder();
    let version = |number: u32, path: &str| {
        let directory = folder.join(format!("..2026_{number}"));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("a.yaml"), source("a", path)).unwrap();
    };
    version(1, "1.db");
    replace_link("..2026_1", &folder.join("..data"));
    symlink("..data/a.yaml", folder.join("a.yaml")).unwrap();
    let mut served = served;
    served.start().await;
    let first = served.source("a").await;
    assert_eq!(path_of(&first), Some("1.db"));
    assert_eq!(
        served.names().await,
        ["a"],
        "the hidden directories are not read again"
    );
    let mut watch = served.watch();
    version(2, "2.db");
    replace_link("..2026_2", &folder.join("..data"));
    fs::remove_dir_all(folder.join("..2026_1")).unwrap();
    let seen = until(
        &mut watch,
        |event| matches!(event, Event::Applied(entry) if path_of(entry) == Some("2.db")),
    )
    .await;
    assert!(
        !seen.iter().any(|event| matches!(event, Event::Deleted(_))),
        "{seen:?}"
    );
    let second = served.source("a").await;
    assert_eq!((second.uid, second.generation), (first.uid, 2));
}

#[tokio::test]
async fn what_cannot_be_read_is_not_gone() {
    let served = Served::new(&[
        ("sub/a.yaml", &source("a", "1.db")),
        ("b.yaml", &source("b", "1.db")),
    ])
    .await;
    // A link to nowhere stands for a file that cannot be read (tests may run as root).
    served.delete("sub/a.yaml");
    symlink("nowhere", served.folder().join("sub/a.yaml")).unwrap();
    served.look().await;
    let entry = served.source("a").await;
    assert_eq!(path_of(&entry), Some("1.db"));
    assert!(entry.rejected.unwrap().to_string().contains("cannot be read"));
    assert!(served.source("b").await.rejected.is_none());
    // The whole folder is unmounted.
    fs::rename(served.folder(), served.root.path().join("away")).unwrap();
    let error = served.store().reload().await.unwrap_err();
    assert!(
        matches!(error, StoreError::FolderUnreadable { .. }) && error.is_transient(),
        "{error}"
    );
    assert_eq!(served.names().await, ["a", "b"]);
    fs::rename(served.root.path().join("away"), served.folder()).unwrap();
    served.delete("sub/a.yaml");
    served.look().await;
    assert_eq!(served.names().await, ["b"]);
}

#[tokio::test]
async fn a_missing_folder_is_refused_and_leaves_no_state() {
    let served = Served::empty();
    for folder in [
        served.root.path().join("missing"),
        served.root.path().join("file"),
    ] {
        fs::write(served.root.path().join("file"), "x").unwrap();
        let error = FolderStore::open(&folder, served.state(), FolderOptions::default())
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::FolderUnreadable { .. }), "{error}");
        assert!(error.to_string().contains(&*folder.to_string_lossy()));
    }
    assert!(!served.state().exists());
}

#[tokio::test]
async fn the_state_directory_may_lie_in_the_folder() {
    let mut served = Served::new(&[("a.yaml", &source("a", "1.db"))]).await;
    served.stop().await;
    let state = served.folder().join("state");
    let store = FolderStore::open(served.folder(), &state, served.options.clone())
        .await
        .unwrap();
    fs::write(state.join("x.yaml"), source("x", "1.db")).unwrap();
    store.reload().await.unwrap();
    let entries = Store::<DataSource>::list(&store).await.unwrap();
    assert_eq!(
        entries
            .iter()
            .map(|entry| entry.key.name.as_str())
            .collect::<Vec<_>>(),
        ["a"]
    );
}

#[tokio::test]
async fn unknown_kinds_are_skipped_and_ours_misspelt_are_not() {
    let served = Served::new(&[
        ("a.yaml", &source("a", "1.db")),
        ("deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {}\n"),
        ("config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {}\n"),
        ("typo.yaml", "apiVersion: lakegate.dev/v1alpha1\nkind: Exprot\nmetadata: {name: x}\nspec: {}\n"),
        ("old.yaml", "apiVersion: lakegate.dev/v1\nkind: Export\nmetadata: {name: x}\nspec: {}\n"),
        ("nameless.yaml", "apiVersion: lakegate.dev/v1alpha1\nkind: View\nspec: {sql: select 1}\n"),
        ("values.yaml", "replicas: 3\n"),
        ("run.yaml", "apiVersion: lakegate.dev/v1alpha1\nkind: ExportRun\nmetadata: {name: r}\nspec: {exportRef: {name: orders}}\n"),
    ])
    .await;
    let problems = served.problems();
    for (problem, expected) in problems.iter().zip([
        "nameless.yaml:1: View: metadata.name: ",
        "old.yaml:1: Export/x: apiVersion: \"lakegate.dev/v1\" is not a served version",
        "run.yaml:1: warning: ExportRun/r: is not started from a folder: start it with `lakegate run export/orders`",
        "typo.yaml:2: Exprot/x: kind: \"Exprot\" is not a kind of lakegate.dev",
        "values.yaml:1: apiVersion: apiVersion is required",
    ]) {
        assert!(problem.starts_with(expected), "{problem}");
    }
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert_eq!(served.names().await, ["a"]);
    assert!(served.get::<Export>("x").await.is_none());
}

#[tokio::test]
async fn secrets_come_from_manifests_too() {
    let secret = |name: &str, password: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{password: {password}}}\n"
        )
    };
    let mut served = Served::new(&[(
        "s.yaml",
        &file(&[secret("one", "canary-1"), secret("two", "canary-2")]),
    )])
    .await;
    let value = async |served: &Served, name: &str| {
        Secrets::get(&**served.store(), "default", name, "password")
            .await
            .map(|value| value.expose().to_owned())
    };
    assert_eq!(value(&served, "one").await.unwrap(), "canary-1");
    // A broken edit keeps the value while the process lives, and is told without it.
    served.write(
        "s.yaml",
        &file(&[secret("one", "canary-3"), secret("two", "[canary-4]")]),
    );
    served.look().await;
    assert_eq!(value(&served, "one").await.unwrap(), "canary-3");
    assert_eq!(value(&served, "two").await.unwrap(), "canary-2");
    let problems = served.problems().join("\n");
    assert!(
        problems.contains("Secret/two: stringData.password") && !problems.contains("canary"),
        "{problems}"
    );
    served.write("t.yaml", &secret("one", "canary-5"));
    served.look().await;
    assert_eq!(value(&served, "one").await.unwrap(), "canary-3");
    assert!(
        served
            .problems()
            .join("\n")
            .contains("Secret/one: metadata.name: Secret default/one is defined 2 times; none is applied until one is left: s.yaml:1, t.yaml:1")
    );
    // Nothing of them is in the state.
    served.stop().await;
    for entry in walkdir::WalkDir::new(served.state())
        .into_iter()
        .filter_map(Result::ok)
        .filter(|it| it.path().is_file())
    {
        let bytes = fs::read(entry.path()).unwrap();
        assert!(
            !bytes.windows(6).any(|window| window == b"canary"),
            "{}",
            entry.path().display()
        );
    }
}

#[tokio::test]
async fn a_default_written_out_is_not_a_new_generation() {
    let served = Served::new(&[("v.yaml", &view("v", "select 1"))]).await;
    let before = served.get::<View>("v").await.unwrap();
    // Another order of members, a comment, quotes: the same spec.
    served.write(
        "v.yaml",
        "# a comment\nkind: View\nspec: {\"sql\": \"select 1\"}\nmetadata: {name: v}\napiVersion: lakegate.dev/v1alpha1\n",
    );
    served.look().await;
    let after = served.get::<View>("v").await.unwrap();
    assert_eq!((after.uid, after.generation), (before.uid, 1));
}

#[tokio::test]
async fn a_watch_ends_with_its_store() {
    let mut served = Served::new(&[("a.yaml", &source("a", "1.db"))]).await;
    let mut watch = served.watch();
    until(&mut watch, |event| matches!(event, Event::Synced)).await;
    served.stop().await;
    let end = tokio::time::timeout(PATIENCE, futures::StreamExt::next(&mut watch))
        .await
        .unwrap();
    assert!(end.is_none());
    assert_eq!(Key::named("a").to_string(), "a");
}
