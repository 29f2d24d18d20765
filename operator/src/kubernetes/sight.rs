//! What the API server says of a Job and its Pods, as the state of an attempt. Pure.
//!
//! Of each object only what a decision needs is kept: an order of 200 KiB is in every Job and every Pod.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ContainerState, ContainerStateTerminated, Pod, PodCondition},
};
use kube::ResourceExt as _;

use super::{ATTEMPT_ID_ANNOTATION, ATTEMPT_LABEL, CONTAINER, RUN_UID_LABEL};
use crate::protocol::WorkerMessage;

/// How long after its grace a Pod that should be gone is still waited for. Its node does not answer: nobody knows whether
/// it works on.
const GONE_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// Longest text of the API server that is passed on, in characters: a scheduler counts up all nodes.
const WORDS_LIMIT: usize = 500;

/// Names an attempt of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptKey {
    /// Of the ExportRun.
    pub run_uid: String,

    /// From 1.
    pub attempt: u32,
}

impl AttemptKey {
    /// By the labels of a Job or Pod; `None` when it is none of ours.
    pub fn of(object: &impl kube::Resource) -> Option<Self> {
        let labels = object.meta().labels.as_ref()?;
        Some(Self {
            run_uid: labels.get(RUN_UID_LABEL)?.clone(),
            attempt: labels.get(ATTEMPT_LABEL)?.parse().ok()?,
        })
    }
}

/// A Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSight {
    /// Of the Job.
    pub namespace: String,

    /// Of the Job.
    pub name: String,

    /// Of the Job.
    pub uid: String,

    /// Name of the ExportRun.
    pub run: String,

    /// Which attempt of all.
    pub attempt_id: String,

    /// When it was created.
    pub created: Timestamp,

    /// It is being removed.
    pub is_going: bool,

    /// How it ended, when it has.
    pub outcome: Option<JobOutcome>,
}

/// How a Job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// Its Pod succeeded.
    Complete,

    /// It did not.
    Failed {
        /// One word.
        reason: String,

        /// When.
        at: Option<Timestamp>,
    },
}

impl JobSight {
    /// What matters of a Job; `None` when it is none of ours.
    pub fn of(job: &Job) -> Option<Self> {
        let owner = job
            .owner_references()
            .iter()
            .find(|owner| owner.controller == Some(true))?;
        let status = job.status.as_ref();
        let conditions = status
            .and_then(|status| status.conditions.as_deref())
            .unwrap_or_default();
        let outcome = conditions
            .iter()
            .filter(|condition| condition.status == "True")
            .find_map(|condition| match condition.type_.as_str() {
                "Complete" => Some(JobOutcome::Complete),
                "Failed" => Some(JobOutcome::Failed {
                    reason: condition.reason.clone().unwrap_or_default(),
                    at: condition.last_transition_time.as_ref().map(|time| time.0),
                }),
                _ => None,
            });
        Some(Self {
            namespace: job.namespace()?,
            name: job.name_any(),
            uid: job.uid()?,
            run: owner.name.clone(),
            attempt_id: job.annotations().get(ATTEMPT_ID_ANNOTATION)?.clone(),
            created: job
                .creation_timestamp()
                .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            is_going: job.metadata.deletion_timestamp.is_some(),
            outcome,
        })
    }
}

/// A Pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodSight {
    /// Of the Pod.
    pub name: String,

    /// When it was created.
    pub created: Timestamp,

    /// Where it runs.
    pub node: Option<String>,

    /// Why it has found none.
    pub unscheduled: Option<String>,

    /// It is over: Succeeded or Failed.
    pub is_over: bool,

    /// Its node says that it is well. Where the node is silent, the node controller says that it is not.
    pub is_ready: bool,

    /// It is being removed, and should be gone by then.
    pub gone_by: Option<Timestamp>,

    /// Why it was ended from outside, in words.
    pub disruption: Option<String>,

    /// Its container.
    pub container: ContainerSight,

    /// The container's limit of memory.
    pub memory_limit: Option<String>,
}

/// A Pod's one container.
#[derive(Debug, Clone, PartialEq)]
pub enum ContainerSight {
    /// Not yet; why.
    Waiting(String),

    /// At work.
    Running,

    /// Over.
    Ended {
        /// In words.
        how: String,

        /// The kernel killed it at its limit of memory.
        is_out_of_memory: bool,

        /// What it left as its last message.
        last_word: Option<Box<WorkerMessage>>,

        /// When.
        at: Option<Timestamp>,
    },
}

