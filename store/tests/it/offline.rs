use lakegate_crds::{DataSource, DataSourceStatus, ExportRun};
use lakegate_store::{FolderStore, Key, MANIFEST_ANNOTATION, Notice, NoticeType, Notices, Store, StoreError};

use crate::{Served, path_of, source};

fn run(name: &str) -> ExportRun {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "lakegate.dev/v1alpha1", "kind": "ExportRun",
        "metadata": {"name": name}, "spec": {"exportRef": {"name": "orders"}}
    }))
    .unwrap()
}

#[tokio::test]
async fn a_stopped_instance_can_be_looked_at_and_given_runs() {
    let mut served = Served::new(&[("a.yaml", &source("a", "1.db")), ("b.yaml", &source("b", "1.db"))]).await;
    let error = FolderStore::open_offline(served.state()).await.unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    let a = served.source("a").await;
    let status = DataSourceStatus {
        observed_generation: Some(1),
        ..DataSourceStatus::default()
    };
    Store::<DataSource>::write_status(&**served.store(), &a.key, &a.uid, status.clone())
        .await
        .unwrap();
    let store = served.store().clone();
    let key = Key::named("a");
    let kind = lakegate_crds::Kind::DataSource;
    let now = "2026-11-23T09:00:00Z".parse().unwrap();
    store
        .publish(Notice::new(
            now,
            NoticeType::Normal,
            kind,
            key,
            &a.uid,
            "Scheduled",
            "seen",
        ))
        .await;
    drop(store);
    served.write("b.yaml", &source("b", "2.db").replace("    path:", "    bogus:"));
    served.look().await;
    served.stop().await;
    // Edits of a stopped instance are not known until it serves again.
    served.write("a.yaml", &source("a", "9.db"));

    let offline = FolderStore::open_offline(served.state()).await.unwrap();
    let entries = Store::<DataSource>::list(&offline).await.unwrap();
    assert_eq!(
        entries.iter().map(path_of).collect::<Vec<_>>(),
        [Some("1.db"), Some("1.db")]
    );
    assert_eq!(
        (entries[0].status.as_ref(), &entries[0].uid),
        (Some(&status), &a.uid)
    );
    assert!(
        entries[1]
            .rejected
            .as_ref()
            .unwrap()
            .to_string()
            .starts_with("b.yaml:")
    );
    let annotations = entries[0]
        .object
        .as_ref()
        .unwrap()
        .metadata
        .annotations
        .clone()
        .unwrap();
    assert_eq!(
        annotations[MANIFEST_ANNOTATION],
        served.folder().join("a.yaml").to_string_lossy()
    );
    assert_eq!(offline.list_notices().await.unwrap().len(), 1);
    let created = Store::<ExportRun>::create(&offline, run("r"))
        .await
        .unwrap()
        .into_entry();
    offline.close().await;
    drop(offline);

    served.start().await;
    assert_eq!(served.get::<ExportRun>("r").await.unwrap().uid, created.uid);
    assert_eq!(path_of(&served.source("a").await), Some("9.db"));
}

#[tokio::test]
async fn there_must_be_a_state() {
    let served = Served::empty();
    let error = FolderStore::open_offline(served.state()).await.unwrap_err();
    assert!(matches!(error, StoreError::StateUnusable { .. }), "{error}");
    assert!(!served.state().exists());
}
