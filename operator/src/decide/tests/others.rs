//! Statuses of stores, views and policies.

use super::*;

#[test]
fn statuses_of_sources() {
    let entry = source();
    let down = SourceHealth {
        reachable: Some(false),
        reason: Some(Reason::ConnectionFailed),
        message: Some("shop_db: refused".to_owned()),
        ..healthy()
    };
    let denied = SourceHealth {
        reason: Some(Reason::AccessDenied),
        ..down.clone()
    };
    let unusable = SourceHealth {
        reason: Some(Reason::InvalidSpec),
        terminal: true,
        ..down.clone()
    };
    let other = SourceHealth {
        uid: "u0".to_owned(),
        ..healthy()
    };
    let old = SourceHealth {
        generation: 1,
        ..healthy()
    };
    let cases = [
        (
            "unseen",
            None,
            "Ready=Unknown/Progressing Reconciling=True/Progressing",
        ),
        (
            "healthy",
            Some(healthy()),
            "CatalogSynced=True/Discovered Reachable=True/Connected Ready=True/Available",
        ),
        (
            "replicas lag, and the primary may be read",
            Some(SourceHealth {
                reads_primary: true,
                ..healthy()
            }),
            "CatalogSynced=True/Discovered Reachable=True/Connected Ready=True/ReplicaLagging",
        ),
        (
            "replicas lag",
            Some(SourceHealth {
                reason: Some(Reason::ReplicaLagging),
                ..down.clone()
            }),
            "CatalogSynced=False/ReplicaLagging Reachable=False/ReplicaLagging Ready=False/ReplicaLagging Reconciling=True/Retrying",
        ),
        (
            "down",
            Some(down),
            "CatalogSynced=False/ConnectionFailed Reachable=False/ConnectionFailed Ready=False/ConnectionFailed Reconciling=True/Retrying",
        ),
        (
            "no retry will help",
            Some(unusable),
            "CatalogSynced=False/InvalidSpec Reachable=False/InvalidSpec Ready=False/InvalidSpec Stalled=True/InvalidSpec",
        ),
        (
            "needs a person, though it is tried again",
            Some(denied),
            "CatalogSynced=False/AccessDenied Reachable=False/AccessDenied Ready=False/AccessDenied Stalled=True/AccessDenied",
        ),
        (
            "known of an earlier one of its name",
            Some(other),
            "Ready=Unknown/Progressing Reconciling=True/Progressing",
        ),
        (
            "known of an older spec only",
            Some(old),
            "Ready=Unknown/Progressing Reconciling=True/Progressing",
        ),
    ];
    for (what, health, expected) in cases {
        let decision = decide_source(ObservedSource {
            entry: &entry,
            problems: &[],
            health: health.as_ref(),
            needed_by: None,
            now: at(NOW),
        });
        assert_eq!(words(&decision.status.conditions), expected, "{what}");
        assert_eq!(decision.status.catalog_name.as_deref(), Some("shop_db"), "{what}");
    }
    let problems = [Problem::new("spec.catalogName", Reason::NameConflict, "taken")];
    let decision = decide_source(ObservedSource {
        entry: &entry,
        problems: &problems,
        health: Some(&healthy()),
        needed_by: None,
        now: at(NOW),
    });
    assert_eq!(
        words(&decision.status.conditions),
        "Ready=False/NameConflict Stalled=True/NameConflict"
    );
}

#[test]
fn a_look_at_a_store_that_finds_the_same_is_not_written() {
    let mut entry = source();
    let later = |seconds, tables| SourceHealth {
        last_discovery: Some(at(NOW) + jiff::SignedDuration::from_secs(seconds)),
        tables,
        ..healthy()
    };
    let mut look = |health: &SourceHealth, seconds| {
        let decision = decide_source(ObservedSource {
            needed_by: None,
            entry: &entry,
            problems: &[],
            health: Some(health),
            now: at(NOW) + jiff::SignedDuration::from_secs(seconds),
        });
        let is_written = entry.status.as_ref() != Some(&decision.status);
        entry.status = Some(decision.status.clone());
        (is_written, decision.status.last_discovery_time)
    };
    let first = Some(time(at(NOW)));
    assert_eq!(look(&healthy(), 0), (true, first.clone()));
    assert_eq!(look(&later(600, 42), 600), (false, first), "the same again");
    let found = Some(time(at(NOW) + jiff::SignedDuration::from_secs(1200)));
    assert_eq!(look(&later(1200, 43), 1200), (true, found), "a table more");
}

#[test]
fn a_source_that_goes_and_comes_is_told_once_each() {
    let mut entry = source();
    let down = SourceHealth {
        reachable: Some(false),
        reason: Some(Reason::Timeout),
        ..healthy()
    };
    let mut told = Vec::new();
    for health in [healthy(), healthy(), down.clone(), down, healthy()] {
        let decision = decide_source(ObservedSource {
            entry: &entry,
            problems: &[],
            health: Some(&health),
            needed_by: None,
            now: at(NOW),
        });
        told.push(
            decision
                .notices
                .iter()
                .map(|notice| notice.reason.clone())
                .collect::<Vec<_>>()
                .join(","),
        );
        entry.status = Some(decision.status);
    }
    assert_eq!(told, ["Connected", "", "Timeout", "", "Connected"]);
}

#[test]
fn statuses_of_views_and_policies() {
    let view: Entry<View> = entry(
        json!({"apiVersion": "lakegate.dev/v1alpha1", "kind": "View", "metadata": {"name": "shop-daily"}, "spec": {"sql": "select 1 as a"}}),
        1,
    );
    let good = ViewHealth {
        columns: vec![("a".to_owned(), "bigint".to_owned())],
        uid: "u1".to_owned(),
        generation: 1,
        ..ViewHealth::default()
    };
    let broken = ViewHealth {
        message: Some("no table x".to_owned()),
        reason: Some(Reason::PlanFailed),
        ..good.clone()
    };
    for (health, expected) in [
        (None, "Ready=Unknown/Progressing Reconciling=True/Progressing"),
        (Some(&good), "Ready=True/Available"),
        (Some(&broken), "Ready=False/PlanFailed Reconciling=True/Retrying"),
    ] {
        let decision = decide_view(ObservedView {
            entry: &view,
            problems: &[],
            health,
            now: at(NOW),
        });
        assert_eq!(words(&decision.status.conditions), expected);
    }
    let decision = decide_view(ObservedView {
        entry: &view,
        problems: &[],
        health: Some(&good),
        now: at(NOW),
    });
    assert_eq!(decision.status.sql_name.as_deref(), Some("views.shop_daily"));
    assert_eq!(decision.status.columns[0].r#type, "bigint");

    let policy: Entry<RetentionPolicy> = entry(
        json!({"apiVersion": "lakegate.dev/v1alpha1", "kind": "RetentionPolicy", "metadata": {"name": "old"},
               "spec": {"files": {"lakeRef": {"name": "lake"}, "schema": "a", "table": "b", "keep": {"within": "90d"}}}}),
        1,
    );
    let decision = decide_policy(ObservedPolicy {
        entry: &policy,
        problems: &[],
        now: at(NOW),
    });
    assert_eq!(
        words(&decision.status.conditions),
        "Ready=False/NotImplemented Stalled=True/NotImplemented"
    );
}
