//! What names mean, and what an unknown one says.

use std::sync::Arc;

use crate::support::{rows, session, shop_and_crm, sqlstate, try_rows};

#[tokio::test]
async fn names_resolve_from_every_database() {
    let (federation, _) = shop_and_crm().await;
    let cases = [
        // three parts, anywhere
        ("lakegate", "select count(*) from shop.public.orders", "5"),
        ("crm", "select count(*) from shop.public.orders", "5"),
        ("shop", "select count(*) from crm.main.customers", "3"),
        ("shop", "select count(*) from lakegate.crm__main.customers", "3"),
        // two parts
        ("shop", "select count(*) from public.orders", "5"),
        ("shop", "select count(*) from audit.log", "2"),
        ("lakegate", "select count(*) from shop__public.orders", "5"),
        ("shop", "select count(*) from lakegate.queries where false", "0"),
        (
            "lakegate",
            "select count(*) from shop.lakegate.queries where false",
            "0",
        ),
        // one part
        ("shop", "select count(*) from orders", "5"),
        ("crm", "select count(*) from customers", "3"),
        ("lakegate", "select count(*) from customers", "3"),
        // case
        ("shop", "select count(*) from ITEMS", "3"),
        ("shop", "select count(*) from \"Items\"", "3"),
        ("shop", "SELECT count(*) FROM Shop.PUBLIC.Items", "3"),
        ("shop", "select max(name) from items", "n2"),
        ("shop", "select max(i.NAME) from items i", "n2"),
        ("shop", "select max(\"Name\") from items", "n2"),
        (
            "shop",
            "select items.id from items order by public.items.id desc limit 1",
            "2",
        ),
        // a CTE hides a table
        (
            "shop",
            "with orders as (select 42 as id) select id from orders",
            "42",
        ),
    ];
    for (database, sql, expected) in cases {
        assert_eq!(
            rows(&session(&federation, database), sql).await,
            [expected],
            "{database}: {sql}"
        );
    }
}

#[tokio::test]
async fn unknown_names_say_what_is_wrong() {
    let (federation, _) = shop_and_crm().await;
    let cases = [
        ("shop", "select * from nope", "42P01"),
        ("shop", "select * from public.nope", "42P01"),
        ("shop", "select * from log", "42P01"),
        ("shop", "select * from \"ITEMS\"", "42P01"),
        ("shop", "select * from nowhere.public.orders", "3D000"),
        ("shop", "select * from crm__main.customers", "42P01"),
        ("shop", "select nope from orders", "42703"),
        ("shop", "select o.nope from orders o", "42703"),
        ("shop", "select \"NAME\" from items", "42703"),
        ("shop", "select id from orders, items", "42702"),
        ("shop", "select nope(1)", "42883"),
        ("shop", "select * from nope(1)", "42883"),
        ("shop", "select 1 +", "42601"),
        ("shop", "select 1; select 2", "42601"),
        ("shop", "select name, count(*) from orders", "42803"),
        ("shop", "select 1/0", "22012"),
        ("shop", "select 'x'::int", "22P02"),
        ("shop", "select 3000000000::bigint::int", "22003"),
        ("shop", "select $1", "42P02"),
        ("shop", "delete from orders", "25006"),
        ("shop", "select a.b.c.d.e from orders", "0A000"),
    ];
    for (database, sql, expected) in cases {
        let outcome = try_rows(&session(&federation, database), sql).await;
        let error = outcome.expect_err(sql);
        assert_eq!(error.sqlstate(), expected, "{sql}: {error}");
    }
    let error = try_rows(&session(&federation, "crm"), "select *\n from orders")
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "relation \"orders\" does not exist");
    assert_eq!(error.position("select *\n from orders"), Some(16));
    assert_eq!(error.hint(), Some("Perhaps you meant shop.public.orders."));
    let error = try_rows(&session(&federation, "crm"), "select id, nope from notes")
        .await
        .unwrap_err();
    assert_eq!(
        error.position("select id, nope from notes"),
        Some(12),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_unknown_database_is_refused_and_case_does_not_matter() {
    let (federation, _) = shop_and_crm().await;
    let identity = |database: &str| lakegate_federation::SessionIdentity {
        user: "ann".into(),
        database: database.into(),
    };
    let error = federation.session(identity("nope")).unwrap_err();
    assert_eq!(error.to_string(), "database \"nope\" does not exist");
    assert_eq!(error.sqlstate(), "3D000");
    assert_eq!(federation.databases(), ["crm", "lakegate", "shop"]);
}

#[tokio::test]
async fn the_search_path_decides() {
    let (federation, _) = shop_and_crm().await;
    let shop = session(&federation, "shop");
    assert_eq!(shop.search_path(), ["public"]);
    shop.settings().set("search_path", "audit, nope, public").unwrap();
    assert_eq!(shop.search_path(), ["audit", "public"]);
    assert_eq!(rows(&shop, "select count(*) from log").await, ["2"]);
    assert_eq!(session(&federation, "crm").search_path(), ["main"]);
    let everything = session(&federation, "lakegate").search_path();
    assert_eq!(everything, ["views", "crm__main", "shop__audit", "shop__public"]);
    // another session has its own
    assert_eq!(
        sqlstate(&session(&federation, "shop"), "select * from log").await,
        "42P01"
    );
}

#[tokio::test]
async fn a_fallback_name_must_be_unique() {
    let (federation, _) = shop_and_crm().await;
    let other = crate::support::MemorySource::new(&[("main", "customers", 9)]);
    federation.attach_source("old", "old", other).await.unwrap();
    let error = try_rows(&session(&federation, "lakegate"), "select * from customers")
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), "42P09");
    assert_eq!(
        error.hint(),
        Some("Say which: crm__main.customers, old__main.customers.")
    );
}

