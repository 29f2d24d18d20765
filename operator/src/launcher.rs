//! Starting workers: a seam, and its form on one machine.
//!
//! A worker's life is a channel of [`WorkerEvent`]s that always ends in [`WorkerEvent::Exited`]. A child process ends when
//! its [`Worker`] is dropped: it never outlives the interest in its result. What outlives its operator, as a Job in
//! Kubernetes does, is found again by the next one with [`WorkerLauncher::adopt`].

use std::{ffi::OsString, path::PathBuf, process::Stdio, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use lakegate_crds::conditions::Reason;
use lakegate_store::{Key, SecretError, Secrets};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    sync::{mpsc, oneshot},
};

use crate::{
    attempt::Ending,
    orders,
    protocol::{Assignment, Failure, WorkOrder, WorkerMessage},
    surroundings::chain,
};

/// Longest line read from a worker; what is beyond is dropped, so that a worker gone mad costs no memory here.
const LINE_LIMIT: u64 = 64 * 1024;

/// How long a worker may take to end after its standard input did.
const GRACE: Duration = Duration::from_secs(2);

/// Prefix of the environment variables that hold secrets in folder mode. A worker gets the values of its own run on
/// standard input and no others.
const SECRET_VARIABLES: &str = "LAKEGATE_SECRET_";

/// Starts workers.
#[async_trait]
pub trait WorkerLauncher: Send + Sync + 'static {
    /// Starts one attempt. Returns as soon as the worker exists. Where workers get the values of secrets from the
    /// operator, they come from `secrets`.
    async fn launch(&self, order: WorkOrder, secrets: &dyn Secrets) -> Result<Worker, LaunchFailure>;

    /// Whether workers go on without their operator. Then a shutdown leaves them alone, and the next operator adopts
    /// them.
    fn outlives_operator(&self) -> bool {
        false
    }

    /// What earlier operators have started and is not forgotten yet, ended or not. Asked once, before anything is
    /// launched.
    async fn adopt(&self) -> Result<Vec<Adopted>, LaunchFailure> {
        Ok(Vec::new())
    }

    /// Sees to it that no attempt of the run commits any more; in words what may still do so. Asked before a run is
    /// called failed, when no worker of it is listened to.
    async fn fence(&self, _run: &Key, _run_uid: &str) -> Option<String> {
        None
    }

    /// As [`WorkerLauncher::fence`], of all runs of an Export, those too whose objects are gone. Asked before the
    /// Export's table is removed.
    async fn fence_export(&self, _export: &Key) -> Option<String> {
        None
    }
}

/// An attempt that an earlier operator has started.
pub struct Adopted {
    /// The run.
    pub run: Key,

    /// Of the run.
    pub run_uid: String,

    /// Which attempt of the run, from 1.
    pub attempt: u32,

    /// Which attempt of all.
    pub attempt_id: String,

    /// When it was started.
    pub started: Timestamp,

    /// It is over. Taken up, it tells how.
    pub is_over: bool,

    /// Listens to it from here on. What is not taken up goes its own way.
    pub take_up: Box<dyn FnOnce() -> Worker + Send>,
}

impl std::fmt::Debug for Adopted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Adopted")
            .field("run", &self.run)
            .field("attempt", &self.attempt)
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}

