//! Merges: one row a key, files that hold no changed key left alone, and the old table or the new one whatever fails.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use lakegate_lake::{ColumnMask, Commit, CommitInfo, Lake, LakeError, TableMerge, TableWriter, WriteOptions};

use crate::faulty::{Fault, Faults, Kind, Request};
use crate::support::{
    Place, context, count_and_sum, data_files, info, on_every_place, options, people, query, rows, run, tree,
    write,
};

on_every_place! {
    only_files_with_changed_keys_are_written_again,
    a_merge_killed_anywhere_converges,
    lost_replies_of_a_merge_do_no_harm,
    a_merge_is_never_made_on_another_version,
    random_merges_and_crashes_leave_one_row_a_key,
}

/// Memory for keys, more than any of these tests has.
const MEMORY: usize = 1 << 20;

/// An attempt that merges `changed`, whose keys are in the first column. Of these, `published` are written.
async fn merge_rows(
    lake: &Lake,
    options: WriteOptions,
    changed: &RecordBatch,
    published: &RecordBatch,
) -> Result<Commit, LakeError> {
    let run = options.run_id.clone();
    let (mut writer, mut merge) = begin(lake, options, changed).await?;
    merge.add(changed)?;
    writer.write(published.clone()).await?;
    let files = merge.finish(writer.close().await?).await?;
    lake.replace(files, info(&run)).await
}

async fn begin(
    lake: &Lake,
    options: WriteOptions,
    rows: &RecordBatch,
) -> Result<(TableWriter, TableMerge), LakeError> {
    let writer = lake.write("shop", "people", rows.schema(), options).await?;
    let base = lake.load("shop", "people").await?.expect("the table is there");
    let merge = lake
        .merge(&base, &writer, &[0], MEMORY)
        .await?
        .expect("the columns are the table's");
    Ok((writer, merge))
}

async fn merged(lake: &Lake, run: &str, rows: &RecordBatch) -> Result<Commit, LakeError> {
    merge_rows(lake, options(run), rows, rows).await
}

/// A table of 30,000 people in files of 8192.
async fn many_people(lake: &Lake) -> Commit {
    let options = WriteOptions {
        file_rows: 8192,
        ..options("run-1")
    };
    let files = write(lake, options, &people("a", 0, 30_000)).await.unwrap();
    lake.replace(files, info("run-1")).await.unwrap()
}

