//! Metrics of the replicas of sources, rendered anew for each scrape, so that nothing is told of what is gone.

use std::fmt::Write as _;

use crate::Federation;

const LAG: &str = "lakegate_data_source_replica_lag_seconds";
const READABLE: &str = "lakegate_data_source_replica_readable";

impl Federation {
    /// How far each replica was behind when this process last asked it, in Prometheus' text format. One whose lag is
    /// not known has none.
    pub fn replica_gauges(&self) -> String {
        let (mut lags, mut readable) = (String::new(), String::new());
        for (source, replicas) in self.health_map().replicas() {
            for replica in replicas {
                let address = replica.address.replace('\\', "\\\\").replace('"', "\\\"");
                let labels = format!("{{data_source=\"{source}\",replica=\"{address}\"}}");
                // Writing to a String cannot fail.
                if let Some(lag) = replica.lag {
                    let _ = writeln!(lags, "{LAG}{labels} {}", lag.as_secs_f64());
                }
                let _ = writeln!(
                    readable,
                    "{READABLE}{labels} {}",
                    u8::from(replica.problem.is_none())
                );
            }
        }
        let mut text = String::new();
        for (name, help, lines) in [
            (LAG, "How far the replica is behind its primary.", lags),
            (
                READABLE,
                "Whether the replica is read: it answers and is within maxReplicaLag.",
                readable,
            ),
        ] {
            if !lines.is_empty() {
                let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{lines}");
            }
        }
        text
    }
}
