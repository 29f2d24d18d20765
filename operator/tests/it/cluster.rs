//! Where workers live on without their operator, as in Kubernetes, with a test in place of the nodes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use jiff::Timestamp;
use lakegate_operator::{
    WorkerLauncher,
    clock::{Clock, ManualClock},
    launcher::{Adopted, Exit, LaunchFailure, Worker, WorkerEvent},
    protocol::{Failure, Phase, Progress, WorkOrder, WorkerMessage},
};
use lakegate_store::{Key, Secrets};
use tokio::sync::{mpsc, oneshot, watch};

use crate::harness::FakeSurroundings;

/// All Jobs there ever were.
pub struct Cluster {
    jobs: Mutex<BTreeMap<(String, u32), Arc<Job>>>,
    created: mpsc::UnboundedSender<Arc<Job>>,
    clock: Arc<ManualClock>,
}

/// One Job. It lives in no operator's process.
pub struct Job {
    pub order: WorkOrder,
    started: Timestamp,
    state: watch::Sender<JobState>,
    clock: Arc<ManualClock>,
}

#[derive(Default)]
struct JobState {
    /// Everything that was seen of it.
    events: Vec<WorkerEvent>,
    is_told_to_end: bool,
    /// It is taken for gone, and is not.
    is_lost: bool,
    is_over: bool,
}

impl Cluster {
    pub fn new(clock: Arc<ManualClock>) -> (Arc<Self>, mpsc::UnboundedReceiver<Arc<Job>>) {
        let (created, jobs) = mpsc::unbounded_channel();
        let cluster = Self {
            jobs: Mutex::default(),
            created,
            clock,
        };
        (Arc::new(cluster), jobs)
    }

    pub fn count(&self) -> usize {
        self.jobs.lock().unwrap().len()
    }
}

impl Job {
    fn say(&self, event: WorkerEvent) {
        self.state.send_modify(|state| state.events.push(event));
    }

    pub fn waits(&self, why: &str) {
        self.say(WorkerEvent::Waiting(why.to_owned()));
    }

    pub fn progress(&self, rows: u64) {
        self.say(WorkerEvent::Message(WorkerMessage::Progress(Progress {
            phase: Phase::Copying,
            rows,
            bytes: rows,
            total_rows: None,
        })));
    }

    pub fn is_told_to_end(&self) -> bool {
        self.state.borrow().is_told_to_end
    }

    /// Commits, says so and ends, unless it was told to end.
    pub fn finish(&self, lake: &FakeSurroundings) {
        if !self.is_told_to_end() {
            let report = lake.commit(&self.order.run.uid);
            self.say(WorkerEvent::Message(WorkerMessage::Finished(report)));
        }
        self.end("exit code 0");
    }

    pub fn fail(&self, reason: &str, terminal: bool) {
        self.say(WorkerEvent::Message(WorkerMessage::Failed(Failure {
            reason: reason.to_owned(),
            message: "it broke".to_owned(),
            terminal,
        })));
        self.end("exit code 1");
    }

    pub fn end(&self, how: &str) {
        let at = Some(self.clock.now());
        self.state.send_modify(|state| {
            state.is_over = true;
            state.events.push(WorkerEvent::Exited(Exit {
                how: how.to_owned(),
                at,
            }));
        });
    }

    /// Its node does not answer any more: it is taken for dead, and works on.
    pub fn is_lost(&self) {
        self.state.send_modify(|state| {
            state.is_lost = true;
            state
                .events
                .push(WorkerEvent::Exited(Exit::now("its node does not answer")));
        });
    }

    /// The node is back, without it.
    pub fn is_gone(&self) {
        self.state.send_modify(|state| {
            state.is_lost = false;
            state.is_over = true;
        });
    }

    fn follow(self: &Arc<Self>) -> Worker {
        let (events_in, events) = mpsc::channel(64);
        let (stop, mut told) = oneshot::channel();
        let job = Arc::clone(self);
        tokio::spawn(async move {
            let mut changes = job.state.subscribe();
            let mut seen = 0;
            let mut may_be_told = true;
            loop {
                let news = changes.borrow_and_update().events[seen..].to_vec();
                seen += news.len();
                for event in news {
                    let is_last = matches!(event, WorkerEvent::Exited(_));
                    if events_in.send(event).await.is_err() || is_last {
                        return;
                    }
                }
                tokio::select! {
                    _ = changes.changed() => {}
                    message = &mut told, if may_be_told => {
                        may_be_told = false;
                        if message.is_ok() {
                            job.state.send_modify(|state| state.is_told_to_end = true);
                        }
                    }
                }
            }
        });
        Worker {
            id: format!("{}-{}", self.order.run.name, self.order.run.attempt),
            attempt_id: self.order.run.attempt_id.clone(),
            events,
            stop,
        }
    }
}

#[async_trait]
impl WorkerLauncher for Cluster {
    async fn launch(&self, order: WorkOrder, _secrets: &dyn Secrets) -> Result<Worker, LaunchFailure> {
        let key = (order.run.uid.clone(), order.run.attempt);
        let job = {
            let mut jobs = self.jobs.lock().unwrap();
            Arc::clone(jobs.entry(key).or_insert_with(|| {
                let job = Arc::new(Job {
                    order,
                    started: self.clock.now(),
                    state: watch::Sender::default(),
                    clock: Arc::clone(&self.clock),
                });
                let _ = self.created.send(Arc::clone(&job));
                job
            }))
        };
        Ok(job.follow())
    }

    fn outlives_operator(&self) -> bool {
        true
    }

    async fn adopt(&self) -> Result<Vec<Adopted>, LaunchFailure> {
        let jobs = self.jobs.lock().unwrap();
        let adopted = jobs.values().map(|job| {
            let state = job.state.borrow();
            Adopted {
                run: Key::new(&job.order.run.namespace, &job.order.run.name),
                run_uid: job.order.run.uid.clone(),
                attempt: job.order.run.attempt,
                attempt_id: job.order.run.attempt_id.clone(),
                started: job.started,
                is_over: state.is_over,
                take_up: {
                    let job = Arc::clone(job);
                    Box::new(move || job.follow())
                },
            }
        });
        Ok(adopted.collect())
    }

    async fn fence(&self, _run: &Key, run_uid: &str) -> Option<String> {
        let jobs = self.jobs.lock().unwrap();
        jobs.iter()
            .filter(|((uid, _), job)| uid == run_uid && !job.state.borrow().is_over)
            .map(|((_, attempt), _)| format!("the Pod of attempt {attempt} has not ended"))
            .next()
    }
}
