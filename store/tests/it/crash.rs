//! kill -9 at any moment: this test binary starts itself as a child that writes, and kills it.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use lakegate_crds::{DataSource, ExportRun, ExportRunStatus};
use lakegate_store::{FolderStore, Store};

use crate::{Served, source};

const CHILD: &str = "LAKEGATE_STORE_TEST_CHILD";

fn run(name: &str) -> ExportRun {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "lakegate.dev/v1alpha1", "kind": "ExportRun",
        "metadata": {"name": name}, "spec": {"exportRef": {"name": "orders"}}
    }))
    .unwrap()
}

/// Not a test of its own: what the child does when it is started as one. Creates runs without end, and names each
/// on its output once it is acknowledged.
#[tokio::test]
async fn child_that_writes() {
    let Ok(root) = std::env::var(CHILD) else { return };
    let (root, round) = root.split_once('|').unwrap();
    let root = std::path::Path::new(root);
    let store = FolderStore::open(
        root.join("manifests"),
        root.join("state"),
        lakegate_store::FolderOptions::default(),
    )
    .await
    .unwrap();
    let mut out = std::io::stdout();
    for number in 0.. {
        let name = format!("run-{round}-{number}");
        let entry = Store::<ExportRun>::create(&store, run(&name))
            .await
            .unwrap()
            .into_entry();
        writeln!(out, "\ncreated {name} {}", entry.uid).unwrap();
        let status = ExportRunStatus {
            attempts: Some(number),
            ..ExportRunStatus::default()
        };
        Store::<ExportRun>::write_status(&store, &entry.key, &entry.uid, status)
            .await
            .unwrap();
        writeln!(out, "\nstatus {name} {number}").unwrap();
        if number % 3 == 2 {
            Store::<ExportRun>::delete(&store, &entry.key, &entry.uid)
                .await
                .unwrap();
            writeln!(out, "\ndeleted {name} 0").unwrap();
        }
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_it_acknowledged() {
    let mut served = Served::new(&[("a.yaml", &source("a", "1.db"))]).await;
    let source_uid = served.source("a").await.uid;
    served.stop().await;
    let mut uids = BTreeSet::new();
    let mut statuses = Vec::new();
    let mut deleted = BTreeSet::new();
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "crash::child_that_writes",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CHILD, format!("{}|{round}", served.root.path().display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut seen = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["created", name, uid] => drop(uids.insert((name.to_owned(), uid.to_owned()))),
                ["status", name, number] => statuses.push((name.to_owned(), number.parse::<i64>().unwrap())),
                ["deleted", name, _] => drop(deleted.insert(name.to_owned())),
                _ => continue,
            }
            seen += 1;
            // At another moment each time; what the pipe still holds was acknowledged too.
            if seen == 5 + round * 7 {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success());
    }
    served.start().await;
    let runs = Store::<ExportRun>::list(&**served.store()).await.unwrap();
    let known = |name: &str| runs.iter().find(|entry| entry.key.name == name);
    assert!(uids.len() > 20);
    for (name, uid) in &uids {
        match known(name) {
            Some(entry) => {
                assert_eq!(&entry.uid, uid);
                assert!(!deleted.contains(name), "{name} was deleted");
            }
            // The deletion may have happened and its acknowledgement not.
            None => assert!(
                name.rsplit('-').next().unwrap().parse::<i64>().unwrap() % 3 == 2,
                "{name} is lost"
            ),
        }
    }
    for (name, attempts) in statuses {
        if let Some(entry) = known(&name) {
            assert_eq!(
                entry.status.as_ref().and_then(|status| status.attempts),
                Some(attempts),
                "{name}"
            );
        }
    }
    let sources = Store::<DataSource>::list(&**served.store()).await.unwrap();
    assert_eq!(
        sources.iter().map(|entry| entry.uid.as_str()).collect::<Vec<_>>(),
        [source_uid]
    );
}