/// The newest metadata of the table.
fn metadata(place: &Place) -> serde_json::Value {
    let number = |file: &String| -> Option<u64> {
        file.strip_prefix("shop/people/metadata/v")?
            .strip_suffix(".metadata.json")?
            .parse()
            .ok()
    };
    let newest = tree(place.path()).iter().filter_map(number).max().unwrap();
    let path = place
        .path()
        .join(format!("shop/people/metadata/v{newest}.metadata.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn current(metadata: &serde_json::Value) -> &serde_json::Value {
    let snapshots = metadata["snapshots"].as_array().unwrap();
    snapshots
        .iter()
        .find(|snapshot| snapshot["snapshot-id"] == metadata["current-snapshot-id"])
        .unwrap()
}

async fn only_files_with_changed_keys_are_written_again(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let first = many_people(&lake).await;
    assert_eq!((first.files, first.changed), (4, None));

    // two rows of the second file, and a new one
    let schema = people("a", 0, 1).schema();
    let changes = RecordBatch::try_new(
        schema,
        vec![
            Arc::new(Int64Array::from(vec![9000, 9001, 40_000])) as ArrayRef,
            Arc::new(StringArray::from(vec!["new9000", "new9001", "new40000"])),
        ],
    )
    .unwrap();
    let commit = merged(&lake, "run-2", &changes).await.unwrap();
    assert_eq!((commit.rows, commit.files, commit.already), (30_001, 5, false));
    let changed = commit.changed.unwrap();
    // the new rows, and the second file without two
    assert_eq!((changed.rows, changed.files), (3, 2));
    let names = "select name from people where id in (8999, 9000, 9001, 9002, 40000) order by id";
    let text = query(&context(&lake).await, names).await;
    for name in ["a8999 ", "new9000 ", "new9001 ", "a9002 ", "new40000 "] {
        assert!(text.contains(name), "{text}");
    }
    assert_eq!(count_and_sum(&lake).await, (30_001, 449_985_000 + 40_000));
    let snapshot = current(&metadata(&place)).clone();
    let summary = &snapshot["summary"];
    assert_eq!(summary["operation"], "overwrite");
    for (key, value) in [
        ("deleted-data-files", "1"),
        ("deleted-records", "8192"),
        ("added-records", "8193"),
        ("total-records", "30001"),
        ("total-data-files", "5"),
        ("lakegate.changed-records", "3"),
    ] {
        assert_eq!(summary[key], value, "{key}");
    }

    let manifest = lake
        .run_manifest("shop", "people", "run-2")
        .await
        .unwrap()
        .unwrap();
    let merge = manifest.merge.unwrap();
    assert_eq!(
        (merge.changed_rows, merge.table_rows, merge.table_files),
        (3, 30_001, 5)
    );
    assert_eq!((manifest.rows, manifest.files.len()), (8193, 2));

    // rows that are new add a file and touch no other
    let before = data_files(place.path());
    let commit = merged(&lake, "run-3", &people("b", 50_000, 2)).await.unwrap();
    assert_eq!((commit.rows, commit.files), (30_003, 6));
    assert_eq!(data_files(place.path()).len(), before.len() + 1);
    assert_eq!(current(&metadata(&place))["summary"]["operation"], "append");

    // a key that lies between others and is nowhere: the file is looked at, and stays
    let gone = people("c", 40_001, 1);
    let none = gone.slice(0, 0);
    let commit = merge_rows(&lake, options("run-4"), &gone, &none).await.unwrap();
    assert_eq!(
        (commit.rows, commit.files, commit.changed.unwrap().files),
        (30_003, 6, 0)
    );

    // every row of a file: it leaves, and nothing is written again
    let commit = merge_rows(&lake, options("run-5"), &people("b", 50_000, 2), &none)
        .await
        .unwrap();
    assert_eq!(
        (commit.rows, commit.files, commit.changed.unwrap().files),
        (30_001, 5, 0)
    );
    assert_eq!(count_and_sum(&lake).await, (30_001, 449_985_000 + 40_000));

    // the table is what a sweep leaves
    for run in ["run-1", "run-2", "run-3", "run-4", "run-5"] {
        assert_eq!(lake.sweep("shop", "people", run).await.unwrap(), 0, "{run}");
        assert!(
            lake.run_manifest("shop", "people", run).await.unwrap().is_some(),
            "{run}"
        );
    }
}

const OLD: (i64, i64) = (20_000, 199_990_000);
/// One row more, and of the others one less.
const NEW: (i64, i64) = (20_000, 199_990_000 + 30_000 - 17);

/// Of 20,000 people in three files: three have changed, one has gone, one is new.
async fn attempt(lake: &Lake, attempt: &str) -> Result<Commit, LakeError> {
    let ids = vec![17, 18, 19, 12_000, 30_000];
    let names: Vec<String> = ids.iter().map(|id| format!("new{id}")).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids)),
        Arc::new(StringArray::from(names)),
    ];
    let changed = RecordBatch::try_new(people("a", 0, 1).schema(), columns).unwrap();
    let published = changed.slice(1, 4);
    merge_rows(lake, WriteOptions::new("run-2", attempt), &changed, &published).await
}

async fn base(place: &Place) {
    let options = WriteOptions {
        file_rows: 8192,
        ..options("run-1")
    };
    let lake = place.lake().await;
    let files = write(&lake, options, &people("a", 0, 20_000)).await.unwrap();
    lake.replace(files, info("run-1")).await.unwrap();
}

