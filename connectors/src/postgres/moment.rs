//! One moment for all scans of a query that an export reads.
//!
//! A connection of its own keeps a transaction open, and every scan's transaction imports its snapshot: tables that the
//! query joins here are read as they were together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;

use super::failure::{answer_text, failure, is_connection_lost};
use super::pool::{Lease, Pool};
use super::shared::{self, Snapshot};
use crate::ConnectorError;

/// The moment of a connector's scans, if they have one.
#[derive(Default)]
pub(super) struct Moment {
    is_wanted: AtomicBool,
    kept: Mutex<Option<Kept>>,
}

/// The open transaction; None where there is no way to have one.
struct Kept(Option<(Snapshot, Lease)>);

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moment")
            .field("is_wanted", &self.is_wanted)
            .finish_non_exhaustive()
    }
}

impl Moment {
    /// From the next scan on all see what it sees.
    pub(super) fn want(&self) {
        self.is_wanted.store(true, Ordering::Release);
    }

    /// The snapshot that a scan has to import; None if each has its own.
    pub(super) async fn snapshot(&self, pool: &Arc<Pool>) -> Result<Option<Snapshot>, ConnectorError> {
        if !self.is_wanted.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut kept = self.kept.lock().await;
        let kept = match &*kept {
            Some(kept) => kept,
            None => kept.insert(Kept(keep(pool).await?)),
        };
        Ok(kept.0.as_ref().map(|(snapshot, _)| snapshot.clone()))
    }
}

/// Begins the transaction whose snapshot is shared.
async fn keep(pool: &Arc<Pool>) -> Result<Option<(Snapshot, Lease)>, ConnectorError> {
    let catalog = &pool.driver().catalog;
    if pool.driver().max_connections < 2 {
        tracing::info!(
            catalog,
            "limits.maxConnections is 1: each table is read at a moment of its own"
        );
        return Ok(None);
    }
    let patience = pool.patience_of_a_query();
    let mut lease = pool.acquire(patience).await?;
    loop {
        let settings = lease.driver();
        // It idles while the scans read.
        let begin = format!(
            "{}; SET LOCAL idle_in_transaction_session_timeout = 0",
            settings.begin()
        );
        let client = &lease.connection()?.client;
        match settings.answered(shared::begin(client, &begin, catalog)).await? {
            Ok(Some(snapshot)) => return Ok(Some((snapshot, lease))),
            Err(error) if lease.reused && is_connection_lost(&error) => {
                drop(lease);
                lease = pool.acquire_fresh(patience).await?;
            }
            Err(error) if error.as_db_error().is_none() => return Err(failure(settings, &error)),
            refused => {
                // Not every server that speaks the protocol exports snapshots, and not to everybody.
                let answer = refused.err();
                let answer = answer
                    .as_ref()
                    .and_then(tokio_postgres::Error::as_db_error)
                    .map(answer_text);
                tracing::warn!(
                    catalog,
                    answer,
                    "no snapshot is exported: each table of the query is read at a moment of its own"
                );
                lease.release();
                return Ok(None);
            }
        }
    }
}
