//! Taking up what earlier operators have started.

use std::{collections::BTreeMap, sync::Arc};

use super::Inner;
use crate::{
    attempt::Record, cache::export_of, decide::record_of, launcher::Adopted, queue::backoff,
    surroundings::chain,
};

impl Inner {
    /// Finds the workers of earlier operators, and listens to those that a run waits for. Returns when that is done, however
    /// often it has to be tried: to begin without would be to begin twice.
    pub(super) async fn adopt(self: &Arc<Self>) {
        let mut failures = 0;
        let found = loop {
            match self.launcher.adopt().await {
                Ok(found) => break found,
                Err(error) => {
                    failures += 1;
                    let wait = backoff(failures, &self.session);
                    tracing::warn!(failures, retry_in = %wait, error = chain(&error), "the workers of earlier operators cannot be found; nothing starts before");
                    let until = self.options.clock.now().checked_add(wait);
                    self.options.clock.sleep_until(until.unwrap_or_default()).await;
                }
            }
        };
        // Only the newest attempt of a run can be the one it waits for.
        let mut newest: BTreeMap<String, u32> = BTreeMap::new();
        for Adopted { run_uid, attempt, .. } in &found {
            let known = newest.entry(run_uid.clone()).or_default();
            *known = (*known).max(*attempt);
        }
        for adopted in found {
            let is_newest = newest.get(&adopted.run_uid) == Some(&adopted.attempt);
            self.take_up(adopted, is_newest);
        }
    }

    fn take_up(self: &Arc<Self>, adopted: Adopted, is_newest: bool) {
        let run = self
            .cache
            .runs
            .get(&adopted.run)
            .filter(|run| run.uid == adopted.run_uid);
        let record = run
            .as_ref()
            .filter(|run| !super::is_ended(run))
            .map(|run| run.status.as_ref().map(record_of).unwrap_or_default());
        let export = run.as_ref().and_then(export_of);
        match (fate(record.as_ref().filter(|_| is_newest), &adopted), export) {
            (Fate::Follow, Some(export)) => {
                tracing::info!(run = %adopted.run, attempt = adopted.attempt, is_over = adopted.is_over, "took up the attempt of an earlier operator");
                self.workers.adopt(&export, &adopted, self.options.clock.now());
                let worker = (adopted.take_up)();
                self.listen(&adopted.run, &adopted.run_uid, worker);
            }
            (Fate::Leave, _) => {}
            (Fate::End | Fate::Follow, _) => {
                tracing::info!(run = %adopted.run, attempt = adopted.attempt, "ends an attempt that no run waits for");
                // Whoever does not take the message is gone.
                let _ = (adopted.take_up)().stop.send(());
            }
        }
    }
}

/// What becomes of an attempt that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Its run waits for it.
    Follow,

    /// It works for nobody.
    End,

    /// It is over, and its run knows or is no more.
    Leave,
}

/// What becomes of an attempt, by the record of its run; absent when no run could wait for it: it has ended, is gone, or
/// has begun a newer attempt.
fn fate(record: Option<&Record>, adopted: &Adopted) -> Fate {
    let is_awaited = record.is_some_and(|record| {
        // The operator may have died before it wrote down that the attempt has begun, but not after it wrote down how
        // the attempt ended: then the session is gone from the record.
        adopted.attempt > record.attempts || (adopted.attempt == record.attempts && record.session.is_some())
    });
    match (is_awaited, adopted.is_over) {
        (true, _) => Fate::Follow,
        (false, false) => Fate::End,
        (false, true) => Fate::Leave,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lakegate_store::Key;
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::launcher::Worker;

    fn found(attempt: u32, is_over: bool) -> Adopted {
        Adopted {
            run: Key::named("orders-1"),
            run_uid: "u1".to_owned(),
            attempt,
            attempt_id: "a1".to_owned(),
            started: Timestamp::UNIX_EPOCH,
            is_over,
            take_up: Box::new(|| Worker {
                id: "orders-1-1".to_owned(),
                attempt_id: "a1".to_owned(),
                events: mpsc::channel(1).1,
                stop: oneshot::channel().0,
            }),
        }
    }

    #[test]
    fn an_attempt_is_followed_when_its_run_does_not_know_its_end() {
        let record = |attempts: u32, is_open: bool| Record {
            attempts,
            session: is_open.then(|| "another".to_owned()),
            ..Record::default()
        };
        let cases = [
            (
                "at work, as the status says",
                Some(record(1, true)),
                1,
                false,
                Fate::Follow,
            ),
            (
                "over, and the status says it works",
                Some(record(1, true)),
                1,
                true,
                Fate::Follow,
            ),
            (
                "begun, not written down",
                Some(record(0, false)),
                1,
                false,
                Fate::Follow,
            ),
            (
                "begun and over, not written down",
                Some(record(0, false)),
                1,
                true,
                Fate::Follow,
            ),
            (
                "the next one begun, not written down",
                Some(record(1, false)),
                2,
                false,
                Fate::Follow,
            ),
            (
                "over, and the status knows",
                Some(record(1, false)),
                1,
                true,
                Fate::Leave,
            ),
            (
                "lost, given up, and still there",
                Some(record(1, false)),
                1,
                false,
                Fate::End,
            ),
            (
                "older than the one that works",
                Some(record(2, true)),
                1,
                false,
                Fate::End,
            ),
            ("older and over", Some(record(2, true)), 1, true, Fate::Leave),
            ("its run has ended or is gone", None, 1, false, Fate::End),
            (
                "its run has ended or is gone, and it is over",
                None,
                1,
                true,
                Fate::Leave,
            ),
        ];
        for (what, record, attempt, is_over, expected) in cases {
            assert_eq!(
                fate(record.as_ref(), &found(attempt, is_over)),
                expected,
                "{what}"
            );
        }
    }
}
