//! The commands beside `serve`.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
};

use crate::support::{Site, binary, eventually, repository, signal};

fn run(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(binary())
        .args(arguments)
        .current_dir(repository())
        .output()
        .expect("lakegate runs");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.success(), text)
}

#[test]
fn generated_definitions_are_current() {
    let (success, text) = run(&["crds", "--check", "crds/generated"]);
    assert!(success, "{text}");
}

#[test]
fn validate_names_file_line_object_and_field() {
    let site = Site::flights();
    let text = site.read("departures.yaml");
    let line = text
        .lines()
        .position(|line| line.contains("cron:"))
        .expect("a schedule")
        + 1;
    site.write("departures.yaml", &text.replace("30 3 * * *", "0 30 3 * * *"));
    let (success, text) = run(&["validate", site.manifests().to_str().expect("a path")]);
    assert!(!success, "{text}");
    for word in [
        &format!("departures.yaml:{line}"),
        "departures",
        "spec.schedule.cron",
        "five fields",
    ] {
        assert!(text.contains(word), "no {word} in: {text}");
    }
}

#[test]
fn get_describe_and_run_reach_a_running_and_a_stopped_instance() {
    let site = Site::flights();
    let serve = site.serve();
    serve.sql_becomes("lakegate", "select last_run from lakegate.exports", "Succeeded");

    let said = |arguments: &[&str]| {
        let output = site.cli(arguments);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{arguments:?}: {text}");
        text
    };
    assert!(said(&["get", "exports"]).contains("departures"));
    assert!(said(&["get", "ds", "-o", "json"]).contains("\"reference\""));
    assert!(said(&["describe", "export/departures"]).contains("LastRunSucceeded"));
    let run = said(&["run", "export/departures"]);
    assert!(run.contains("336,776") || run.contains("336776"), "{run}");
    assert_eq!(
        serve
            .sql(
                "lakegate",
                "select count(*) from lakegate.export_runs where state = 'Complete'"
            )
            .expect("runs"),
        "2"
    );

    serve.stop();
    assert!(said(&["get", "exports"]).contains("departures"));
    assert!(said(&["get", "exportruns", "-o", "yaml"]).contains("336776"));
    assert!(said(&["run", "export/departures"]).contains("Complete"));

    let serve = site.serve();
    serve.sql_becomes(
        "lakegate",
        "select count(*) from lakegate.export_runs where state = 'Complete'",
        "3",
    );
    serve.sql_becomes(
        "lakegate",
        "select count(*) from lake.flights.departures",
        "336776",
    );
}

#[test]
fn mistakes_are_explained() {
    let site = Site::flights();
    let state = site.state();
    let state = state.to_str().expect("a path");
    for (arguments, wanted) in [
        (vec!["get", "exprots", "--state-dir", state], "ExportRun"),
        (vec!["get", "exports", "--state-dir", state], "lakegate serve"),
        (vec!["describe", "departures", "--state-dir", state], "KIND/NAME"),
        (
            vec![
                "serve",
                "/nowhere/at/all",
                "--listen",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
                "--state-dir",
                state,
            ],
            "/nowhere/at/all",
        ),
        (
            vec![
                "serve",
                "examples/flights",
                "--listen",
                "0.0.0.0:0",
                "--http",
                "127.0.0.1:0",
                "--state-dir",
                state,
            ],
            "--users",
        ),
    ] {
        let (success, text) = run(&arguments);
        assert!(!success && text.contains(wanted), "{arguments:?}: {text}");
    }
}

#[test]
fn one_state_directory_serves_one_process() {
    let site = Site::flights();
    let serve = site.serve();
    let state = site.state();
    let (success, text) = run(&[
        "serve",
        "examples/flights",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--state-dir",
        state.to_str().expect("a path"),
    ]);
    assert!(!success && text.contains("in use"), "{text}");
    drop(serve);
}

/// An API server that takes connections and says nothing.
const SILENT_CLUSTER: &str = "apiVersion: v1
kind: Config
clusters: [{name: silent, cluster: {server: \"http://ADDRESS\"}}]
contexts: [{name: silent, context: {cluster: silent, user: nobody}}]
current-context: silent
users: [{name: nobody, user: {}}]
";

/// Whoever looks after the process would otherwise kill it for what its cluster does.
#[test]
fn a_process_is_alive_and_not_ready_while_its_cluster_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let site = Site::empty();
    let address = silent.local_addr().expect("an address").to_string();
    site.write("kubeconfig", &SILENT_CLUSTER.replace("ADDRESS", &address));
    for (subcommand, more) in [
        ("gateway", vec!["--listen", "127.0.0.1:0"]),
        ("operator", vec!["--worker-image", "lakegate:test"]),
    ] {
        let http = TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("an address");
        let mut process = Command::new(binary())
            .arg(subcommand)
            .args([
                "--namespace",
                "default",
                "--http",
                &http.to_string(),
                "--state-dir",
            ])
            .arg(site.state())
            .args(more)
            .env("KUBECONFIG", site.manifests().join("kubeconfig"))
            .spawn()
            .expect("lakegate starts");
        let health = eventually("an answer of /healthz", || answer(http, "/healthz"));
        let readiness = answer(http, "/readyz");
        // Nor does it have to be killed.
        signal("TERM", process.id());
        let status = eventually("its end", || process.try_wait().expect("a status"));
        assert_eq!(health, 200, "{subcommand}");
        assert_eq!(readiness, Some(503), "{subcommand}");
        assert!(status.success(), "{subcommand}: {status}");
    }
}

/// The status of a GET, once there is one.
fn answer(address: SocketAddr, path: &str) -> Option<u16> {
    let mut connection = TcpStream::connect(address).ok()?;
    write!(connection, "GET {path} HTTP/1.0\r\nHost: lakegate\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    answer.split_whitespace().nth(1)?.parse().ok()
}
