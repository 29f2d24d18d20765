//! How far a replica is behind.

use std::time::Duration;

use super::failure::code;
use super::settings::{Flavor, Version};
use super::wire::{Client, NamedRows, WireError};
use crate::server::{Lag, Standing};

const INSTANCE: &str = "SELECT CONCAT_WS(' ', @@hostname, @@port, @@server_id)";

/// Asks a server how far it is behind.
pub(super) async fn standing(client: &mut Client, version: &Version) -> Result<Standing, WireError> {
    let lag = match client.query_named(version.replica_status()).await {
        Ok(answer) => lag(&answer),
        Err(WireError::Server {
            code: code::PRIVILEGE_MISSING,
            ..
        }) => {
            let privilege = match version.flavor {
                Flavor::MariaDb => "REPLICA MONITOR (before MariaDB 10.5: REPLICATION CLIENT)",
                Flavor::MySql => "REPLICATION CLIENT",
            };
            Lag::Unknown(format!("grant {privilege} to the user of the DataSource"))
        }
        Err(error) => return Err(error),
    };
    let instance = client.query(INSTANCE).await?;
    let instance = instance.into_iter().flatten().next().flatten();
    Ok(Standing {
        lag,
        instance: instance.unwrap_or_default(),
    })
}

/// Of a replica of several servers, what is furthest behind.
fn lag((names, rows): &NamedRows) -> Lag {
    let mut furthest = None;
    for row in rows {
        let value = |words: [&str; 2]| {
            let at = names.iter().position(|name| words.contains(&name.as_str()))?;
            row.get(at)?.as_deref()
        };
        for (thread, words) in [
            ("receiving", ["Replica_IO_Running", "Slave_IO_Running"]),
            ("applying", ["Replica_SQL_Running", "Slave_SQL_Running"]),
        ] {
            // The receiving thread also says Connecting and Preparing.
            let state = value(words).unwrap_or("No");
            if state != "Yes" {
                return Lag::Unknown(format!(
                    "its {thread} thread does not run ({} is {state})",
                    words[1]
                ));
            }
        }
        let behind = value(["Seconds_Behind_Source", "Seconds_Behind_Master"]);
        let Some(seconds) = behind.and_then(|seconds| seconds.parse().ok()) else {
            return Lag::Unknown("Seconds_Behind_Master is NULL".to_owned());
        };
        furthest = furthest.max(Some(Duration::from_secs(seconds)));
    }
    match furthest {
        Some(furthest) => Lag::Behind(furthest),
        None => Lag::NotAReplica("it follows no server".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(words: [&str; 3], rows: &[[Option<&str>; 3]]) -> NamedRows {
        (
            std::iter::once("Other").chain(words).map(str::to_owned).collect(),
            rows.iter()
                .map(|row| {
                    std::iter::once(None)
                        .chain(row.map(|value| value.map(str::to_owned)))
                        .collect()
                })
                .collect(),
        )
    }

    #[test]
    fn what_the_answers_mean() {
        let old = ["Slave_IO_Running", "Slave_SQL_Running", "Seconds_Behind_Master"];
        let new = [
            "Replica_IO_Running",
            "Replica_SQL_Running",
            "Seconds_Behind_Source",
        ];
        let (yes, no) = (Some("Yes"), Some("No"));
        let behind = |seconds| Lag::Behind(Duration::from_secs(seconds));
        for words in [old, new] {
            let of = |rows: &[[Option<&str>; 3]]| lag(&answer(words, rows));
            assert_eq!(of(&[[yes, yes, Some("0")]]), behind(0));
            assert_eq!(of(&[[yes, yes, Some("7")], [yes, yes, Some("3")]]), behind(7));
            for stopped in [
                [no, yes, Some("0")],
                [yes, no, Some("0")],
                [Some("Connecting"), yes, None],
                [yes, yes, None],
            ] {
                assert!(matches!(of(&[[yes, yes, Some("1")], stopped]), Lag::Unknown(_)));
            }
            assert!(matches!(of(&[]), Lag::NotAReplica(_)));
        }
    }
}
