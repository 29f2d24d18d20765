//! Metrics that tell how the resources are, rendered anew for each scrape from what was last seen of them.
//!
//! A gauge that is set where something happens stays when its object goes, or when another replica takes over, and
//! alerts for ever. These cannot: what is not there has no line, and who does not decide renders nothing.

use std::fmt::Write as _;

use lakegate_crds::{
    Export, ExportRun, ExportStatus, LakegateResource,
    conditions::{ConditionType, ConditionsExt as _},
};
use lakegate_store::{Entry, Key};

use crate::cache::{Cache, Shelf};

/// The lines of one metric.
struct Family {
    name: &'static str,
    help: &'static str,
    lines: String,
}

impl Family {
    fn new(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            lines: String::new(),
        }
    }

    fn line(&mut self, labels: &[(&str, &str)], value: i64) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(self.lines, "{}{{{}}} {value}", self.name, labels.join(","));
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Everything, in Prometheus' text format.
pub fn render(cache: &Cache) -> String {
    let mut exports = Exports::new();
    cache.exports.visit(|entry| exports.add(entry));
    // Runs are looked up when no lock of the exports is held.
    for (export, run) in std::mem::take(&mut exports.at_work) {
        if let Some(run) = cache.runs.get(&run) {
            exports.add_progress(&export, &run);
        }
    }
    let mut health = Health::new();
    health.add(&cache.sources);
    health.add(&cache.exports);
    health.add(&cache.policies);
    health.add(&cache.views);
    let families = [
        exports.last_success,
        exports.due,
        exports.failures,
        exports.active,
        exports.rows,
        exports.expected_rows,
        exports.bytes,
        health.ready,
        health.stalled,
    ];
    let mut text = String::new();
    for Family { name, help, lines } in families {
        if !lines.is_empty() {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{lines}");
        }
    }
    text
}

struct Exports {
    last_success: Family,
    due: Family,
    failures: Family,
    active: Family,
    rows: Family,
    expected_rows: Family,
    bytes: Family,
    /// Exports that have a run, and which.
    at_work: Vec<(Key, Key)>,
}

impl Exports {
    fn new() -> Self {
        Self {
            last_success: Family::new(
                "lakegate_export_last_success_timestamp_seconds",
                "When the newest run of the export that succeeded ended.",
            ),
            due: Family::new(
                "lakegate_export_due_timestamp_seconds",
                "The slot of the schedule that the export has to serve next, or has begun to serve and not yet served.",
            ),
            failures: Family::new(
                "lakegate_export_consecutive_failures",
                "Runs of the export that failed since the last that succeeded.",
            ),
            active: Family::new(
                "lakegate_export_active",
                "Whether a run of the export waits or works.",
            ),
            rows: Family::new(
                "lakegate_export_progress_rows",
                "Rows that the active run of the export has read.",
            ),
            expected_rows: Family::new(
                "lakegate_export_progress_expected_rows",
                "Rows that the active run of the export will read, by the store's own estimate.",
            ),
            bytes: Family::new(
                "lakegate_export_progress_bytes",
                "Bytes that the active run of the export has written.",
            ),
            at_work: Vec::new(),
        }
    }

    fn add(&mut self, entry: &Entry<Export>) {
        let Some(status) = &entry.status else { return };
        let export = entry.key.to_string();
        let labels = [("export", export.as_str())];
        if let Some(time) = &status.last_successful_time {
            self.last_success.line(&labels, time.0.as_second());
        }
        let is_suspended = entry
            .object
            .as_deref()
            .is_none_or(|export| export.spec.is_suspended());
        if let Some(due) = due(status).filter(|_| !is_suspended) {
            self.due.line(&labels, due);
        }
        self.failures
            .line(&labels, status.consecutive_failures.unwrap_or(0));
        self.active.line(&labels, i64::from(status.active_run.is_some()));
        if let Some(run) = &status.active_run {
            let run = Key::new(&entry.key.namespace, run);
            self.at_work.push((entry.key.clone(), run));
        }
    }

