//! Where the rows of a COPY go, past the driver.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::channel::mpsc;

/// Where the rows of a connection's COPY go, if not to the driver.
#[derive(Debug, Clone, Default)]
pub(super) struct Outlet(Arc<Mutex<Option<mpsc::Sender<Bytes>>>>);

impl Outlet {
    /// The rows of the COPY that is sent next: whole messages with their headers, in
    /// chunks. Ends when the COPY does or the connection, and the driver says which.
    pub(super) fn divert(&self) -> mpsc::Receiver<Bytes> {
        // Two chunks: one slot, and one more as the channel's sender has its own.
        let (sender, receiver) = mpsc::channel(1);
        *self.locked() = Some(sender);
        receiver
    }

    /// Whether rows are diverted.
    pub(super) fn is_open(&self) -> bool {
        self.locked().is_some()
    }

    pub(super) fn close(&self) {
        *self.locked() = None;
    }

    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        match &mut *self.locked() {
            // Nobody wants the rows any more: they are read and dropped.
            Some(sender) => sender.poll_ready(context).map(|_| ()),
            None => Poll::Ready(()),
        }
    }

    /// To be called when ready.
    pub(super) fn send(&self, rows: Bytes) {
        if let Some(sender) = &mut *self.locked() {
            // As above.
            let _ = sender.start_send(rows);
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<Bytes>>> {
        // A sender is whole whatever panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
