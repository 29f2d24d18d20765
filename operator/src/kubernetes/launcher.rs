//! Starts, finds again and ends Jobs.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
};
use lakegate_store::{Key, Secrets};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{
    RUN_UID_LABEL, SELECTOR,
    board::Board,
    follow::{Followed, Follower, try_remove_job},
    job::{JobOptions, job_of},
    sight::{AttemptKey, JobSight, PodSight, State, who_may_commit},
};
use crate::{
    clock::{Clock, SystemClock},
    launcher::{Adopted, LaunchFailure, Worker, WorkerLauncher},
    names,
    protocol::WorkOrder,
    surroundings::chain,
};

/// Tries of a create that the API server does not answer.
const TRIES: u32 = 4;

/// Longest wait for one answer of the API server.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest wait until everything that earlier operators have started is seen.
const SIGHT_PATIENCE: Duration = Duration::from_secs(30);

/// The API server gives up a request after a minute.
const UNANSWERED_FOR: Duration = Duration::from_secs(70);

/// The field manager of our Jobs.
const MANAGER: &str = "lakegate/jobs";

/// Runs each attempt as a Job.
pub struct JobLauncher {
    client: Client,
    namespaces: Vec<String>,
    options: JobOptions,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    /// Run from the first need on, and end with the launcher.
    watches: Mutex<Option<JoinSet<()>>>,
    /// When a create of a run's Job was left without an answer, by uid of the run: it may still be done.
    unanswered: Mutex<HashMap<String, Instant>>,
}

impl std::fmt::Debug for JobLauncher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("JobLauncher")
            .field("namespaces", &self.namespaces)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl JobLauncher {
    /// Jobs in these namespaces.
    pub fn new(client: Client, namespaces: Vec<String>, options: JobOptions) -> Self {
        Self::with_clock(client, namespaces, options, Arc::new(SystemClock))
    }

    /// Jobs in these namespaces, by a clock of the caller's.
    pub fn with_clock(
        client: Client,
        namespaces: Vec<String>,
        options: JobOptions,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            board: Board::new(&namespaces),
            client,
            namespaces,
            options,
            clock,
            watches: Mutex::default(),
            unanswered: Mutex::default(),
        }
    }

    fn watch(&self) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if watches.is_some() {
            return;
        }
        let mut tasks = JoinSet::new();
        for namespace in &self.namespaces {
            tasks.spawn(Arc::clone(&self.board).watch::<Job>(self.client.clone(), namespace.clone()));
            tasks.spawn(Arc::clone(&self.board).watch::<Pod>(self.client.clone(), namespace.clone()));
        }
        *watches = Some(tasks);
    }

    /// The Job, created, or found where an earlier try or another operator has created it.
    async fn create(&self, job: &Job, key: &AttemptKey) -> Result<Job, LaunchFailure> {
        let (namespace, name) = (job.namespace().unwrap_or_default(), job.name_any());
        let jobs = Api::<Job>::namespaced(self.client.clone(), &namespace);
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let mut last = None;
        for tried in 0..TRIES {
            if tried > 0 {
                tokio::time::sleep(Duration::from_millis(250) * 2_u32.pow(tried)).await;
            }
            let answer = tokio::time::timeout(PATIENCE, jobs.create(&parameters, job)).await;
            let error = match answer {
                Ok(Ok(created)) => return Ok(created),
                Ok(Err(error)) => error,
                // Whether it was created is not known: the next try finds out.
                Err(_) => continue,
            };
            match &error {
                kube::Error::Api(status) if status.is_already_exists() => {
                    match tokio::time::timeout(PATIENCE, jobs.get_opt(&name)).await {
                        Ok(Ok(Some(found))) if AttemptKey::of(&found).as_ref() == Some(key) => {
                            return Ok(found);
                        }
                        Ok(Ok(Some(_))) => {
                            return Err(LaunchFailure::NameTaken { namespace, job: name });
                        }
                        // Gone by now, or no answer.
                        _ => {}
                    }
                }
                // No, and no again.
                kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => {
                    return Err(LaunchFailure::Refused {
                        namespace,
                        job: name,
                        source: Box::new(error),
                    });
                }
                _ => {}
            }
            last = Some(error);
        }
        tracing::warn!(
            job = name,
            namespace,
            error = last.as_ref().map(|error| chain(error)),
            "whether a Job was created is not known"
        );
        self.unanswered().insert(key.run_uid.clone(), Instant::now());
        Err(LaunchFailure::Unanswered { namespace, job: name })
    }

    /// A create of a Job of the run may still be on its way.
    fn is_on_its_way(&self, run_uid: &str) -> bool {
        let mut unanswered = self.unanswered();
        unanswered.retain(|_, since| since.elapsed() < UNANSWERED_FOR);
        unanswered.contains_key(run_uid)
    }

    fn unanswered(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends attempts of the run that nobody follows any more: one attempt is enough for a source to bear.
    async fn end_earlier(&self, key: &AttemptKey) {
        for job in self.board.unfinished_before(key) {
            let followed = followed(key.clone(), &job);
            if let Err(error) = try_remove_job(&self.client, &followed).await {
                // It does no harm but work: of one run, the lake takes one commit.
                tracing::warn!(
                    job = job.name,
                    error = chain(&error),
                    "an earlier attempt of a run cannot be removed"
                );
            }
        }
    }
}