/// Whole, and merged once at most. Returns whether it is merged.
async fn check(place: &Place) -> bool {
    let lake = place.lake().await;
    let held = count_and_sum(&lake).await;
    assert!(held == OLD || held == NEW, "half a merge: {held:?}");
    let renamed = query(
        &context(&lake).await,
        "select count(*) as n from people where name like 'new%'",
    )
    .await;
    assert!(
        renamed.contains(if held == NEW { "| 4 |" } else { "| 0 |" }),
        "{renamed}"
    );
    let doubled = "select count(*) as n from (select id from people group by id having count(*) > 1)";
    assert!(query(&context(&lake).await, doubled).await.contains("| 0 |"));
    let metadata = metadata(place);
    let snapshots = metadata["snapshots"].as_array().unwrap();
    let commits = snapshots
        .iter()
        .filter(|snapshot| snapshot["summary"]["lakegate.run-id"] == "run-2")
        .count();
    assert_eq!(commits, usize::from(held == NEW));
    commits == 1
}

async fn a_merge_killed_anywhere_converges(make: fn() -> Place) {
    for fault in [Fault::DieBefore, Fault::DieAfter] {
        let (mut died, mut committed_and_died) = (0, 0);
        for step in 1.. {
            let place = make();
            base(&place).await;
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

            // the next attempt, as a worker performs it
            let lake = place.lake().await;
            let found = lake.find_commit("shop", "people", "run-2").await.unwrap();
            assert_eq!(found.is_some(), committed, "step {step}");
            if found.is_none() {
                attempt(&lake, "2").await.unwrap();
            }
            assert!(check(&place).await, "step {step}");
            lake.sweep("shop", "people", "run-2").await.unwrap();
            // three of the first run; the new rows and what is kept of two
            assert_eq!(
                data_files(place.path()).len(),
                5,
                "step {step}: {:#?}",
                tree(place.path())
            );
            let manifest = lake
                .run_manifest("shop", "people", "run-2")
                .await
                .unwrap()
                .unwrap();
            assert_eq!(manifest.files.len(), 2, "step {step}");
            assert!(check(&place).await, "step {step}");
        }
        // new rows, kept rows, the old files' manifest, the new files', list, commit, hint, run manifest, _SUCCESS
        assert_eq!(died, 9);
        assert_eq!(committed_and_died, if fault == Fault::DieBefore { 3 } else { 4 });
    }
}

async fn lost_replies_of_a_merge_do_no_harm(make: fn() -> Place) {
    let mut steps = 0;
    for fault in [Fault::Before, Fault::After, Fault::Conflict] {
        for step in 1.. {
            let place = make();
            base(&place).await;
            let faults = Faults::new(move |request: &Request| {
                let fits = fault != Fault::Conflict || request.kind == Kind::Create;
                (request.number == step && fits).then_some(fault)
            });
            let result = attempt(&place.faulty_lake(&faults, true), "1").await;
            let committed = check(&place).await;
            if result.is_ok() {
                assert!(committed, "{fault:?} {step}");
            } else {
                let lake = place.lake().await;
                let found = lake.find_commit("shop", "people", "run-2").await.unwrap();
                assert_eq!(found.is_some(), committed);
                if !committed {
                    attempt(&lake, "2").await.unwrap();
                }
                assert!(check(&place).await, "{fault:?} {step}");
            }
            steps += 1;
            if step == 9 {
                break;
            }
        }
    }
    assert_eq!(steps, 27);
}

