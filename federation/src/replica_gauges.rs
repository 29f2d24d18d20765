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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lakegate_connectors::ReplicaHealth;
    use lakegate_store::Key;

    use super::*;
    use crate::FederationOptions;

    #[test]
    fn replicas_that_are_there_have_lines() {
        let federation = Federation::new(FederationOptions::default()).unwrap();
        assert_eq!(federation.replica_gauges(), "");
        let key = Key::new("data", "shop");
        let replica = |address: &str, lag, problem: Option<&str>| ReplicaHealth {
            address: address.to_owned(),
            lag,
            problem: problem.map(str::to_owned),
        };
        federation.health_map().set_replicas(
            &key,
            vec![
                replica("a:5432", Some(Duration::from_millis(1500)), None),
                replica("b:5432", None, Some("b:5432 is down")),
            ],
        );
        let text = federation.replica_gauges();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                r#"lakegate_data_source_replica_lag_seconds{data_source="data/shop",replica="a:5432"} 1.5"#,
                r#"lakegate_data_source_replica_readable{data_source="data/shop",replica="a:5432"} 1"#,
                r#"lakegate_data_source_replica_readable{data_source="data/shop",replica="b:5432"} 0"#,
            ]
        );
        federation.health_map().remove_source(&key);
        assert_eq!(federation.replica_gauges(), "");
    }
}
