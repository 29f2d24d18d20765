//! What the tests share: places for lakes, and small tables.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use datafusion::prelude::{SessionConfig, SessionContext};
use lakegate_crds::{LakeSpec, S3Spec};
use lakegate_lake::{Commit, CommitInfo, Lake, LakeContext, LakeError, Patience, WriteOptions, WrittenFiles};
use lakegate_store::s3::{self, S3Context};
use lakegate_store::{MemoryStore, Secrets};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;

use crate::faulty::{Faults, FaultyStore};
use crate::s3_server::{KEY, S3Server, SECRET};

/// Waits for what happens beside the test.
pub async fn until(mut happened: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while !happened() {
        assert!(std::time::Instant::now() < end, "it does not happen");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

pub async fn lake(directory: &FilePath) -> Arc<Lake> {
    Lake::open_directory(directory).await.unwrap()
}

/// Where a lake is. In both kinds its objects are files that a test may look at.
pub struct Place {
    /// The lake's directory; in a bucket, the prefix's.
    path: PathBuf,
    bucket: Option<S3Spec>,
    /// Removed with the place.
    _directory: Option<tempfile::TempDir>,
}

impl Place {
    pub fn directory() -> Self {
        let directory = directory();
        // a space in the path: metadata holds the text as it is
        let path = directory.path().join("a lake");
        std::fs::create_dir(&path).unwrap();
        Self {
            path,
            bucket: None,
            _directory: Some(directory),
        }
    }

    /// A bucket of its own, below a prefix.
    pub fn bucket() -> Self {
        Self::bucket_with_prefix(Some("prod/a lake"))
    }

    pub fn bucket_with_prefix(prefix: Option<&str>) -> Self {
        let server = S3Server::shared();
        let bucket = server.bucket();
        Self {
            path: server.path(&bucket).join(prefix.unwrap_or_default()),
            bucket: Some(s3_spec(&bucket, prefix, &server.endpoint())),
            _directory: None,
        }
    }

    pub fn is_bucket(&self) -> bool {
        self.bucket.is_some()
    }

    pub fn path(&self) -> &FilePath {
        &self.path
    }

    pub fn uri(&self) -> String {
        match &self.bucket {
            None => format!("file://{}", self.path.display()),
            Some(S3Spec {
                bucket,
                prefix: Some(prefix),
                ..
            }) => format!("s3://{bucket}/{prefix}"),
            Some(S3Spec { bucket, .. }) => format!("s3://{bucket}"),
        }
    }

    /// The lake as another process would open it.
    pub async fn lake(&self) -> Arc<Lake> {
        match &self.bucket {
            None => lake(&self.path).await,
            Some(spec) => open_s3(spec, &keys()).await.unwrap(),
        }
    }

    /// The lake through a store that fails as `faults` says. A bucket's failures are never final.
    pub fn faulty_lake(&self, faults: &Arc<Faults>, failures_are_final: bool) -> Arc<Lake> {
        let inner: Arc<dyn ObjectStore> = match &self.bucket {
            None => Arc::new(LocalFileSystem::new_with_prefix(&self.path).unwrap()),
            Some(spec) => {
                let context = S3Context {
                    field: "spec.lake.s3",
                    namespace: "default",
                    secrets: &keys(),
                    patience: Patience::Short,
                };
                let bucket = s3::open(spec, &context).unwrap();
                Arc::new(PrefixStore::new(bucket.store, bucket.prefix))
            }
        };
        let store = FaultyStore {
            inner,
            faults: Arc::clone(faults),
        };
        let is_final = failures_are_final && !self.is_bucket();
        Lake::open_store(Arc::new(store), self.uri(), is_final).unwrap()
    }
}

/// Runs tests in a directory and in a bucket of an S3 server. Each takes what makes it a place.
macro_rules! on_every_place {
    ($($test:ident),+ $(,)?) => {
        mod in_a_directory {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(crate::support::Place::directory).await;
                }
            )+
        }

        mod in_a_bucket {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(crate::support::Place::bucket).await;
                }
            )+
        }
    };
}
pub(crate) use on_every_place;

/// A bucket of a compatible store, with the keys of the Secret `lake-keys`.
pub fn s3_spec(bucket: &str, prefix: Option<&str>, endpoint: &str) -> S3Spec {
    let mut spec = serde_json::json!({
        "bucket": bucket,
        "endpoint": endpoint,
        "pathStyle": true,
        "credentials": {"secretRef": {"name": "lake-keys"}},
    });
    if let Some(prefix) = prefix {
        spec["prefix"] = prefix.into();
    }
    serde_json::from_value(spec).unwrap()
}

pub async fn open_s3(spec: &S3Spec, secrets: &Arc<dyn Secrets>) -> Result<Arc<Lake>, LakeError> {
    open_s3_with(spec, secrets, Patience::Short).await
}