impl PodSight {
    /// What matters of a Pod.
    pub fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let spec = pod.spec.as_ref();
        let phase = status
            .and_then(|status| status.phase.as_deref())
            .unwrap_or_default();
        let condition = |name: &str| {
            status?
                .conditions
                .as_ref()?
                .iter()
                .find(|condition| condition.type_ == name)
        };
        let scheduled = condition("PodScheduled");
        let state = status
            .and_then(|status| status.container_statuses.as_ref())
            .and_then(|all| all.iter().find(|status| status.name == CONTAINER))
            .and_then(|status| status.state.as_ref());
        let memory_limit = spec
            .and_then(|spec| {
                spec.containers
                    .iter()
                    .find(|container| container.name == CONTAINER)
            })
            .and_then(|container| container.resources.as_ref()?.limits.as_ref()?.get("memory"))
            .map(|limit| limit.0.clone());
        Self {
            name: pod.name_any(),
            created: pod
                .creation_timestamp()
                .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            node: spec.and_then(|spec| spec.node_name.clone()),
            unscheduled: scheduled
                .filter(|condition| condition.status == "False")
                .map(|condition| words(condition.message.as_deref().or(condition.reason.as_deref()))),
            is_over: matches!(phase, "Succeeded" | "Failed"),
            is_ready: condition("Ready").is_some_and(|condition| condition.status == "True"),
            gone_by: pod.metadata.deletion_timestamp.as_ref().map(|time| time.0),
            disruption: disruption(
                status.and_then(|status| status.reason.as_deref()),
                status.and_then(|status| status.message.as_deref()),
                condition("DisruptionTarget").filter(|condition| condition.status == "True"),
            ),
            container: ContainerSight::of(state),
            memory_limit,
        }
    }
}

/// Why a Pod was ended from outside: as the kubelet has it (evicted, shutdown, admission), else as the control plane has it
/// (taint, preemption, drain).
fn disruption(reason: Option<&str>, message: Option<&str>, target: Option<&PodCondition>) -> Option<String> {
    let (reason, message) = match (reason, target) {
        (Some(reason), _) => (reason, message),
        (None, Some(target)) => (target.reason.as_deref()?, target.message.as_deref()),
        (None, None) => return None,
    };
    Some(match message {
        Some(message) => format!("{reason}: {}", words(Some(message))),
        None => reason.to_owned(),
    })
}

impl ContainerSight {
    fn of(state: Option<&ContainerState>) -> Self {
        let Some(state) = state else {
            return Self::Waiting(String::new());
        };
        if let Some(ended) = &state.terminated {
            return Self::Ended {
                how: how_it_ended(ended),
                is_out_of_memory: ended.reason.as_deref() == Some("OOMKilled"),
                last_word: ended
                    .message
                    .as_deref()
                    .and_then(|message| serde_json::from_str(message.trim()).ok()),
                at: ended.finished_at.as_ref().map(|time| time.0),
            };
        }
        if state.running.is_some() {
            return Self::Running;
        }
        let waiting = state.waiting.as_ref();
        let reason = waiting
            .and_then(|waiting| waiting.reason.as_deref())
            .unwrap_or_default();
        Self::Waiting(match waiting.and_then(|waiting| waiting.message.as_deref()) {
            Some(message) => format!("{reason}: {}", words(Some(message))),
            None => reason.to_owned(),
        })
    }
}

fn how_it_ended(ended: &ContainerStateTerminated) -> String {
    let code = ended.exit_code;
    // As a shell has it, and the container runtime: 128 and the signal.
    let how = match (ended.signal, code) {
        (Some(signal), _) if signal > 0 => format!("signal {signal}"),
        (_, 129..=159) => format!("signal {}", code - 128),
        _ => format!("exit code {code}"),
    };
    match ended.reason.as_deref() {
        None | Some("" | "Error" | "Completed") => how,
        Some(reason) => format!("{reason}, {how}"),
    }
}

/// The state of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Its container does not run yet.
    Waiting {
        /// For what, for people.
        why: String,

        /// It has a node, and all it needs should be there. While it waits for a node, that is a matter of room and not
        /// of trouble.
        is_due: bool,
    },

    /// Its container runs.
    Running {
        /// The Pod.
        pod: String,

        /// As far as the control plane knows.
        is_well: bool,
    },

    /// It is over, or as good as.
    Over(End),
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// The Pod, if it is still there to be asked.
    pub pod: Option<String>,

    /// In words.
    pub how: String,

    /// What it left as its last message.
    pub last_word: Option<Box<WorkerMessage>>,

    /// Who ended it, where that is a failure of its own.
    pub verdict: Option<EndVerdict>,

    /// When, where that is known.
    pub at: Option<Timestamp>,
}

/// What ended an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndVerdict {
    /// The kernel, at this limit of memory.
    OutOfMemory(Option<String>),

    /// The Job's deadline.
    DeadlineExceeded,
}

/// The state of the attempt that a Job is, of which these Pods are there. Ask only about a Job that was there at some time.
pub fn state_of<'a>(
    job: Option<&JobSight>,
    pods: impl IntoIterator<Item = &'a PodSight>,
    now: Timestamp,
) -> State {
    let deadline_passed = matches!(
        job.and_then(|job| job.outcome.as_ref()),
        Some(JobOutcome::Failed { reason, .. }) if reason == "DeadlineExceeded"
    );
    let verdict = deadline_passed.then_some(EndVerdict::DeadlineExceeded);
    // There is one. Should the Job controller ever make another, the newest counts.
    let newest = pods.into_iter().max_by_key(|pod| (pod.created, &pod.name));
    match newest {
        Some(pod) => state_of_pod(pod, verdict, now),
        None => state_without_pod(job, verdict.as_ref()),
    }
}

