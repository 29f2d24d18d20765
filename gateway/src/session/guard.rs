//! What ends a statement early: a cancel request, its timeout, a client that hung up, shutdown.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::rows::Rows;
use super::{Answer, Trouble};
use crate::fault::Fault;
use crate::registry::{Backend, Registration};

/// The statement that runs now.
pub(super) struct Guard {
    backend: Arc<Backend>,
    cancelled: CancellationToken,
    gone: CancellationToken,
    /// When a statement whose work has no bound of its own is out of time.
    deadline: Mutex<Option<Instant>>,
}

impl Guard {
    /// From here on a cancel request hits.
    pub(super) fn begin(registration: &Registration, gone: &CancellationToken) -> Self {
        let backend = Arc::clone(registration.backend());
        let cancelled = backend.begin();
        Guard {
            backend,
            cancelled,
            gone: gone.clone(),
            deadline: Mutex::default(),
        }
    }

    /// Bounds the time of every later wait.
    pub(super) fn bound(&self, timeout: Option<Duration>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) =
            timeout.map(|timeout| Instant::now() + timeout);
    }

    /// From here on it does not.
    pub(super) fn end(&self) {
        self.backend.end();
    }

    /// A cancel request also ends the work behind these rows, even while nobody waits for one.
    pub(super) fn watch(&self, rows: &Rows) {
        if let Some(token) = rows.cancel_token() {
            self.backend.attach(token);
        }
    }

    /// An error once the statement was cancelled or is out of time.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.cancelled.is_cancelled() {
            Err(Fault::cancelled())
        } else if self.left() == Some(Duration::ZERO) {
            Err(timed_out())
        } else {
            Ok(())
        }
    }

    /// The time until the deadline.
    fn left(&self) -> Option<Duration> {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits for `work`, unless the statement ends first.
    pub(super) async fn run<T>(&self, work: impl Future<Output = T>) -> Answer<T> {
        self.within(self.left(), work).await
    }

    /// Waits for `work` for so long, unless the statement ends first.
    pub(super) async fn within<T>(
        &self,
        timeout: Option<Duration>,
        work: impl Future<Output = T>,
    ) -> Answer<T> {
        let late = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.gone.cancelled() => Err(Trouble::Gone(io::ErrorKind::ConnectionAborted.into())),
            () = self.backend.terminated().cancelled() => Err(Fault::shutdown().into()),
            () = self.cancelled.cancelled() => Err(Fault::cancelled().into()),
            done = work => Ok(done),
            () = late => Err(timed_out().into()),
        }
    }
}

fn timed_out() -> Fault {
    Fault::error("57014", "canceling statement due to statement timeout")
}
