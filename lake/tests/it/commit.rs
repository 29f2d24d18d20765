//! Commits: once a run, whatever the others do.

use std::collections::BTreeSet;
use std::sync::Arc;

use lakegate_lake::{LakeError, LakeTableName, WriteOptions};

use crate::support::{
    Place, context, count_and_sum, data_files, directory, info, lake, on_every_place, options, people, query,
    rows, run, tree, write,
};

on_every_place! {
    a_run_becomes_a_table_and_the_next_replaces_it,
    the_run_manifest_names_every_file_with_its_hash,
    a_run_is_committed_once,
    the_same_files_may_be_committed_again,
    a_run_without_rows_empties_the_table,
    of_many_writers_each_commits_exactly_once,
    of_many_attempts_of_one_run_one_wins,
    a_stale_hint_is_only_a_lower_bound,
    a_dropped_table_is_gone_and_may_come_back,
    names_that_cannot_be_keys_are_refused,
    files_of_another_run_or_lake_are_refused,
}

async fn a_run_becomes_a_table_and_the_next_replaces_it(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    assert!(lake.load("shop", "people").await.unwrap().is_none());
    assert_eq!(lake.list().await.unwrap(), vec![]);

    let first = run(&lake, "run-1", &people("a", 1, 3)).await.unwrap();
    assert_eq!(
        (first.version, first.rows, first.files, first.already),
        (1, 3, 1, false)
    );
    assert!(first.bytes > 0);
    let expected = "\
+----+------+
| id | name |
+----+------+
| 1  | a1   |
| 2  | a2   |
| 3  | a3   |
+----+------+";
    assert_eq!(rows(&lake).await, expected);

    let second = run(&lake, "run-2", &people("b", 7, 2)).await.unwrap();
    assert_eq!((second.version, second.rows), (2, 2));
    let table = lake.load("shop", "people").await.unwrap().unwrap();
    assert_eq!(table.version(), 2);
    assert_eq!(table.rows(), Some(2));
    assert_eq!(table.bytes(), Some(second.bytes));
    assert_eq!(table.run_id(), Some("run-2"));
    assert_eq!(table.snapshot_id(), Some(second.snapshot_id));
    assert_eq!(table.location(), format!("{}/shop/people", place.uri()));
    assert!(table.committed_at().is_some());
    assert_eq!(count_and_sum(&lake).await, (2, 15));
    let name = LakeTableName {
        schema: "shop".to_owned(),
        name: "people".to_owned(),
    };
    assert_eq!(lake.list().await.unwrap(), vec![name]);

    // the hint holds digits and nothing else
    let hint = std::fs::read(place.path().join("shop/people/metadata/version-hint.text")).unwrap();
    assert_eq!(hint, b"2");
}

async fn the_run_manifest_names_every_file_with_its_hash(make: fn() -> Place) {
    use sha2::{Digest, Sha256};
    use std::fmt::Write;
    let place = make();
    let lake = place.lake().await;
    let small_files = WriteOptions {
        file_rows: 8192,
        ..options("run-1")
    };
    let files = write(&lake, small_files, &people("a", 0, 20_000)).await.unwrap();
    let commit = lake.replace(files, info("run-1")).await.unwrap();
    assert_eq!(commit.files, 3);

    let manifest = lake
        .run_manifest("shop", "people", "run-1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (manifest.rows, manifest.bytes, manifest.version),
        (20_000, commit.bytes, Some(1))
    );
    assert_eq!(manifest.export.as_deref(), Some("default/people"));
    assert_eq!(
        manifest
            .columns
            .iter()
            .map(|column| (column.id, column.name.as_str()))
            .collect::<Vec<_>>(),
        [(1, "id"), (2, "name")]
    );
    let table = place.path().join("shop/people");
    for file in &manifest.files {
        let content = std::fs::read(table.join(&file.path)).unwrap();
        assert_eq!(content.len() as u64, file.size);
        let hash = Sha256::digest(&content)
            .iter()
            .fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            });
        assert_eq!(hash, file.sha256);
    }
    assert!(table.join(&manifest.directory).join("_SUCCESS").exists());

    // a winner that died before its manifest: the next look writes the same one
    std::fs::remove_file(table.join("_runs/run-1.json")).unwrap();
    std::fs::remove_file(table.join(&manifest.directory).join("_SUCCESS")).unwrap();
    std::fs::remove_file(table.join("metadata/version-hint.text")).unwrap();
    let again = lake
        .run_manifest("shop", "people", "run-1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again, manifest);
    assert!(table.join(&manifest.directory).join("_SUCCESS").exists());
    assert_eq!(
        std::fs::read(table.join("metadata/version-hint.text")).unwrap(),
        b"1"
    );
}

