//! Runs from their cause to their end.

use jiff::SignedDuration;
use lakegate_crds::RunState;
use lakegate_operator::{RunRefusal, clock::Clock};
use lakegate_store::Key;
use serde_json::json;

use crate::harness::{World, condition, export};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_at_creation_ends_complete_and_everything_tells_of_it() {
    let mut world = World::new();
    world.store.put(export(
        "orders",
        json!({"schedule": {"cron": "0 3 * * *", "runOnCreate": true}, "resources": {"limits": {"cpu": "2500m", "memory": "1Gi"}}}),
    ));
    let mut operator = world.start();
    let worker = world.worker().await;
    assert_eq!(
        (worker.order.threads, worker.order.memory_bytes),
        (2, (1 << 30) / 10 * 6)
    );
    assert_eq!(
        (worker.order.run.attempt, worker.order.run.export.as_str()),
        (1, "orders")
    );
    let name = worker.order.run.name.clone();
    assert!(name.starts_with("orders-202605110000-"), "{name}");
    worker.progress(5).await;
    let status = world
        .until_run(&name, "progress shows", |status| {
            status
                .progress
                .as_ref()
                .is_some_and(|progress| progress.rows == Some(5))
        })
        .await;
    assert_eq!(status.state(), RunState::Running);
    world
        .until_export("orders", "it is active", |status| status.active_run.is_some())
        .await;
    world.advance(2);
    worker.finish(&world.surroundings).await;
    let status = world
        .until_export("orders", "the run is accounted for", |status| {
            status.last_run.is_some()
        })
        .await;
    let last = status.last_run.unwrap();
    assert_eq!(
        (
            last.outcome.as_str(),
            last.rows,
            last.bytes,
            last.duration.as_deref()
        ),
        ("Succeeded", Some(9), Some(99), Some("2.0s"))
    );
    assert_eq!(status.active_run, None);
    assert_eq!(status.snapshot.unwrap().id, "1");
    assert_eq!(
        status.next_schedule_time.unwrap().0.to_string(),
        "2026-05-11T03:00:00Z"
    );
    assert_eq!(
        condition(&status.conditions, "LastRunSucceeded"),
        Some(("True", "Succeeded"))
    );
    assert_eq!(
        condition(&status.conditions, "Ready"),
        Some(("True", "Scheduled"))
    );
    assert_eq!(world.told(&name).await, ["Running", "Succeeded"]);
    operator.shut_down().await;
    // once per uid, over restarts and edits
    world.store.put(export(
        "orders",
        json!({"schedule": {"cron": "0 4 * * *", "runOnCreate": true}}),
    ));
    let mut operator = world.start();
    world
        .until_export("orders", "the edit is seen", |status| {
            status
                .next_schedule_time
                .as_ref()
                .is_some_and(|next| next.0.to_string() == "2026-05-11T04:00:00Z")
        })
        .await;
    assert!(world.no_worker());
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_day_has_its_run_and_the_history_stays_short() {
    let mut world = World::new();
    world.store.put(export(
        "orders",
        json!({"schedule": {"cron": "0 3 * * *", "timeZone": "Asia/Seoul"}, "history": {"succeeded": 3}}),
    ));
    let mut operator = world.start();
    for day in 11..=20 {
        let slot = format!("2026-05-{day}T18:00:00Z");
        world
            .until_export("orders", "the next run is known", |status| {
                status
                    .next_schedule_time
                    .as_ref()
                    .is_some_and(|next| next.0.to_string() == slot)
            })
            .await;
        world.set_time(&format!("2026-05-{day}T17:59:59Z"));
        assert!(world.no_worker());
        world.set_time(&slot);
        let worker = world.worker().await;
        assert!(
            worker
                .order
                .run
                .name
                .starts_with(&format!("orders-202605{day}1800-"))
        );
        worker.finish(&world.surroundings).await;
        world
            .until_export("orders", "the run ends", |status| {
                status.active_run.is_none() && status.last_run.is_some()
            })
            .await;
    }
    let deadline = tokio::time::Instant::now() + crate::harness::PATIENCE;
    while world.runs().await.len() > 3 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the history is not trimmed"
        );
        tokio::task::yield_now().await;
    }
    assert_eq!(world.surroundings.commit_count(), 10);
    let status = world.export("orders").await;
    assert_eq!(
        (status.missed_runs, status.consecutive_failures),
        (Some(0), Some(0))
    );
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_lost_and_the_attempt_repeated() {
    let mut world = World::new();
    world.store.put(export(
        "orders",
        json!({"runToken": "go", "retry": {"limit": 2, "backoff": "30s"}}),
    ));
    let mut operator = world.start();
    let worker = world.worker().await;
    let name = worker.order.run.name.clone();
    let first_attempt = worker.order.run.attempt_id.clone();
    worker.dies().await;
    let status = world
        .until_run(&name, "it waits for its next attempt", |status| {
            status.next_attempt_time.is_some()
        })
        .await;
    assert_eq!(status.failure.unwrap().reason, "WorkerLost");
    assert!(world.no_worker());
    world.advance(30);
    let worker = world.worker().await;
    assert_eq!(worker.order.run.attempt, 2);
    assert_ne!(worker.order.run.attempt_id, first_attempt);
    worker.finish(&world.surroundings).await;
    let status = world
        .until_run(&name, "it ends", |status| status.state().is_terminal())
        .await;
    assert_eq!(
        (status.state(), status.attempts, status.failure),
        (RunState::Complete, Some(2), None)
    );
    let export = world
        .until_export("orders", "it tells", |status| status.last_run.is_some())
        .await;
    assert_eq!(export.last_run_token.as_deref(), Some("go"));
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_keeps_failing_fails_and_ready_stays_true() {
    let mut world = World::new();
    world.store.put(export(
        "orders",
        json!({"runToken": "a", "retry": {"limit": 1, "backoff": "1s"}}),
    ));
    let mut operator = world.start();
    for token in ["a", "b"] {
        world.store.put(export(
            "orders",
            json!({"runToken": token, "retry": {"limit": 1, "backoff": "1s"}}),
        ));
        for attempt in 1..=2 {
            let worker = world.worker().await;
            assert_eq!(worker.order.run.attempt, attempt);
            let name = worker.order.run.name.clone();
            worker.fail("OutOfMemory", false).await;
            world
                .until_run(&name, "the failure shows", |status| {
                    status.failure.is_some() && status.worker.is_none()
                })
                .await;
            world.advance(2);
        }
        world
            .until_export("orders", "it is accounted for", |status| {
                status.active_run.is_none()
                    && status.last_run_token.as_deref() == Some(token)
                    && status.last_run.is_some()
            })
            .await;
    }
    let status = world
        .until_export("orders", "both count", |status| {
            status.consecutive_failures == Some(2)
        })
        .await;
    assert_eq!(
        condition(&status.conditions, "Ready"),
        Some(("True", "OnRequest"))
    );
    assert_eq!(
        condition(&status.conditions, "LastRunSucceeded"),
        Some(("False", "OutOfMemory"))
    );
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_deadlines_end_a_worker() {
    let mut world = World::new();
    world.store.put(export(
        "orders",
        json!({"runToken": "a", "timeout": "200s", "retry": {"backoff": "1s"}}),
    ));
    let mut operator = world.start();
    let silent = world.worker().await;
    let name = silent.order.run.name.clone();
    world
        .until_run(&name, "it runs", |status| status.state() == RunState::Running)
        .await;
    world.advance(61);
    silent.ends_when_told().await;
    let status = world
        .until_run(&name, "the silence is noticed", |status| status.failure.is_some())
        .await;
    assert_eq!(status.failure.unwrap().reason, "WorkerLost");
    world.advance(1);
    let slow = world.worker().await;
    assert_eq!(slow.order.run.attempt, 2);
    for rows in 1..=4 {
        world.advance(30);
        slow.progress(rows).await;
        let heard = |status: &lakegate_crds::ExportRunStatus| {
            status
                .progress
                .as_ref()
                .is_some_and(|progress| progress.rows == Some(rows as i64))
        };
        world.until_run(&name, "it is heard", heard).await;
    }
    world.advance(30);
    slow.ends_when_told().await;
    let status = world
        .until_run(&name, "it ends", |status| status.state().is_terminal())
        .await;
    let failure = status.failure.unwrap();
    assert_eq!(failure.reason, "DeadlineExceeded");
    assert!(
        failure.message.contains("the last attempt had failed"),
        "{}",
        failure.message
    );
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_ends_no_worker() {
    for hours in [4, -4] {
        let mut world = World::new();
        world.store.put(export(
            "orders",
            json!({"runToken": "a", "timeout": "200s", "retry": {"backoff": "1s"}}),
        ));
        let mut operator = world.start();
        let mut worker = world.worker().await;
        let name = worker.order.run.name.clone();
        world
            .until_run(&name, "it runs", |status| status.state() == RunState::Running)
            .await;
        world.advance(40);
        world.clock.jump(SignedDuration::from_hours(hours));
        worker.progress(1).await;
        world
            .until_run(&name, "it is heard", |status| {
                status
                    .progress
                    .as_ref()
                    .is_some_and(|progress| progress.rows == Some(1))
            })
            .await;
        // It is still waited for as long as before, and no longer.
        world.advance(59);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!worker.is_stopped(), "{hours} h");
        world.advance(2);
        worker.ends_when_told().await;
        let status = world
            .until_run(&name, "the silence is noticed", |status| status.failure.is_some())
            .await;
        assert_eq!(status.failure.unwrap().reason, "WorkerLost", "{hours} h");
        world.advance(1);
        let second = world.worker().await;
        assert_eq!(second.order.run.attempt, 2);
        // Its own clock shows the new time.
        let left = second.order.deadline.duration_since(world.clock.now());
        assert_eq!(
            left,
            SignedDuration::from_secs(200 - 40 - 59 - 2 - 1),
            "{hours} h"
        );
        for rows in 2..=4 {
            world.advance(33);
            second.progress(rows).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        second.ends_when_told().await;
        let status = world
            .until_run(&name, "it ends", |status| status.state().is_terminal())
            .await;
        assert_eq!(status.failure.unwrap().reason, "DeadlineExceeded", "{hours} h");
        let finished = status.finish_time.unwrap().0;
        assert!(
            world.clock.now().duration_since(finished) < SignedDuration::from_secs(60),
            "{hours} h"
        );
        operator.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replace_ends_the_active_run_and_forbid_waits_for_it() {
    for policy in ["Replace", "Forbid"] {
        let mut world = World::new();
        world.store.put(export(
            "orders",
            json!({"schedule": {"cron": "* * * * *", "concurrencyPolicy": policy}}),
        ));
        let mut operator = world.start();
        world
            .until_export("orders", "the schedule is known", |status| {
                status.next_schedule_time.is_some()
            })
            .await;
        world.set_time("2026-05-11T00:01:00Z");
        let first = world.worker().await;
        let first_name = first.order.run.name.clone();
        world
            .until_export("orders", "it is active", |status| status.active_run.is_some())
            .await;
        world.set_time("2026-05-11T00:01:30Z");
        first.progress(1).await;
        world
            .until_run(&first_name, "it is heard", |status| {
                status
                    .progress
                    .as_ref()
                    .is_some_and(|progress| progress.rows == Some(1))
            })
            .await;
        world.set_time("2026-05-11T00:02:00Z");
        let outcome = if policy == "Replace" {
            first.ends_when_told().await;
            "Replaced"
        } else {
            let message = |status: &lakegate_crds::ExportStatus| {
                status
                    .conditions
                    .iter()
                    .any(|condition| condition.message.contains("waits for the active one"))
            };
            world.until_export("orders", "the slot waits", message).await;
            assert!(world.no_worker());
            first.finish(&world.surroundings).await;
            "Succeeded"
        };
        let second = world.worker().await;
        assert!(second.order.run.name.starts_with("orders-202605110002-"));
        let status = world
            .until_export("orders", "the first is accounted for", |status| {
                status.last_run.is_some()
            })
            .await;
        let last = status.last_run.unwrap();
        assert_eq!(
            (last.name, last.outcome.as_str()),
            (first_name, outcome),
            "{policy}"
        );
        second.finish(&world.surroundings).await;
        world
            .until_export("orders", "the second ends", |status| status.active_run.is_none())
            .await;
        operator.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_on_request_queue_up_and_refuse_what_is_not_served() {
    let mut world = World::new();
    world.store.put(export("orders", json!({"suspend": true})));
    world.store.put(export(
        "unserved",
        json!({"from": {"sourceRef": {"name": "shop"}, "index": "orders"}}),
    ));
    world.store.put(export(
        "lost",
        json!({"from": {"sourceRef": {"name": "nowhere"}, "table": {"schema": "main", "name": "t"}}}),
    ));
    let mut operator = world.start();
    world
        .until_export("orders", "it is seen", |status| {
            status.observed_generation == Some(1)
        })
        .await;
    let orders = Key::named("orders");
    let first = operator.handle.run_now(&orders).await.unwrap();
    let second = operator.handle.run_now(&orders).await.unwrap();
    assert_ne!(first, second);
    let worker = world.worker().await;
    let (now, later) = if worker.order.run.name == first.name {
        (first, second)
    } else {
        (second, first)
    };
    assert_eq!(worker.order.run.name, now.name);
    world
        .until_run(&later.name, "it waits", |status| {
            status
                .conditions
                .iter()
                .any(|condition| condition.reason == "Pending" && condition.message.contains(&now.name))
        })
        .await;
    assert!(world.no_worker());
    worker.finish(&world.surroundings).await;
    let worker = world.worker().await;
    assert_eq!(worker.order.run.name, later.name);
    worker.finish(&world.surroundings).await;
    world
        .until_run(&later.name, "it ends", |status| {
            status.state() == RunState::Complete
        })
        .await;

    let refusal = operator
        .handle
        .run_now(&Key::named("unserved"))
        .await
        .unwrap_err();
    assert!(
        matches!(refusal, RunRefusal::Unable { .. }) && refusal.to_string().contains("spec.from.index"),
        "{refusal}"
    );
    let refusal = operator.handle.run_now(&Key::named("lost")).await.unwrap_err();
    assert!(refusal.to_string().contains("nowhere"), "{refusal}");
    let refusal = operator.handle.run_now(&Key::named("nobody")).await.unwrap_err();
    assert!(matches!(refusal, RunRefusal::NotFound { .. }), "{refusal}");
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_schedules_only_what_is_asked_for_runs() {
    let mut world = World::new();
    world.store.put(export(
        "orders",
        json!({"runToken": "go", "schedule": {"cron": "* * * * *", "runOnCreate": true}}),
    ));
    let mut options = world.options();
    options.schedules = false;
    let mut operator = world.start_with(options);
    let run = operator.handle.run_now(&Key::named("orders")).await.unwrap();
    let worker = world.worker().await;
    assert_eq!(worker.order.run.name, run.name);
    world.advance(59);
    worker.progress(1).await;
    worker.finish(&world.surroundings).await;
    world
        .until_run(&run.name, "it ends", |status| {
            status.state() == RunState::Complete
        })
        .await;
    assert_eq!(world.runs().await.len(), 1);
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_workers_than_allowed() {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        world.store.put(export(name, json!({"runToken": "go"})));
    }
    let mut options = world.options();
    options.max_workers = 2;
    let mut operator = world.start_with(options);
    let first = world.worker().await;
    let second = world.worker().await;
    let busy = [first.order.run.export.clone(), second.order.run.export.clone()];
    let third = ["a", "b", "c"]
        .into_iter()
        .find(|name| !busy.iter().any(|other| other == name))
        .unwrap();
    let status = world
        .until_export(third, "its run is there", |status| status.active_run.is_some())
        .await;
    world
        .until_run(&status.active_run.unwrap(), "it waits for a worker", |status| {
            status
                .conditions
                .iter()
                .any(|condition| condition.message.contains("free worker"))
        })
        .await;
    assert!(world.no_worker());
    first.finish(&world.surroundings).await;
    let last = world.worker().await;
    assert_eq!(last.order.run.export, third);
    last.finish(&world.surroundings).await;
    second.finish(&world.surroundings).await;
    for name in ["a", "b", "c"] {
        world
            .until_export(name, "it ends", |status| status.last_run.is_some())
            .await;
    }
    operator.shut_down().await;
}