fn followed(key: AttemptKey, job: &JobSight) -> Followed {
    Followed {
        key,
        namespace: job.namespace.clone(),
        name: job.name.clone(),
        uid: job.uid.clone(),
    }
}

/// Begins to follow a Job.
fn follow(
    client: Client,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    key: AttemptKey,
    job: &JobSight,
) -> Worker {
    let (events_in, events) = mpsc::channel(64);
    let (stop, told) = oneshot::channel();
    let follower = Follower {
        client,
        board,
        clock,
        job: followed(key, job),
        events: events_in,
    };
    tokio::spawn(follower.run(told));
    Worker {
        id: job.name.clone(),
        attempt_id: job.attempt_id.clone(),
        events,
        stop,
    }
}

#[async_trait]
impl WorkerLauncher for JobLauncher {
    async fn launch(&self, order: WorkOrder, _secrets: &dyn Secrets) -> Result<Worker, LaunchFailure> {
        self.watch();
        let job = job_of(&order, &self.options, self.clock.now())?;
        let key = AttemptKey {
            run_uid: order.run.uid.clone(),
            attempt: order.run.attempt,
        };
        self.end_earlier(&key).await;
        let job = self.create(&job, &key).await?;
        let Some(sight) = JobSight::of(&job) else {
            return Err(LaunchFailure::NameTaken {
                namespace: order.run.namespace,
                job: names::job_name(&order.run.name, order.run.attempt),
            });
        };
        // Known from now on, whenever the watch brings it.
        self.board.apply(&job);
        Ok(follow(
            self.client.clone(),
            Arc::clone(&self.board),
            Arc::clone(&self.clock),
            key,
            &sight,
        ))
    }

    fn outlives_operator(&self) -> bool {
        true
    }

    async fn adopt(&self) -> Result<Vec<Adopted>, LaunchFailure> {
        self.watch();
        if tokio::time::timeout(SIGHT_PATIENCE, self.board.complete())
            .await
            .is_err()
            && let Some((namespace, message)) = self.board.incomplete()
        {
            return Err(LaunchFailure::Unwatched { namespace, message });
        }
        let found = self.board.jobs(self.clock.now()).into_iter();
        let adopted = found.map(|(key, job, state)| {
            let (client, board, clock) = (
                self.client.clone(),
                Arc::clone(&self.board),
                Arc::clone(&self.clock),
            );
            Adopted {
                run: Key::new(&job.namespace, &job.run),
                run_uid: key.run_uid.clone(),
                attempt: key.attempt,
                attempt_id: job.attempt_id.clone(),
                started: job.created,
                is_over: matches!(state, State::Over(_)),
                take_up: Box::new(move || follow(client, board, clock, key, &job)),
            }
        });
        Ok(adopted.collect())
    }

    async fn fence(&self, run: &Key, run_uid: &str) -> Option<String> {
        let of_run = ListParams::default().labels(&format!("{SELECTOR},{RUN_UID_LABEL}={run_uid}"));
        let jobs = Api::<Job>::namespaced(self.client.clone(), &run.namespace);
        let pods = Api::<Pod>::namespaced(self.client.clone(), &run.namespace);
        let ask = async {
            // Jobs first: one that is gone by the time Pods are listed makes none.
            let found = jobs.list(&of_run).await?;
            let pods = pods.list(&of_run).await?;
            let mut attempts: BTreeMap<AttemptKey, (Option<JobSight>, Vec<PodSight>)> = BTreeMap::new();
            for job in &found {
                if let Some(key) = AttemptKey::of(job) {
                    attempts.entry(key).or_default().0 = JobSight::of(job);
                }
            }
            for pod in &pods {
                if let Some(key) = AttemptKey::of(pod) {
                    attempts.entry(key).or_default().1.push(PodSight::of(pod));
                }
            }
            let mut who = None;
            for (key, (job, pods)) in attempts {
                let Some(may_commit) = who_may_commit(job.as_ref(), &pods) else {
                    continue;
                };
                who = Some(may_commit);
                if let Some(job) = job.filter(|job| !job.is_going) {
                    try_remove_job(&self.client, &followed(key, &job)).await?;
                }
            }
            Ok::<_, kube::Error>(who)
        };
        if self.is_on_its_way(run_uid) {
            return Some("whether its last Job was created is not known yet".to_owned());
        }
        match tokio::time::timeout(2 * PATIENCE, ask).await {
            Ok(Ok(who)) => who,
            Ok(Err(error)) => Some(format!("its Jobs and Pods cannot be listed: {}", chain(&error))),
            Err(_) => Some("the API server does not say whether its Pods are gone".to_owned()),
        }
    }
}
