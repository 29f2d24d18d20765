//! One Job and its Pod as the events of one worker.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Preconditions},
};
use lakegate_crds::conditions::Reason;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    ATTEMPT_LABEL, RUN_UID_LABEL, SELECTOR,
    board::Board,
    log::{LogEvent, follow_log, last_word},
    sight::{AttemptKey, End, EndVerdict, State},
};
use crate::{
    clock::Clock,
    launcher::{Exit, WorkerEvent},
    protocol::{Failure, WorkerMessage},
    surroundings::chain,
};

/// How long a Pod that has a node may take until its container runs. It may have an image to load; what takes longer is
/// an image that is not there, a volume that cannot be mounted.
const START_LIMIT: SignedDuration = SignedDuration::from_mins(10);

/// Time between two looks although nothing has changed. What depends on the clock alone is found then.
const TICK: Duration = Duration::from_secs(15);

/// Longest wait for an answer of the API server.
const PATIENCE: Duration = Duration::from_secs(15);

/// The Job that is followed.
#[derive(Debug, Clone)]
pub(super) struct Followed {
    pub(super) key: AttemptKey,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// Follows a Job until its attempt is over, it is told to end it and has, or nobody listens any more. In the last case the
/// Job goes on.
pub(super) struct Follower {
    pub(super) client: Client,
    pub(super) board: Arc<Board>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) job: Followed,
    pub(super) events: mpsc::Sender<WorkerEvent>,
}

/// What is remembered while following.
#[derive(Default)]
struct Memory {
    /// What it was last said to wait for.
    waiting: Option<String>,
    /// Since when it was seen to have a node and not to have started, by the steady clock: how far that of the API server
    /// is from ours is not known.
    due_since: Option<SignedDuration>,
    /// It is known to be at work.
    is_running: bool,
    /// Its log is read.
    is_heard: bool,
    /// Its result, as it said it.
    result: Option<WorkerMessage>,
    /// Why we end it.
    verdict: Option<Failure>,
}

/// Nobody listens any more.
struct Unwanted;

impl Follower {
    pub(super) async fn run(self, mut stop: oneshot::Receiver<()>) {
        // Whichever way it ends: nobody listens any more, or the worker is gone.
        let _ = self.follow(&mut stop).await;
        // Told in the same moment as the last listener went.
        if stop.try_recv().is_ok() {
            self.remove();
        }
    }

