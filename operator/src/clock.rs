//! The one place that knows what time it is.

use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// Tells the time. Nothing above it reads a clock, so tests can tell another.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Waits until the wall clock shows `instant`. May return earlier: ask again what time it is.
    async fn sleep_until(&self, instant: Timestamp);
}

/// Longest sleep between two looks at the wall clock. Sleeping follows a clock that stands still while the machine is
/// suspended and that ignores corrections; so the wall clock is asked again this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(20);

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, instant: Timestamp) {
        let wait = Duration::try_from(instant.duration_since(self.now())).unwrap_or_default();
        // A millisecond more, lest rounding wakes us just before it, again and again.
        tokio::time::sleep(wait.min(LONGEST_SLEEP) + Duration::from_millis(1)).await;
    }
}

/// A clock that stands still until it is moved: a year of schedule in a test that takes no time.
#[derive(Debug)]
pub struct ManualClock {
    time: watch::Sender<Timestamp>,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            time: watch::Sender::new(now),
        }
    }

    /// Moves the hands to `now`, and wakes who waited for it.
    pub fn set(&self, now: Timestamp) {
        self.time.send_replace(now);
    }

    /// Moves the hands forward.
    pub fn advance(&self, duration: SignedDuration) {
        self.time.send_modify(|time| *time += duration);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.time.borrow()
    }

    async fn sleep_until(&self, instant: Timestamp) {
        // The sender lives as long as `self`.
        let _ = self.time.subscribe().wait_for(|time| *time >= instant).await;
    }
}
