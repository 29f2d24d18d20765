//! A queue of objects to look at: each at most once in it, never twice at work, and woken by timers.
//!
//! Dedupe is what makes a burst of events cost one look, and serialisation per object is what lets a look read, decide
//! and write without a lock. An object that is queued while at work is looked at once more afterwards: the look in
//! progress may already have read what has changed.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::clock::Clock;

/// See the module.
#[derive(Debug)]
pub struct WorkQueue<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    ready: VecDeque<T>,
    /// What is in `ready`.
    waiting: HashSet<T>,
    at_work: HashSet<T>,
    /// At work, and to be looked at again.
    dirty: HashSet<T>,
    timers: BTreeSet<(Timestamp, T)>,
    /// The timer of each object: at most one.
    timer_of: HashMap<T, Timestamp>,
}

impl<T: Clone + Debug + Eq + Hash + Ord> Default for WorkQueue<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                waiting: HashSet::new(),
                at_work: HashSet::new(),
                dirty: HashSet::new(),
                timers: BTreeSet::new(),
                timer_of: HashMap::new(),
            }),
            changed: Notify::new(),
        }
    }
}

impl<T: Clone + Debug + Eq + Hash + Ord> WorkQueue<T> {
    /// Asks for a look at `item` as soon as possible.
    pub fn add(&self, item: T) {
        self.lock().add(item);
        self.changed.notify_one();
    }

    /// Sets the item's timer, in place of the one it had. `None` clears it.
    pub fn set_timer(&self, item: T, at: Option<Timestamp>) {
        {
            let mut state = self.lock();
            state.clear_timer(&item);
            if let Some(at) = at {
                state.timers.insert((at, item.clone()));
                state.timer_of.insert(item, at);
            }
        }
        self.changed.notify_one();
    }

    /// The next item to look at, when there is one. It stays at work until the lease is dropped.
    pub async fn next(self: &Arc<Self>, clock: &dyn Clock) -> Lease<T> {
        loop {
            let first_timer = {
                let mut state = self.lock();
                state.ring(clock.now());
                if let Some(item) = state.ready.pop_front() {
                    state.waiting.remove(&item);
                    state.at_work.insert(item.clone());
                    return Lease {
                        queue: Arc::clone(self),
                        item,
                    };
                }
                state.timers.first().map(|(at, _)| *at)
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = clock.sleep_until(first_timer.unwrap_or(Timestamp::MAX)) => {}
            }
        }
    }

    /// Nothing is waiting and nothing at work; timers may be set.
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.ready.is_empty() && state.at_work.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The state is whole between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Eq + Hash + Ord> State<T> {
    fn add(&mut self, item: T) {
        if self.at_work.contains(&item) {
            self.dirty.insert(item);
        } else if self.waiting.insert(item.clone()) {
            self.ready.push_back(item);
        }
    }

    fn ring(&mut self, now: Timestamp) {
        while let Some((at, item)) = self.timers.first().cloned() {
            if at > now {
                return;
            }
            self.clear_timer(&item);
            self.add(item);
        }
    }

    fn clear_timer(&mut self, item: &T) {
        if let Some(at) = self.timer_of.remove(item) {
            self.timers.remove(&(at, item.clone()));
        }
    }
}

/// An item at work.
#[derive(Debug)]
pub struct Lease<T: Clone + Debug + Eq + Hash + Ord> {
    queue: Arc<WorkQueue<T>>,
    item: T,
}

impl<T: Clone + Debug + Eq + Hash + Ord> std::ops::Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T: Clone + Debug + Eq + Hash + Ord> Drop for Lease<T> {
    fn drop(&mut self) {
        {
            let mut state = self.queue.lock();
            state.at_work.remove(&self.item);
            if state.dirty.remove(&self.item) {
                state.add(self.item.clone());
            }
        }
        self.queue.changed.notify_one();
    }
}

/// First wait after a failure.
const BACKOFF_FIRST: SignedDuration = SignedDuration::from_secs(5);

/// Longest wait after a failure.
const BACKOFF_LONGEST: SignedDuration = SignedDuration::from_mins(10);

/// How long to wait after the `failures`th failure in a row (from 1): 5 s, doubling up to 10 min, spread over ± 20 % by
/// `seed` so that what failed together does not try again together.
pub fn backoff(failures: u32, seed: &str) -> SignedDuration {
    spread(doubled(BACKOFF_FIRST, failures, BACKOFF_LONGEST), failures, seed)
}

/// `first` doubled for each failure after the first one, at most `longest`.
pub fn doubled(first: SignedDuration, failures: u32, longest: SignedDuration) -> SignedDuration {
    let factor = 1_i32 << failures.saturating_sub(1).min(20);
    first.checked_mul(factor).unwrap_or(longest).min(longest)
}

fn spread(wait: SignedDuration, failures: u32, seed: &str) -> SignedDuration {
    let digest = Sha256::digest(format!("{seed}/{failures}").as_bytes());
    // 80 % … 120 %
    let percent = 80 + i32::from(digest[0]) * 40 / 255;
    wait.checked_mul(percent).map_or(wait, |scaled| scaled / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn a_burst_is_one_look_and_an_item_is_never_twice_at_work() {
        let queue = Arc::new(WorkQueue::default());
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        queue.add("a");
        queue.add("a");
        queue.add("b");
        let first = queue.next(&clock).await;
        assert_eq!(*first, "a");
        queue.add("a");
        queue.add("a");
        let second = queue.next(&clock).await;
        assert_eq!(*second, "b", "a is at work");
        drop(second);
        assert!(!queue.is_idle());
        drop(first);
        let again = queue.next(&clock).await;
        assert_eq!(*again, "a", "queued while at work: once more");
        drop(again);
        assert!(queue.is_idle());
    }

    #[tokio::test]
    async fn timers_ring_in_order_and_are_replaced() {
        let queue = Arc::new(WorkQueue::default());
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let after = |seconds| Some(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds));
        queue.set_timer("late", after(3600));
        queue.set_timer("early", after(120));
        queue.set_timer("moved", after(1));
        queue.set_timer("moved", after(240));
        queue.set_timer("cleared", after(2));
        queue.set_timer("cleared", None);
        for (expected, seconds) in [("early", 120), ("moved", 240), ("late", 3600)] {
            clock.set(
                Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds) - SignedDuration::from_millis(1),
            );
            assert!(
                futures::poll!(std::pin::pin!(queue.next(&clock))).is_pending(),
                "{expected} is not due yet"
            );
            clock.advance(SignedDuration::from_millis(1));
            assert_eq!(*queue.next(&clock).await, expected);
        }
    }

    #[test]
    fn backoff_doubles_to_its_bound() {
        let seconds: Vec<_> = (1..12)
            .map(|failures| backoff(failures, "orders").as_secs())
            .collect();
        assert!((4..=6).contains(&seconds[0]), "{seconds:?}");
        assert!((8..=12).contains(&seconds[1]), "{seconds:?}");
        assert!(seconds[10] <= 720 && seconds[10] >= 480, "{seconds:?}");
        assert_ne!(backoff(8, "a"), backoff(8, "b"));
        assert_eq!(backoff(u32::MAX, "a").as_secs() / 60 / 20, 0);
    }
}
