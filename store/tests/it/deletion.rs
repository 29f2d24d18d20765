//! What becomes of a held object whose manifest goes, in a folder: an hour in which it may come back.

use std::time::Duration;

use lakegate_crds::{DataSource, conditions::Reason};
use lakegate_store::{Entry, FolderStore, Key, Store};

use crate::{Served, path_of, source};

const HOUR: Duration = Duration::from_hours(1);

/// A held object whose manifest is gone.
async fn leaving(grace: Duration) -> (Served, Entry<DataSource>) {
    let mut served = Served::empty();
    served.options.deletion_grace = grace;
    served.write("a.yaml", &source("a", "1.db"));
    served.start().await;
    let entry = served.source("a").await;
    store(&served).hold(&entry.key, &entry.uid).await.unwrap();
    served.delete("a.yaml");
    served.look().await;
    let leaving = served.source("a").await;
    assert!(leaving.is_held && leaving.deletion.is_some());
    assert_eq!(
        (leaving.uid.as_str(), path_of(&leaving)),
        (entry.uid.as_str(), Some("1.db"))
    );
    (served, leaving)
}

fn store(served: &Served) -> &dyn Store<DataSource> {
    &**served.store()
}

#[tokio::test]
async fn it_comes_back_as_itself_within_the_hour() {
    let (mut served, leaving) = leaving(HOUR).await;
    let (key, uid) = (leaving.key.clone(), leaving.uid.clone());
    let in_time = leaving.deletion.unwrap().duration_since(jiff::Timestamp::now());
    assert!((3500..=3600).contains(&in_time.as_secs()), "{in_time}");
    assert!(!store(&served).confirm_deletion(&key, &uid).await.unwrap());
    // Neither another look nor a restart begins the hour anew.
    served.look().await;
    served.restart().await;
    assert_eq!(served.source("a").await.deletion, leaving.deletion);
    assert!(
        served.store().vanished().await.is_empty(),
        "it waits, and is not gone"
    );
    served.write("elsewhere.yaml", &source("a", "2.db"));
    served.look().await;
    let back = served.source("a").await;
    assert_eq!(
        (back.uid.as_str(), path_of(&back), back.deletion),
        (uid.as_str(), Some("2.db"), None)
    );
    assert!(back.is_held && served.problems().is_empty());
}

/// As a lake that no Export needs any more: it was never anything else than what is not held.
#[tokio::test]
async fn released_within_the_hour_it_may_come_back_too() {
    let (mut served, leaving) = leaving(HOUR).await;
    store(&served).release(&leaving.key, &leaving.uid).await.unwrap();
    assert!(served.get::<DataSource>("a").await.is_none());
    assert_eq!(served.store().vanished().await.len(), 1);
    served.restart().await;
    served.write("a.yaml", &source("a", "2.db"));
    served.look().await;
    let back = served.source("a").await;
    assert!(back.uid == leaving.uid && !back.is_held && back.deletion.is_none());
}

#[tokio::test]
async fn what_cannot_be_read_or_is_invalid_is_not_gone() {
    let (served, leaving) = leaving(HOUR).await;
    served.write("a.yaml", &source("a", "2.db").replace("    path:", "    bogus:"));
    served.look().await;
    let refused = served.source("a").await;
    assert!(refused.rejected.is_some() && refused.deletion.is_none());
    assert_eq!(
        (refused.uid.as_str(), path_of(&refused)),
        (leaving.uid.as_str(), Some("1.db"))
    );
    served.delete("a.yaml");
    served.look().await;
    assert!(served.source("a").await.deletion.is_some());
    served.write("a.yaml", "kind: [");
    served.look().await;
    let unreadable = served.source("a").await;
    assert!(unreadable.rejected.is_some() && unreadable.deletion.is_none());
}

#[tokio::test]
async fn another_object_of_the_name_waits() {
    let (mut served, leaving) = leaving(HOUR).await;
    let (key, uid) = (leaving.key.clone(), leaving.uid.clone());
    // The kind of a store is immutable: this is no edit.
    let other = source("a", "x").replace("sqlite:\n    path: x", "lake: {directory: {}}");
    served.write("a.yaml", &other);
    served.look().await;
    let waiting = served.source("a").await;
    assert_eq!(
        (waiting.uid.as_str(), waiting.deletion),
        (uid.as_str(), leaving.deletion)
    );
    let problems = served.store().problems();
    assert!(
        problems.len() == 1
            && problems[0].reason == Reason::Deleting
            && problems[0].message.contains("being deleted"),
        "{problems:?}"
    );
    // Without waiting for the hour, by a person's word, which lasts.
    let now = served.store().delete_now::<DataSource>(&key).await.unwrap();
    assert!(now && store(&served).confirm_deletion(&key, &uid).await.unwrap());
    served.restart().await;
    assert_eq!(served.source("a").await.uid, uid);
    store(&served).release(&key, &uid).await.unwrap();
    let next = served.source("a").await;
    assert!(next.uid != uid && next.object.unwrap().spec.lake.is_some() && next.deletion.is_none());
    assert!(served.problems().is_empty());
}

#[tokio::test]
async fn once_final_nothing_brings_it_back() {
    let (served, leaving) = leaving(Duration::ZERO).await;
    let (key, uid) = (leaving.key.clone(), leaving.uid.clone());
    assert!(store(&served).confirm_deletion(&key, &uid).await.unwrap());
    served.write("a.yaml", &source("a", "1.db"));
    served.write("b.yaml", &source("a", "1.db"));
    for _ in 0..2 {
        served.look().await;
        let waiting = served.source("a").await;
        assert!(waiting.uid == uid && waiting.deletion == leaving.deletion && waiting.rejected.is_none());
        assert_eq!(served.problems().len(), 2, "{:?}", served.problems());
    }
    served.delete("b.yaml");
    store(&served).release(&key, &uid).await.unwrap();
    let next = served.source("a").await;
    assert!(next.uid != uid && !next.is_held);
}

#[tokio::test]
async fn only_what_is_gone_and_held_can_be_deleted_now() {
    let served = Served::new(&[("a.yaml", &source("a", "1.db"))]).await;
    let entry = served.source("a").await;
    let deletable = async |name: &str| {
        let store: &FolderStore = served.store();
        store.delete_now::<DataSource>(&Key::named(name)).await.unwrap()
    };
    assert!(!deletable("a").await && !deletable("missing").await);
    store(&served).hold(&entry.key, &entry.uid).await.unwrap();
    assert!(!deletable("a").await, "its manifest is there");
}

#[tokio::test]
async fn a_stopped_instance_shows_what_waits() {
    let (mut served, leaving) = leaving(HOUR).await;
    served.stop().await;
    let offline = FolderStore::open_offline(served.state()).await.unwrap();
    let entries = Store::<DataSource>::list(&offline).await.unwrap();
    assert_eq!((entries.len(), entries[0].deletion), (1, leaving.deletion));
    assert!(offline.delete_now::<DataSource>(&leaving.key).await.unwrap());
    Store::<DataSource>::release(&offline, &leaving.key, &leaving.uid)
        .await
        .unwrap();
    assert!(Store::<DataSource>::list(&offline).await.unwrap().is_empty());
    offline.close().await;
    drop(offline);
    served.start().await;
    assert!(served.get::<DataSource>("a").await.is_none());
}