fn state_of_pod(pod: &PodSight, verdict: Option<EndVerdict>, now: Timestamp) -> State {
    let on_node = pod
        .node
        .as_ref()
        .map_or_else(String::new, |node| format!(" on node {node}"));
    if let ContainerSight::Ended {
        how,
        is_out_of_memory,
        last_word,
        at,
    } = &pod.container
    {
        let memory = is_out_of_memory.then(|| EndVerdict::OutOfMemory(pod.memory_limit.clone()));
        return State::Over(End {
            pod: Some(pod.name.clone()),
            how: match &pod.disruption {
                Some(disruption) => format!("{disruption}; {how}"),
                None => how.clone(),
            },
            last_word: last_word.clone(),
            verdict: memory.or(verdict),
            at: *at,
        });
    }
    let end = |how: String| {
        State::Over(End {
            pod: None,
            how,
            last_word: None,
            verdict: verdict.clone(),
            at: None,
        })
    };
    if pod.is_over {
        let why = pod.disruption.as_deref().unwrap_or("no reason is given");
        return end(format!("Pod {}{on_node} was ended: {why}", pod.name));
    }
    let overdue = pod
        .gone_by
        .is_some_and(|gone_by| now >= gone_by.checked_add(GONE_AFTER).unwrap_or(Timestamp::MAX));
    if overdue {
        let why = pod
            .disruption
            .as_ref()
            .map_or_else(String::new, |disruption| format!(" ({disruption})"));
        return end(format!(
            "Pod {}{on_node} should be gone and is not: its node does not answer{why}",
            pod.name
        ));
    }
    match &pod.container {
        ContainerSight::Waiting(_) if pod.node.is_none() => State::Waiting {
            why: match pod.unscheduled.as_deref() {
                Some(why) => format!("waits for a node: {why}"),
                None => "waits for a node".to_owned(),
            },
            is_due: false,
        },
        ContainerSight::Waiting(why) => {
            let why = match why.as_str() {
                // While it pulls the image, mounts volumes and so on.
                "" | "ContainerCreating" | "PodInitializing" => {
                    format!("its container is being made{on_node}")
                }
                why => format!("its container does not start{on_node}: {why}"),
            };
            State::Waiting { why, is_due: true }
        }
        ContainerSight::Running | ContainerSight::Ended { .. } => State::Running {
            pod: pod.name.clone(),
            is_well: pod.is_ready && pod.gone_by.is_none(),
        },
    }
}

fn state_without_pod(job: Option<&JobSight>, verdict: Option<&EndVerdict>) -> State {
    let end = |how: String, at: Option<Timestamp>| {
        State::Over(End {
            pod: None,
            how,
            last_word: None,
            verdict: verdict.cloned(),
            at,
        })
    };
    match job {
        None => end("its Job is gone".to_owned(), None),
        Some(job) => match &job.outcome {
            // Its word is gone with it; the lake knows.
            Some(JobOutcome::Complete) => end("its Pod is gone".to_owned(), None),
            Some(JobOutcome::Failed { reason, at }) => {
                let how = if verdict == Some(&EndVerdict::DeadlineExceeded) {
                    "its time is over".to_owned()
                } else {
                    format!("its Pod was removed ({reason})")
                };
                end(how, *at)
            }
            None if job.is_going => State::Waiting {
                why: format!("Job {} is being removed", job.name),
                is_due: false,
            },
            // A quota, or an admission that refuses: the events of the Job tell.
            None => State::Waiting {
                why: format!("waits for its Pod (see the events of Job {})", job.name),
                is_due: false,
            },
        },
    }
}

/// Whether an attempt may still commit, by its Job and Pods: what may, for people.
pub fn who_may_commit<'a>(
    job: Option<&JobSight>,
    pods: impl IntoIterator<Item = &'a PodSight>,
) -> Option<String> {
    let mut has_made_its_pod = false;
    for pod in pods {
        if !pod.is_over && !matches!(pod.container, ContainerSight::Ended { .. }) {
            let node = pod.node.as_deref().unwrap_or("none");
            return Some(format!(
                "Pod {} (node {node}) has not ended; when its node is known to be down, remove it with --force",
                pod.name
            ));
        }
        has_made_its_pod = true;
    }
    // A Job makes one Pod and no other: only one that has made none yet may.
    let job = job.filter(|job| job.outcome.is_none() && !has_made_its_pod)?;
    Some(format!("Job {} is being removed", job.name))
}

/// A text of the API server, on one line and not too long.
fn words(text: Option<&str>) -> String {
    let text = text
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    match text.char_indices().nth(WORDS_LIMIT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests;