async fn a_merge_is_never_made_on_another_version(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    run(&lake, "run-1", &people("a", 0, 10)).await.unwrap();
    let changes = people("b", 5, 2);
    let (mut writer, mut merge) = begin(&lake, options("run-2"), &changes).await.unwrap();
    merge.add(&changes).unwrap();
    writer.write(changes.clone()).await.unwrap();
    let files = merge.finish(writer.close().await.unwrap()).await.unwrap();

    // another process publishes meanwhile
    merged(place.lake().await.as_ref(), "run-3", &people("c", 6, 2))
        .await
        .unwrap();
    let before = data_files(place.path());
    let error = lake.replace(files, info("run-2")).await.unwrap_err();
    assert!(matches!(error, LakeError::BaseMoved { .. }), "{error}");
    assert!(!error.is_terminal());
    // what was written for it is gone
    assert_eq!(data_files(place.path()).len(), before.len() - 2);
    assert_eq!(count_and_sum(&lake).await, (10, 45));

    // planned anew it goes on from there
    merged(&lake, "run-2", &changes).await.unwrap();
    let expected = ["a0", "a1", "a2", "a3", "a4", "b5", "b6", "c7", "a8", "a9"];
    let held = rows(&lake).await;
    for name in expected {
        assert!(held.contains(&format!("| {name}")), "{held}");
    }
    assert_eq!(count_and_sum(&lake).await, (10, 45));

    // two that race for the same version: one wins, the other knows
    let changes = people("d", 0, 3);
    let mut prepared = Vec::new();
    for run in ["run-4", "run-5"] {
        let (mut writer, mut merge) = begin(&lake, options(run), &changes).await.unwrap();
        merge.add(&changes).unwrap();
        writer.write(changes.clone()).await.unwrap();
        prepared.push((run, merge.finish(writer.close().await.unwrap()).await.unwrap()));
    }
    let racers = prepared.into_iter().map(|(run, files)| {
        let lake = Arc::clone(&lake);
        async move { lake.replace(files, info(run)).await }
    });
    let outcomes = futures::future::join_all(racers).await;
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
        1,
        "{outcomes:?}"
    );
    assert!(
        outcomes
            .iter()
            .any(|outcome| matches!(outcome, Err(LakeError::BaseMoved { .. }))),
        "{outcomes:?}"
    );
    assert_eq!(count_and_sum(&lake).await, (10, 45));
}

/// A small generator: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

async fn held(lake: &Arc<Lake>) -> BTreeMap<i64, String> {
    let batches = context(lake)
        .await
        .sql("select id, name from people")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let mut held = BTreeMap::new();
    for batch in &batches {
        let names = arrow::compute::cast(batch.column(1), &DataType::Utf8).unwrap();
        for (id, name) in batch
            .column(0)
            .as_primitive::<Int64Type>()
            .iter()
            .zip(names.as_string::<i32>())
        {
            let twice = held.insert(id.unwrap(), name.unwrap().to_owned());
            assert_eq!(twice, None, "a key is there twice");
        }
    }
    held
}

async fn random_merges_and_crashes_leave_one_row_a_key(make: fn() -> Place) {
    let seeds: u64 = std::env::var("LAKEGATE_FAULT_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(4);
    for seed in 0..seeds {
        let place = make();
        let mut random = Random(seed);
        let mut model: BTreeMap<i64, String> = (0..500).map(|id| (id * 3, format!("a{id}"))).collect();
        let whole = |model: &BTreeMap<i64, String>| {
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_iter_values(model.keys().copied())),
                Arc::new(StringArray::from_iter_values(model.values())),
            ];
            RecordBatch::try_new(people("a", 0, 1).schema(), columns).unwrap()
        };
        let first = WriteOptions {
            file_rows: 100,
            row_group_rows: 50,
            ..options("run-0")
        };
        let lake = place.lake().await;
        let mut writer = lake
            .write("shop", "people", whole(&model).schema(), first)
            .await
            .unwrap();
        for start in (0..500).step_by(100) {
            writer.write(whole(&model).slice(start, 100)).await.unwrap();
        }
        lake.replace(writer.close().await.unwrap(), info("run-0"))
            .await
            .unwrap();
        for number in 1..=8 {
            let run = format!("run-{number}");
            let mut changes = BTreeMap::new();
            for _ in 0..=random.below(12) {
                let id = i64::try_from(random.below(1600)).unwrap();
                let name = (random.below(4) > 0).then(|| format!("r{number}-{id}"));
                changes.insert(id, name);
            }
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_iter_values(changes.keys().copied())),
                Arc::new(changes.values().collect::<StringArray>()),
            ];
            let changed = RecordBatch::try_new(people("a", 0, 1).schema(), columns).unwrap();
            let stays = arrow::compute::is_not_null(changed.column(1)).unwrap();
            let published = arrow::compute::filter_record_batch(&changed, &stays).unwrap();
            let before = model.clone();
            for (id, name) in changes {
                match name {
                    Some(name) => model.insert(id, name),
                    None => model.remove(&id),
                };
            }
            let mut attempts = 0;
            loop {
                attempts += 1;
                let step = usize::try_from(random.below(14)).unwrap() + 1;
                let fault = [Fault::DieBefore, Fault::DieAfter, Fault::Before, Fault::After]
                    [usize::try_from(random.below(4)).unwrap()];
                let faults = Faults::new(move |request: &Request| (request.number == step).then_some(fault));
                let faulty = place.faulty_lake(&faults, true);
                let options = WriteOptions {
                    file_rows: 100,
                    ..WriteOptions::new(&run, format!("{attempts}"))
                };
                let found = place
                    .lake()
                    .await
                    .find_commit("shop", "people", &run)
                    .await
                    .unwrap();
                let result = match found {
                    Some(_) => Ok(()),
                    None => merge_rows(&faulty, options, &changed, &published)
                        .await
                        .map(|_| ()),
                };
                let held = held(&place.lake().await).await;
                assert!(
                    held == before || held == model,
                    "seed {seed}, {run}: neither the old table nor the new one"
                );
                if result.is_ok() {
                    assert_eq!(held, model, "seed {seed}, {run}");
                    break;
                }
                assert!(attempts < 50, "seed {seed}, {run}: {result:?}");
            }
        }
        let rows = place
            .lake()
            .await
            .load("shop", "people")
            .await
            .unwrap()
            .unwrap()
            .rows();
        assert_eq!(
            rows,
            Some(model.len() as u64),
            "the summaries have been counted on rightly"
        );
    }
}

