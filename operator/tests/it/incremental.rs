//! Incremental exports by a real worker, from real stores into a real lake.

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::{DataType, Int64Type};
use lakegate_lake::Lake;
use lakegate_operator::{
    protocol::{Failure, Report, WorkOrder},
    worker::{State, perform},
};
use lakegate_store::{MemoryStore, Secrets};
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::{
    harness::source,
    postgres_server::{PASSWORD, PostgresServer, USER},
    worker::order,
};

/// An Export and the lake that it writes.
struct Exported {
    directory: tempfile::TempDir,
    source: Value,
    spec: Value,
    runs: u32,
    secrets: Arc<dyn Secrets>,
}

impl Exported {
    fn new(source: Value, spec: Value) -> Self {
        let secrets = MemoryStore::new();
        secrets.put_secret("default", "login", "username", USER);
        secrets.put_secret("default", "login", "password", PASSWORD);
        secrets.put_secret("default", "pii", "hmac", "0123456789abcdef0123456789abcdef");
        Self {
            directory: tempfile::tempdir().unwrap(),
            source,
            spec,
            runs: 0,
            secrets: Arc::new(secrets),
        }
    }

    /// The order of an attempt of the last run.
    fn order(&self, attempt: u32) -> WorkOrder {
        let mut order = order(self.directory.path(), self.spec.clone(), attempt);
        order.run.uid = format!("run-{}", self.runs);
        order.run.attempt_id = format!("attempt-{}-{attempt}", self.runs);
        order.run.export_uid = Some("the-export".to_owned());
        order.sources = vec![source("shop", self.source.clone())];
        order
    }

    async fn perform(&self, order: WorkOrder) -> Result<Report, Failure> {
        Box::pin(perform(
            order,
            Arc::clone(&self.secrets),
            Arc::new(State::default()),
        ))
        .await
    }

    async fn try_run(&mut self) -> Result<Report, Failure> {
        self.runs += 1;
        self.perform(self.order(1)).await
    }

    async fn run(&mut self) -> Report {
        self.try_run().await.unwrap()
    }

    async fn refused(&mut self) -> String {
        let failure = self.try_run().await.unwrap_err();
        format!("{} {}", failure.reason, failure.message)
    }

    async fn lake(&self) -> Arc<Lake> {
        Lake::open_directory(&self.directory.path().join("lake"))
            .await
            .unwrap()
    }

    /// The table's rows as text, by the first column.
    async fn rows(&self) -> BTreeMap<i64, Vec<Option<String>>> {
        let lake = self.lake().await;
        let Some(table) = lake.load("shop", "orders").await.unwrap() else {
            return BTreeMap::new();
        };
        let context = datafusion::prelude::SessionContext::new();
        let provider = lake.provider(&table).await.unwrap();
        let batches = context.read_table(provider).unwrap().collect().await.unwrap();
        let mut rows = BTreeMap::new();
        for batch in batches {
            let columns: Vec<_> = batch
                .columns()
                .iter()
                .map(|column| arrow::compute::cast(column, &DataType::Utf8).unwrap())
                .collect();
            for (row, id) in batch
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .iter()
                .enumerate()
            {
                let texts = columns.iter().map(|column| {
                    let column = column.as_string::<i32>();
                    column.is_valid(row).then(|| column.value(row).to_owned())
                });
                assert_eq!(rows.insert(*id, texts.collect()), None, "{id} is there twice");
            }
        }
        assert_eq!(table.rows(), Some(rows.len() as u64));
        rows
    }

    /// A property of the newest snapshot.
    async fn recorded(&self, key: &str) -> Option<String> {
        let table = self.lake().await.load("shop", "orders").await.unwrap().unwrap();
        table.recorded(key).map(str::to_owned)
    }
}

/// A SQLite file of orders.
struct Shop(PathBuf);

impl Shop {
    async fn new(directory: &Path, statements: &[&str]) -> Self {
        let shop = Self(directory.join("shop.db"));
        shop.execute(statements).await;
        shop
    }

