//! A process that dies after each effect, replies that are lost, a disk that is full: afterwards the table holds one
//! run or the other, whole, and trying again gets there.

use std::sync::Arc;

use arrow::array::Int64Array;
use lakegate_lake::{Lake, LakeError, WriteOptions};

use crate::faulty::{Fault, Faults, Kind, Request};
use crate::support::{
    Place, batch, count_and_sum, data_files, directory, info, lake, on_every_place, options, people, run,
    tree, until, write,
};

on_every_place! {
    a_process_killed_anywhere_converges,
    a_first_run_killed_anywhere_converges,
    a_lost_reply_is_not_a_lost_or_doubled_run,
    an_outcome_nobody_can_tell_keeps_the_files,
    an_attempt_that_was_given_up_cannot_commit_twice,
    a_sweep_takes_only_what_nobody_refers_to,
    an_aborted_writer_leaves_nothing,
    a_full_store_leaves_the_old_rows_and_no_rubbish,
}

/// One attempt of `run-2`, in two files.
async fn attempt(lake: &Lake, attempt: &str) -> Result<lakegate_lake::Commit, LakeError> {
    let options = WriteOptions {
        file_rows: 8192,
        ..WriteOptions::new("run-2", attempt)
    };
    let files = write(lake, options, &people("b", 1, 10_000)).await?;
    lake.replace(files, info("run-2")).await
}

const OLD: (i64, i64) = (3, 6);
const NEW: (i64, i64) = (10_000, 50_005_000);

/// What every table must satisfy: whole, and no run twice. Returns whether `run-2` is committed.
async fn check(place: &Place) -> bool {
    let lake = place.lake().await;
    let held = count_and_sum(&lake).await;
    assert!(held == OLD || held == NEW, "half a table: {held:?}");
    let mut commits = 0;
    let newest = lake.load("shop", "people").await.unwrap().unwrap().version();
    let path = place
        .path()
        .join(format!("shop/people/metadata/v{newest}.metadata.json"));
    let metadata: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for snapshot in metadata["snapshots"].as_array().unwrap() {
        commits += usize::from(snapshot["summary"]["lakegate.run-id"] == "run-2");
    }
    assert!(commits <= 1, "run-2 was committed {commits} times");
    assert_eq!(held == NEW, commits == 1);
    commits == 1
}

async fn a_process_killed_anywhere_converges(make: fn() -> Place) {
    for fault in [Fault::DieBefore, Fault::DieAfter] {
        let mut died = 0;
        let mut committed_and_died = 0;
        for step in 1.. {
            let place = make();
            run(place.lake().await.as_ref(), "run-1", &people("a", 1, 3))
                .await
                .unwrap();
            let faults = Faults::new(move |request: &Request| (request.number == step).then_some(fault));
            let result = attempt(&place.faulty_lake(&faults, true), "1").await;
            if !faults.is_dead() {
                result.unwrap();
                break;
            }
            died += 1;
            assert!(
                result.is_err(),
                "a dead process cannot have succeeded (step {step})"
            );
            let committed = check(&place).await;
            committed_and_died += usize::from(committed);

            // the next attempt, as the operator starts it
            let lake = place.lake().await;
            let found = lake.find_commit("shop", "people", "run-2").await.unwrap();
            assert_eq!(found.is_some(), committed);
            let commit = attempt(&lake, "2").await.unwrap();
            assert_eq!((commit.already, commit.rows), (committed, 10_000));
            assert!(check(&place).await);

            // after the run has ended nothing of the dead attempt is left, and all that is needed is
            lake.sweep("shop", "people", "run-2").await.unwrap();
            let mut files = tree(place.path());
            files.retain(|file| !file.contains("/run-1/") && !file.contains("_runs/run-1"));
            assert_eq!(data_files(place.path()).len(), 3, "step {step}: {files:#?}");
            assert_eq!(
                files.iter().filter(|file| file.contains(".avro")).count(),
                3,
                "step {step}: {files:#?}"
            );
            assert_eq!(
                files.iter().filter(|file| file.ends_with("_SUCCESS")).count(),
                1,
                "step {step}"
            );
            assert!(
                files.contains(&"shop/people/_runs/run-2.json".to_owned()),
                "step {step}"
            );
            let hint = std::fs::read(place.path().join("shop/people/metadata/version-hint.text")).unwrap();
            assert_eq!(hint, b"2", "step {step}");
            assert_eq!(count_and_sum(&lake).await, NEW);
        }
        // 2 files, 2 manifests, list, commit, hint, run manifest, _SUCCESS
        assert_eq!(died, 9);
        assert_eq!(committed_and_died, if fault == Fault::DieBefore { 3 } else { 4 });
    }
}

