//! Secrets, notices, and what a restart leaves.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use lakegate_crds::conditions::Reason;
use lakegate_crds::{DataSource, ExportRun, ExportRunStatus, Kind};

use super::{Home, PATIENCE, data_source, get, of, run_of, run_status, second, source_status, wait_for};
use crate::{Key, NOTICES_KEPT, Notice, NoticeType, ResourceStore, SecretError, Secrets};

async fn eventually_secret(store: &Arc<dyn ResourceStore>, name: &str, key: &str, value: &str) {
    let wait = async {
        loop {
            match Secrets::get(&**store, "default", name, key).await {
                Ok(found) if found.expose() == value => return,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("the secret is seen");
}

pub(super) async fn secrets_are_found_by_name_and_key(home: &mut dyn Home) {
    let store = home.store();
    home.put_secret("default", "shop-db", "password", "first-canary")
        .await;
    eventually_secret(&store, "shop-db", "password", "first-canary").await;
    // Rotation is seen.
    home.put_secret("default", "shop-db", "password", "second-canary")
        .await;
    eventually_secret(&store, "shop-db", "password", "second-canary").await;
    let missing = Secrets::get(&*store, "default", "nothing", "password")
        .await
        .expect_err("missing");
    assert!(matches!(missing, SecretError::NotFound { .. }), "{missing}");
    let elsewhere = Secrets::get(&*store, "team", "shop-db", "password")
        .await
        .expect_err("another namespace");
    assert!(matches!(elsewhere, SecretError::NotFound { .. }), "{elsewhere}");
    let key = Secrets::get(&*store, "default", "shop-db", "nothing")
        .await
        .expect_err("missing");
    assert!(matches!(key, SecretError::KeyMissing { .. }), "{key}");
    for error in [missing, elsewhere, key] {
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

pub(super) async fn no_secret_reaches_a_status_or_a_notice(home: &mut dyn Home) {
    let store = home.store();
    home.put_secret("default", "shop-db", "password", "c@nary value")
        .await;
    eventually_secret(&store, "shop-db", "password", "c@nary value").await;
    let message = "login c@nary value at postgres://u:c%40nary%20value@h failed";
    let runs = of::<ExportRun>(&store);
    let entry = runs
        .create(run_of("r", "orders"))
        .await
        .expect("create")
        .into_entry();
    runs.write_status(&entry.key, &entry.uid, run_status(message))
        .await
        .expect("status");
    let notice = Notice::new(
        second(1),
        NoticeType::Warning,
        Kind::ExportRun,
        entry.key.clone(),
        &entry.uid,
        Reason::AccessDenied,
        message,
    );
    store.publish(notice).await;
    let status = get::<ExportRun>(&store, "r")
        .await
        .expect("there")
        .status
        .expect("a status");
    let notices = store.list_notices().await.expect("notices");
    for text in [
        format!("{status:?}"),
        format!("{notices:?}"),
        store.redactor().redact(message),
    ] {
        assert!(!text.contains("nary") && text.contains("[redacted]"), "{text}");
    }
}

fn notice(at: i64, message: &str) -> Notice {
    let key = Key::named("orders");
    Notice::new(
        second(at),
        NoticeType::Normal,
        Kind::Export,
        key,
        "uid",
        Reason::Scheduled,
        message,
    )
}

pub(super) async fn notices_are_counted(home: &mut dyn Home) {
    let store = home.store();
    for at in [1, 5, 3] {
        store.publish(notice(at, "same")).await;
    }
    store.publish(notice(4, "other")).await;
    let warning = Notice {
        notice_type: NoticeType::Warning,
        ..notice(2, "same")
    };
    store.publish(warning.clone()).await;
    let notices = store.list_notices().await.expect("notices");
    let counted = Notice {
        count: 3,
        first: second(1),
        last: second(5),
        ..notice(1, "same")
    };
    assert_eq!(notices, [counted, notice(4, "other"), warning]);
}

pub(super) async fn notices_are_bounded(home: &mut dyn Home) {
    let store = home.store();
    let extra = 5;
    for at in 0..NOTICES_KEPT + extra {
        store.publish(notice(at as i64, &format!("number {at}"))).await;
    }
    let notices = store.list_notices().await.expect("notices");
    assert_eq!(notices.len(), NOTICES_KEPT);
    assert_eq!(notices.last().expect("one").message, format!("number {extra}"));
    assert!(notices.windows(2).all(|pair| pair[0].last > pair[1].last));
}

pub(super) async fn everything_acknowledged_survives_a_restart(home: &mut dyn Home) {
    let store = home.store();
    home.apply(&data_source("a", "1.db")).await;
    wait_for::<DataSource>(&store, "a", |_| true).await;
    home.apply(&data_source("a", "2.db")).await;
    let source = wait_for::<DataSource>(&store, "a", |entry| entry.generation == 2).await;
    of::<DataSource>(&store)
        .write_status(&source.key, &source.uid, source_status("reachable"))
        .await
        .expect("status");
    let runs = of::<ExportRun>(&store);
    let run = runs
        .create(run_of("r", "orders"))
        .await
        .expect("create")
        .into_entry();
    // Finer than a second, as a clock gives it: what is read back is what was shown before.
    let finer = second(1) + SignedDuration::from_millis(250);
    let status = ExportRunStatus {
        start_time: Some(lakegate_crds::Time(finer)),
        ..run_status("working")
    };
    runs.write_status(&run.key, &run.uid, status)
        .await
        .expect("status");
    let gone = runs
        .create(run_of("gone", "orders"))
        .await
        .expect("create")
        .into_entry();
    runs.delete(&gone.key, &gone.uid).await.expect("delete");
    store.publish(notice(1, "kept")).await;
    let source = get::<DataSource>(&store, "a").await.expect("there");
    let run = get::<ExportRun>(&store, "r").await.expect("there");
    drop(store);

    if !home.restart().await {
        return;
    }
    let store = home.store();
    let source_after = get::<DataSource>(&store, "a")
        .await
        .expect("there after the restart");
    let run_after = get::<ExportRun>(&store, "r")
        .await
        .expect("there after the restart");
    assert_eq!(format!("{source_after:?}"), format!("{source:?}"));
    assert_eq!(format!("{run_after:?}"), format!("{run:?}"));
    assert!(get::<ExportRun>(&store, "gone").await.is_none());
    assert_eq!(store.list_notices().await.expect("notices"), [notice(1, "kept")]);
    // A manifest that went while nobody looked is gone; its object comes back as itself.
    home.remove(Kind::DataSource, &source.key).await;
    drop(store);
    home.restart().await;
    assert!(get::<DataSource>(&home.store(), "a").await.is_none());
}
