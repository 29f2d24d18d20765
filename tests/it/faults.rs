//! kill -9 at random moments: a restart converges, no half table, no lost or double run.

use std::time::Duration;

use crate::support::{Serve, Site, eventually, signal, workers};

/// How many random kills: tens in the quick suite, more by `LAKEGATE_FAULT_SEEDS`.
fn seeds() -> u64 {
    std::env::var("LAKEGATE_FAULT_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10)
}

/// A small generator, so that a failing seed can be run again.
fn pause(seed: u64, at_most: u64) -> Duration {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    state ^= state >> 29;
    state = state.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state ^= state >> 32;
    Duration::from_millis(state % at_most)
}

/// Whole tables only, whatever else is going on.
fn check_table(serve: &Serve) {
    match serve.sql("lakegate", "select count(*) from lake.flights.departures") {
        Ok(rows) => assert_eq!(rows, "336776", "a table is whole or absent"),
        Err(error) => assert!(error.contains("42P01"), "{error}"),
    }
}

fn snapshots(site: &Site) -> usize {
    let metadata = site.state().join("lake/flights/departures/metadata");
    std::fs::read_dir(metadata)
        .map(|entries| {
            entries
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().ends_with(".metadata.json"))
                .count()
        })
        .unwrap_or_default()
}

#[test]
fn a_killed_worker_is_retried() {
    let site = Site::flights();
    site.write(
        "departures.yaml",
        &site
            .read("departures.yaml")
            .replace("  schedule:", "  retry: {limit: 3, backoff: 1s}\n  schedule:"),
    );
    let mut serve = site.serve();
    serve.expect_log("WorkerLost");
    serve.expect_log("worker");
    let worker = eventually("a worker", || workers(serve.id()).first().copied());
    signal("KILL", worker);
    serve.sql_becomes("lakegate", "select last_run from lakegate.exports", "Succeeded");
    serve.sql_becomes(
        "lakegate",
        "select count(*) from lake.flights.departures",
        "336776",
    );
    assert_eq!(
        serve
            .sql("lakegate", "select count(*) from lakegate.export_runs")
            .expect("runs"),
        "1"
    );
    assert_eq!(snapshots(&site), 1);
}

#[test]
fn a_killed_serve_converges() {
    for seed in 0..seeds() {
        let site = Site::flights();
        site.write(
            "departures.yaml",
            &site
                .read("departures.yaml")
                .replace("  schedule:", "  retry: {limit: 5, backoff: 1s}\n  schedule:"),
        );
        for round in 0..2 {
            let serve = site.serve();
            std::thread::sleep(pause(seed * 7 + round, 2_000));
            check_table(&serve);
            let id = serve.id();
            let orphans = workers(id);
            serve.kill();
            eventually("the end of orphaned workers", || {
                orphans
                    .iter()
                    .all(|worker| !std::path::Path::new(&format!("/proc/{worker}/exe")).exists())
                    .then_some(())
            });
        }
        let mut serve = site.serve();
        serve.expect_log("WorkerLost");
        serve.expect_log("worker");
        serve.sql_becomes(
            "lakegate",
            "select count(*) from lake.flights.departures",
            "336776",
        );
        serve.sql_becomes(
            "lakegate",
            "select count(*), count(*) filter (where state = 'Complete') from lakegate.export_runs",
            "1|1",
        );
        assert_eq!(snapshots(&site), 1, "seed {seed}: one run, one commit");
    }
}

#[test]
fn a_killed_serve_keeps_the_table_it_had() {
    let site = Site::flights();
    let serve = site.serve();
    serve.sql_becomes("lakegate", "select last_run from lakegate.exports", "Succeeded");
    let run = site.cli(&["run", "export/departures", "--no-wait"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    eventually("the second worker", || workers(serve.id()).first().copied());
    check_table(&serve);
    serve.kill();
    let mut serve = site.serve();
    serve.expect_log("WorkerLost");
    serve.expect_log("worker");
    check_table(&serve);
    serve.sql_becomes(
        "lakegate",
        "select count(*) from lakegate.export_runs where state = 'Complete'",
        "2",
    );
    check_table(&serve);
    assert_eq!(snapshots(&site), 2);
}