pub async fn open_s3_with(
    spec: &S3Spec,
    secrets: &Arc<dyn Secrets>,
    patience: Patience,
) -> Result<Arc<Lake>, LakeError> {
    let spec = LakeSpec {
        s3: Some(spec.clone()),
        directory: None,
    };
    let context = LakeContext {
        namespace: "default".to_owned(),
        base_dir: PathBuf::new(),
        state_dir: PathBuf::new(),
        secrets: Arc::clone(secrets),
        patience,
    };
    Lake::open(&spec, &context).await
}

/// The keys of the S3 server's owner.
pub fn keys() -> Arc<dyn Secrets> {
    keys_of(KEY, SECRET)
}

/// A Secret `lake-keys`.
pub fn keys_of(key: &str, secret: &str) -> Arc<dyn Secrets> {
    let store = MemoryStore::new();
    store.put_secret("default", "lake-keys", "accessKeyId", key);
    store.put_secret("default", "lake-keys", "secretAccessKey", secret);
    Arc::new(store)
}

pub fn people_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
    ]))
}

/// Rows `first..first + rows`, named `<label><id>`.
pub fn people(label: &str, first: i64, rows: i64) -> RecordBatch {
    let ids = Int64Array::from_iter_values(first..first + rows);
    let names = StringArray::from_iter_values((first..first + rows).map(|id| format!("{label}{id}")));
    RecordBatch::try_new(people_schema(), vec![Arc::new(ids), Arc::new(names)]).unwrap()
}

pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .unwrap()
}

pub fn options(run: &str) -> WriteOptions {
    WriteOptions::new(run, "1")
}

pub fn info(run: &str) -> CommitInfo {
    CommitInfo {
        run_id: run.to_owned(),
        export: Some("default/people".to_owned()),
        ..CommitInfo::default()
    }
}

pub async fn write(
    lake: &Lake,
    options: WriteOptions,
    batch: &RecordBatch,
) -> Result<WrittenFiles, LakeError> {
    let mut writer = lake.write("shop", "people", batch.schema(), options).await?;
    writer.write(batch.clone()).await?;
    writer.close().await
}

/// One whole run.
pub async fn run(lake: &Lake, run: &str, batch: &RecordBatch) -> Result<Commit, LakeError> {
    let files = write(lake, options(run), batch).await?;
    lake.replace(files, info(run)).await
}

pub async fn context(lake: &Arc<Lake>) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    let table = lake
        .load("shop", "people")
        .await
        .unwrap()
        .expect("the table exists");
    context
        .register_table("people", lake.provider(&table).await.unwrap())
        .unwrap();
    context
}

pub async fn query(context: &SessionContext, sql: &str) -> String {
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    pretty_format_batches_with_options(&batches, &FormatOptions::default().with_null("NULL"))
        .unwrap()
        .to_string()
}

/// Every row of the table, sorted by id, as text.
pub async fn rows(lake: &Arc<Lake>) -> String {
    query(&context(lake).await, "select * from people order by id").await
}

/// Sum of the ids and number of rows: tells which runs a table holds.
pub async fn count_and_sum(lake: &Arc<Lake>) -> (i64, i64) {
    let batches = context(lake)
        .await
        .sql("select count(id) as n, coalesce(sum(id), 0) as s from people")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let number = |column: usize| {
        batches[0]
            .column(column)
            .as_any()
            .downcast_ref::<Int64Array>()
            .unwrap()
            .value(0)
    };
    (number(0), number(1))
}

/// Files below a directory, relative to it, sorted; neither directories are listed nor what does not belong to a table.
pub fn tree(directory: &FilePath) -> Vec<String> {
    fn walk(root: &FilePath, directory: &FilePath, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    if directory.exists() {
        walk(directory, directory, &mut found);
    }
    found.retain(|file| !file.starts_with("_lakegate/") && !file.starts_with(".sgwtmp"));
    found.sort();
    found
}

pub fn data_files(directory: &FilePath) -> Vec<String> {
    tree(directory)
        .into_iter()
        .filter(|file| file.contains("/data/") && file.ends_with(".parquet"))
        .collect()
}

/// What a program for the readers' Python environment prints as JSON.
pub fn told_by_python(arguments: &[&std::ffi::OsStr]) -> serde_json::Value {
    let python = std::env::var_os("LAKEGATE_TEST_PYTHON").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/lakegate/venv/bin/python"),
        PathBuf::from,
    );
    assert!(
        python.exists(),
        "{} is absent; create it with:\n  python3 -m venv ~/.cache/lakegate/venv && ~/.cache/lakegate/venv/bin/pip install -r tests/requirements.txt\nor set LAKEGATE_TEST_PYTHON to an interpreter that has these",
        python.display()
    );
    let output = std::process::Command::new(python)
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}