    async fn execute(&self, statements: &[&str]) {
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(&self.0)
            .create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        for statement in statements {
            sqlx::query(sqlx::AssertSqlSafe(*statement))
                .execute(&mut connection)
                .await
                .unwrap();
        }
        connection.close().await.unwrap();
    }

    fn source(&self) -> Value {
        json!({"sqlite": {"path": self.0}})
    }
}

const ORDERS: &str = "create table orders (id integer primary key, status text, city text, version integer)";

fn from_orders(more: Value) -> Value {
    let mut spec = json!({
        "from": {"sourceRef": {"name": "shop"}, "table": {"schema": "main", "name": "orders"}},
        "columns": [{"name": "id"}, {"name": "city"}, {"name": "version"}],
        "where": "status <> 'draft'",
        "incremental": {"cursorColumn": "version", "keyColumns": ["id"]},
    });
    for (name, value) in more.as_object().unwrap() {
        spec[name] = value.clone();
    }
    spec
}

async fn cities(exported: &Exported) -> Vec<(i64, String)> {
    let rows = exported.rows().await.into_iter();
    rows.map(|(id, columns)| (id, columns[1].clone().unwrap_or_default()))
        .collect()
}

fn expected(rows: &[(i64, &str)]) -> Vec<(i64, String)> {
    rows.iter().map(|(id, city)| (*id, (*city).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn later_runs_read_what_has_changed_and_merge_it() {
    let directory = tempfile::tempdir().unwrap();
    let shop = Shop::new(
        directory.path(),
        &[ORDERS, "insert into orders values (1,'paid','a',1), (2,'paid','b',2), (3,'draft','c',3), (4,'paid','d',4)"],
    )
    .await;
    let mut exported = Exported::new(shop.source(), from_orders(json!({})));
    let first = exported.run().await;
    assert_eq!(
        (first.rows, first.rows_read, &first.changed, &first.full_read),
        (3, Some(3), &None, &None)
    );
    // 4 is exported; 3 is a draft, and what is no row of the table moves no cursor in a full run
    assert_eq!(
        first
            .cursor
            .as_ref()
            .map(|cursor| (cursor.from.clone(), cursor.to.as_str())),
        Some((None, "4"))
    );
    assert_eq!(exported.recorded("cursor").await.as_deref(), Some("4"));

    shop.execute(&[
        "update orders set city = 'B', version = 5 where id = 2",
        // it meets the condition now
        "update orders set status = 'paid', version = 6 where id = 3",
        // and this one does not any more
        "update orders set status = 'draft', version = 7 where id = 4",
        "insert into orders values (5, 'paid', 'e', 8)",
        // not seen: the cursor has passed it
        "update orders set city = 'late' where id = 1",
        "delete from orders where id = 1",
    ])
    .await;
    let second = exported.run().await;
    assert_eq!(
        cities(&exported).await,
        expected(&[(1, "a"), (2, "B"), (3, "c"), (5, "e")])
    );
    let changed = second.changed.unwrap();
    // four rows have changed, of which one leaves
    assert_eq!((changed.rows, second.rows, second.rows_read), (3, 4, Some(3)));
    let cursor = second.cursor.unwrap();
    assert_eq!((cursor.from.as_deref(), cursor.to.as_str()), (Some("4"), "8"));
    assert_eq!(
        exported.recorded("rows-left-by-where").await.as_deref(),
        Some("1")
    );

    // nothing has changed, but the row at the cursor is read again
    let third = exported.run().await;
    assert_eq!((third.rows, third.changed.unwrap().rows), (4, 1));
    assert_eq!(
        cities(&exported).await,
        expected(&[(1, "a"), (2, "B"), (3, "c"), (5, "e")])
    );

    // a run that was committed is not performed again
    let again = exported.perform(exported.order(2)).await.unwrap();
    assert_eq!(
        (
            again.already,
            again.snapshot_id,
            again.cursor.unwrap().to.as_str()
        ),
        (true, third.snapshot_id, "8")
    );

    // another condition: everything is read, and deletions show
    exported.spec["where"] = json!("status <> 'returned'");
    let fourth = exported.run().await;
    assert_eq!(
        cities(&exported).await,
        expected(&[(2, "B"), (3, "c"), (4, "d"), (5, "e")])
    );
    let why = fourth.full_read.unwrap();
    assert!(
        why.contains("condition have changed") && fourth.changed.is_none(),
        "{why}"
    );

    // a store that was emptied is no news; nothing is deleted for it
    shop.execute(&["delete from orders"]).await;
    let fifth = exported.run().await;
    assert_eq!(
        (
            fifth.rows,
            fifth.changed.unwrap().rows,
            fifth.cursor.unwrap().to.as_str()
        ),
        (4, 0, "8")
    );

    // a table that another Export has written is not gone on from
    let mut order = exported.order(3);
    order.run.uid = "run-of-another".to_owned();
    order.run.export_uid = Some("another-export".to_owned());
    let sixth = exported.perform(order).await.unwrap();
    assert_eq!(
        (sixth.rows, sixth.full_read.unwrap().as_str()),
        (0, "the table was written by another Export")
    );
    // and of a table that is empty no cursor is known
    assert_eq!(sixth.cursor, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_cursors_that_tell_no_newest_row_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let shop = Shop::new(
        directory.path(),
        &[
            "create table log (id integer, line integer, text text, version integer)",
            "insert into log values (1, 1, 'a', 1), (1, 1, 'b', 2), (2, 1, 'c', 1), (3, 1, 'd', null)",
        ],
    )
    .await;
    let spec = |keys: Value, columns: Value| {
        from_orders(json!({
            "from": {"sourceRef": {"name": "shop"}, "table": {"schema": "main", "name": "log"}},
            "columns": columns, "where": null,
            "incremental": {"cursorColumn": "version", "keyColumns": keys},
        }))
    };
    let all = json!([{"name": "id"}, {"name": "text", "as": "city"}, {"name": "line"}, {"name": "version"}]);
    let mut exported = Exported::new(shop.source(), spec(json!(["id", "line"]), all.clone()));
    // several rows a key: the newest one
    let first = exported.run().await;
    assert_eq!(
        (first.rows, exported.recorded("superseded-rows").await.as_deref()),
        (3, Some("1"))
    );
    assert_eq!(
        exported.recorded("rows-without-cursor").await.as_deref(),
        Some("1")
    );
    assert_eq!(cities(&exported).await, expected(&[(1, "b"), (2, "c"), (3, "d")]));

    // what has no cursor may have changed: each run reads it
    shop.execute(&[
        "update log set text = 'D' where id = 3",
        "insert into log values (4, 1, 'e', null)",
    ])
    .await;
    exported.run().await;
    assert_eq!(
        cities(&exported).await,
        expected(&[(1, "b"), (2, "c"), (3, "D"), (4, "e")])
    );

    for (statements, problem) in [
        (
            [
                "insert into log values (2, 1, 'x', 2), (2, 1, 'y', 2)",
                "delete from log where version = 2",
            ],
            "with the same cursor",
        ),
        (
            [
                "insert into log values (4, 1, 'z', 9)",
                "delete from log where id = 4",
            ],
            "of which one has no cursor",
        ),
        (
            [
                "insert into log values (null, 1, 'n', 9)",
                "delete from log where id is null",
            ],
            "\"id\" is NULL in a row",
        ),
    ] {
        shop.execute(&statements[..1]).await;
        let before = exported.rows().await;
        let refused = exported.refused().await;
        assert!(
            refused.starts_with("InvalidSpec spec.incremental.keyColumns") && refused.contains(problem),
            "{refused}"
        );
        assert_eq!(exported.rows().await, before);
        shop.execute(&statements[1..]).await;
    }

    for (keys, columns, cursor, problem) in [
        (
            json!(["text"]),
            json!([{"name": "id"}, {"name": "version"}]),
            "version",
            "keyColumns[0]: \"text\" is not exported",
        ),
        (
            json!(["gone"]),
            all.clone(),
            "version",
            "keyColumns[0]: the source has no column \"gone\"",
        ),
        (
            json!(["text"]),
            json!([{"name": "text", "cast": "varchar(1)"}, {"name": "version"}]),
            "version",
            "keyColumns[0]: \"text\" is exported under a mask or cast that may make two keys one",
        ),
        (
            json!(["id"]),
            all.clone(),
            "text",
            "cursorColumn: \"text\" is of a type that does not grow exactly",
        ),
        (
            json!(["id"]),
            json!([{"name": "id"}]),
            "version",
            "cursorColumn: \"version\" is not exported as it is",
        ),
        (
            json!(["id"]),
            json!([{"name": "id"}, {"name": "version", "mask": {"round": {"digits": -1}}}]),
            "version",
            "cursorColumn: \"version\" is masked",
        ),
    ] {
        exported.spec = spec(keys, columns);
        exported.spec["incremental"]["cursorColumn"] = json!(cursor);
        let refused = exported.refused().await;
        assert!(
            refused.starts_with("InvalidSpec spec.incremental.") && refused.contains(problem),
            "{refused}"
        );
    }
    exported.spec = spec(json!(["id", "line"]), all);
    exported.spec["incremental"]["overlap"] = json!("5m");
    let refused = exported.refused().await;
    assert!(
        refused.contains("spec.incremental.overlap: it is a time, and \"version\" is a number"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_changes_than_fit_replace_the_table() {
    let directory = tempfile::tempdir().unwrap();
    let numbers = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 70000) ";
    let insert = format!("insert into orders {numbers} select i, 'paid', 'c' || i, i from n");
    let shop = Shop::new(directory.path(), &[ORDERS, &insert]).await;
    let mut exported = Exported::new(shop.source(), from_orders(json!({})));
    assert_eq!(exported.run().await.rows, 70_000);
    shop.execute(&[
        "update orders set version = version + 70000, city = 'x'",
        "delete from orders where id = 7",
    ])
    .await;
    exported.runs += 1;
    let mut order = exported.order(1);
    // the least that sorting takes; an eighth of it is for keys
    order.memory_bytes = 8 << 20;
    let report = exported.perform(order).await.unwrap();
    assert_eq!(
        report.full_read.as_deref(),
        Some("more than 65536 rows have changed")
    );
    assert_eq!((report.rows, report.rows_read), (69_999, Some(69_999)));
}

/// A future that is dropped at its nth poll: the process that performs it has died.
struct Dying<F> {
    future: Pin<Box<F>>,
    polls: u64,
}

impl<F: Future> Future for Dying<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.future.as_mut().poll(context).map(Some)
    }
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

/// Performs the next run by attempts that die, until one does not.
async fn run_with_crashes(exported: &mut Exported, random: &mut Random) -> Report {
    exported.runs += 1;
    for attempt in 1.. {
        let polls = match attempt {
            10.. => u64::MAX,
            _ => random.below(120),
        };
        let future = Box::pin(exported.perform(exported.order(attempt)));
        if let Some(outcome) = (Dying { future, polls }).await {
            return outcome.unwrap();
        }
    }
    unreachable!("the last attempt does not die")
}

fn seeds() -> u64 {
    std::env::var("LAKEGATE_FAULT_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2)
}

#[tokio::test(flavor = "multi_thread")]
async fn random_changes_of_sqlite_and_crashes_leave_the_rows_of_the_source() {
    for seed in 0..seeds() {
        let mut random = Random(seed);
        let directory = tempfile::tempdir().unwrap();
        let shop = Shop::new(directory.path(), &[ORDERS]).await;
        let mut exported = Exported::new(shop.source(), from_orders(json!({})));
        let mut model: BTreeMap<i64, (bool, String)> = BTreeMap::new();
        let mut version = 0;
        for round in 0..5 {
            let mut statements = Vec::new();
            for _ in 0..random.below(30) {
                version += 1;
                let id = i64::try_from(random.below(60)).unwrap();
                let (is_draft, city) = (random.below(4) == 0, format!("c{version}"));
                let status = if is_draft { "draft" } else { "paid" };
                statements.push(format!(
                    "insert or replace into orders values ({id}, '{status}', '{city}', {version})"
                ));
                model.insert(id, (!is_draft, city));
            }
            let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
            shop.execute(&statements).await;
            run_with_crashes(&mut exported, &mut random).await;
            let expected: Vec<(i64, String)> = model
                .iter()
                .filter(|(_, (published, _))| *published)
                .map(|(id, (_, city))| (*id, city.clone()))
                .collect();
            assert_eq!(cities(&exported).await, expected, "seed {seed}, round {round}");
        }
    }
}

async fn database(server: &PostgresServer, name: &str) -> tokio_postgres::Client {
    let connect = |database: &str| {
        let url = format!(
            "host=127.0.0.1 port={} user={USER} password={PASSWORD} dbname={database}",
            server.port
        );
        async move {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            client
        }
    };
    connect("postgres")
        .await
        .batch_execute(&format!("create database {name}"))
        .await
        .unwrap();
    connect(name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn random_changes_of_postgresql_with_masked_keys_and_late_rows() {
    let server = PostgresServer::shared();
    let client = database(&server, "incremental").await;
    client
        .batch_execute(
            "create table orders (id bigint primary key, email text not null unique, city text, \
             updated_at timestamptz not null)",
        )
        .await
        .unwrap();
    let source = json!({"postgres": {
        "database": "incremental", "primary": {"host": "127.0.0.1", "port": server.port},
        "credentials": {"secretRef": {"name": "login"}}, "tls": {"mode": "Disable"},
    }});
    let mut exported = Exported::new(
        source,
        json!({
            "from": {"sourceRef": {"name": "shop"}, "table": {"schema": "public", "name": "orders"}},
            "columns": [
                {"name": "id"}, {"name": "city"},
                {"name": "email", "mask": {"hmac": {"keyRef": {"name": "pii", "key": "hmac"}}}},
            ],
            "where": null,
            "incremental": {"cursorColumn": "updated_at", "keyColumns": ["email"], "overlap": "1h"},
        }),
    );
    let mut random = Random(seeds());
    let mut model = BTreeMap::new();
    for round in 0..4_i64 {
        for _ in 0..random.below(40) {
            let id = i64::try_from(random.below(50)).unwrap();
            let city = format!("c{round}-{}", random.below(1000));
            // committed up to 50 minutes late: within the overlap
            let late = random.below(3000);
            client
                .execute(
                    "insert into orders values ($1, $2, $3, timestamptz '2025-01-01 00:00:00.123456+00' \
                     + $4::bigint * interval '1 hour' - $5::bigint * interval '1 second') \
                     on conflict (id) do update set city = excluded.city, updated_at = excluded.updated_at",
                    &[
                        &id,
                        &format!("user{id}@x.example"),
                        &city,
                        &round,
                        &i64::try_from(late).unwrap(),
                    ],
                )
                .await
                .unwrap();
            model.insert(id, city);
        }
        let report = run_with_crashes(&mut exported, &mut random).await;
        assert_eq!(report.full_read, None, "round {round}");
        let expected: Vec<(i64, String)> = model.iter().map(|(id, city)| (*id, city.clone())).collect();
        assert_eq!(cities(&exported).await, expected, "round {round}");
        // the cursor's column is not exported: of its newest value the hour is told
        let cursor = exported.recorded("cursor").await.unwrap();
        assert!(
            cursor.ends_with(":00:00Z") && cursor.starts_with("202"),
            "{cursor}"
        );
    }
    // the rows are known by hashes, and no address is anywhere
    for row in exported.rows().await.into_values() {
        assert_eq!(row[2].as_ref().map(String::len), Some(64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_asked_for_the_changes_alone() {
    use lakegate_federation::{Federation, FederationOptions, SourceContext, mask::MaskKeys};
    let server = PostgresServer::shared();
    let client = database(&server, "incremental_pushdown").await;
    client
        .batch_execute(
            "create table orders (id bigint primary key, status text, day date, amount numeric(10,2), no int, \
             at timestamp(3), at_utc timestamptz not null); \
             insert into orders select i, 'paid', date '2025-01-01' + i, i / 100.0, i, \
             timestamp '2025-01-01' + i * interval '1 day', timestamptz '2025-01-01 00:00:00+00' + i * interval '1 day' \
             from generate_series(1, 20) i; insert into orders (id, at_utc) values (99, '2024-01-01')",
        )
        .await
        .unwrap();
    let federation = Federation::new(FederationOptions::default()).unwrap();
    let source = source(
        "shop",
        json!({"postgres": {
            "database": "incremental_pushdown", "primary": {"host": "127.0.0.1", "port": server.port},
            "credentials": {"secretRef": {"name": "login"}}, "tls": {"mode": "Disable"},
        }}),
    );
    let secrets = MemoryStore::new();
    secrets.put_secret("default", "login", "username", USER);
    secrets.put_secret("default", "login", "password", PASSWORD);
    let context = SourceContext {
        namespace: "default".to_owned(),
        base_dir: PathBuf::from("/"),
        state_dir: PathBuf::from("/"),
        secrets: Arc::new(secrets),
        runtime: Arc::clone(federation.runtime_env()),
    };
    federation.attach("shop", &source.spec, &context).await.unwrap();
    for (cursor, text, rows, condition) in [
        ("at_utc", "2025-01-11T00:10:00Z", 11, "\"at_utc\" >= "),
        ("at", "2025-01-11T00:10:00", 12, "\"at\" >= "),
        ("day", "2025-01-12", 12, "\"day\" >= "),
        ("no", "11", 11, "\"no\" >= "),
        ("amount", "0.11", 11, "\"amount\" >= "),
    ] {
        let spec = json!({
            "from": {"sourceRef": {"name": "shop"}, "table": {"schema": "public", "name": "orders"}},
            "columns": [{"name": "id"}, {"name": cursor}], "where": "status = 'paid'", "allColumns": null,
            "incremental": {"cursorColumn": cursor, "keyColumns": ["id"]},
        });
        let spec = crate::harness::export("orders", spec).spec;
        let keys = MaskKeys::default();
        let plan = federation
            .plan_export(&spec, Some("shop"), &keys, None)
            .await
            .unwrap();
        let since = plan.incremental().unwrap().since(text).unwrap();
        let changes = federation
            .plan_changes(&spec, Some("shop"), &keys, None, &plan, Some(since))
            .await
            .unwrap();
        let mut changes = changes.execute().unwrap();
        while let Some(rows) = changes.next().await {
            rows.unwrap();
        }
        let seen = changes.seen();
        // the row without a cursor is among them, but where there is none
        assert_eq!(seen.rows, rows, "{cursor}");
        assert_eq!(seen.without_cursor, u64::from(cursor != "at_utc"), "{cursor}");
        let identity = lakegate_federation::SessionIdentity {
            user: "test".into(),
            database: "lakegate".into(),
        };
        let session = federation.session(identity).unwrap();
        let queries = session.collect("select * from lakegate.queries").await.unwrap();
        let text = arrow::util::pretty::pretty_format_batches(&queries)
            .unwrap()
            .to_string();
        assert!(
            text.contains(condition),
            "{cursor} is not compared in the store:\n{text}"
        );
    }
}
