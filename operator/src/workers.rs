//! The workers of this process: who runs what, and what is known of how it goes.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use lakegate_crds::conditions::Reason;
use lakegate_store::Key;
use tokio::sync::{mpsc, oneshot};

use crate::{
    attempt::{Ending, StopCause, Work},
    launcher::{Adopted, Exit, Worker, WorkerEvent},
    protocol::{Failure, Progress, WorkerMessage},
};

/// All workers, by uid of their run.
#[derive(Debug)]
pub struct Workers {
    slots: Mutex<HashMap<String, Slot>>,
    limit: usize,
}

/// The worker of one run.
#[derive(Debug)]
struct Slot {
    run: Key,
    export: Key,
    attempt: u32,
    attempt_id: String,
    worker_id: Option<String>,
    started: Timestamp,
    heard: Timestamp,
    /// What it waits for before it is at work.
    pending: Option<String>,
    progress: Progress,
    /// Its last word.
    result: Option<Ending>,
    stop: Option<oneshot::Sender<()>>,
    stopped: Option<StopCause>,
    ended: Option<(Timestamp, Ending)>,
}

/// What is known of a run's worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerView {
    /// For [`crate::attempt::next_step`].
    pub work: Work,

    /// Process id, or name of the Job.
    pub worker_id: Option<String>,

    /// Which attempt may commit.
    pub attempt_id: Option<String>,
}

impl Workers {
    /// At most `limit` at the same time.
    pub fn new(limit: usize) -> Self {
        Self {
            slots: Mutex::default(),
            limit: limit.max(1),
        }
    }

    /// What is known of the worker of this run.
    pub fn view(&self, run_uid: &str) -> WorkerView {
        let slots = self.lock();
        let Some(slot) = slots.get(run_uid) else {
            return WorkerView {
                work: Work::Idle,
                worker_id: None,
                attempt_id: None,
            };
        };
        let work = match &slot.ended {
            Some((at, ending)) => Work::Ended {
                attempt: slot.attempt,
                started: slot.started,
                at: *at,
                ending: ending.clone(),
            },
            None => Work::Running {
                attempt: slot.attempt,
                started: slot.started,
                heard: slot.heard,
                progress: slot.progress,
                pending: slot.pending.clone(),
                stopping: slot.stopped.is_some(),
            },
        };
        WorkerView {
            work,
            worker_id: slot.worker_id.clone(),
            attempt_id: Some(slot.attempt_id.clone()),
        }
    }

    /// Whether another worker may be started.
    pub fn has_capacity(&self) -> bool {
        running(&self.lock()) < self.limit
    }

    /// How many are running.
    pub fn running(&self) -> usize {
        running(&self.lock())
    }

    /// The run of this Export that has a worker running, if any.
    pub fn run_of_export(&self, export: &Key) -> Option<Key> {
        let slots = self.lock();
        slots
            .values()
            .find(|slot| slot.ended.is_none() && slot.export == *export)
            .map(|slot| slot.run.clone())
    }

    /// Takes a place for an attempt before its worker exists. False when there is none, or when another run of the same
    /// Export has a worker: two runs of one Export never work at the same time, whoever decided so.
    pub fn reserve(
        &self,
        run: &Key,
        run_uid: &str,
        export: &Key,
        attempt: u32,
        attempt_id: &str,
        now: Timestamp,
    ) -> bool {
        let mut slots = self.lock();
        let is_taken = slots.contains_key(run_uid)
            || slots
                .values()
                .any(|slot| slot.ended.is_none() && slot.export == *export)
            || running(&slots) >= self.limit;
        if is_taken {
            return false;
        }
        let slot = Slot::new(run, export, attempt, attempt_id, now);
        slots.insert(run_uid.to_owned(), slot);
        true
    }

    /// Takes a place for an attempt that an earlier operator has started. Whether or not there is one: it is at work.
    pub fn adopt(&self, export: &Key, adopted: &Adopted, now: Timestamp) {
        let Adopted {
            run,
            run_uid,
            attempt,
            attempt_id,
            started,
            ..
        } = adopted;
        let slot = Slot {
            // Not before the future: a clock that is behind the API server's must not make a worker older than it is.
            started: (*started).min(now),
            ..Slot::new(run, export, *attempt, attempt_id, now)
        };
        self.lock().insert(run_uid.clone(), slot);
    }

    /// The worker exists. Gives back its events.
    pub fn started(&self, run_uid: &str, worker: Worker) -> mpsc::Receiver<WorkerEvent> {
        let Worker {
            id,
            attempt_id,
            events,
            stop,
        } = worker;
        if let Some(slot) = self.lock().get_mut(run_uid) {
            slot.worker_id = Some(id);
            slot.attempt_id = attempt_id;
            if slot.stopped.is_some() {
                // Told to end before it existed. Whoever does not take the message is gone.
                let _ = stop.send(());
            } else {
                slot.stop = Some(stop);
            }
        }
        events
    }

