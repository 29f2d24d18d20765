//! How far a standby is behind.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use crate::server::{Lag, Standing};

/// One round trip. What is called is in pg_catalog whatever the user's settings say; the function that tells the
/// received position is not asked on a server that follows nobody.
///
/// The state of the receiver is shown to members of pg_read_all_stats alone; everybody sees whether there is one.
const ASK: &str = "BEGIN READ ONLY; \
    SET LOCAL search_path = pg_catalog, pg_temp; \
    SET LOCAL statement_timeout = 5000; \
    SELECT pg_is_in_recovery(), \
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() END, \
    EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL AND coalesce(status, 'streaming') = 'streaming'), \
    CASE WHEN pg_is_in_recovery() \
    THEN (extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)::bigint END, \
    concat(inet_server_addr(), ' ', extract(epoch FROM pg_postmaster_start_time())); \
    COMMIT";

/// A lag beyond this is looked at again: on a quiet primary the last commit is old, and what has just been received is
/// replayed in a moment.
const SUSPICIOUS: Duration = Duration::from_secs(1);
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(50);

/// Asks a server how far it is behind.
pub(super) async fn standing(client: &Client) -> Result<Standing, Error> {
    let mut standing = ask(client).await?;
    for _ in 1..LOOKS {
        if !matches!(standing.lag, Lag::Behind(lag) if lag > SUSPICIOUS) {
            break;
        }
        sleep(PAUSE).await;
        standing = ask(client).await?;
    }
    Ok(standing)
}

async fn ask(client: &Client) -> Result<Standing, Error> {
    let answer = client.simple_query(ASK).await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let value = |column| row.and_then(|row| row.get(column));
    let holds = |column| value(column) == Some("t");
    Ok(Standing {
        lag: lag(
            holds(0),
            holds(1),
            holds(2),
            value(3).and_then(|milliseconds| milliseconds.parse().ok()),
        ),
        instance: value(4).unwrap_or_default().to_owned(),
    })
}

/// `since_commit` in milliseconds; None if none was replayed since the server started.
fn lag(in_recovery: bool, has_replayed_all: bool, is_receiving: bool, since_commit: Option<i64>) -> Lag {
    if !in_recovery {
        return Lag::NotAReplica("pg_is_in_recovery() is false".to_owned());
    }
    if has_replayed_all && is_receiving {
        return Lag::Behind(Duration::ZERO);
    }
    match since_commit {
        // The clock of the primary may be ahead.
        Some(milliseconds) => Lag::Behind(Duration::from_millis(
            u64::try_from(milliseconds).unwrap_or_default(),
        )),
        None => Lag::Unknown("it has replayed no commit since it was started".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_answers_mean() {
        let behind = |milliseconds| Lag::Behind(Duration::from_millis(milliseconds));
        assert_eq!(lag(true, true, true, Some(90_000)), behind(0), "a quiet primary");
        assert_eq!(lag(true, true, true, None), behind(0));
        assert_eq!(
            lag(true, true, false, Some(90_000)),
            behind(90_000),
            "its receiver is gone"
        );
        assert_eq!(lag(true, false, true, Some(1_500)), behind(1_500));
        assert_eq!(lag(true, false, true, Some(-3)), behind(0));
        assert!(matches!(lag(true, false, true, None), Lag::Unknown(_)));
        assert!(matches!(lag(false, false, false, None), Lag::NotAReplica(_)));
    }
}