    async fn follow(&self, stop: &mut oneshot::Receiver<()>) -> Result<(), Unwanted> {
        let mut changes = self.board.changes();
        let (log_sender, mut log) = mpsc::channel(16);
        let mut reader: Option<AbortOnDrop> = None;
        let mut memory = Memory::default();
        let mut may_be_told = true;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            changes.mark_unchanged();
            match self.board.state(&self.job.key, self.clock.now()) {
                State::Waiting { why, is_due } => self.waits(&mut memory, why, is_due).await?,
                State::Running { pod, .. } => {
                    reader.get_or_insert_with(|| {
                        AbortOnDrop(tokio::spawn(follow_log(self.pods(), pod, log_sender.clone())))
                    });
                    self.runs(&mut memory).await?;
                }
                State::Over(_) => {
                    if let Some(end) = self.is_really_over().await {
                        // What was read before counts, too.
                        while let Ok(event) = log.try_recv() {
                            self.heard(&mut memory, event).await?;
                        }
                        return self.conclude(memory, end).await;
                    }
                }
            }
            tokio::select! {
                changed = changes.changed() => changed.map_err(|_| Unwanted)?,
                told = &mut *stop, if may_be_told => {
                    may_be_told = false;
                    // Dropped, not told: the operator is going, and its successor will adopt.
                    if told.is_ok() {
                        self.remove();
                    }
                }
                Some(event) = log.recv() => self.heard(&mut memory, event).await?,
                _ = tick.tick() => self.ticks(&memory).await?,
                () = self.events.closed() => return Err(Unwanted),
            }
        }
    }

    /// Has the Job removed, whether or not anybody follows it any more.
    fn remove(&self) {
        tokio::spawn(remove_job(self.client.clone(), self.job.clone()));
    }

    async fn waits(&self, memory: &mut Memory, why: String, is_due: bool) -> Result<(), Unwanted> {
        let now = self.clock.steady();
        memory.due_since = is_due.then(|| memory.due_since.unwrap_or(now));
        let overdue = memory.due_since.is_some_and(|since| now - since >= START_LIMIT);
        if overdue && memory.verdict.is_none() {
            memory.verdict = Some(Failure {
                reason: Reason::WorkerStartFailed.to_string(),
                message: format!("the worker did not start within {START_LIMIT:#}: {why}"),
                terminal: false,
            });
            self.remove();
        }
        if memory.waiting.as_ref() != Some(&why) {
            self.send(WorkerEvent::Waiting(why.clone())).await?;
            memory.waiting = Some(why);
        }
        Ok(())
    }

    async fn runs(&self, memory: &mut Memory) -> Result<(), Unwanted> {
        if !memory.is_running {
            memory.is_running = true;
            self.send(WorkerEvent::Alive).await?;
        }
        Ok(())
    }

    /// A worker that cannot be heard counts as alive for as long as its node says so: neither a restart of the API server
    /// nor a broken way to the kubelet is the worker's fault.
    async fn ticks(&self, memory: &Memory) -> Result<(), Unwanted> {
        if memory.is_heard {
            return Ok(());
        }
        match self.board.state(&self.job.key, self.clock.now()) {
            State::Running { is_well: true, .. } => self.send(WorkerEvent::Alive).await,
            _ => Ok(()),
        }
    }

    async fn heard(&self, memory: &mut Memory, event: LogEvent) -> Result<(), Unwanted> {
        match event {
            LogEvent::Heard => memory.is_heard = true,
            LogEvent::Deaf => memory.is_heard = false,
            LogEvent::Message(message @ WorkerMessage::Progress(_)) => {
                self.send(WorkerEvent::Message(message)).await?;
            }
            // Told when the worker is gone: its result is the last thing that is said of it.
            LogEvent::Message(result) => memory.result = Some(result),
        }
        Ok(())
    }

    /// Asks the API server itself, where what was seen may be old or in the wrong order: the end of a Job may be seen
    /// before that of its Pod, which tells more, and a list may be older than the Job.
    async fn is_really_over(&self) -> Option<End> {
        let mut wait = Duration::from_millis(200);
        while !self.events.is_closed() {
            match self.board.state(&self.job.key, self.clock.now()) {
                // The end of its container has been seen.
                State::Over(end @ End { pod: Some(_), .. }) => return Some(end),
                State::Over(_) => {}
                _ => return None,
            }
            match tokio::time::timeout(PATIENCE, self.refresh()).await {
                Ok(Ok(())) => {
                    return match self.board.state(&self.job.key, self.clock.now()) {
                        State::Over(end) => Some(end),
                        _ => None,
                    };
                }
                Ok(Err(error)) => {
                    tracing::debug!(
                        job = self.job.name,
                        error = chain(&error),
                        "how a worker ended cannot be asked yet"
                    );
                }
                Err(_) => tracing::debug!(job = self.job.name, "how a worker ended cannot be asked yet"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(PATIENCE);
        }
        None
    }

    async fn refresh(&self) -> Result<(), kube::Error> {
        let Followed {
            key: AttemptKey { run_uid, attempt },
            name,
            uid,
            ..
        } = &self.job;
        let of_attempt = ListParams::default().labels(&format!(
            "{SELECTOR},{RUN_UID_LABEL}={run_uid},{ATTEMPT_LABEL}={attempt}"
        ));
        let pods = self.pods().list(&of_attempt).await?;
        let job = self
            .jobs()
            .get_opt(name)
            .await?
            .filter(|job| job.uid().as_ref() == Some(uid));
        self.board.replace(&self.job.key, job.as_ref(), &pods.items);
        Ok(())
    }

    /// Tells how it ended: by its own last word if it left one, else as the control plane has it.
    async fn conclude(&self, memory: Memory, end: End) -> Result<(), Unwanted> {
        let End {
            pod,
            how,
            last_word: left,
            verdict,
            at,
        } = end;
        let is_result = |message: &WorkerMessage| !matches!(message, WorkerMessage::Progress(_));
        let mut result = left.map(|left| *left).filter(is_result).or(memory.result);
        if result.is_none()
            && verdict.is_none()
            && let Some(pod) = &pod
        {
            result = last_word(&self.pods(), pod).await;
        }
        if result.is_none() {
            let waited_for = memory.waiting.filter(|_| !memory.is_running);
            let failure = memory
                .verdict
                .or_else(|| Some(failure_of(verdict?, waited_for.as_deref())));
            result = failure.map(WorkerMessage::Failed);
        }
        if let Some(result) = result {
            self.send(WorkerEvent::Message(result)).await?;
        }
        self.send(WorkerEvent::Exited(Exit { how, at })).await
    }

    async fn send(&self, event: WorkerEvent) -> Result<(), Unwanted> {
        self.events.send(event).await.map_err(|_| Unwanted)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.job.namespace)
    }

    fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), &self.job.namespace)
    }
}

fn failure_of(verdict: EndVerdict, waiting: Option<&str>) -> Failure {
    let (reason, message, terminal) = match verdict {
        EndVerdict::OutOfMemory(limit) => {
            let limit = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
            (
                Reason::OutOfMemory,
                format!(
                    "the worker was killed at its limit{limit} of memory; raise spec.resources.limits.memory"
                ),
                false,
            )
        }
        EndVerdict::DeadlineExceeded => (
            Reason::DeadlineExceeded,
            match waiting {
                Some(why) => format!("its worker was not at work when spec.timeout was over: {why}"),
                None => "it took longer than spec.timeout".to_owned(),
            },
            true,
        ),
    };
    Failure {
        reason: reason.to_string(),
        message,
        terminal,
    }
}

/// Removes a Job and its Pods, for as long as it takes. The Job goes last: while it is there, a Pod of it may be, and when
/// it is gone no Pod of it is made any more.
pub(super) async fn remove_job(client: Client, job: Followed) {
    let mut wait = Duration::from_millis(500);
    loop {
        match try_remove_job(&client, &job).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(
                    job = job.name,
                    namespace = job.namespace,
                    error = chain(&error),
                    "a Job cannot be removed; it is tried again"
                );
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(PATIENCE);
    }
}

/// Asks once for a Job to be removed. That it is gone, or is another one by now, is fine.
pub(super) async fn try_remove_job(client: &Client, job: &Followed) -> Result<(), kube::Error> {
    let how = DeleteParams::foreground().preconditions(Preconditions {
        uid: Some(job.uid.clone()),
        resource_version: None,
    });
    let jobs = Api::<Job>::namespaced(client.clone(), &job.namespace);
    match jobs.delete(&job.name, &how).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A task that ends with whoever has started it.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