#[tokio::test]
async fn joins_cross_sources() {
    let (federation, _) = shop_and_crm().await;
    let sql = "select o.id, c.name from shop.public.orders o join crm.main.customers c on o.id = c.id \
               where c.name <> 'n1' order by o.id desc";
    for database in ["lakegate", "shop", "crm"] {
        assert_eq!(rows(&session(&federation, database), sql).await, ["2|n2", "0|n0"]);
    }
}

#[tokio::test]
async fn metadata_lists_everything_without_asking_a_store() {
    let (federation, shop) = shop_and_crm().await;
    shop.down.store(true, std::sync::atomic::Ordering::SeqCst);
    let metadata = federation.metadata();
    let schemas = |database: &str| -> Vec<String> {
        metadata
            .database(database)
            .unwrap()
            .schemas
            .iter()
            .map(|schema| schema.name.clone())
            .collect()
    };
    assert_eq!(schemas("shop"), ["audit", "lakegate", "public", "views"]);
    assert_eq!(
        schemas("lakegate"),
        ["crm__main", "lakegate", "shop__audit", "shop__public", "views"]
    );
    let orders = metadata
        .database("shop")
        .unwrap()
        .schema("public")
        .unwrap()
        .table("orders")
        .unwrap();
    assert_eq!(orders.rows, Some(5));
    assert_eq!(orders.comment.as_deref(), Some("table orders"));
    assert_eq!(orders.primary_key, ["id"]);
    assert_eq!(orders.columns[1].name, "Name");
    let shown = metadata
        .database("lakegate")
        .unwrap()
        .schema("shop__public")
        .unwrap();
    assert!(Arc::ptr_eq(shown.table("orders").unwrap(), orders));
    let before = metadata.revision;
    federation.detach("crm");
    assert!(federation.metadata().revision > before);
    assert_eq!(federation.databases(), ["lakegate", "shop"]);
}

#[tokio::test]
async fn deep_nesting_is_an_error_not_an_overflow() {
    let (federation, _) = shop_and_crm().await;
    let shop = session(&federation, "shop");
    let deep = format!("select {}1{}", "(".repeat(3000), ")".repeat(3000));
    assert_eq!(sqlstate(&shop, &deep).await, "54001");
    let chain = format!(
        "select count(*) from orders where {}",
        vec!["id = 1"; 1500].join(" or ")
    );
    assert_eq!(rows(&shop, &chain).await, ["1"]);
    for (operand, operator, expected) in [
        ("id", " + ", "> 0"),
        ("'a'", " || ", "<> ''"),
        ("0.5", " + ", "> 0"),
    ] {
        let chain = vec![operand; 600].join(operator);
        let sql = format!("select count(*) > 0 from orders where {chain} {expected}");
        assert_eq!(rows(&shop, &sql).await, ["true"], "{operand}");
    }
    let subqueries = format!(
        "{}select 1 as a{}",
        "select a from (".repeat(60),
        ") q".repeat(60)
    );
    assert_eq!(rows(&shop, &subqueries).await, ["1"]);
}