async fn a_first_run_killed_anywhere_converges(make: fn() -> Place) {
    for fault in [Fault::DieBefore, Fault::DieAfter] {
        for step in 1.. {
            let place = make();
            let faults = Faults::new(move |request: &Request| (request.number == step).then_some(fault));
            let result = attempt(&place.faulty_lake(&faults, true), "1").await;
            if !faults.is_dead() {
                result.unwrap();
                break;
            }
            let lake = place.lake().await;
            if lake.load("shop", "people").await.unwrap().is_none() {
                assert_eq!(lake.list().await.unwrap(), vec![]);
            }
            attempt(&lake, "2").await.unwrap();
            assert_eq!(count_and_sum(&lake).await, NEW, "step {step}");
            assert_eq!(lake.load("shop", "people").await.unwrap().unwrap().version(), 1);
        }
    }
}

/// Each request in turn fails once, or succeeds with a lost reply: one call is enough to get there, or says clearly
/// that it is not known.
async fn a_lost_reply_is_not_a_lost_or_doubled_run(make: fn() -> Place) {
    for (fault, failures_are_final) in [
        (Fault::Before, true),
        (Fault::Before, false),
        (Fault::After, true),
        (Fault::After, false),
        (Fault::Conflict, false),
        (Fault::FalseConflict, false),
    ] {
        for step in 1..=9 {
            let place = make();
            if failures_are_final && place.is_bucket() {
                continue;
            }
            run(place.lake().await.as_ref(), "run-1", &people("a", 1, 3))
                .await
                .unwrap();
            let faults = Faults::new(move |request: &Request| {
                // only a create is answered with "already exists"
                let conflict = matches!(fault, Fault::Conflict | Fault::FalseConflict);
                (request.number == step && (!conflict || request.kind == Kind::Create)).then_some(fault)
            });
            let result = attempt(&place.faulty_lake(&faults, failures_are_final), "1").await;
            let committed = check(&place).await;
            match &result {
                Ok(commit) => {
                    assert!(committed, "{fault:?} {step}");
                    assert!(!commit.already, "{fault:?} {step}");
                }
                Err(error) => {
                    // on a disk a failed create is final
                    assert!(!committed, "{fault:?} {step}: {error}");
                    assert!(
                        fault == Fault::Before && failures_are_final,
                        "{fault:?} {step}: {error}"
                    );
                    let left = tree(place.path());
                    assert!(
                        !left.iter().any(|file| file.contains("run-2")),
                        "{fault:?} {step}: {left:#?}"
                    );
                    attempt(place.lake().await.as_ref(), "2").await.unwrap();
                }
            }
            assert!(check(&place).await);
        }
    }
}

async fn an_outcome_nobody_can_tell_keeps_the_files(make: fn() -> Place) {
    for happened in [false, true] {
        let place = make();
        run(place.lake().await.as_ref(), "run-1", &people("a", 1, 3))
            .await
            .unwrap();
        let cell: Arc<std::sync::OnceLock<std::sync::Weak<Faults>>> = Arc::default();
        let inner = Arc::clone(&cell);
        let faults = Faults::new(move |request: &Request| {
            if request.kind != Kind::Create {
                return None;
            }
            // from here on nothing can be read either
            inner.get().unwrap().upgrade().unwrap().set_blind(true);
            Some(if happened { Fault::After } else { Fault::Before })
        });
        cell.set(Arc::downgrade(&faults)).unwrap();
        let blind = place.faulty_lake(&faults, false);
        let error = attempt(&blind, "1").await.unwrap_err();
        assert!(matches!(error, LakeError::CommitUnknown { .. }), "{error}");
        assert!(!error.is_terminal());
        // the commit may be there: its files must be
        assert_eq!(check(&place).await, happened);
        assert_eq!(data_files(place.path()).len(), 3);
        let commit = attempt(place.lake().await.as_ref(), "2").await.unwrap();
        assert_eq!(commit.already, happened);
        assert!(check(&place).await);
    }
}

/// A slow writer that lost its turn must not bring its rows back.
async fn an_attempt_that_was_given_up_cannot_commit_twice(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let slow = write(&lake, WriteOptions::new("run-1", "slow"), &people("a", 1, 3))
        .await
        .unwrap();
    let fast = write(&lake, WriteOptions::new("run-1", "fast"), &people("a", 1, 3))
        .await
        .unwrap();
    assert!(!lake.replace(fast, info("run-1")).await.unwrap().already);
    run(&lake, "run-2", &people("b", 10, 1)).await.unwrap();
    assert!(lake.replace(slow, info("run-1")).await.unwrap().already);
    assert_eq!(count_and_sum(&lake).await, (1, 10));
}

async fn a_sweep_takes_only_what_nobody_refers_to(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    run(&lake, "run-1", &people("a", 1, 3)).await.unwrap();
    // dead attempts of a run that failed, and of one that succeeded
    let _dead = write(&lake, options("run-2"), &people("x", 1, 3)).await.unwrap();
    let _dead = write(&lake, WriteOptions::new("run-3", "dead"), &people("x", 1, 3))
        .await
        .unwrap();
    run(&lake, "run-3", &people("b", 1, 2)).await.unwrap();
    run(&lake, "run-4", &people("c", 1, 1)).await.unwrap();
    assert_eq!(data_files(place.path()).len(), 5);
    for (run_id, removed) in [
        ("run-1", 0),
        ("run-2", 1),
        ("run-3", 1),
        ("run-4", 0),
        ("run-2", 0),
        ("run-9", 0),
    ] {
        assert_eq!(
            lake.sweep("shop", "people", run_id).await.unwrap(),
            removed,
            "{run_id}"
        );
    }
    assert_eq!(data_files(place.path()).len(), 3);
    // a run of a table that never had a commit
    let _dead = lake
        .write("shop", "empty", people("x", 1, 1).schema(), options("run-1"))
        .await
        .unwrap();
    assert_eq!(lake.sweep("shop", "empty", "run-1").await.unwrap(), 0);
}

