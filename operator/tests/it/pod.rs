//! The worker in its form for a Pod, as a child process: this test executable, started again.

use std::{
    io::Write as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use lakegate_lake::Lake;
use lakegate_operator::{
    protocol::{Failure, Phase, WorkOrder, WorkerMessage},
    worker::pod::{PodOptions, TERMINATED, run},
};
use serde_json::json;

use crate::{
    orders::postgres,
    worker::{ENDLESS, order},
};

/// Not a test: what the child process runs, in the directory that it is told.
#[test]
#[ignore = "run as a child process by the tests below"]
fn child() {
    let directory = std::env::current_dir().unwrap();
    // the test harness may have begun a line
    println!();
    std::io::stdout().flush().unwrap();
    let options = PodOptions {
        order: directory.join("order/order.json"),
        secrets_dir: directory.join("secrets"),
        state_dir: directory.join("state"),
        last_word: directory.join("termination-log"),
    };
    let code = run(options, std::io::stdout());
    assert_eq!(code, std::process::ExitCode::SUCCESS);
}

/// A Pod as the kubelet makes it.
struct Pod {
    directory: tempfile::TempDir,
}

impl Pod {
    fn new(make: impl FnOnce(&Path) -> WorkOrder) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for name in ["order", "secrets", "state"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        std::fs::write(root.join("termination-log"), "").unwrap();
        let order = serde_json::to_string(&make(root)).unwrap();
        std::fs::write(root.join("order/order.json"), order).unwrap();
        Self { directory }
    }

    fn start(&self) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "pod::child",
                "--ignored",
                "--nocapture",
                "--test-threads=2",
            ])
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// What it said last, on standard output and as its last word, which must be the same.
    fn result(&self, output: &Output) -> WorkerMessage {
        let said = String::from_utf8_lossy(&output.stdout);
        let last = said
            .lines()
            .filter_map(|line| serde_json::from_str::<WorkerMessage>(line).ok())
            .next_back()
            .unwrap_or_else(|| panic!("{output:?}"));
        let left = std::fs::read(self.directory.path().join("termination-log")).unwrap();
        assert_eq!(serde_json::from_slice::<WorkerMessage>(&left).unwrap(), last);
        last
    }

    fn failure(&self) -> Failure {
        let output = self.start().wait_with_output().unwrap();
        match self.result(&output) {
            WorkerMessage::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_performs_the_order_in_its_file() {
    let pod = Pod::new(|root| order(root, json!({}), 1));
    let output = pod.start().wait_with_output().unwrap();
    let WorkerMessage::Finished(report) = pod.result(&output) else {
        panic!("{output:?}")
    };
    assert_eq!((report.rows, report.already), (2, false));
    assert!(output.status.success(), "{output:?}");
    let lake = Lake::open_directory(&pod.directory.path().join("lake"))
        .await
        .unwrap();
    assert_eq!(
        lake.load("shop", "orders").await.unwrap().unwrap().rows(),
        Some(2)
    );
    assert!(
        !pod.directory.path().join("attempts").exists(),
        "the order's own state directory is the operator's"
    );
}

#[test]
fn a_signal_ends_it_at_once() {
    let pod = Pod::new(|root| {
        order(
            root,
            json!({"from": {"query": ENDLESS}, "columns": null, "where": null}),
            1,
        )
    });
    let mut child = pod.start();
    let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"type\":\"progress\"") {
        line.clear();
        assert_ne!(std::io::BufRead::read_line(&mut said, &mut line).unwrap(), 0);
    }
    let WorkerMessage::Progress(progress) = serde_json::from_str(&line).unwrap() else {
        panic!("{line}")
    };
    assert_eq!(progress.phase, Phase::Starting);
    // until it computes
    std::thread::sleep(Duration::from_secs(1));
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let since = std::time::Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(TERMINATED));
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

#[test]
fn nothing_is_done_when_the_time_is_over() {
    let pod = Pod::new(|root| WorkOrder {
        deadline: Timestamp::now() - SignedDuration::from_secs(1),
        ..order(root, json!({}), 1)
    });
    let failure = pod.failure();
    assert_eq!(
        (failure.reason.as_str(), failure.terminal),
        ("DeadlineExceeded", true)
    );
    assert!(!pod.directory.path().join("lake/shop").exists());
}

#[test]
fn a_time_that_ends_meanwhile_ends_the_work() {
    let pod = Pod::new(|root| WorkOrder {
        deadline: Timestamp::now() + SignedDuration::from_secs(3),
        ..order(
            root,
            json!({"from": {"query": ENDLESS}, "columns": null, "where": null}),
            1,
        )
    });
    assert_eq!(pod.failure().reason, "DeadlineExceeded");
}

#[test]
fn a_secret_that_is_not_mounted_is_named() {
    let with_secret = |key: Option<&str>| {
        let pod = Pod::new(|root| WorkOrder {
            sources: vec![postgres("shop")],
            ..order(root, json!({}), 1)
        });
        if let Some(key) = key {
            let secret = pod.directory.path().join("secrets/shop-db");
            std::fs::create_dir(&secret).unwrap();
            std::fs::write(secret.join(key), "canary-4711").unwrap();
        }
        pod.failure()
    };
    for (key, reason, text) in [
        (None, "SecretNotFound", "create the Secret default/shop-db"),
        (Some("username"), "SecretKeyMissing", "\"password\""),
    ] {
        let failure = with_secret(key);
        assert_eq!(
            (failure.reason.as_str(), failure.terminal),
            (reason, false),
            "{failure:?}"
        );
        assert!(
            failure.message.contains(text) && !failure.message.contains("canary"),
            "{failure:?}"
        );
    }
}

#[test]
fn an_order_that_is_not_there_or_of_another_version_is_told() {
    let gone = Pod::new(|root| order(root, json!({}), 1));
    std::fs::remove_file(gone.directory.path().join("order/order.json")).unwrap();
    assert!(gone.failure().message.contains("order.json cannot be read"));
    let old = Pod::new(|root| WorkOrder {
        version: 1,
        ..order(root, json!({}), 1)
    });
    let failure = old.failure();
    assert!(
        failure.terminal && failure.message.contains("worker image"),
        "{failure:?}"
    );
}
