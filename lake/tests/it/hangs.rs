//! A bucket that stays silent: when a request is given up, and what it can still do when it arrives after its sender has
//! gone.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures::future::join_all;
use lakegate_crds::TableFormat;
use lakegate_crds::conditions::Reason;
use lakegate_lake::{Lake, LakeError, Patience, WriteOptions};

use crate::proxy::{Fate, Proxy};
use crate::s3_server::S3Server;
use crate::support::{
    Place, count_and_sum, data_files, info, keys, open_s3_with, options, people, run, s3_spec, tree, until,
    write,
};

const OLD: (i64, i64) = (3, 6);
const NEW: (i64, i64) = (4, 10);

/// A table of one run in a bucket of its own, and a lake that reaches it through a proxy.
struct Site {
    bucket: String,
    direct: Arc<Lake>,
    proxied: Arc<Lake>,
    /// Ends when it is dropped.
    _proxy: Proxy,
    /// Requests that came to the proxy.
    requests: Arc<AtomicUsize>,
}

impl Site {
    /// `rule` decides by a request's number and head.
    async fn open(patience: Patience, rule: impl Fn(usize, &str) -> Fate + Send + Sync + 'static) -> Self {
        let server = S3Server::shared();
        let bucket = server.bucket();
        let direct = open(&bucket, server.port, patience).await;
        run(&direct, "run-1", &people("a", 1, 3)).await.unwrap();
        let requests = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&requests);
        let proxy = Proxy::start(server.port, move |head| {
            // before a row is read: the attempt ends, and nothing is lost
            if head.contains("/_lakegate/") {
                return Fate::Pass;
            }
            rule(counter.fetch_add(1, Ordering::SeqCst) + 1, head)
        })
        .await;
        Self {
            proxied: open(&bucket, proxy.port, patience).await,
            direct,
            bucket,
            _proxy: proxy,
            requests,
        }
    }

    /// The second run, by an attempt of its own.
    async fn second_run(&self, lake: &Arc<Lake>, attempt: &str) -> Result<bool, LakeError> {
        let rows = people("b", 1, 4);
        let files = write(lake, WriteOptions::new("run-2", attempt), &rows).await?;
        Ok(lake.replace(files, info("run-2")).await?.already)
    }
}

async fn open(bucket: &str, port: u16, patience: Patience) -> Arc<Lake> {
    let spec = s3_spec(bucket, None, &format!("http://127.0.0.1:{port}"));
    open_s3_with(&spec, &keys(), patience).await.unwrap()
}

/// How many requests a run makes.
async fn requests_of_a_run() -> usize {
    let site = Site::open(Patience::Long, |_, _| Fate::Pass).await;
    site.second_run(&site.proxied, "1").await.unwrap();
    site.requests.load(Ordering::SeqCst)
}

fn texts(error: &(dyn Error + 'static)) -> String {
    let mut all = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        all = format!("{all}: {error}");
        next = error.source();
    }
    all
}

/// Each request of a run in turn is never answered, be it performed or not: it is sent again, and the run is in the table
/// once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_hangs_is_sent_again() {
    let mut runs = Vec::new();
    for step in 1..=requests_of_a_run().await {
        for fate in [Fate::Hang, Fate::HangAfter] {
            runs.push(async move {
                let what = format!("{fate:?} {step}");
                let rule = move |number, _: &str| if number == step { fate } else { Fate::Pass };
                let site = Site::open(Patience::Long, rule).await;
                let begun = Instant::now();
                let already = site.second_run(&site.proxied, "1").await;
                let already = already.unwrap_or_else(|error| panic!("{what}: {}", texts(&error)));
                assert!(!already, "{what}");
                let took = begun.elapsed();
                assert!(
                    took > Duration::from_secs(50),
                    "{what}: it did not hang, {took:?}"
                );
                assert!(took < Duration::from_secs(150), "{what}: {took:?}");
                assert_eq!(count_and_sum(&site.direct).await, NEW, "{what}");
                let version = site
                    .direct
                    .load("shop", "people")
                    .await
                    .unwrap()
                    .unwrap()
                    .version();
                assert_eq!(version, 2, "{what}");
                assert_eq!(
                    site.direct.sweep("shop", "people", "run-2").await.unwrap(),
                    0,
                    "{what}"
                );
            });
        }
    }
    assert!(runs.len() > 20, "{}", runs.len());
    join_all(runs).await;
}

/// A bucket that answers nothing any more ends the run soon, by its name, clearing up included; the table is as it was,
/// and the run that is tried again publishes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_hangs_ends_the_run() {
    let mut runs = Vec::new();
    for step in 1..=requests_of_a_run().await {
        runs.push(async move {
            let rule = move |number, _: &str| if number >= step { Fate::Hang } else { Fate::Pass };
            let site = Site::open(Patience::Short, rule).await;
            let begun = Instant::now();
            let ended = site.second_run(&site.proxied, "1").await;
            let took = begun.elapsed();
            assert!(took < Duration::from_mins(3), "{step}: {took:?}");
            let held = count_and_sum(&site.direct).await;
            // what follows the commit may fail, too
            let committed = held == NEW;
            assert!(committed || held == OLD, "{step}: {held:?}");
            let error = ended.expect_err("nothing answers");
            let said = texts(&error);
            assert!(
                said.contains(&site.bucket) && said.contains("did not answer in time"),
                "{step}: {said}"
            );
            assert!(!error.is_terminal(), "{step}: {said}");
            let reason = match &error {
                LakeError::CommitUnknown { .. } | LakeError::CommitUnfinished { .. } => error.reason(),
                _ => Some(Reason::Timeout),
            };
            assert_eq!(error.reason(), reason, "{step}: {said}");
            let found = site.direct.find_commit("shop", "people", "run-2").await.unwrap();
            assert_eq!(found.is_some(), committed, "{step}");
            assert_eq!(
                site.second_run(&site.direct, "2").await.unwrap(),
                committed,
                "{step}"
            );
            assert_eq!(count_and_sum(&site.direct).await, NEW, "{step}");
        });
    }
    join_all(runs).await;
}

