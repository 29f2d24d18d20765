//! Recent and running queries, with a handle to cancel the running ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::error::FederationError;
use crate::remote::{RemoteWork, RunningPlan};

/// Ended queries that are remembered.
const KEPT: usize = 1000;
/// Characters of a query's text that are remembered.
const KEPT_TEXT: usize = 10_000;

/// How far a query is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryState {
    Running,
    Finished,
    Failed,
    Cancelled,
    /// The client took what it wanted and closed the result early.
    Closed,
}

impl QueryState {
    /// As the system table shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Finished => "Finished",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::Closed => "Closed",
        }
    }
}

/// One query as the log remembers it.
#[derive(Debug, Clone)]
pub struct QueryRecord {
    /// Grows; unique in this process.
    pub id: u64,
    pub session_id: u64,
    pub user: String,
    pub database: String,
    pub sql: String,
    pub state: QueryState,
    pub started: Timestamp,
    /// None while it runs.
    pub ended: Option<Timestamp>,
    /// Rows produced so far.
    pub rows: u64,
    /// What it asked of the stores so far.
    pub remote: RemoteWork,
    pub error: Option<String>,
    pub sqlstate: Option<&'static str>,
}

#[derive(Debug)]
struct Active {
    record: QueryRecord,
    rows: Arc<AtomicU64>,
    plan: RunningPlan,
    cancel: CancellationToken,
}

#[derive(Debug, Default)]
struct Inner {
    active: BTreeMap<u64, Active>,
    ended: VecDeque<QueryRecord>,
}

/// The queries of one process.
#[derive(Debug, Default)]
pub struct QueryLog {
    next: AtomicU64,
    inner: Mutex<Inner>,
}

impl QueryLog {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn start(
        self: &Arc<Self>,
        session_id: u64,
        user: &str,
        database: &str,
        sql: &str,
        now: Timestamp,
        cancel: CancellationToken,
    ) -> QueryHandle {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let rows = Arc::new(AtomicU64::new(0));
        let sql = match sql.char_indices().nth(KEPT_TEXT) {
            Some((end, _)) => format!("{}…", &sql[..end]),
            None => sql.to_owned(),
        };
        let record = QueryRecord {
            id,
            session_id,
            user: user.to_owned(),
            database: database.to_owned(),
            sql,
            state: QueryState::Running,
            started: now,
            ended: None,
            rows: 0,
            remote: RemoteWork::default(),
            error: None,
            sqlstate: None,
        };
        let plan = RunningPlan::default();
        let active = Active {
            record,
            rows: Arc::clone(&rows),
            plan: plan.clone(),
            cancel,
        };
        self.lock().active.insert(id, active);
        QueryHandle {
            log: Arc::clone(self),
            id,
            rows,
            plan,
        }
    }

    /// Running queries, then ended ones, newest first.
    pub fn queries(&self) -> Vec<QueryRecord> {
        let inner = self.lock();
        let running = inner.active.values().rev().map(|active| {
            let mut record = active.record.clone();
            record.rows = active.rows.load(Ordering::Relaxed);
            record.remote = active.plan.work();
            record
        });
        running.chain(inner.ended.iter().rev().cloned()).collect()
    }

    /// The queries that run now, oldest first.
    pub fn active(&self) -> Vec<QueryRecord> {
        let mut active = self.queries();
        active.retain(|record| record.state == QueryState::Running);
        active.reverse();
        active
    }

    /// Cancels one running query; false when it does not run.
    pub fn cancel(&self, id: u64) -> bool {
        match self.lock().active.get(&id) {
            Some(active) => {
                active.cancel.cancel();
                true
            }
            None => false,
        }
    }

    /// Cancels every running query of a session; returns how many there were.
    pub fn cancel_session(&self, session_id: u64) -> usize {
        let inner = self.lock();
        let of_session = inner
            .active
            .values()
            .filter(|a| a.record.session_id == session_id);
        of_session.inspect(|active| active.cancel.cancel()).count()
    }
}

/// One running query; ends it in the log exactly once.
#[derive(Debug)]
pub(crate) struct QueryHandle {
    log: Arc<QueryLog>,
    id: u64,
    rows: Arc<AtomicU64>,
    plan: RunningPlan,
}

impl QueryHandle {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Where its plan is to be put.
    pub(crate) fn plan(&self) -> RunningPlan {
        self.plan.clone()
    }

    pub(crate) fn rows(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.rows)
    }

    pub(crate) fn end(&self, state: QueryState, error: Option<&FederationError>) {
        let mut inner = self.log.lock();
        let Some(active) = inner.active.remove(&self.id) else {
            return;
        };
        let mut record = active.record;
        record.rows = active.rows.load(Ordering::Relaxed);
        record.remote = active.plan.work();
        record.state = state;
        record.ended = Some(Timestamp::now());
        record.error = error.map(ToString::to_string);
        record.sqlstate = error.map(FederationError::sqlstate);
        metrics::counter!("lakegate_queries_total", "state" => state.as_str()).increment(1);
        inner.ended.push_back(record);
        while inner.ended.len() > KEPT {
            inner.ended.pop_front();
        }
    }

    pub(crate) fn end_with(&self, outcome: &Result<(), FederationError>) {
        match outcome {
            Ok(()) => self.end(QueryState::Finished, None),
            Err(error) if error.sqlstate() == "57014" => {
                self.end(QueryState::Cancelled, Some(error));
            }
            Err(error) => self.end(QueryState::Failed, Some(error)),
        }
    }
}

impl Drop for QueryHandle {
    /// A query whose task was dropped before it could say how it ended.
    fn drop(&mut self) {
        self.end(QueryState::Closed, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Cause;

    #[test]
    fn a_query_ends_once_and_the_log_is_bounded() {
        let log = Arc::new(QueryLog::default());
        let now = Timestamp::UNIX_EPOCH;
        let token = CancellationToken::new();
        let first = log.start(7, "u", "d", "select 1", now, token.clone());
        assert_eq!(log.active().len(), 1);
        assert!(log.cancel(first.id()));
        assert!(token.is_cancelled());
        first.end_with(&Err(Cause::Cancelled.into()));
        drop(first);
        assert!(log.active().is_empty());
        assert_eq!(log.queries()[0].state, QueryState::Cancelled);
        assert_eq!(log.queries()[0].sqlstate, Some("57014"));
        assert!(!log.cancel(1));
        for _ in 0..KEPT + 5 {
            log.start(7, "u", "d", "select 1", now, CancellationToken::new())
                .end_with(&Ok(()));
        }
        assert_eq!(log.queries().len(), KEPT);
        assert_eq!(log.queries()[0].id, KEPT as u64 + 6);
    }
}