    /// The worker is not at work yet. True when that is news for the status.
    pub fn waiting(&self, run_uid: &str, why: String) -> bool {
        let mut slots = self.lock();
        let Some(slot) = slots.get_mut(run_uid).filter(|slot| slot.ended.is_none()) else {
            return false;
        };
        let is_news = slot.pending.as_ref() != Some(&why);
        slot.pending = Some(why);
        is_news
    }

    /// The worker is at work. True when that is news for the status.
    pub fn alive(&self, run_uid: &str, now: Timestamp) -> bool {
        let mut slots = self.lock();
        let Some(slot) = slots.get_mut(run_uid).filter(|slot| slot.ended.is_none()) else {
            return false;
        };
        slot.heard = slot.heard.max(now);
        slot.pending.take().is_some()
    }

    /// The worker said something. True when there is news for the status.
    pub fn heard(&self, run_uid: &str, message: WorkerMessage, now: Timestamp) -> bool {
        let mut slots = self.lock();
        let Some(slot) = slots.get_mut(run_uid).filter(|slot| slot.ended.is_none()) else {
            return false;
        };
        slot.heard = slot.heard.max(now);
        slot.pending = None;
        match message {
            WorkerMessage::Progress(progress) => slot.progress = progress,
            WorkerMessage::Finished(report) => slot.result = Some(Ending::Finished(report)),
            WorkerMessage::Failed(failure) => slot.result = Some(Ending::Failed(failure)),
        }
        true
    }

    /// The worker is gone. Its own last word counts first, then that it was told to end.
    pub fn exited(&self, run_uid: &str, exit: Exit, now: Timestamp) {
        if let Some(slot) = self.lock().get_mut(run_uid).filter(|slot| slot.ended.is_none()) {
            let ending = match (slot.result.take(), slot.stopped, slot.pending.take()) {
                (Some(finished @ Ending::Finished(_)), ..) => finished,
                (_, Some(StopCause::DeadlineExceeded), Some(why)) => Ending::Failed(Failure {
                    reason: Reason::DeadlineExceeded.to_string(),
                    message: format!("its worker was not at work when spec.timeout was over: {why}"),
                    terminal: true,
                }),
                (_, Some(cause), _) => Ending::Stopped(cause),
                (Some(failed), None, _) => failed,
                (None, None, _) => Ending::Exited(exit.how),
            };
            let at = exit
                .at
                .map_or(now, |at| at.clamp(slot.started, slot.started.max(now)));
            slot.ended = Some((at, ending));
            slot.stop = None;
        }
    }

    /// The attempt ended before a worker existed.
    pub fn not_started(&self, run_uid: &str, ending: Ending, now: Timestamp) {
        if let Some(slot) = self.lock().get_mut(run_uid) {
            slot.ended = Some((now, ending));
        }
    }

    /// Tells a worker to end. What follows is its end.
    pub fn stop(&self, run_uid: &str, cause: StopCause) {
        if let Some(slot) = self.lock().get_mut(run_uid).filter(|slot| slot.ended.is_none()) {
            slot.stopped.get_or_insert(cause);
            if let Some(stop) = slot.stop.take() {
                // Whoever does not take the message is gone.
                let _ = stop.send(());
            }
        }
    }

    /// Tells all workers to end, and says whose they are.
    pub fn stop_all(&self, cause: StopCause) -> Vec<Key> {
        let uids: Vec<(String, Key)> = {
            let slots = self.lock();
            slots
                .iter()
                .map(|(uid, slot)| (uid.clone(), slot.run.clone()))
                .collect()
        };
        for (uid, _) in &uids {
            self.stop(uid, cause);
        }
        uids.into_iter().map(|(_, run)| run).collect()
    }

    /// Forgets an ended worker, once the run's status tells of it.
    pub fn forget(&self, run_uid: &str) {
        let mut slots = self.lock();
        if slots.get(run_uid).is_some_and(|slot| slot.ended.is_some()) {
            slots.remove(run_uid);
        }
    }

    /// Ends the worker of a run that is no more, and forgets it: nobody asks how it ended.
    pub fn discard(&self, run_uid: &str) {
        self.stop(run_uid, StopCause::RunRemoved);
        self.forget(run_uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new(run: &Key, export: &Key, attempt: u32, attempt_id: &str, now: Timestamp) -> Self {
        Self {
            run: run.clone(),
            export: export.clone(),
            attempt,
            attempt_id: attempt_id.to_owned(),
            worker_id: None,
            started: now,
            heard: now,
            pending: None,
            progress: Progress::default(),
            result: None,
            stop: None,
            stopped: None,
            ended: None,
        }
    }
}

fn running(slots: &HashMap<String, Slot>) -> usize {
    slots.values().filter(|slot| slot.ended.is_none()).count()
}