    fn add_progress(&mut self, export: &Key, run: &Entry<ExportRun>) {
        let Some(progress) = run.status.as_ref().and_then(|status| status.progress.as_ref()) else {
            return;
        };
        let export = export.to_string();
        let labels = [("export", export.as_str())];
        let figures = [
            (&mut self.rows, progress.rows),
            (&mut self.expected_rows, progress.total_rows),
            (&mut self.bytes, progress.bytes),
        ];
        for (family, figure) in figures {
            if let Some(figure) = figure {
                family.line(&labels, figure);
            }
        }
    }
}

/// The newest slot that has a run, until a run succeeds; else the one that is promised. Absent without a schedule.
fn due(status: &ExportStatus) -> Option<i64> {
    let promised = status.next_schedule_time.as_ref()?.0;
    let begun = status.last_schedule_time.as_ref().map(|slot| slot.0);
    let succeeded = status.last_successful_time.as_ref().map(|time| time.0);
    // An absent success is before every slot.
    let open = begun.filter(|slot| succeeded < Some(*slot));
    Some(open.unwrap_or(promised).as_second())
}

struct Health {
    ready: Family,
    stalled: Family,
}

impl Health {
    fn new() -> Self {
        Self {
            ready: Family::new(
                "lakegate_resource_ready",
                "Whether the condition Ready of the resource is True, with its reason.",
            ),
            stalled: Family::new(
                "lakegate_resource_stalled",
                "Resources that need a person, with the reason.",
            ),
        }
    }

    fn add<K: LakegateResource>(&mut self, shelf: &Shelf<K>) {
        shelf.visit(|entry| {
            let Some(status) = &entry.status else { return };
            self.look(K::KIND.as_str(), &entry.key, K::conditions(status));
        });
    }