/// A lake whose second run is killed while its commit is on the way to the bucket.
async fn killed_in_its_commit(format: TableFormat) -> (Place, Arc<Lake>, Proxy) {
    let server = S3Server::shared();
    let place = Place::bucket_with_prefix(None);
    let bucket = place.path().file_name().unwrap().to_str().unwrap();
    let proxy = Proxy::start(server.port, move |head| {
        let commit = match format {
            TableFormat::Iceberg => ".metadata.json",
            TableFormat::Parquet => "_runs/run-2.json",
        };
        let line = head.lines().next().unwrap_or_default();
        if line.starts_with("PUT ") && line.contains(commit) {
            Fate::Late
        } else {
            Fate::Pass
        }
    })
    .await;
    let direct = place.lake().await;
    for_run(&direct, "run-1", format, 3).await.unwrap();
    let proxied = open(bucket, proxy.port, Patience::Short).await;
    let killed = tokio::spawn(async move { for_run(&proxied, "run-2", format, 4).await });
    until(|| proxy.holds_one()).await;
    killed.abort();
    assert!(killed.await.unwrap_err().is_cancelled());
    (place, direct, proxy)
}

async fn for_run(lake: &Lake, run: &str, format: TableFormat, rows: i64) -> Result<(), LakeError> {
    let options = WriteOptions {
        format,
        ..options(run)
    };
    let files = write(lake, options, &people("b", 1, rows)).await?;
    lake.replace(files, info(run)).await.map(|_| ())
}

/// The run was given up and swept before its commit arrives: what it then publishes is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_commit_publishes_whole_files() {
    for format in [TableFormat::Iceberg, TableFormat::Parquet] {
        let (place, lake, proxy) = killed_in_its_commit(format).await;
        assert!(
            lake.find_commit("shop", "people", "run-2")
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(
            lake.sweep("shop", "people", "run-2").await.unwrap(),
            0,
            "{format:?}"
        );
        proxy.release().await;
        let commit = lake
            .find_commit("shop", "people", "run-2")
            .await
            .unwrap()
            .unwrap();
        assert_eq!((commit.rows, commit.files), (4, 1), "{format:?}");
        let manifest = lake
            .run_manifest("shop", "people", "run-2")
            .await
            .unwrap()
            .unwrap();
        for file in &manifest.files {
            let written = std::fs::metadata(place.path().join("shop/people").join(&file.path)).unwrap();
            assert_eq!(written.len(), file.size);
        }
        if format == TableFormat::Iceberg {
            assert_eq!(count_and_sum(&lake).await, NEW);
        }
        assert_eq!(
            lake.sweep("shop", "people", "run-2").await.unwrap(),
            0,
            "{format:?}"
        );
        assert!(
            tree(place.path())
                .iter()
                .all(|file| !file.ends_with("_committing"))
        );
    }
}

/// Another run, or another attempt, was faster: what comes late changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_commit_does_not_undo_another() {
    for by in ["run-2", "run-3"] {
        let (place, lake, proxy) = killed_in_its_commit(TableFormat::Iceberg).await;
        for_run(&lake, by, TableFormat::Iceberg, 5).await.unwrap();
        proxy.release().await;
        assert_eq!(count_and_sum(&lake).await, (5, 15), "{by}");
        assert_eq!(
            lake.load("shop", "people").await.unwrap().unwrap().version(),
            2,
            "{by}"
        );
        let is_own = by == "run-2";
        let found = lake.find_commit("shop", "people", "run-2").await.unwrap();
        assert_eq!(found.is_some(), is_own);
        // of a run that is published the commit is known to have failed
        let swept = lake.sweep("shop", "people", "run-2").await.unwrap();
        assert_eq!(swept > 0, is_own, "{by}: {swept}");
        assert_eq!(data_files(place.path()).len(), if is_own { 2 } else { 3 });
    }
    let (_place, lake, proxy) = killed_in_its_commit(TableFormat::Parquet).await;
    for_run(&lake, "run-2", TableFormat::Parquet, 5).await.unwrap();
    proxy.release().await;
    let manifest = lake
        .run_manifest("shop", "people", "run-2")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(manifest.rows, 5);
    assert_eq!(
        lake.sweep("shop", "people", "run-2").await.unwrap(),
        2,
        "a file and the mark"
    );
}

/// A request that was begun long ago is not on its way any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_committed_any_more_is_swept() {
    for format in [TableFormat::Iceberg, TableFormat::Parquet] {
        let (place, lake, _proxy) = killed_in_its_commit(format).await;
        let old = SystemTime::now() - Duration::from_hours(1);
        let left: Vec<String> = tree(place.path())
            .into_iter()
            .filter(|file| file.contains("/run-2/"))
            .collect();
        for file in &left {
            let file = std::fs::File::options()
                .write(true)
                .open(place.path().join(file))
                .unwrap();
            file.set_modified(old).unwrap();
        }
        let swept = lake.sweep("shop", "people", "run-2").await.unwrap();
        assert_eq!(swept, left.len() as u64, "{format:?}");
        assert_eq!(data_files(place.path()).len(), 1, "{format:?}");
    }
}
