//! Workers as real child processes: this test executable, started again.

use std::{
    io::{BufRead as _, Read as _, Write as _},
    time::Duration,
};

use lakegate_operator::{
    ProcessLauncher, WorkerLauncher as _,
    attempt::Ending,
    launcher::{Worker, WorkerEvent},
    protocol::{
        Assignment, PROTOCOL_VERSION, Phase, Progress, Report, RunIdentity, WorkOrder, WorkerMessage,
    },
};
use lakegate_store::MemoryStore;
use serde_json::json;

use crate::harness::{PATIENCE, export, source};

/// Not a test: what the child process runs. It does what the name of its run says.
#[test]
#[ignore = "run as a child process by the tests below"]
fn child() {
    let mut stdin = std::io::stdin().lock();
    let mut line = String::new();
    stdin.read_line(&mut line).unwrap();
    let Assignment { order, secrets } = serde_json::from_str(&line).unwrap();
    let say = |message: &WorkerMessage| {
        // the test harness may have begun a line
        let mut stdout = std::io::stdout();
        writeln!(stdout, "\n{}", serde_json::to_string(message).unwrap()).unwrap();
        stdout.flush().unwrap();
    };
    say(&WorkerMessage::Progress(Progress {
        phase: Phase::Copying,
        rows: 1,
        bytes: 2,
        total_rows: None,
    }));
    match order.run.name.as_str() {
        "finish" => {
            let secret = secrets.get("default", "shop-db", "password").unwrap();
            let inherited = std::env::vars().any(|(name, _)| name.starts_with("LAKEGATE_SECRET_"));
            let rows = secret.expose().len() as u64;
            let report = Report {
                rows,
                bytes: u64::from(inherited),
                ..Report::default()
            };
            say(&WorkerMessage::Finished(report));
        }
        "abort" => std::process::abort(),
        "babble" => {
            println!("\nnot json {}", "x".repeat(200_000));
            say(&WorkerMessage::Progress(Progress {
                phase: Phase::Committing,
                rows: 3,
                bytes: 4,
                total_rows: None,
            }));
        }
        "obedient" => {
            let mut rest = Vec::new();
            stdin.read_to_end(&mut rest).unwrap();
            std::process::exit(75);
        }
        "stubborn" => loop {
            std::thread::sleep(Duration::from_hours(1));
        },
        other => panic!("{other}"),
    }
}

fn launcher() -> ProcessLauncher {
    let arguments = [
        "--exact",
        "process::child",
        "--ignored",
        "--nocapture",
        "--test-threads=2",
    ];
    ProcessLauncher::new(std::env::current_exe().unwrap(), arguments)
}

fn order(name: &str) -> WorkOrder {
    WorkOrder {
        version: PROTOCOL_VERSION,
        run: RunIdentity {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            uid: "u1".to_owned(),
            export: "orders".to_owned(),
            export_uid: None,
            attempt: 1,
            attempt_id: "a1".to_owned(),
        },
        spec: export("orders", json!({})).spec,
        sources: vec![source(
            "shop",
            json!({"postgres": {
                "database": "shop", "primary": {"host": "localhost"}, "credentials": {"secretRef": {"name": "shop-db"}},
            }}),
        )],
        lake: source("lake", json!({"lake": {"directory": {}}})),
        views: Vec::new(),
        deadline: jiff::Timestamp::MAX,
        state_dir: std::env::temp_dir(),
        threads: 1,
        memory_bytes: 1 << 28,
    }
}

fn secrets() -> MemoryStore {
    let secrets = MemoryStore::new();
    secrets.put_secret("default", "shop-db", "username", "reader");
    secrets.put_secret("default", "shop-db", "password", "canary-4711");
    secrets
}

/// Everything a worker says until it is gone, and how it went.
async fn listen(worker: &mut Worker) -> (Vec<WorkerMessage>, String) {
    let mut said = Vec::new();
    loop {
        let event = tokio::time::timeout(PATIENCE, worker.events.recv())
            .await
            .expect("the worker neither speaks nor ends");
        match event.expect("the last event is Exited") {
            WorkerEvent::Message(message) => said.push(message),
            WorkerEvent::Exited(exit) => return (said, exit.how),
            other => panic!("a child process is at work from its start: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_gets_its_order_and_its_result_comes_back() {
    let mut worker = launcher().launch(order("finish"), &secrets()).await.unwrap();
    let (said, how) = listen(&mut worker).await;
    let Some(WorkerMessage::Finished(report)) = said.last() else {
        panic!("{said:?}")
    };
    assert_eq!(
        (report.rows, report.bytes),
        (11, 0),
        "it has its secret, and no others from the environment"
    );
    assert!(how.contains("exit status: 0"), "{how}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_child_is_noticed() {
    let mut worker = launcher().launch(order("abort"), &secrets()).await.unwrap();
    let (said, how) = listen(&mut worker).await;
    assert_eq!(said.len(), 1);
    assert!(how.contains("signal: 6"), "{how}");
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_is_no_message_and_long_lines_cost_nothing() {
    let mut worker = launcher().launch(order("babble"), &secrets()).await.unwrap();
    let (said, _) = listen(&mut worker).await;
    assert_eq!(said.len(), 2, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_to_end_ends_and_who_does_not_is_killed() {
    for (name, expected) in [("obedient", "exit status: 75"), ("stubborn", "signal: 9")] {
        let worker = launcher().launch(order(name), &secrets()).await.unwrap();
        let Worker {
            id,
            attempt_id,
            mut events,
            stop,
        } = worker;
        let first = tokio::time::timeout(PATIENCE, events.recv())
            .await
            .unwrap()
            .unwrap();
        assert!(
            matches!(first, WorkerEvent::Message(WorkerMessage::Progress(_))),
            "{first:?}"
        );
        drop(stop);
        let (sender, _) = tokio::sync::oneshot::channel();
        let mut worker = Worker {
            id,
            attempt_id,
            events,
            stop: sender,
        };
        let (_, how) = listen(&mut worker).await;
        assert!(how.contains(expected), "{name}: {how}");
    }
}

#[tokio::test]
async fn a_missing_secret_is_a_failure_of_its_own() {
    let failure = launcher()
        .launch(order("finish"), &MemoryStore::new())
        .await
        .unwrap_err();
    let Ending::Failed(failure) = failure.ending() else {
        panic!("{failure}")
    };
    assert_eq!(
        (failure.reason.as_str(), failure.terminal),
        ("SecretNotFound", false)
    );
    assert!(
        failure.message.contains("DataSource shop") && failure.message.contains("secret shop-db"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn a_missing_program_is_a_failure_to_launch() {
    let launcher = ProcessLauncher::new("/nonexistent/lakegate", ["worker"]);
    let failure = launcher.launch(order("finish"), &secrets()).await.unwrap_err();
    assert!(failure.to_string().contains("/nonexistent/lakegate"), "{failure}");
}
