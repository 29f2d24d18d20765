//! The objectStore connector against a bucket of a real S3 server.

use std::fs::{create_dir_all, write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::prelude::SessionContext;
use lakegate_connectors::{ConnectContext, Connector, ConnectorError, connect};
use lakegate_crds::conditions::Reason;
use lakegate_store::MemoryStore;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::common::{columns, failure, lines, plan, sessions, table};
use crate::s3_server::{KEY, S3Server, SECRET};

/// A bucket whose objects are files below `path`.
struct Bucket {
    name: String,
    path: PathBuf,
    runtime: Arc<datafusion::execution::runtime_env::RuntimeEnv>,
}

impl Bucket {
    fn new() -> Self {
        let server = S3Server::shared();
        let name = server.bucket();
        Self {
            path: server.path(&name),
            name,
            runtime: Arc::default(),
        }
    }

    fn put(&self, key: &str, content: impl AsRef<[u8]>) {
        let path = self.path.join(key);
        create_dir_all(path.parent().unwrap()).unwrap();
        write(path, content).unwrap();
    }

    fn put_parquet(&self, key: &str, ids: &[i64], word: &str) {
        let id: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
        let words: ArrayRef = Arc::new(StringArray::from(vec![word; ids.len()]));
        let batch = RecordBatch::try_from_iter([("id", id), ("word", words)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        self.put(key, writer.into_inner().unwrap());
    }

    async fn connect(&self, edit: Value, tables: Value) -> Result<Arc<dyn Connector>, ConnectorError> {
        let secrets = MemoryStore::new();
        secrets.put_secret("default", "keys", "accessKeyId", KEY);
        secrets.put_secret("default", "keys", "secretAccessKey", SECRET);
        secrets.put_secret("default", "wrong", "accessKeyId", KEY);
        secrets.put_secret("default", "wrong", "secretAccessKey", "canary-wrong");
        let mut s3 = json!({
            "bucket": self.name, "endpoint": S3Server::shared().endpoint(), "pathStyle": true,
            "credentials": {"secretRef": {"name": "keys"}},
        });
        for (name, value) in edit.as_object().unwrap() {
            s3[name] = value.clone();
        }
        let context = ConnectContext {
            catalog: "shop".to_owned(),
            namespace: "default".to_owned(),
            base_dir: Path::new("/nowhere").to_owned(),
            runtime: Arc::clone(&self.runtime),
            secrets: Arc::new(secrets),
        };
        let spec = json!({"objectStore": {"s3": s3, "tables": tables}});
        connect(&serde_json::from_value(spec).unwrap(), context).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_a_bucket_are_tables() {
    let bucket = Bucket::new();
    bucket.put("logs/prod/a.csv", "n,word\n1,one\n2,two\n");
    bucket.put("logs/other/a.csv", "n,word\n9,nine\n");
    bucket.put_parquet("logs/prod/events/day=2026-11-01/x.parquet", &[1, 2], "first");
    bucket.put_parquet("logs/prod/events/day=2026-11-02/x.parquet", &[3], "second");
    let tables = json!([
        {"name": "a", "path": "a.csv"},
        {"name": "events", "path": "events/**/*.parquet"},
    ]);
    let shop = bucket
        .connect(json!({"prefix": "logs/prod"}), tables.clone())
        .await
        .unwrap();
    assert_eq!(shop.endpoint(), format!("s3://{}/logs/prod", bucket.name));
    shop.probe().await.unwrap();
    assert_eq!(
        columns(&shop, "events").await,
        ["id Int64", "word Utf8", "day Date32"]
    );
    let (session, raw) = sessions(&shop).await;
    for session in [&session, &raw] {
        assert_eq!(
            lines(session, "SELECT n, word FROM a ORDER BY n").await,
            ["1|one", "2|two"]
        );
        assert_eq!(
            lines(
                session,
                "SELECT id, word FROM events WHERE day = DATE '2026-11-02'"
            )
            .await,
            ["3|second"]
        );
        assert_eq!(lines(session, "SELECT sum(id) FROM events").await, ["6"]);
    }
    let shown = plan(&session, "SELECT id FROM events WHERE day = DATE '2026-11-02'").await;
    assert!(
        !shown.contains("day=2026-11-01") && shown.contains("day=2026-11-02"),
        "{shown}"
    );

    // a new object is read without a new discovery, and one that was replaced as it is now
    bucket.put_parquet("logs/prod/events/day=2026-11-03/x.parquet", &[10], "third");
    bucket.put_parquet("logs/prod/events/day=2026-11-02/x.parquet", &[4, 5, 6], "again");
    assert_eq!(lines(&session, "SELECT sum(id) FROM events").await, ["28"]);

    let whole = bucket
        .connect(json!({}), json!([{"name": "all_a", "path": "logs/*/a.csv"}]))
        .await
        .unwrap();
    let (session, _) = sessions(&whole).await;
    assert_eq!(lines(&session, "SELECT sum(n) FROM all_a").await, ["12"]);
}

/// What is kept of a file is found again by its path: two buckets with one key must not meet there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_with_the_same_keys_are_not_mixed() {
    let (one, mut other) = (Bucket::new(), Bucket::new());
    other.runtime = Arc::clone(&one.runtime);
    one.put_parquet("x.parquet", &[1, 2], "left");
    other.put_parquet("x.parquet", &[8, 9], "look");
    // of one size and age, as copies are
    let age = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    for bucket in [&one, &other] {
        std::fs::File::options()
            .write(true)
            .open(bucket.path.join("x.parquet"))
            .unwrap()
            .set_modified(age)
            .unwrap();
    }
    let tables = json!([{"name": "x", "path": "x.parquet"}]);
    let left = one.connect(json!({}), tables.clone()).await.unwrap();
    let right = other.connect(json!({}), tables).await.unwrap();
    // one session, whose environment keeps the footers
    let session = SessionContext::new();
    for (name, shop) in [("left", &left), ("other", &right)] {
        let table = shop.open(&table(shop, "x").await).await.unwrap();
        session.register_table(name, table).unwrap();
    }
    for _ in 0..2 {
        assert_eq!(
            lines(&session, "SELECT max(id), max(word) FROM \"left\"").await,
            ["2|left"]
        );
        assert_eq!(
            lines(&session, "SELECT max(id), max(word) FROM other").await,
            ["9|look"]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_cannot_be_read_says_why() {
    let bucket = Bucket::new();
    bucket.put("a.csv", "n\n1\n");
    let tables = json!([{"name": "a", "path": "*.csv"}]);
    for (edit, reason, terminal, text) in [
        (
            json!({"credentials": {"secretRef": {"name": "wrong"}}}),
            Reason::AccessDenied,
            false,
            "correct them in Secret wrong",
        ),
        (
            json!({"credentials": {"secretRef": {"name": "absent"}}}),
            Reason::SecretNotFound,
            false,
            "secret absent",
        ),
        (
            json!({"bucket": "no-such-bucket"}),
            Reason::PathNotFound,
            false,
            "does not exist",
        ),
        (
            json!({"region": "eu-west-1"}),
            Reason::InvalidSpec,
            true,
            "another region, us-east-1",
        ),
    ] {
        let shop = bucket.connect(edit.clone(), tables.clone()).await.unwrap();
        let error = shop.probe().await.unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("shop: ") && message.contains(text) && !message.contains("canary"),
            "{edit}: {message}"
        );
        assert_eq!(
            (error.reason(), error.is_terminal()),
            (reason, terminal),
            "{message}"
        );
    }
    let error = bucket
        .connect(json!({"prefix": "a/../b"}), tables.clone())
        .await
        .unwrap_err();
    assert!(
        error.is_terminal() && error.to_string().contains("spec.objectStore.s3.prefix"),
        "{error}"
    );

    // the reason reaches the query, too
    let shop = bucket.connect(json!({}), tables).await.unwrap();
    let (session, _) = sessions(&shop).await;
    std::fs::remove_dir_all(&bucket.path).unwrap();
    let message = failure(&session, "SELECT n FROM a").await;
    assert!(message.contains("does not exist; create it"), "{message}");
}