#[tokio::test]
async fn a_sweep_leaves_runs_that_are_at_work_alone() {
    let place = Place::directory();
    let lake = place.lake().await;
    run(&lake, "run-1", &people("a", 0, 10)).await.unwrap();
    // one has written its files and is about to commit, another has just begun one
    let changes = people("b", 5, 2);
    let (mut writer, mut merge) = begin(&lake, options("run-2"), &changes).await.unwrap();
    merge.add(&changes).unwrap();
    writer.write(changes.clone()).await.unwrap();
    let files = merge.finish(writer.close().await.unwrap()).await.unwrap();
    let mut begun = lake
        .write("shop", "people", changes.schema(), options("run-3"))
        .await
        .unwrap();
    begun.write(people("c", 100, 5)).await.unwrap();
    // what ended runs have left is swept meanwhile
    let _dead = write(&lake, options("run-4"), &people("x", 1, 3)).await.unwrap();
    for (run, removed) in [("run-1", 0), ("run-4", 1)] {
        assert_eq!(
            place.lake().await.sweep("shop", "people", run).await.unwrap(),
            removed
        );
    }
    lake.replace(files, info("run-2")).await.unwrap();
    // the base of what the merge keeps is swept as an ended run's
    assert_eq!(lake.sweep("shop", "people", "run-1").await.unwrap(), 0);
    assert_eq!(count_and_sum(&lake).await, (10, 45));
    lake.replace(begun.close().await.unwrap(), info("run-3"))
        .await
        .unwrap();
    assert_eq!(count_and_sum(&lake).await, (5, 510));
}