async fn a_run_is_committed_once(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let first = run(&lake, "run-1", &people("a", 1, 3)).await.unwrap();
    run(&lake, "run-2", &people("b", 7, 2)).await.unwrap();
    let before = data_files(place.path());

    // a second attempt of a run that was replaced since: nothing changes, and its files go
    let files = write(&lake, WriteOptions::new("run-1", "2"), &people("c", 100, 9))
        .await
        .unwrap();
    let again = lake.replace(files, info("run-1")).await.unwrap();
    assert!(again.already);
    assert_eq!(
        (again.snapshot_id, again.version, again.rows),
        (first.snapshot_id, 1, 3)
    );
    assert_eq!(count_and_sum(&lake).await, (2, 15));
    assert_eq!(data_files(place.path()), before);

    assert_eq!(
        lake.find_commit("shop", "people", "run-1")
            .await
            .unwrap()
            .unwrap()
            .rows,
        3
    );
    assert_eq!(lake.find_commit("shop", "people", "run-3").await.unwrap(), None);
    assert_eq!(lake.find_commit("shop", "nobody", "run-1").await.unwrap(), None);
}

async fn the_same_files_may_be_committed_again(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let files = write(&lake, options("run-1"), &people("a", 1, 3)).await.unwrap();
    lake.replace(files.clone(), info("run-1")).await.unwrap();
    let again = lake.replace(files, info("run-1")).await.unwrap();
    assert!(again.already);
    assert_eq!(count_and_sum(&lake).await, (3, 6));
}

async fn a_run_without_rows_empties_the_table(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    for (run_id, count) in [("run-1", 0), ("run-2", 3), ("run-3", 0)] {
        let commit = run(&lake, run_id, &people("a", 1, count)).await.unwrap();
        assert_eq!(commit.rows, count as u64);
        assert_eq!(count_and_sum(&lake).await.0, count);
        let counted = query(&context(&lake).await, "select count(*) as n from people").await;
        assert!(counted.contains(&format!("| {count} |")), "{counted}");
    }
}

async fn of_many_writers_each_commits_exactly_once(make: fn() -> Place) {
    let place = make();
    for round in 0..3 {
        let mut tasks = Vec::new();
        let barrier = Arc::new(tokio::sync::Barrier::new(8));
        for writer in 0..8_i64 {
            // a lake of its own each, as other processes have
            let lake = place.lake().await;
            let barrier = Arc::clone(&barrier);
            tasks.push(tokio::spawn(async move {
                let run_id = format!("run-{round}-{writer}");
                let rows = people("w", writer * 1000, writer + 1);
                let files = write(&lake, options(&run_id), &rows).await.unwrap();
                barrier.wait().await;
                lake.replace(files, info(&run_id)).await.unwrap()
            }));
        }
        let mut versions = BTreeSet::new();
        for task in tasks {
            let commit = task.await.unwrap();
            assert!(!commit.already);
            assert!(
                versions.insert(commit.version),
                "two runs committed version {}",
                commit.version
            );
        }
        let first = round * 8 + 1;
        assert_eq!(versions, (first..first + 8).collect());
        let lake = place.lake().await;
        let table = lake.load("shop", "people").await.unwrap().unwrap();
        assert_eq!(table.version(), first + 7);
        let winner: i64 = table
            .run_id()
            .unwrap()
            .rsplit('-')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(count_and_sum(&lake).await.0, winner + 1);
        for writer in 0..8 {
            let commit = lake
                .find_commit("shop", "people", &format!("run-{round}-{writer}"))
                .await
                .unwrap();
            assert_eq!(commit.unwrap().rows, writer + 1);
        }
    }
    // every loser's manifests are gone: what is left is referenced by some snapshot
    let lake = place.lake().await;
    for round in 0..3 {
        for writer in 0..8 {
            let run_id = format!("run-{round}-{writer}");
            assert_eq!(
                lake.sweep("shop", "people", &run_id).await.unwrap(),
                0,
                "{run_id}"
            );
        }
    }
}