/// A worker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchFailure {
    /// The operating system refused.
    #[error("the worker process {} cannot be started: check that the binary is still there and that processes and memory are not exhausted", program.display())]
    Spawn {
        /// What was to be run.
        program: PathBuf,

        /// The operating system's answer.
        source: std::io::Error,
    },

    /// The order has no JSON form.
    #[error("the work order cannot be encoded")]
    Encode {
        /// The encoder's answer.
        source: serde_json::Error,
    },

    /// A secret cannot be had.
    #[error("a secret of {needed_by} cannot be had")]
    Secret {
        /// Whose connection or which field needs it.
        needed_by: String,

        /// Names the secret and what to do.
        source: Box<SecretError>,
    },

    /// The order is larger than what a Pod can be given.
    #[error(
        "the work order of {size} bytes is larger than the {limit} bytes that fit a Pod: the Export's spec and the views that its query names are in it, so shorten their texts"
    )]
    OrderTooLarge {
        /// Of the order's JSON, in bytes.
        size: usize,

        /// The most that fits, in bytes.
        limit: usize,
    },

    /// The lake is a directory, and a Pod's directories are its own.
    #[error(
        "DataSource {lake} keeps its tables in a directory, which a Job's Pod does not share: use spec.lake.s3"
    )]
    LocalLake {
        /// The DataSource of kind lake.
        lake: String,
    },

    /// Another object has the Job's name.
    #[error("Job {namespace}/{job} exists and is not of this run: delete it")]
    NameTaken {
        /// Of the Job.
        namespace: String,

        /// Of the Job.
        job: String,
    },

    /// The API server did not take the Job.
    #[error("Job {namespace}/{job} cannot be created: check the operator's Role and the namespace's quota")]
    Refused {
        /// Of the Job.
        namespace: String,

        /// Of the Job.
        job: String,

        /// The API server's answer.
        source: Box<kube::Error>,
    },

    /// The API server does not say whether it took the Job.
    #[error("the API server does not answer: whether Job {namespace}/{job} was created is not known")]
    Unanswered {
        /// Of the Job.
        namespace: String,

        /// Of the Job.
        job: String,
    },

    /// Jobs and Pods cannot be watched.
    #[error(
        "Jobs and Pods of namespace {namespace} cannot be watched: check the operator's Role ({message})"
    )]
    Unwatched {
        /// Where.
        namespace: String,

        /// The API server's last answer, or that there was none.
        message: String,
    },
}

impl LaunchFailure {
    /// The same as the end of its attempt.
    pub fn ending(&self) -> Ending {
        let (reason, terminal) = match self {
            Self::Secret { source, .. } => (orders::secret_reason(source), false),
            Self::OrderTooLarge { .. } => (Reason::WorkerStartFailed, true),
            Self::LocalLake { .. } => (Reason::NotImplemented, true),
            _ => return Ending::NotLaunched(chain(self)),
        };
        Ending::Failed(Failure {
            reason: reason.to_string(),
            message: chain(self),
            terminal,
        })
    }
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    /// Names the worker to people: the process id, or the name of the Job.
    pub id: String,

    /// Which attempt it performs: the order's, unless it was at work already.
    pub attempt_id: String,

    /// Ends after [`WorkerEvent::Exited`].
    pub events: mpsc::Receiver<WorkerEvent>,

    /// Ends the worker when used. Dropped, it ends a worker that does not outlive its operator.
    pub stop: oneshot::Sender<()>,
}

/// What a worker does.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkerEvent {
    /// It said something.
    Message(WorkerMessage),

    /// It is not at work yet: what it waits for, for people. It may be silent for as long as that takes.
    Waiting(String),

    /// It is at work, and cannot be heard.
    Alive,

    /// It is gone. Always the last event.
    Exited(Exit),
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// For people: `exit status: 1`, `signal: 9 (SIGKILL)`.
    pub how: String,

    /// When, where that is known; else it was now.
    pub at: Option<Timestamp>,
}

impl Exit {
    /// An end of this moment.
    pub fn now(how: impl Into<String>) -> Self {
        Self {
            how: how.into(),
            at: None,
        }
    }
}

/// Runs each attempt as a child process of this one.
#[derive(Debug, Clone)]
pub struct ProcessLauncher {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl ProcessLauncher {
    /// Workers are `program arguments…`; for the real thing `current_exe()` and `worker`.
    pub fn new(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
        }
    }
}

