//! Catalogs follow the resources.

use std::path::Path;
use std::sync::Arc;

use lakegate_crds::conditions::Reason;
use lakegate_crds::{DataSource, View};
use lakegate_federation::Federation;
use lakegate_store::{Key, MemoryStore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{data_source, eventually, federation, rows, session, sqlite, try_rows, view};

struct Running {
    federation: Arc<Federation>,
    store: Arc<MemoryStore>,
    directory: tempfile::TempDir,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let federation = federation();
        let store = Arc::new(MemoryStore::new());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&federation).run_catalogs(
            Arc::clone(&store) as _,
            directory.path().join("state"),
            shutdown.clone(),
        ));
        Self {
            federation,
            store,
            directory,
            shutdown,
            task,
        }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn sqlite(&self, name: &str, file: &str) {
        self.store.put(data_source(
            name,
            serde_json::json!({"sqlite": {"path": self.path(file)}}),
        ));
    }

    async fn answers(&self, sql: &str, expected: &[&str]) {
        let session = session(&self.federation, "lakegate");
        eventually(sql, async || {
            try_rows(&session, sql).await.is_ok_and(|rows| rows == expected)
        })
        .await;
    }

    async fn fails(&self, sql: &str, sqlstate: &str) -> String {
        let session = session(&self.federation, "lakegate");
        let mut message = String::new();
        eventually(sql, async || match try_rows(&session, sql).await {
            Err(error) if error.sqlstate() == sqlstate => {
                message = error.to_string();
                true
            }
            _ => false,
        })
        .await;
        message
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

async fn people(path: &Path, names: &[&str]) {
    let mut statements = vec!["create table people (id integer primary key, name text)".to_owned()];
    statements.extend(
        names
            .iter()
            .map(|name| format!("insert into people (name) values ('{name}')")),
    );
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    sqlite(path, &statements).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_come_change_and_go() {
    let running = Running::start();
    people(running.path("a.db").as_ref(), &["ann", "bob"]).await;
    people(running.path("b.db").as_ref(), &["cid"]).await;
    running.sqlite("my-people", "a.db");
    running
        .answers("select count(*) from my_people.main.people", &["2"])
        .await;
    // an edit swaps the source
    running.sqlite("my-people", "b.db");
    running
        .answers("select name from my_people.main.people", &["cid"])
        .await;
    // a second one joins
    running.sqlite("others", "a.db");
    running
        .answers(
            "select o.name from others.main.people o join my_people.main.people p on o.id = p.id",
            &["ann"],
        )
        .await;
    running.store.remove::<DataSource>(&Key::named("my-people"));
    running
        .fails("select * from my_people.main.people", "3D000")
        .await;
    running
        .answers("select count(*) from others.main.people", &["2"])
        .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_source_disturbs_no_other() {
    let running = Running::start();
    people(running.path("good.db").as_ref(), &["ann"]).await;
    running.sqlite("broken", "missing.db");
    running.sqlite("good", "good.db");
    running
        .answers("select name from good.main.people", &["ann"])
        .await;
    let message = running.fails("select * from broken.main.people", "HV00N").await;
    assert!(
        message.starts_with("data source \"broken\" is not reachable: "),
        "{message}"
    );
    eventually("its health is known", async || {
        running
            .federation
            .health(&Key::named("broken"))
            .is_some_and(|health| health.reachable == Some(false))
    })
    .await;
    let health = running.federation.health(&Key::named("broken")).unwrap();
    assert_eq!(health.reason, Some(Reason::PathNotFound), "{health:?}");
    let health = running.federation.health(&Key::named("good")).unwrap();
    assert_eq!(
        (health.reachable, health.tables, health.catalog.as_str()),
        (Some(true), 1, "good")
    );
    // the store comes up: the retry finds it
    people(running.path("missing.db").as_ref(), &["late"]).await;
    running
        .answers("select name from broken.main.people", &["late"])
        .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_catalog_stays_while_a_store_is_down() {
    let running = Running::start();
    people(running.path("a.db").as_ref(), &["ann"]).await;
    running.sqlite("a", "a.db");
    running.answers("select name from a.main.people", &["ann"]).await;
    std::fs::rename(running.path("a.db"), running.path("away.db")).unwrap();
    running.federation.refresh("a").await;
    let health = running.federation.health(&Key::named("a")).unwrap();
    assert_eq!((health.reachable, health.tables), (Some(false), 1), "{health:?}");
    let metadata = running.federation.metadata();
    assert!(
        metadata
            .database("a")
            .unwrap()
            .schema("main")
            .unwrap()
            .table("people")
            .is_some()
    );
    std::fs::rename(running.path("away.db"), running.path("a.db")).unwrap();
    running.federation.refresh("a").await;
    assert_eq!(
        running.federation.health(&Key::named("a")).unwrap().reachable,
        Some(true)
    );
    // a new table shows with the next look
    sqlite(running.path("a.db").as_ref(), &["create table more (x int)"]).await;
    running.federation.refresh("a").await;
    running.answers("select count(*) from a.main.more", &["0"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_keeps_a_catalog_name() {
    let running = Running::start();
    people(running.path("a.db").as_ref(), &["ann"]).await;
    running.sqlite("one", "a.db");
    running
        .answers("select name from one.main.people", &["ann"])
        .await;
    let spec = serde_json::json!({"catalogName": "one", "sqlite": {"path": running.path("b.db")}});
    let mut late = data_source("two", spec);
    late.metadata.namespace = Some("other".into());
    running.store.put(late);
    let key = Key::new("other", "two");
    eventually("the conflict is told", async || {
        running
            .federation
            .health(&key)
            .is_some_and(|health| health.reason == Some(Reason::NameConflict))
    })
    .await;
    running
        .answers("select name from one.main.people", &["ann"])
        .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_expand_nest_and_break_alone() {
    let running = Running::start();
    people(running.path("a.db").as_ref(), &["ann", "bob"]).await;
    running
        .store
        .put(view("all-people", "select id, name from a.main.people"));
    running
        .store
        .put(view("bobs", "select * from all_people where name = 'bob'"));
    running
        .store
        .put(view("broken", "select nope from a.main.people"));
    running.store.put(view("ouro", "select * from views.boros"));
    running.store.put(view("boros", "select * from views.ouro"));
    running.sqlite("a", "a.db");
    running.answers("select name from views.bobs", &["bob"]).await;
    running
        .answers(
            "select v.name from a.views.bobs v join a.main.people p using (id)",
            &["bob"],
        )
        .await;
    let message = running.fails("select * from views.broken", "42703").await;
    assert!(
        message.starts_with("view \"broken\" is broken: column"),
        "{message}"
    );
    let message = running.fails("select * from views.ouro", "42P19").await;
    assert_eq!(message, "view \"ouro\" refers to itself: ouro → boros → ouro");
    eventually("health is told", async || {
        let health = |name: &str| running.federation.view_health(&Key::named(name));
        health("bobs").is_some_and(|health| health.reason.is_none() && health.columns.len() == 2)
            && health("broken").is_some_and(|health| health.reason == Some(Reason::PlanFailed))
            && health("ouro").is_some_and(|health| health.reason == Some(Reason::PlanFailed))
    })
    .await;
    let metadata = running.federation.metadata();
    let bobs = metadata
        .database("a")
        .unwrap()
        .schema("views")
        .unwrap()
        .table("bobs")
        .unwrap();
    assert_eq!(
        bobs.columns
            .iter()
            .map(|column| column.name.as_str())
            .collect::<Vec<_>>(),
        ["id", "name"]
    );
    // an edit, then gone
    running
        .store
        .put(view("bobs", "select * from all_people where name = 'ann'"));
    running.answers("select name from views.bobs", &["ann"]).await;
    running.store.remove::<View>(&Key::named("bobs"));
    running.fails("select * from views.bobs", "42P01").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_of_a_view_before_its_store_was_looked_at() {
    let running = Running::start();
    people(running.path("a.db").as_ref(), &["ann"]).await;
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    running.store.put_secret("default", "slow", "username", "reader");
    running.store.put_secret("default", "slow", "password", "x");
    running.store.put(data_source(
        "slow",
        serde_json::json!({"postgres": {
            "primary": {"host": "127.0.0.1", "port": silent.local_addr().unwrap().port()},
            "database": "shop",
            "credentials": {"secretRef": {"name": "slow"}},
            "tls": {"mode": "Disable"},
        }}),
    ));
    running
        .store
        .put(view("waits", "select 1 as one from slow.public.orders"));
    running.store.put(view("plans", "select name from a.main.people"));
    running.sqlite("a", "a.db");
    let health = |name: &str| running.federation.view_health(&Key::named(name));
    eventually("the other view is told of", async || {
        health("plans").is_some_and(|health| health.reason.is_none())
    })
    .await;
    assert_eq!(health("waits"), None);
    drop(silent);
    eventually("its store was looked at", async || {
        health("waits").is_some_and(|health| health.reason == Some(Reason::SourceNotReady))
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn system_tables_show_resources() {
    let running = Running::start();
    people(running.path("a.db").as_ref(), &["ann"]).await;
    running.sqlite("a", "a.db");
    running.store.put(view("v", "select 1 as one"));
    let session = session(&running.federation, "lakegate");
    let sources = "select name, ready, reason, type, catalog, suspended from lakegate.data_sources";
    assert_eq!(rows(&session, sources).await, ["a||Progressing|Sqlite|a|false"]);
    assert_eq!(
        rows(&session, "select name, view, sql from lakegate.views").await,
        ["v|v|select 1 as one"]
    );
    for table in [
        "exports",
        "export_runs",
        "retention_policies",
        "events",
        "data_sources",
        "replicas",
        "views",
        "queries",
    ] {
        let sql = format!("select * from lakegate.{table}");
        let batches = session.collect(&sql).await.unwrap();
        let metadata = running.federation.metadata();
        let described = metadata.database("lakegate").unwrap().schema("lakegate").unwrap();
        let described = described.table(table).unwrap();
        if let Some(batch) = batches.first() {
            assert_eq!(batch.num_columns(), described.columns.len(), "{table}");
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_sources_are_not_connected() {
    let running = Running::start();
    people(running.path("a.db").as_ref(), &["ann"]).await;
    running.sqlite("a", "a.db");
    running.answers("select name from a.main.people", &["ann"]).await;
    let spec = serde_json::json!({"suspend": true, "sqlite": {"path": running.path("a.db")}});
    running.store.put(data_source("a", spec));
    let message = running.fails("select * from a.main.people", "HV00N").await;
    assert_eq!(message, "data source \"a\" is not reachable: it is suspended");
    running.stop().await;
}
