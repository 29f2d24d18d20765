//! The one place that knows what time it is.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// Tells the time. Nothing above it reads a clock, so tests can tell another.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Time since some moment, by a clock that nobody sets: how long something takes.
    fn steady(&self) -> SignedDuration;

    /// How far the wall clock is ahead of the steady one. It changes when somebody sets it.
    fn ahead(&self) -> SignedDuration {
        self.now().duration_since(Timestamp::UNIX_EPOCH) - self.steady()
    }

    /// Waits until the wall clock shows `instant`. May return earlier, and does soon after the clock was set: ask again
    /// what time it is.
    async fn sleep_until(&self, instant: Timestamp);
}

/// Longest sleep between two looks at the wall clock. Sleeping follows a clock that stands still while the machine is
/// suspended and that ignores corrections; so the wall clock is asked again this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(20);

/// A clock that was set by less was not: it is the time between two looks, and what keeping it right costs.
pub(crate) const SMALLEST_JUMP: SignedDuration = SignedDuration::from_secs(2);

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn steady(&self) -> SignedDuration {
        static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
        SignedDuration::try_from(BEGINNING.elapsed()).unwrap_or(SignedDuration::MAX)
    }

    async fn sleep_until(&self, instant: Timestamp) {
        let wait = Duration::try_from(instant.duration_since(self.now())).unwrap_or_default();
        // A millisecond more, lest rounding wakes us just before it, again and again.
        tokio::time::sleep(wait.min(LONGEST_SLEEP) + Duration::from_millis(1)).await;
    }
}

/// What time it is for each run: that of the wall clock when this process took the run up, and what has passed since. So
/// a clock that is set makes no run older or younger, and no worker silent.
#[derive(Clone)]
pub struct RunClocks {
    clock: Arc<dyn Clock>,
    /// How far the wall clock was ahead of the steady one then, by uid of the run.
    begun: Arc<Mutex<HashMap<String, SignedDuration>>>,
}

impl RunClocks {
    /// By this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            begun: Arc::default(),
        }
    }

    /// The run is taken up, unless it was before.
    pub fn begin(&self, run_uid: &str) {
        let ahead = self.clock.ahead();
        self.lock().entry(run_uid.to_owned()).or_insert(ahead);
    }

    /// The run is over.
    pub fn end(&self, run_uid: &str) {
        self.lock().remove(run_uid);
    }

    /// What time it is for the run.
    pub fn now(&self, run_uid: &str) -> Timestamp {
        let now = self.clock.now();
        now.checked_sub(self.set_by(run_uid)).unwrap_or(now)
    }

    /// How far the wall clock was set forwards since the run was taken up.
    pub fn set_by(&self, run_uid: &str) -> SignedDuration {
        let ahead = self.clock.ahead();
        let moved = self
            .lock()
            .get(run_uid)
            .map_or(SignedDuration::ZERO, |begun| ahead - *begun);
        // Two clocks cannot be read at once.
        if moved.abs() < SMALLEST_JUMP {
            SignedDuration::ZERO
        } else {
            moved
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, SignedDuration>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that stands still until it is moved: a year of schedule in a test that takes no time.
#[derive(Debug)]
pub struct ManualClock {
    time: watch::Sender<Timestamp>,
    set_by: watch::Sender<SignedDuration>,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            time: watch::Sender::new(now),
            set_by: watch::Sender::default(),
        }
    }

    /// Time passes until `now`, and wakes who waited for it.
    pub fn set(&self, now: Timestamp) {
        self.time.send_replace(now);
    }

    /// Time passes.
    pub fn advance(&self, duration: SignedDuration) {
        self.time.send_modify(|time| *time += duration);
    }

    /// Somebody sets the clock, forwards or back; no time passes.
    pub fn jump(&self, by: SignedDuration) {
        self.time.send_modify(|time| *time += by);
        self.set_by.send_modify(|set_by| *set_by += by);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.time.borrow()
    }

    fn steady(&self) -> SignedDuration {
        self.now().duration_since(Timestamp::UNIX_EPOCH) - *self.set_by.borrow()
    }

    async fn sleep_until(&self, instant: Timestamp) {
        let (mut time, mut set_by) = (self.time.subscribe(), self.set_by.subscribe());
        // The senders live as long as `self`.
        tokio::select! {
            _ = time.wait_for(|time| *time >= instant) => {}
            _ = set_by.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_makes_no_run_older() {
        let start: Timestamp = "2026-05-11T00:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let clocks = RunClocks::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let after = |seconds: i64| start + SignedDuration::from_secs(seconds);
        clocks.begin("a");
        clock.advance(SignedDuration::from_secs(10));
        clock.jump(SignedDuration::from_hours(4));
        clocks.begin("a");
        clocks.begin("b");
        clock.advance(SignedDuration::from_secs(5));
        assert_eq!(
            (clocks.now("a"), clocks.set_by("a")),
            (after(15), SignedDuration::from_hours(4))
        );
        assert_eq!(
            (clocks.now("b"), clocks.set_by("b")),
            (clock.now(), SignedDuration::ZERO)
        );
        clock.jump(SignedDuration::from_hours(-6));
        assert_eq!(clocks.now("a"), after(15));
        assert_eq!(clocks.set_by("b"), SignedDuration::from_hours(-6));
        clocks.end("a");
        assert_eq!(clocks.now("a"), clock.now(), "who is not known goes by the clock");
    }

    #[test]
    fn the_clock_of_the_machine_is_not_set_by_looking_at_it() {
        let clocks = RunClocks::new(Arc::new(SystemClock));
        clocks.begin("a");
        assert_eq!(clocks.set_by("a"), SignedDuration::ZERO);
    }
}
