//! What only a bucket has: keys, policies, replies that are lost on the way, parts.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use lakegate_crds::S3Spec;
use lakegate_crds::conditions::Reason;
use lakegate_lake::{Lake, LakeError, WriteOptions};
use lakegate_store::Secrets;
use serde_json::json;

use crate::faulty::{Faults, FaultyStore};
use crate::proxy::{Fate, Proxy};
use crate::s3_server::{KEY, S3Server, SECRET};
use crate::support::{
    Place, batch, count_and_sum, data_files, directory, info, keys, keys_of, open_s3, options, people, run,
    s3_spec, tree, until, write,
};

/// Every text that an error shows to anybody.
fn texts(error: &(dyn Error + 'static)) -> String {
    let mut all = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        all = format!("{all}\n{error}");
        next = error.source();
    }
    all
}

async fn failure(spec: &S3Spec, secrets: &Arc<dyn Secrets>) -> LakeError {
    let lake = open_s3(spec, secrets).await.unwrap();
    let shown = format!("{lake:?}");
    assert!(!shown.contains("canary"), "{shown}");
    let error = lake.list().await.unwrap_err();
    // what stands where a table could be is not taken for its absence
    lake.load("shop", "people").await.unwrap_err();
    lake.find_commit("shop", "people", "run-1").await.unwrap_err();
    let begun = lake
        .write("shop", "people", people("a", 1, 1).schema(), options("run-1"))
        .await;
    assert!(begun.is_err());
    let all = texts(&error);
    assert!(!all.contains("canary"), "{all}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_with_what_to_do() {
    let server = S3Server::shared();
    let (bucket, endpoint) = (server.bucket(), server.endpoint());
    let good = s3_spec(&bucket, None, &endpoint);
    server.add_user("ana", "canary-of-ana");
    let edited = |edit: serde_json::Value| -> S3Spec {
        let mut spec = serde_json::to_value(&good).unwrap();
        for (key, value) in edit.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    };
    let cases = [
        (
            good.clone(),
            keys_of(KEY, "canary-wrong-secret"),
            (Reason::AccessDenied, false),
            "does not accept the keys (SignatureDoesNotMatch",
            "correct them in Secret lake-keys",
        ),
        (
            good.clone(),
            keys_of("canarynobody", SECRET),
            (Reason::AccessDenied, false),
            "does not accept the keys (InvalidAccessKeyId",
            "correct them in Secret lake-keys",
        ),
        (
            good.clone(),
            keys_of("ana", "canary-of-ana"),
            (Reason::AccessDenied, false),
            "denies access (AccessDenied",
            "allow it in the policy",
        ),
        (
            edited(json!({"bucket": "no-such-bucket"})),
            keys(),
            (Reason::PathNotFound, false),
            "bucket no-such-bucket at http://127.0.0.1:",
            "does not exist; create it",
        ),
        (
            edited(json!({"region": "ap-northeast-2"})),
            keys(),
            (Reason::InvalidSpec, true),
            "is in another region, us-east-1",
            "correct region in the DataSource",
        ),
        (
            edited(json!({"credentials": {"secretRef": {"name": "nowhere"}}})),
            keys(),
            (Reason::SecretNotFound, false),
            "cannot be used without its keys: secret nowhere was not found",
            "put it into",
        ),
    ];
    for (spec, secrets, expected, problem, remedy) in cases {
        let error = failure(&spec, &secrets).await;
        let message = error.to_string();
        assert!(
            message.contains(problem) && message.contains(remedy),
            "{problem}: {message}"
        );
        assert_eq!(
            (error.reason().unwrap(), error.is_terminal()),
            expected,
            "{message}"
        );
    }
    assert!(tree(&server.path(&bucket)).is_empty());
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_told_soon() {
    let port = Proxy::start(1, |_| Fate::Pass).await.stop().await;
    let started = Instant::now();
    let error = open_s3(
        &s3_spec("lake", None, &format!("http://127.0.0.1:{port}")),
        &keys(),
    )
    .await
    .unwrap()
    .list()
    .await
    .unwrap_err();
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(
        (error.reason(), error.is_terminal()),
        (Some(Reason::ConnectionFailed), false)
    );
    let message = error.to_string();
    assert!(
        message.contains("cannot be reached: ") && message.contains("refused"),
        "{message}"
    );
}

#[tokio::test]
async fn a_spec_that_cannot_be_names_its_field() {
    for (edit, field) in [
        (
            json!({"endpoint": "http://ana:canary@127.0.0.1"}),
            "spec.lake.s3.endpoint",
        ),
        (
            json!({"endpoint": "http://127.0.0.1", "pathStyle": false}),
            "spec.lake.s3.endpoint",
        ),
        (json!({"prefix": "a/../b"}), "spec.lake.s3.prefix"),
        (json!({"bucket": "a/b"}), "spec.lake.s3.bucket"),
    ] {
        let mut spec = serde_json::to_value(s3_spec("lake", None, "http://127.0.0.1")).unwrap();
        for (key, value) in edit.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let spec = serde_json::from_value(spec).unwrap();
        let error = open_s3(&spec, &keys()).await.unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with(field) && !message.contains("canary"),
            "{message}"
        );
        assert_eq!(
            (error.reason(), error.is_terminal()),
            (Some(Reason::InvalidSpec), true)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_down_is_used_again() {
    let server = S3Server::shared();
    let bucket = server.bucket();
    let proxy = Proxy::start(server.port, |_| Fate::Pass).await;
    let spec = s3_spec(&bucket, None, &format!("http://127.0.0.1:{}", proxy.port));
    let lake = open_s3(&spec, &keys()).await.unwrap();
    run(&lake, "run-1", &people("a", 1, 3)).await.unwrap();
    let port = proxy.stop().await;
    let error = lake.load("shop", "people").await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::ConnectionFailed), "{error}");

    let proxy = Proxy::start_on(port, server.port).await;
    assert_eq!(count_and_sum(&lake).await, (3, 6));
    run(&lake, "run-2", &people("a", 4, 1)).await.unwrap();
    assert_eq!(count_and_sum(&lake).await, (1, 4));
    drop(proxy);
}

/// Each changing request of a run in turn meets each fate, on a real server through a real connection: one call gets
/// there, and the run is in the table once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_replies_on_the_wire() {
    let server = S3Server::shared();
    let mut committed = 0;
    for fate in [
        Fate::LoseReply,
        Fate::BusyAfter,
        Fate::BusyBefore,
        Fate::Conflict,
        Fate::Break,
    ] {
        for step in 1.. {
            let bucket = server.bucket();
            let counter = Arc::new(AtomicUsize::new(0));
            let met = Arc::new(AtomicBool::new(false));
            let (requests, hit) = (Arc::clone(&counter), Arc::clone(&met));
            let proxy = Proxy::start(server.port, move |head| {
                let changes = head.starts_with("PUT ") && !head.contains("/_lakegate/");
                if !changes || requests.fetch_add(1, Ordering::SeqCst) + 1 != step {
                    return Fate::Pass;
                }
                // only a create is answered with a conflict
                if fate == Fate::Conflict && !head.to_lowercase().contains("if-none-match") {
                    return Fate::Pass;
                }
                hit.store(true, Ordering::SeqCst);
                fate
            })
            .await;
            let spec = s3_spec(&bucket, Some("p"), &format!("http://127.0.0.1:{}", proxy.port));
            let lake = open_s3(&spec, &keys()).await.unwrap();
            let commit = run(&lake, "run-1", &people("a", 1, 3))
                .await
                .unwrap_or_else(|error| panic!("{fate:?} {step}: {}", texts(&error)));
            assert!(!commit.already, "{fate:?} {step}");
            assert_eq!(commit.version, 1, "{fate:?} {step}");

            // as a process without the proxy sees it
            let other = open_s3(&s3_spec(&bucket, Some("p"), &server.endpoint()), &keys())
                .await
                .unwrap();
            let found = other
                .find_commit("shop", "people", "run-1")
                .await
                .unwrap()
                .unwrap();
            assert_eq!(found.snapshot_id, commit.snapshot_id, "{fate:?} {step}");
            assert_eq!(count_and_sum(&other).await, (3, 6));
            let files = tree(&server.path(&bucket).join("p"));
            assert_eq!(
                files
                    .iter()
                    .filter(|file| file.ends_with(".metadata.json"))
                    .count(),
                1
            );
            assert_eq!(
                other.sweep("shop", "people", "run-1").await.unwrap(),
                0,
                "{files:#?}"
            );
            committed += usize::from(met.load(Ordering::SeqCst));
            if counter.load(Ordering::SeqCst) < step {
                break;
            }
        }
    }
    // a data file, a manifest, a list, the commit, the hint, the run manifest, _SUCCESS; of these one create
    assert!(committed > 4 * 7, "{committed}");
}

/// Whoever loses the race for a version by a reply that was lost, or a conflict without a winner, commits on top.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_of_which_one_hears_nothing() {
    let server = S3Server::shared();
    let bucket = server.bucket();
    let times = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&times);
    let proxy = Proxy::start(server.port, move |head| {
        let commits = head.starts_with("PUT ") && head.contains(".metadata.json");
        match commits.then(|| seen.fetch_add(1, Ordering::SeqCst)) {
            Some(0) => Fate::LoseReply,
            Some(1) => Fate::BusyAfter,
            _ => Fate::Pass,
        }
    })
    .await;
    let deaf = open_s3(
        &s3_spec(&bucket, None, &format!("http://127.0.0.1:{}", proxy.port)),
        &keys(),
    )
    .await
    .unwrap();
    let other = open_s3(&s3_spec(&bucket, None, &server.endpoint()), &keys())
        .await
        .unwrap();
    let (mine, theirs) = (people("a", 1, 3), people("b", 1, 2));
    let (one, two) = tokio::join!(run(&deaf, "run-1", &mine), run(&other, "run-2", &theirs));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(!one.already && !two.already);
    let mut versions = [one.version, two.version];
    versions.sort_unstable();
    assert_eq!(versions, [1, 2]);
    let rows = if one.version == 2 { (3, 6) } else { (2, 3) };
    assert_eq!(count_and_sum(&other).await, rows);
    for run_id in ["run-1", "run-2"] {
        assert_eq!(other.sweep("shop", "people", run_id).await.unwrap(), 0);
    }
}