async fn of_many_attempts_of_one_run_one_wins(make: fn() -> Place) {
    let place = make();
    let barrier = Arc::new(tokio::sync::Barrier::new(6));
    let mut tasks = Vec::new();
    for attempt in 0..6 {
        let lake = place.lake().await;
        let barrier = Arc::clone(&barrier);
        tasks.push(tokio::spawn(async move {
            let options = WriteOptions::new("run-1", format!("attempt-{attempt}"));
            let files = write(&lake, options, &people("a", 1, 10)).await.unwrap();
            barrier.wait().await;
            lake.replace(files, info("run-1")).await.unwrap()
        }));
    }
    let mut winners = 0;
    for task in tasks {
        let commit = task.await.unwrap();
        assert_eq!((commit.version, commit.rows), (1, 10));
        winners += usize::from(!commit.already);
    }
    assert_eq!(winners, 1);
    assert_eq!(data_files(place.path()).len(), 1);
    assert_eq!(count_and_sum(&place.lake().await).await, (10, 55));
}

async fn a_stale_hint_is_only_a_lower_bound(make: fn() -> Place) {
    let place = make();
    let first = place.lake().await;
    for number in 1..=4 {
        run(&first, &format!("run-{number}"), &people("a", number, 1))
            .await
            .unwrap();
    }
    let hint = place.path().join("shop/people/metadata/version-hint.text");
    for content in ["2", "4\n", "nonsense", "99"] {
        std::fs::write(&hint, content).unwrap();
        let other = place.lake().await;
        assert_eq!(
            other.load("shop", "people").await.unwrap().unwrap().version(),
            4,
            "{content:?}"
        );
    }
    std::fs::remove_file(&hint).unwrap();
    let other = place.lake().await;
    assert_eq!(other.load("shop", "people").await.unwrap().unwrap().version(), 4);
    run(&other, "run-5", &people("a", 5, 1)).await.unwrap();
    assert_eq!(std::fs::read(&hint).unwrap(), b"5");
    assert_eq!(first.load("shop", "people").await.unwrap().unwrap().version(), 5);
}

async fn a_dropped_table_is_gone_and_may_come_back(make: fn() -> Place) {
    let place = make();
    let (one, other) = (place.lake().await, place.lake().await);
    run(&one, "run-1", &people("a", 1, 3)).await.unwrap();
    assert_eq!(other.load("shop", "people").await.unwrap().unwrap().version(), 1);
    one.drop_table("shop", "people").await.unwrap();
    assert_eq!(tree(place.path()), Vec::<String>::new());
    assert!(one.load("shop", "people").await.unwrap().is_none());
    assert!(other.load("shop", "people").await.unwrap().is_none());
    one.drop_table("shop", "people").await.unwrap();

    run(&one, "run-2", &people("b", 5, 1)).await.unwrap();
    // the other lake must not take the new version 1 for the one it has cached
    assert_eq!(
        other.load("shop", "people").await.unwrap().unwrap().run_id(),
        Some("run-2")
    );
}

async fn names_that_cannot_be_keys_are_refused(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    for (schema, table) in [("..", "t"), ("s", "a/b"), ("s", ""), ("_s", "t"), ("s", "ü")] {
        let error = lake.load(schema, table).await.unwrap_err();
        assert!(
            matches!(error, LakeError::BadName { .. }),
            "{schema}.{table}: {error}"
        );
    }
    let error = lake
        .write(
            "s",
            "t",
            people("a", 1, 1).schema(),
            WriteOptions::new("../run", "1"),
        )
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "run name \"../run\" cannot be used in a lake: it must not begin with '_', '.' or '-'"
    );
}

async fn files_of_another_run_or_lake_are_refused(make: fn() -> Place) {
    let (here, there) = (make(), make());
    let (one, other) = (here.lake().await, there.lake().await);
    let files = write(&one, options("run-1"), &people("a", 1, 1)).await.unwrap();
    let error = one.replace(files.clone(), info("run-2")).await.unwrap_err();
    assert!(matches!(error, LakeError::WrongRun { .. }), "{error}");
    let error = other.replace(files, info("run-1")).await.unwrap_err();
    assert!(matches!(error, LakeError::WrongLake { .. }), "{error}");
}

#[tokio::test]
async fn a_moved_lake_is_read_and_replaced_where_it_is() {
    let directory = directory();
    let old = directory.path().join("old place");
    let new = directory.path().join("new-place");
    let before = lake(&old).await;
    run(&before, "run-1", &people("a", 1, 3)).await.unwrap();
    std::fs::rename(&old, &new).unwrap();
    let moved = lake(&new).await;
    assert_eq!(count_and_sum(&moved).await, (3, 6));
    run(&moved, "run-2", &people("a", 4, 1)).await.unwrap();
    assert_eq!(count_and_sum(&moved).await, (1, 4));
    let table = moved.load("shop", "people").await.unwrap().unwrap();
    assert_eq!(table.location(), format!("file://{}/shop/people", new.display()));
}
