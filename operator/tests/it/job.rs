//! The Job of an order.

use std::{path::Path, time::Duration};

use k8s_openapi::api::batch::v1::Job;
use lakegate_operator::{
    kubernetes::{JobOptions, job_of},
    launcher::LaunchFailure,
    protocol::{PROTOCOL_VERSION, WorkOrder},
};
use serde_json::json;

use crate::{
    harness::{export, source},
    orders::{bucket, identity, postgres},
};

const NOW: &str = "2026-05-11T00:00:00Z";

fn order() -> WorkOrder {
    let spec = export(
        "orders",
        json!({"resources": {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}}),
    )
    .spec;
    let mut shop = postgres("shop");
    shop.metadata.annotations = None;
    WorkOrder {
        version: PROTOCOL_VERSION,
        run: identity(),
        threads: spec.effective_threads(),
        memory_bytes: spec.effective_memory_pool() as usize,
        spec,
        sources: vec![shop],
        lake: bucket(),
        views: Vec::new(),
        deadline: "2026-05-11T05:59:30Z".parse().unwrap(),
        state_dir: "/var/lib/lakegate".into(),
    }
}

fn options() -> JobOptions {
    JobOptions {
        image: "registry.example.com/lakegate:1".to_owned(),
        ttl: Duration::from_hours(1),
        ..JobOptions::default()
    }
}

fn made(order: &WorkOrder, options: &JobOptions) -> Job {
    job_of(order, options, NOW.parse().unwrap()).unwrap()
}

/// Compares with a file; with UPDATE_GENERATED=1 writes it instead.
fn assert_golden(name: &str, job: &Job) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let mut value = serde_json::to_value(job).unwrap();
    // as a value of its own, not as a text in a line without end
    let order = &mut value["spec"]["template"]["metadata"]["annotations"]["lakegate.dev/order"];
    *order = serde_json::from_str(order.as_str().unwrap()).unwrap();
    let found = serde_json::to_string_pretty(&value).unwrap() + "\n";
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is not what an order gives: {found}\nrun UPDATE_GENERATED=1 cargo test -p lakegate-operator",
        path.display()
    );
}

#[test]
fn the_job_of_an_order_is_that_of_the_golden_file() {
    assert_golden("job.json", &made(&order(), &options()));
    let all = JobOptions {
        pull_policy: Some("IfNotPresent".to_owned()),
        service_account: Some("lakegate-worker".to_owned()),
        node_selector: [("pool".to_owned(), "batch".to_owned())].into(),
        tolerations: vec![JobOptions::toleration("batch=yes:NoSchedule").unwrap()],
        host_network: true,
        scratch_limit: Some("20Gi".to_owned()),
        environment: [("LAKEGATE_LOG_FORMAT".to_owned(), "json".to_owned())].into(),
        ..options()
    };
    assert_golden("job-with-options.json", &made(&order(), &all));
}

#[test]
fn the_same_order_gives_the_same_job() {
    assert_eq!(made(&order(), &options()), made(&order(), &options()));
    let mut second = order();
    second.run.attempt = 2;
    let names = [&order(), &second].map(|order| made(order, &options()).metadata.name.unwrap());
    assert_eq!(
        names,
        ["orders-202605110000-abcdef-1", "orders-202605110000-abcdef-2"]
    );
}

#[test]
fn what_is_left_of_the_time_is_the_jobs_deadline() {
    for (deadline, expected) in [
        ("2026-05-11T00:00:30Z", 30),
        ("2026-05-11T00:00:00.5Z", 1),
        ("2026-05-10T00:00:00Z", 1),
    ] {
        let order = WorkOrder {
            deadline: deadline.parse().unwrap(),
            ..order()
        };
        let spec = made(&order, &options()).spec.unwrap();
        assert_eq!(spec.active_deadline_seconds, Some(expected), "{deadline}");
    }
}

#[test]
fn only_secrets_that_the_run_needs_and_can_have_are_mounted() {
    let mut foreign = postgres("crm");
    foreign.metadata.namespace = Some("sales".to_owned());
    let order = WorkOrder {
        sources: vec![postgres("shop"), foreign],
        ..order()
    };
    let spec = made(&order, &options()).spec.unwrap().template.spec.unwrap();
    let volumes = spec.volumes.unwrap();
    let sources = volumes[0].projected.as_ref().unwrap().sources.as_ref().unwrap();
    let mounted: Vec<(String, Vec<String>)> = sources
        .iter()
        .filter_map(|source| source.secret.as_ref())
        .map(|secret| {
            assert_eq!(
                secret.optional,
                Some(true),
                "a missing Secret is the worker's to tell"
            );
            let paths = secret
                .items
                .iter()
                .flatten()
                .map(|item| item.path.clone())
                .collect();
            (secret.name.clone(), paths)
        })
        .collect();
    let expected = [
        ("company-ca", vec!["secrets/company-ca/ca.crt"]),
        (
            "shop-db",
            vec!["secrets/shop-db/password", "secrets/shop-db/username"],
        ),
    ]
    .map(|(name, paths)| (name.to_owned(), paths.into_iter().map(str::to_owned).collect()));
    assert_eq!(mounted, expected);
}

#[test]
fn what_a_pod_cannot_perform_is_refused() {
    let refused = |order: &WorkOrder| job_of(order, &options(), NOW.parse().unwrap()).unwrap_err();
    let mut large = order();
    large.spec.description = Some("x".repeat(210_000));
    let failure = refused(&large);
    assert!(
        matches!(failure, LaunchFailure::OrderTooLarge { .. }),
        "{failure}"
    );
    assert!(failure.to_string().contains("204800"), "{failure}");

    let local = WorkOrder {
        lake: source("lake", json!({"lake": {"directory": {}}})),
        ..order()
    };
    let failure = refused(&local);
    assert!(
        matches!(failure, LaunchFailure::LocalLake { .. }) && failure.to_string().contains("spec.lake.s3"),
        "{failure}"
    );
    for failure in [refused(&large), refused(&local)] {
        let lakegate_operator::attempt::Ending::Failed(failure) = failure.ending() else {
            panic!("{failure}")
        };
        assert!(failure.terminal, "trying again does not help: {failure:?}");
    }
}
