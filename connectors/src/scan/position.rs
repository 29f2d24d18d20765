//! Where in its log a store stood when it was read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// A place in the log that a server keeps of its changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPosition {
    /// Of PostgreSQL's write-ahead log: `16/B374D848`.
    Lsn(String),
    /// MariaDB's list (`0-1-4711`) or MySQL's set (`3E11FA47-…:1-77`) of what was committed.
    Gtid(String),
}

/// Where in its log a server stood just before it was asked for a snapshot.
///
/// What was committed later may be in the snapshot or not. Of what was committed before, all that its writer had been
/// told of is in it: a server writes a commit to its log before others can see it, so that what was committing at that
/// very moment may be missing though its place in the log is an earlier one. Where the server follows another one by
/// PostgreSQL's physical replication there is no such gap: a standby's position is that of commits that can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePosition {
    /// The catalog name of the source.
    pub catalog: String,
    pub position: LogPosition,
    /// Whether the server follows another one, whose log it is.
    pub is_replica: bool,
}

/// What a scan is to find out of its position, and what it found. Clones of the scan share it.
#[derive(Debug, Default)]
pub struct PositionSlot {
    is_wanted: AtomicBool,
    found: OnceLock<SourcePosition>,
}

impl PositionSlot {
    /// The next execution asks for it. One that has found it keeps it: of several executions the first is the earliest.
    pub fn want(&self) {
        self.is_wanted.store(true, Ordering::Release);
    }

    /// None as long as nothing was found, and where the store has none.
    pub fn found(&self) -> Option<&SourcePosition> {
        self.found.get()
    }

    /// The slot, if it is to be filled.
    pub(super) fn to_fill(self: &Arc<Self>) -> Option<Arc<Self>> {
        (self.is_wanted.load(Ordering::Acquire) && self.found.get().is_none()).then(|| Arc::clone(self))
    }

    /// Once its snapshot is there.
    pub(crate) fn fill(&self, position: SourcePosition) {
        // Executions side by side may both have asked: the first to come is kept.
        let _ = self.found.set(position);
    }
}
