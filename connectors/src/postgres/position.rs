//! Where in the write-ahead log a snapshot is.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::failure::answer_text;
use crate::scan::{LogPosition, SourcePosition};

/// What has been written, and on a standby replayed.
const ASK: &str = "SELECT pg_catalog.pg_is_in_recovery(), \
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
    ELSE pg_catalog.pg_current_wal_lsn() END";

/// Asks a connection that is in no transaction, just before it begins the one whose snapshot is meant. Sent in one go
/// with what begins it, it costs no time.
///
/// What the position says:
///
/// - Every change after it may be missing, and may be there: the snapshot is taken a moment later.
/// - On a standby no commit before it is missing: the replayed position is moved on after the commit can be seen.
/// - On a primary a commit is written to the log before it can be seen. What was in between at that moment, for as long
///   as a flush takes or, with synchronous replication, the standby's word, may be missing though it is before the
///   position. No commit is missing that its client had been told of.
///
/// None where the server does not tell: some managed servers and poolers refuse these functions, and a database may
/// forbid them. Outside the transaction, that costs nothing but the position.
pub(super) async fn position(client: &Client, catalog: &str) -> Option<SourcePosition> {
    let answer = match client.simple_query(ASK).await {
        Ok(answer) => answer,
        Err(error) => {
            let said = error.as_db_error().map(answer_text);
            tracing::debug!(catalog, said, "the server does not tell its position in the log");
            return None;
        }
    };
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(SourcePosition {
            catalog: catalog.to_owned(),
            position: LogPosition::Lsn(row.get(1)?.to_owned()),
            is_replica: row.get(0) == Some("t"),
        }),
        _ => None,
    })
}