async fn an_aborted_writer_leaves_nothing(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let noise =
        Int64Array::from_iter_values((0..1_500_000_i64).map(|n| n.wrapping_mul(6_364_136_223_846_793_005)));
    let rows = batch(vec![("id", Arc::new(noise))]);
    // one file finished in parts and one begun; then one with parts on their way
    for (file_rows, finished) in [(1_200_000, 1), (u64::MAX, 0)] {
        let options = WriteOptions {
            row_group_bytes: 1 << 20,
            file_rows,
            ..options("run-1")
        };
        let mut writer = lake
            .write("shop", "people", rows.schema(), options)
            .await
            .unwrap();
        writer.write(rows.clone()).await.unwrap();
        until(|| writer.progress().files == finished && writer.progress().bytes > 9_000_000).await;
        writer.abort().await.unwrap();
        assert_eq!(tree(place.path()), Vec::<String>::new());
    }
}

async fn a_full_store_leaves_the_old_rows_and_no_rubbish(make: fn() -> Place) {
    let noise =
        Int64Array::from_iter_values((0..1_500_000_i64).map(|n| n.wrapping_mul(6_364_136_223_846_793_005)));
    let big = batch(vec![
        ("id", Arc::new(noise) as _),
        (
            "name",
            Arc::new(arrow::array::StringArray::from(vec!["n"; 1_500_000])) as _,
        ),
    ]);
    // from "not even one part" to "all but the commit"
    for space in [0, 9_000_000] {
        let place = make();
        run(place.lake().await.as_ref(), "run-1", &people("a", 1, 3))
            .await
            .unwrap();
        let before = tree(place.path());
        let faults = Faults::with_space(space);
        let full = place.faulty_lake(&faults, true);
        let error = run(&full, "run-2", &big).await.unwrap_err();
        assert!(matches!(error, LakeError::StorageFull { .. }), "{space}: {error}");
        assert_eq!(tree(place.path()), before, "{space}");
        assert_eq!(count_and_sum(&place.lake().await).await, OLD);
    }
    for kind in [Kind::Put, Kind::Create] {
        let place = make();
        run(place.lake().await.as_ref(), "run-1", &people("a", 1, 3))
            .await
            .unwrap();
        let before = tree(place.path());
        let faults = Faults::new(move |request: &Request| {
            (request.kind == kind && request.path.contains("/metadata/")).then_some(Fault::Full)
        });
        let error = attempt(&place.faulty_lake(&faults, true), "1").await.unwrap_err();
        assert!(!check(&place).await);
        if kind == Kind::Create && place.is_bucket() {
            // an earlier try of the same request may still be on its way
            assert!(matches!(error, LakeError::CommitUnknown { .. }), "{error}");
            continue;
        }
        assert!(
            matches!(error, LakeError::StorageFull { .. }),
            "{kind:?}: {error}"
        );
        assert_eq!(tree(place.path()), before, "{kind:?}");
    }
}

/// A real full disk, where the machine lets the test mount one.
#[tokio::test]
async fn a_full_disk_leaves_the_old_rows_and_no_rubbish() {
    let directory = directory();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(directory.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("skipped: this machine does not let the test mount a tmpfs; the simulated store covers it");
        return;
    }
    let path = directory.path().join("lake");
    let lake = lake(&path).await;
    run(&lake, "run-1", &people("a", 1, 3)).await.unwrap();
    let before = tree(&path);
    let noise =
        Int64Array::from_iter_values((0..2_000_000_i64).map(|n| n.wrapping_mul(6_364_136_223_846_793_005)));
    let names = Arc::new(arrow::array::StringArray::from(vec!["n"; 2_000_000]));
    let result = run(
        &lake,
        "run-2",
        &batch(vec![("id", Arc::new(noise) as _), ("name", names as _)]),
    )
    .await;
    let after = tree(&path);
    let rows = count_and_sum(&lake).await;
    let small = run(&lake, "run-3", &people("b", 5, 1)).await;
    std::process::Command::new("umount")
        .arg("-l")
        .arg(directory.path())
        .status()
        .unwrap();
    let error = result.unwrap_err();
    assert!(matches!(error, LakeError::StorageFull { .. }), "{error:?}");
    assert!(error.to_string().starts_with("no space left in lake file://"));
    assert_eq!(after, before);
    assert_eq!(rows, OLD);
    // the space is free again at once
    assert_eq!(small.unwrap().rows, 1);
}