#[async_trait]
impl WorkerLauncher for ProcessLauncher {
    async fn launch(&self, order: WorkOrder, secrets: &dyn Secrets) -> Result<Worker, LaunchFailure> {
        let secrets = orders::secrets_of(&order, secrets).await?;
        let run = order.run.clone();
        let assignment = Assignment { order, secrets };
        let mut line = serde_json::to_vec(&assignment).map_err(|source| LaunchFailure::Encode { source })?;
        line.push(b'\n');
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C on the terminal goes to the whole process group. The operator decides how its workers end.
            .process_group(0)
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(SECRET_VARIABLES) {
                command.env_remove(name);
            }
        }
        let child = command.spawn().map_err(|source| LaunchFailure::Spawn {
            program: self.program.clone(),
            source,
        })?;
        let id = child.id().map_or_else(|| "ended".to_owned(), |id| id.to_string());
        let (sender, events) = mpsc::channel(64);
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(attend(child, line, run.name, sender, stopped));
        Ok(Worker {
            id,
            attempt_id: run.attempt_id,
            events,
            stop,
        })
    }
}

/// Serves one child until it is gone.
async fn attend(
    mut child: Child,
    order: Vec<u8>,
    run: String,
    events: mpsc::Sender<WorkerEvent>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut stdin = child.stdin.take();
    let log = child
        .stderr
        .take()
        .map(|stderr| tokio::spawn(forward_log(stderr, run.clone())));
    let talk = child
        .stdout
        .take()
        .map(|stdout| tokio::spawn(forward_messages(stdout, run, events.clone())));
    // Written beside reading: a worker that dies at once must not block us on a full pipe. A failed write shows as the
    // worker's exit, which tells more.
    let status = tokio::select! {
        status = async {
            if let Some(stdin) = stdin.as_mut() {
                let _ = stdin.write_all(&order).await;
                let _ = stdin.flush().await;
            }
            child.wait().await
        } => status,
        _ = &mut stopped => {
            // The end of its standard input is the worker's sign to end by itself.
            drop(stdin.take());
            match tokio::time::timeout(GRACE, child.wait()).await {
                Ok(status) => status,
                Err(_) => match child.start_kill() {
                    Ok(()) => child.wait().await,
                    Err(error) => Err(error),
                },
            }
        }
    };
    // What it said before it ended comes before the news of its end. A grandchild may hold the pipes open for ever.
    for reader in [talk, log].into_iter().flatten() {
        let abort = reader.abort_handle();
        if tokio::time::timeout(GRACE, reader).await.is_err() {
            abort.abort();
        }
    }
    let how = match status {
        Ok(status) => status.to_string(),
        Err(error) => format!("it could not be waited for: {error}"),
    };
    // Nobody listens any more: then nobody wants to know.
    let _ = events.send(WorkerEvent::Exited(Exit::now(how))).await;
}

async fn forward_messages(stdout: impl AsyncRead + Unpin, run: String, events: mpsc::Sender<WorkerEvent>) {
    let mut reader = BufReader::new(stdout);
    while let Some(line) = next_line(&mut reader).await {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<WorkerMessage>(&line) {
            Ok(message) => {
                if events.send(WorkerEvent::Message(message)).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::warn!(run, %error, "a worker printed a line that is no message"),
        }
    }
}

async fn forward_log(stderr: impl AsyncRead + Unpin, run: String) {
    let mut reader = BufReader::new(stderr);
    while let Some(line) = next_line(&mut reader).await {
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if !line.is_empty() {
            tracing::info!(target: "lakegate::worker", run, "{line}");
        }
    }
}

/// The next line, cut at [`LINE_LIMIT`]; `None` at the end.
async fn next_line(reader: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let mut head = (&mut *reader).take(LINE_LIMIT);
    let read = head.read_until(b'\n', &mut line).await.ok()?;
    if read == 0 {
        return None;
    }
    while line.last() != Some(&b'\n') {
        let mut rest = Vec::new();
        let mut tail = (&mut *reader).take(LINE_LIMIT);
        if tail.read_until(b'\n', &mut rest).await.ok()? == 0 || rest.last() == Some(&b'\n') {
            break;
        }
    }
    Some(line)
}