#[tokio::test]
async fn many_small_files_and_manifests_become_few() {
    let place = Place::directory();
    let lake = place.lake().await;
    run(&lake, "run-0", &people("a", 0, 1)).await.unwrap();
    for number in 1..=70 {
        let commit = merged(&lake, &format!("run-{number}"), &people("b", number, 1))
            .await
            .unwrap();
        assert!(commit.files <= 35, "run {number}: {} files", commit.files);
    }
    assert_eq!(count_and_sum(&lake).await, (71, 70 * 71 / 2));
    let list = current(&metadata(&place))["manifest-list"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(list.starts_with(&place.uri()), "{list}");
}

#[tokio::test]
async fn manifests_are_taken_over_until_they_are_too_many() {
    let place = Place::directory();
    let lake = place.lake().await;
    run(&lake, "run-0", &people("a", 0, 1)).await.unwrap();
    for number in 1..=70 {
        // no file is ever small
        let options = WriteOptions {
            file_bytes: 1,
            ..options(&format!("run-{number}"))
        };
        let rows = people("b", number, 1);
        let commit = merge_rows(&lake, options, &rows, &rows).await.unwrap();
        assert_eq!(commit.files, u64::try_from(number).unwrap() + 1);
    }
    assert_eq!(count_and_sum(&lake).await, (71, 70 * 71 / 2));
    let merged_manifests = tree(place.path())
        .iter()
        .filter(|file| file.ends_with("-m0.avro"))
        .count();
    assert_eq!(merged_manifests, 1);
    // sequence numbers went with the files: a change still finds each of them
    let commit = merged(&lake, "run-71", &people("c", 0, 71)).await.unwrap();
    assert_eq!((commit.rows, commit.files), (71, 1));
    assert_eq!(count_and_sum(&lake).await, (71, 70 * 71 / 2));
}

#[tokio::test]
async fn keys_of_any_type_and_number_and_masks_without_bounds() {
    let place = Place::directory();
    let lake = place.lake().await;
    // texts that begin alike are longer than bounds are
    let long = |label: &str, row: i64| format!("{}{label}{row}", "x".repeat(70));
    let schema = Arc::new(Schema::new(vec![
        Field::new("phone", DataType::Utf8, true),
        Field::new("shop", DataType::Utf8, false),
        Field::new("no", DataType::Decimal128(12, 2), false),
    ]));
    let batch = |rows: std::ops::Range<i64>, phone: &str| {
        let shops = StringArray::from_iter_values(rows.clone().map(|row| long("shop", row % 7)));
        let numbers = arrow::array::Decimal128Array::from_iter_values(rows.clone().map(i128::from));
        let phones = StringArray::from_iter_values(rows.map(|row| format!("{phone}{row}")));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(phones),
            Arc::new(shops),
            Arc::new(numbers.with_precision_and_scale(12, 2).unwrap()),
        ];
        RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
    };
    let partial = ColumnMask {
        method: "partial".to_owned(),
        domain: None,
        key: None,
        key_id: None,
    };
    let options = |run: &str| WriteOptions {
        masks: BTreeMap::from([("phone".to_owned(), partial.clone())]),
        ..options(run)
    };
    let files = write(&lake, options("run-1"), &batch(0..100, "canary"))
        .await
        .unwrap();
    lake.replace(files, info("run-1")).await.unwrap();
    let writer = lake
        .write("shop", "people", Arc::clone(&schema), options("run-2"))
        .await
        .unwrap();
    let base = lake.load("shop", "people").await.unwrap().unwrap();
    let mut merge = lake
        .merge(&base, &writer, &[1, 2], MEMORY)
        .await
        .unwrap()
        .unwrap();
    let mut writer = writer;
    let changes = batch(90..110, "canary-new");
    merge.add(&changes).unwrap();
    writer.write(changes).await.unwrap();
    let files = merge.finish(writer.close().await.unwrap()).await.unwrap();
    let commit = lake.replace(files, CommitInfo { ..info("run-2") }).await.unwrap();
    assert_eq!(commit.rows, 110);
    let renamed = "select count(*) as n, count(distinct no) as m from people where phone like 'canary-new%'";
    assert!(
        query(&context(&lake).await, renamed)
            .await
            .contains("| 20 | 20 |")
    );
    for file in tree(place.path())
        .iter()
        .filter(|file| Path::new(file).extension() == Some("avro".as_ref()))
    {
        let content = std::fs::read(place.path().join(file)).unwrap();
        assert!(
            !content.windows(6).any(|window| window == b"canary"),
            "{file} has bounds of a masked column"
        );
    }

    // rows of other columns cannot be merged
    let other = people("a", 0, 1);
    let writer = lake
        .write("shop", "people", other.schema(), WriteOptions::new("run-3", "1"))
        .await;
    assert!(
        lake.merge(&base, &writer.unwrap(), &[0], MEMORY)
            .await
            .unwrap()
            .is_none()
    );
    // keys beyond their memory are refused by name
    let writer = lake
        .write("shop", "people", Arc::clone(&schema), options("run-4"))
        .await
        .unwrap();
    let base = lake.load("shop", "people").await.unwrap().unwrap();
    let mut merge = lake.merge(&base, &writer, &[2], 1).await.unwrap().unwrap();
    let error = (0..20).find_map(|part| merge.add(&batch(part * 8192..(part + 1) * 8192, "x")).err());
    assert!(
        matches!(error, Some(LakeError::TooManyChanges { limit: 65_536, .. })),
        "{error:?}"
    );
}
