//! One snapshot for the readers of a scan.
//!
//! The first reader's transaction exports its snapshot, the others import it, and
//! all have their lock on the table before any reads: until the last row no reader
//! can see another table than the first.

use datafusion::common::ScalarValue;
use futures::join;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::constant::{constant, identifier};
use super::position::position;
use crate::scan::SourcePosition;

/// What another transaction needs to see the same rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    id: String,
    /// Since when the server runs, to the microsecond: a name may lead to several
    /// servers, and one's snapshot means nothing, or something else, on another.
    server: String,
    /// The table's blocks, no fewer than the snapshot has rows in.
    pub blocks: u32,
    /// Where in the log it is, if that was asked and told.
    pub position: Option<SourcePosition>,
}

/// Exports the snapshot of the client's transaction, where it pays to share the scan:
/// where the server itself would go through the whole table, and not by an index.
pub(super) async fn export(
    client: &Client,
    schema: &str,
    table: &str,
    select: &str,
) -> Result<Option<Snapshot>, Error> {
    let name = ScalarValue::Utf8(Some(format!("{}.{}", identifier(schema), identifier(table))));
    let name = constant(&name);
    let answer = client
        .simple_query(&format!(
            "SELECT pg_catalog.pg_export_snapshot(), {RUNNING_SINCE}, \
                    pg_catalog.pg_relation_size({name}::pg_catalog.regclass) \
                      / pg_catalog.current_setting('block_size')::pg_catalog.int8; \
             EXPLAIN (COSTS off) {select}"
        ))
        .await?;
    let mut rows = rows(&answer);
    let (Some(snapshot), Some(plan)) = (rows.next(), rows.next()) else {
        return Ok(None);
    };
    let exported = || {
        Some(Snapshot {
            id: snapshot.get(0).filter(|id| is_plain(id))?.to_owned(),
            server: snapshot.get(1)?.to_owned(),
            blocks: snapshot.get(2)?.parse().ok()?,
            position: None,
        })
    };
    let sequential = plan.get(0).is_some_and(|node| node.starts_with("Seq Scan on "));
    Ok(exported().filter(|_| sequential))
}

/// Begins a transaction by `begin` and exports its snapshot, of no table, with its position in the log.
pub(super) async fn begin(client: &Client, begin: &str, catalog: &str) -> Result<Option<Snapshot>, Error> {
    let begin = format!("{begin}; SELECT pg_catalog.pg_export_snapshot(), {RUNNING_SINCE}");
    // Sent in this order, without waiting in between.
    let (position, answer) = join!(position(client, catalog), client.simple_query(&begin));
    Ok(rows(&answer?).next().and_then(|row| {
        Some(Snapshot {
            id: row.get(0).filter(|id| is_plain(id))?.to_owned(),
            server: row.get(1)?.to_owned(),
            blocks: 0,
            position,
        })
    }))
}

/// Begins a transaction by `begin` that sees the snapshot; false if the server is
/// another one.
pub(super) async fn import(client: &Client, begin: &str, snapshot: &Snapshot) -> Result<bool, Error> {
    let answer = client
        .simple_query(&format!(
            "{begin}; SET TRANSACTION SNAPSHOT '{}'; SELECT {RUNNING_SINCE}",
            snapshot.id
        ))
        .await?;
    Ok(rows(&answer)
        .next()
        .is_some_and(|row| row.get(0) == Some(&snapshot.server)))
}

/// Under the pinned time zone and style of dates.
const RUNNING_SINCE: &str = "pg_catalog.pg_postmaster_start_time()";

/// Numbers in base 16 and hyphens.
fn is_plain(id: &str) -> bool {
    !id.is_empty()
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn rows(answer: &[SimpleQueryMessage]) -> impl Iterator<Item = &tokio_postgres::SimpleQueryRow> {
    answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}