fn noise(rows: i64) -> RecordBatch {
    let noise = Int64Array::from_iter_values((0..rows).map(|n| n.wrapping_mul(6_364_136_223_846_793_005)));
    let names = StringArray::from(vec!["n"; rows as usize]);
    batch(vec![("id", Arc::new(noise) as _), ("name", Arc::new(names) as _)])
}

/// Small row groups, so that bytes leave early.
fn streaming(run_id: &str) -> WriteOptions {
    WriteOptions {
        row_group_bytes: 1 << 20,
        ..options(run_id)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_goes_in_parts() {
    let server = S3Server::shared();
    let bucket = server.bucket();
    // the reply to the completion is lost, and once a part's
    let parts = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&parts);
    let completions = Arc::new(AtomicUsize::new(0));
    let completed = Arc::clone(&completions);
    let proxy = Proxy::start(server.port, move |head| {
        let line = head.lines().next().unwrap_or_default();
        if line.starts_with("POST ") && line.contains("uploadId=") {
            return match completed.fetch_add(1, Ordering::SeqCst) {
                0 => Fate::LoseReply,
                _ => Fate::Pass,
            };
        }
        if line.contains("partNumber=") {
            return match seen.fetch_add(1, Ordering::SeqCst) {
                1 => Fate::LoseReply,
                2 => Fate::BusyBefore,
                _ => Fate::Pass,
            };
        }
        Fate::Pass
    })
    .await;
    let spec = s3_spec(&bucket, Some("p"), &format!("http://127.0.0.1:{}", proxy.port));
    let lake = open_s3(&spec, &keys()).await.unwrap();
    let rows = noise(5_000_000);
    let files = write(&lake, streaming("run-1"), &rows).await.unwrap();
    assert_eq!(files.files(), 1);
    assert!(files.bytes() > 32 * 1024 * 1024, "{}", files.bytes());
    let commit = lake.replace(files, info("run-1")).await.unwrap();
    assert_eq!(commit.rows, 5_000_000);
    assert!(parts.load(Ordering::SeqCst) >= 7, "{parts:?}");
    assert_eq!(completions.load(Ordering::SeqCst), 2);
    assert_eq!(server.open_uploads(&bucket), 0);
    // the whole file, as it was hashed on its way out
    let manifest = lake
        .run_manifest("shop", "people", "run-1")
        .await
        .unwrap()
        .unwrap();
    let path = server
        .path(&bucket)
        .join("p/shop/people")
        .join(&manifest.files[0].path);
    let content = std::fs::read(path).unwrap();
    assert_eq!(content.len() as u64, commit.bytes);
    assert_eq!(count_and_sum(&lake).await.0, 5_000_000);
    // and read once more by who has to hash it: the winner's manifest was lost
    std::fs::remove_file(server.path(&bucket).join("p/shop/people/_runs/run-1.json")).unwrap();
    let again = lake
        .run_manifest("shop", "people", "run-1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again, manifest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_ends_badly_leaves_nothing() {
    let server = S3Server::shared();
    let place = Place::bucket_with_prefix(None);
    let bucket = place.path().file_name().unwrap().to_str().unwrap();
    let lake = place.lake().await;
    let rows = noise(1_300_000);
    let begin = || async {
        let mut writer = lake
            .write("shop", "people", rows.schema(), streaming("run-1"))
            .await
            .unwrap();
        writer.write(rows.clone()).await.unwrap();
        until(|| server.open_uploads(bucket) > 0).await;
        writer
    };
    begin().await.abort().await.unwrap();
    assert_eq!(server.open_uploads(bucket), 0);
    assert_eq!(tree(place.path()), Vec::<String>::new());

    // a process that was killed: its parts are no object of the bucket, and no part of a table
    drop(begin().await);
    assert_eq!(data_files(place.path()), Vec::<String>::new());
    assert_eq!(lake.sweep("shop", "people", "run-1").await.unwrap(), 0);
    run(&lake, "run-1", &people("a", 1, 3)).await.unwrap();
    assert_eq!(count_and_sum(&lake).await, (3, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lakes_of_one_bucket_keep_to_their_prefix() {
    let server = S3Server::shared();
    let bucket = server.bucket();
    let open = async |prefix: Option<&str>| {
        open_s3(&s3_spec(&bucket, prefix, &server.endpoint()), &keys())
            .await
            .unwrap()
    };
    let (a, ab, whole) = (open(Some("a")).await, open(Some("a/b")).await, open(None).await);
    run(&a, "run-1", &people("a", 1, 1)).await.unwrap();
    run(&ab, "run-1", &people("b", 1, 2)).await.unwrap();
    run(&whole, "run-1", &people("c", 1, 3)).await.unwrap();
    assert_eq!(count_and_sum(&a).await.0, 1);
    assert_eq!(count_and_sum(&ab).await.0, 2);
    assert_eq!(count_and_sum(&whole).await.0, 3);
    assert_eq!(a.location(), format!("s3://{bucket}/a"));
    assert_eq!(whole.location(), format!("s3://{bucket}"));
    let table = ab.load("shop", "people").await.unwrap().unwrap();
    assert_eq!(table.location(), format!("s3://{bucket}/a/b/shop/people"));
    assert_eq!(whole.list().await.unwrap().len(), 1);
    a.drop_table("shop", "people").await.unwrap();
    assert!(a.list().await.unwrap().is_empty());
    assert_eq!(count_and_sum(&ab).await.0, 2);
}

/// A store that takes the condition for nothing would let two runs overwrite each other: it is found out before a row
/// is written.
#[tokio::test]
async fn a_store_that_creates_twice_is_no_lake() {
    let directory = directory();
    let inner = object_store::local::LocalFileSystem::new_with_prefix(directory.path()).unwrap();
    let store = FaultyStore {
        inner: Arc::new(Overwriting(inner)),
        faults: Faults::none(),
    };
    let lake = Lake::open_store(Arc::new(store), "s3://careless".to_owned(), false).unwrap();
    let error = run(&lake, "run-1", &people("a", 1, 1)).await.unwrap_err();
    assert!(matches!(error, LakeError::NoConditionalCreate { .. }), "{error}");
    assert!(error.is_terminal() && error.to_string().contains("If-None-Match"));
    assert_eq!(tree(directory.path()), Vec::<String>::new());
}

/// A local directory without the condition.
#[derive(Debug)]
struct Overwriting(object_store::local::LocalFileSystem);

impl std::fmt::Display for Overwriting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("overwriting")
    }
}

#[async_trait::async_trait]
impl object_store::ObjectStore for Overwriting {
    async fn put_opts(
        &self,
        path: &object_store::path::Path,
        payload: object_store::PutPayload,
        _: object_store::PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        self.0
            .put_opts(path, payload, object_store::PutOptions::default())
            .await
    }

    async fn put_multipart_opts(
        &self,
        path: &object_store::path::Path,
        options: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.0.put_multipart_opts(path, options).await
    }

    async fn get_opts(
        &self,
        path: &object_store::path::Path,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        self.0.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: futures::stream::BoxStream<'static, object_store::Result<object_store::path::Path>>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::path::Path>> {
        self.0.delete_stream(paths)
    }

    fn list(
        &self,
        prefix: Option<&object_store::path::Path>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&object_store::path::Path>,
    ) -> object_store::Result<object_store::ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &object_store::path::Path,
        to: &object_store::path::Path,
        options: object_store::CopyOptions,
    ) -> object_store::Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