    fn look(&mut self, kind: &str, key: &Key, conditions: &[lakegate_crds::Condition]) {
        let resource = key.to_string();
        let labels = |reason| {
            [
                ("kind", kind),
                ("resource", resource.as_str()),
                ("reason", reason),
            ]
        };
        if let Some(ready) = conditions.find(ConditionType::Ready) {
            let is_ready = conditions.is_true(ConditionType::Ready);
            self.ready.line(&labels(&ready.reason), i64::from(is_ready));
        }
        if let Some(stalled) = conditions.find(ConditionType::Stalled)
            && conditions.is_true(ConditionType::Stalled)
        {
            self.stalled.line(&labels(&stalled.reason), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lakegate_crds::{
        DataSource,
        conditions::{ConditionStatus, ConditionsMut as _, Reason, time},
    };
    use serde_json::json;

    use super::*;

    fn entry<K: LakegateResource>(object: serde_json::Value, status: K::Status) -> Entry<K> {
        let object: K = serde_json::from_value(object).unwrap();
        Entry {
            key: Key::of(&object),
            object: Some(Arc::new(object)),
            status: Some(status),
            rejected: None,
            is_held: false,
            deletion: None,
            uid: "u1".to_owned(),
            generation: 1,
        }
    }

    fn export(name: &str, suspend: bool, status: ExportStatus) -> Entry<Export> {
        entry(
            json!({"apiVersion": "lakegate.dev/v1alpha1", "kind": "Export", "metadata": {"name": name, "namespace": "data"},
                   "spec": {"from": {"query": "select 1 as a"}, "allColumns": {}, "suspend": suspend,
                            "destination": {"lakeRef": {"name": "lake"}, "schema": "s", "table": name}}}),
            status,
        )
    }

    fn at(second: i64) -> lakegate_crds::Time {
        time(jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn what_is_there_has_lines_and_what_is_gone_has_none() {
        let cache = Cache::default();
        assert_eq!(render(&cache), "");
        let mut status = lakegate_crds::DataSourceStatus::default();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let denied = Reason::AccessDenied;
        status
            .conditions
            .set(now, ConditionType::Ready, ConditionStatus::False, denied, "no", 1);
        status
            .conditions
            .set(now, ConditionType::Stalled, true, denied, "no", 1);
        let source: Entry<DataSource> = entry(
            json!({"apiVersion": "lakegate.dev/v1alpha1", "kind": "DataSource", "metadata": {"name": "shop", "namespace": "data"},
                   "spec": {"sqlite": {"path": "shop.db"}}}),
            status,
        );
        cache.sources.apply(source);
        let orders = ExportStatus {
            next_schedule_time: Some(at(300)),
            last_schedule_time: Some(at(200)),
            last_successful_time: Some(at(150)),
            consecutive_failures: Some(2),
            active_run: Some("orders-1".to_owned()),
            ..ExportStatus::default()
        };
        cache.exports.apply(export("orders", false, orders.clone()));
        cache.exports.apply(export("paused", true, orders));
        let working = lakegate_crds::ExportRunStatus {
            progress: Some(lakegate_crds::ProgressStatus {
                rows: Some(1000),
                bytes: Some(4096),
                ..lakegate_crds::ProgressStatus::default()
            }),
            ..lakegate_crds::ExportRunStatus::default()
        };
        cache.runs.apply(entry(
            json!({"apiVersion": "lakegate.dev/v1alpha1", "kind": "ExportRun", "metadata": {"name": "orders-1", "namespace": "data"},
                   "spec": {"exportRef": {"name": "orders"}}}),
            working,
        ));
        let text = render(&cache);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "lakegate_export_last_success_timestamp_seconds{export=\"data/orders\"} 150",
                "lakegate_export_last_success_timestamp_seconds{export=\"data/paused\"} 150",
                "lakegate_export_due_timestamp_seconds{export=\"data/orders\"} 200",
                "lakegate_export_consecutive_failures{export=\"data/orders\"} 2",
                "lakegate_export_consecutive_failures{export=\"data/paused\"} 2",
                "lakegate_export_active{export=\"data/orders\"} 1",
                "lakegate_export_active{export=\"data/paused\"} 1",
                "lakegate_export_progress_rows{export=\"data/orders\"} 1000",
                "lakegate_export_progress_rows{export=\"data/paused\"} 1000",
                "lakegate_export_progress_bytes{export=\"data/orders\"} 4096",
                "lakegate_export_progress_bytes{export=\"data/paused\"} 4096",
                "lakegate_resource_ready{kind=\"DataSource\",resource=\"data/shop\",reason=\"AccessDenied\"} 0",
                "lakegate_resource_stalled{kind=\"DataSource\",resource=\"data/shop\",reason=\"AccessDenied\"} 1",
            ]
        );
        assert_eq!(text.lines().filter(|line| line.starts_with("# TYPE")).count(), 8);
        for name in ["orders", "paused"] {
            cache.exports.remove(&Key::new("data", name), "u1");
        }
        assert!(!render(&cache).contains("lakegate_export_"));
    }

    #[test]
    fn a_slot_is_due_until_a_run_after_it_succeeded() {
        let of = |promised, begun, succeeded| {
            due(&ExportStatus {
                next_schedule_time: promised,
                last_schedule_time: begun,
                last_successful_time: succeeded,
                ..ExportStatus::default()
            })
        };
        assert_eq!(of(None, Some(at(1)), None), None, "it has no schedule any more");
        assert_eq!(of(Some(at(300)), None, None), Some(300), "its first slot");
        assert_eq!(
            of(Some(at(300)), Some(at(200)), None),
            Some(200),
            "its first slot has a run"
        );
        assert_eq!(of(Some(at(300)), Some(at(200)), Some(at(190))), Some(200));
        assert_eq!(of(Some(at(300)), Some(at(200)), Some(at(210))), Some(300));
    }

    #[test]
    fn words_of_other_versions_cannot_break_the_format() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
