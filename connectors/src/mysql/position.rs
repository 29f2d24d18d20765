//! What a server had committed when a snapshot was taken, as GTIDs.

use super::settings::{Flavor, Version};
use super::wire::{Client, WireError};
use crate::scan::LogPosition;

/// A set with more gaps than any replication leaves; it would be kept with each snapshot of the lake.
const LONGEST: usize = 16 * 1024;

/// Asks a connection that is in no transaction, just before it begins the one whose snapshot is meant: what is
/// committed later may be in the snapshot or not, and of what is committed at that very moment a part may be missing
/// that the answer names, for the log is written first.
///
/// None where the server keeps no GTIDs, or does not tell.
///
/// # Errors
/// Only of the connection.
pub(super) async fn position(
    client: &mut Client,
    version: &Version,
    catalog: &str,
) -> Result<Option<LogPosition>, WireError> {
    let ask = match version.flavor {
        Flavor::MariaDb => "SELECT @@global.gtid_current_pos",
        Flavor::MySql => "SELECT @@global.gtid_executed",
    };
    let rows = match client.query(ask).await {
        Ok(rows) => rows,
        Err(error @ WireError::Server { .. }) => {
            tracing::debug!(catalog, %error, "the server does not tell its position in the log");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let told = rows.into_iter().flatten().next().flatten().unwrap_or_default();
    // MySQL puts each server of a set on a line of its own.
    let told: String = told.split_whitespace().collect();
    if told.len() > LONGEST {
        tracing::debug!(
            catalog,
            bytes = told.len(),
            "the server's set of GTIDs is too long to be kept"
        );
        return Ok(None);
    }
    Ok((!told.is_empty()).then_some(LogPosition::Gtid(told)))
}
