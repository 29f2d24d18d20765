//! Edits while a folder is served, without asking it to look.

use std::{fs, time::Duration};

use lakegate_crds::DataSource;
use lakegate_store::{Event, FolderOptions};

use crate::{Served, path_of, source, until};

fn is_path(event: &Event<DataSource>, path: &str) -> bool {
    matches!(event, Event::Applied(entry) if path_of(entry) == Some(path))
}

#[tokio::test]
async fn an_edit_is_applied_without_asking() {
    let served = Served::new(&[("a.yaml", &source("a", "1.db"))]).await;
    let mut watch = served.watch();
    // In place, by rename as editors save, and in a folder that is made now.
    served.write("a.yaml", &source("a", "2.db"));
    until(&mut watch, |event| is_path(event, "2.db")).await;
    served.write("a.yaml.new", &source("a", "3.db"));
    fs::rename(served.folder().join("a.yaml.new"), served.folder().join("a.yaml")).unwrap();
    until(&mut watch, |event| is_path(event, "3.db")).await;
    served.write("new/folder/b.yaml", &source("b", "4.db"));
    until(&mut watch, |event| is_path(event, "4.db")).await;
    served.write("new/folder/b.yaml", &source("b", "5.db"));
    until(&mut watch, |event| is_path(event, "5.db")).await;
    fs::remove_dir_all(served.folder().join("new")).unwrap();
    until(
        &mut watch,
        |event| matches!(event, Event::Deleted(entry) if entry.key.name == "b"),
    )
    .await;
}

#[tokio::test]
async fn a_file_half_written_flaps_nothing() {
    let mut served = Served::empty();
    served.options.debounce = Duration::from_millis(100);
    served.write("a.yaml", &source("a", "1.db"));
    served.start().await;
    let mut watch = served.watch();
    until(&mut watch, |event| matches!(event, Event::Synced)).await;
    // Truncated, then written in pieces that mean something else, each seen by the store.
    let text = source("a", "2.db");
    for end in [0, 20, 60, text.len() - 3, text.len()] {
        served.write("a.yaml", &text[..end]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let seen = until(&mut watch, |event| is_path(event, "2.db")).await;
    assert_eq!(seen.len(), 1, "{seen:?}");
    let entry = served.source("a").await;
    assert_eq!((entry.generation, entry.rejected), (2, None));
}

#[tokio::test]
async fn an_invalid_edit_is_told_and_its_repair_too() {
    let served = Served::new(&[("a.yaml", &source("a", "1.db"))]).await;
    let mut watch = served.watch();
    until(&mut watch, |event| matches!(event, Event::Synced)).await;
    served.write("a.yaml", "kind: [");
    let seen = until(
        &mut watch,
        |event| matches!(event, Event::Applied(entry) if entry.rejected.is_some()),
    )
    .await;
    assert!(is_path(seen.last().unwrap(), "1.db"), "{seen:?}");
    served.write("a.yaml", &source("a", "1.db"));
    until(
        &mut watch,
        |event| matches!(event, Event::Applied(entry) if entry.rejected.is_none()),
    )
    .await;
    served.delete("a.yaml");
    until(&mut watch, |event| matches!(event, Event::Deleted(_))).await;
}

#[tokio::test]
async fn a_folder_behind_a_link_is_followed_when_the_link_is_swapped() {
    let mut served = Served::empty();
    let root = served.root.path().to_owned();
    fs::remove_dir(served.folder()).unwrap();
    for (checkout, path) in [("one", "1.db"), ("two", "2.db")] {
        fs::create_dir(root.join(checkout)).unwrap();
        fs::write(root.join(checkout).join("a.yaml"), source("a", path)).unwrap();
    }
    std::os::unix::fs::symlink("one", served.folder()).unwrap();
    served.start().await;
    let mut watch = served.watch();
    until(&mut watch, |event| is_path(event, "1.db")).await;
    std::os::unix::fs::symlink("two", root.join("link")).unwrap();
    fs::rename(root.join("link"), served.folder()).unwrap();
    until(&mut watch, |event| is_path(event, "2.db")).await;
    // The new target is watched from now on.
    fs::write(root.join("two/a.yaml"), source("a", "3.db")).unwrap();
    until(&mut watch, |event| is_path(event, "3.db")).await;
}

#[tokio::test]
async fn without_events_the_folder_is_polled() {
    let mut served = Served::empty();
    served.options = FolderOptions {
        poll: true,
        poll_interval: Duration::from_millis(50),
        ..served.options
    };
    served.write("a.yaml", &source("a", "1.db"));
    served.start().await;
    let mut watch = served.watch();
    served.write("a.yaml", &source("a", "2.db"));
    until(&mut watch, |event| is_path(event, "2.db")).await;
}

#[tokio::test]
async fn what_no_event_tells_is_found_by_the_regular_look() {
    let mut served = Served::empty();
    served.options.rescan = Duration::from_millis(100);
    // A link out of the folder, to a file that is not watched.
    let outside = served.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("a.yaml"), source("a", "1.db")).unwrap();
    std::os::unix::fs::symlink(outside.join("a.yaml"), served.folder().join("a.yaml")).unwrap();
    served.start().await;
    let mut watch = served.watch();
    fs::write(outside.join("a.yaml"), source("a", "2.db")).unwrap();
    until(&mut watch, |event| is_path(event, "2.db")).await;
}
