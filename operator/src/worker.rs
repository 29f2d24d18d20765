//! The worker: performs one attempt of one run, then ends.
//!
//! It does what its order says and reports on standard output. It must never outlive the interest in its work: as a child
//! process, a thread of its own reads standard input, and when that ends the process ends, whatever its other threads
//! are computing; as a [`pod`] it ends on the first signal. What it had written by then is no part of any table, because
//! the only thing that makes it so is the commit. And wherever it runs, it commits nothing after its order's deadline.

mod failures;
mod incremental;
mod masking;
pub mod pod;
mod report;
mod secrets;
mod shaping;

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use lakegate_crds::{Compression, DataSource, conditions::Reason};
use lakegate_federation::{
    ExportPlan, Federation, FederationOptions, RuntimeEnv, SourceContext, SourcePosition,
};
use lakegate_lake::{CommitInfo, Lake, Patience, TableWriter, WriteOptions, WrittenFiles};
use lakegate_store::{SecretValue, Secrets};
use tracing::{Instrument as _, field::Empty};

use self::{
    failures::{Stage, failure, federation_failure, lake_failure, reading_failure, source_failure},
    incremental::Reading,
    masking::Inspection,
    report::Reporter,
    secrets::BundledSecrets,
};
use crate::{
    clock::{Clock as _, SystemClock},
    decide::count,
    orders::scratch_dir,
    protocol::{
        Assignment, CursorReport, Failure, PROTOCOL_VERSION, Phase, Progress, Report, WorkOrder,
        WorkerMessage,
    },
    surroundings::{base_dir, chain, open_lake, report_of},
    trace,
};

/// Exit code when standard input ended: nobody wants the result any more.
pub const ORPHANED: i32 = 75;

/// Time between two signs of life of a child process.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Performs the [`Assignment`] on `stdin` and reports on `stdout`. The attempt's failure is a report, too: the exit code
/// only tells whether there was one.
///
/// Ends the process with [`ORPHANED`] when `stdin` ends before the work does.
pub fn run(stdin: impl Read + Send + 'static, stdout: impl Write + Send + 'static) -> ExitCode {
    let mut stdin = BufReader::new(stdin);
    let stdout = Reporter::new(stdout);
    let Assignment { order, secrets } = match read_assignment(&mut stdin) {
        Ok(assignment) => assignment,
        Err(message) => return refuse(&stdout, message, true),
    };
    let watch = std::thread::Builder::new()
        .name("parent-watch".to_owned())
        .spawn(move || {
            // Nothing follows the order; what this waits for is the end.
            let _ = io::copy(&mut stdin, &mut io::sink());
            tracing::info!("standard input has ended: nobody waits for this worker any more");
            std::process::exit(ORPHANED);
        });
    if let Err(error) = watch {
        return refuse(&stdout, format!("no thread can be started: {error}"), false);
    }
    perform_with_heartbeat(order, Arc::new(BundledSecrets::new(secrets)), &stdout, HEARTBEAT)
}

/// Ends an attempt that cannot begin.
fn refuse(stdout: &Reporter, message: String, terminal: bool) -> ExitCode {
    let failure = failure(Reason::InternalError, message, terminal);
    stdout.send_last(&WorkerMessage::Failed(failure));
    ExitCode::FAILURE
}

fn read_assignment(stdin: &mut impl BufRead) -> Result<Assignment, String> {
    let mut line = zeroize_on_drop(String::new());
    stdin
        .read_line(&mut line.0)
        .map_err(|error| format!("standard input cannot be read: {error}"))?;
    if line.0.trim().is_empty() {
        return Err(
            "a worker is started by `lakegate serve`, which writes its order to standard input".to_owned(),
        );
    }
    // The error of the parser may quote what it read, and that may be a secret: only the place is told.
    let assignment: Assignment = serde_json::from_str(&line.0)
        .map_err(|error| format!("the work order cannot be read (column {})", error.column()))?;
    check_version(&assignment.order, "the binary was replaced, restart serve")?;
    Ok(assignment)
}

fn check_version(order: &WorkOrder, remedy: &str) -> Result<(), String> {
    if order.version == PROTOCOL_VERSION {
        return Ok(());
    }
    Err(format!(
        "the work order has version {}, this worker knows {PROTOCOL_VERSION}: {remedy}",
        order.version
    ))
}

/// The assignment's text holds secrets; its memory is overwritten.
struct Wiped(String);

fn zeroize_on_drop(text: String) -> Wiped {
    Wiped(text)
}

impl Drop for Wiped {
    fn drop(&mut self) {
        let wiped = std::mem::take(&mut self.0);
        // SecretValue overwrites its memory when dropped.
        drop(SecretValue::new(wiped));
    }
}

/// Performs an order while a thread gives a sign of life each `heartbeat`; the last line is the result.
fn perform_with_heartbeat(
    order: WorkOrder,
    secrets: Arc<dyn Secrets>,
    stdout: &Reporter,
    heartbeat: Duration,
) -> ExitCode {
    let state = Arc::new(State::default());
    let done = Arc::new(AtomicBool::new(false));
    let pulse = {
        let (state, done, stdout) = (Arc::clone(&state), Arc::clone(&done), stdout.clone());
        // A thread of its own: work on all others does not look like death.
        std::thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || {
                while !done.load(Ordering::Acquire) {
                    stdout.send(&WorkerMessage::Progress(state.progress()));
                    std::thread::park_timeout(heartbeat);
                }
            })
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(order.threads.clamp(1, 64))
        .thread_name("worker")
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(perform(order, secrets, Arc::clone(&state))),
        Err(error) => Err(failure(
            Reason::InternalError,
            format!("no runtime can be started: {error}"),
            false,
        )),
    };
    done.store(true, Ordering::Release);
    if let Ok(pulse) = pulse {
        pulse.thread().unpark();
        // The result is the last line: no heartbeat may follow it.
        let _ = pulse.join();
    }
    let (message, code) = match outcome {
        Ok(report) => (WorkerMessage::Finished(report), ExitCode::SUCCESS),
        Err(failure) => (WorkerMessage::Failed(failure), ExitCode::FAILURE),
    };
    stdout.send_last(&message);
    code
}

/// How far the attempt is, for the heartbeat.
#[derive(Debug, Default)]
pub struct State {
    phase: AtomicU8,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// Plus one; zero is unknown.
    expected: AtomicU64,
}

impl State {
    fn enter(&self, phase: Phase) {
        let phase = match phase {
            Phase::Starting => 0,
            Phase::Copying => 1,
            Phase::Committing => 2,
        };
        self.phase.store(phase, Ordering::Release);
    }

    fn progress(&self) -> Progress {
        let phase = match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Copying,
            _ => Phase::Committing,
        };
        Progress {
            phase,
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            total_rows: self.expected.load(Ordering::Relaxed).checked_sub(1),
        }
    }
}

/// Performs an attempt in this process: what [`run`] does between its first line and its last.
///
/// # Errors
///
/// The attempt's failure: nothing was published, unless the reason is that this is not known.
pub async fn perform(
    order: WorkOrder,
    secrets: Arc<dyn Secrets>,
    state: Arc<State>,
) -> Result<Report, Failure> {
    let redactor = secrets.redactor();
    let scratch = scratch_dir(&order.state_dir, &order.run.attempt_id);
    let begins = SystemClock.now();
    if begins >= order.deadline {
        return Err(failure(
            Reason::DeadlineExceeded,
            format!(
                "the run's time was over at {}, and it was {begins} on the worker's machine before it had begun: the \
                 clocks of that machine and of the operator's differ",
                order.deadline
            ),
            false,
        ));
    }
    let left = Duration::try_from(order.deadline.duration_since(begins)).unwrap_or_default();
    let run = &order.run;
    let work = tracing::info_span!(
        "work",
        lakegate.run = format_args!("{}/{}", run.namespace, run.name),
        lakegate.export = format_args!("{}/{}", run.namespace, run.export),
        lakegate.attempt = run.attempt,
    );
    trace::join_attempt(&work, run);
    let attempt = attempt(&order, secrets, scratch.clone(), &state).instrument(work);
    let outcome = tokio::time::timeout(left, attempt).await;
    if let Err(error) = tokio::fs::remove_dir_all(&scratch).await
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %scratch.display(), %error, "scratch files could not be removed");
    }
    let outcome = outcome.unwrap_or_else(|_| Err(too_late(&order)));
    outcome.map_err(|failure| Failure {
        message: redactor.redact(&failure.message),
        ..failure
    })
}

fn too_late(order: &WorkOrder) -> Failure {
    let timeout = jiff::SignedDuration::try_from(order.spec.effective_timeout()).unwrap_or_default();
    let message = format!("it took longer than spec.timeout ({timeout:#})");
    failure(Reason::DeadlineExceeded, message, true)
}

async fn attempt(
    order: &WorkOrder,
    secrets: Arc<dyn Secrets>,
    scratch: PathBuf,
    state: &Arc<State>,
) -> Result<Report, Failure> {
    let destination = &order.spec.destination;
    let run = &order.run;
    let lake = open_lake(&order.lake, &order.state_dir, &secrets, Patience::Long)
        .instrument(tracing::info_span!("open lake"))
        .await
        .map_err(|error| lake_failure(&error))?;
    // An attempt before this one may have died between its commit and its last word.
    let found = lake
        .find_commit(&destination.schema, &destination.table, &run.uid)
        .await;
    if let Some(commit) = found.map_err(|error| lake_failure(&error))? {
        return Ok(Report {
            already: true,
            ..report_of(&commit)
        });
    }
    let keys = masking::keys(order, secrets.as_ref()).await?;
    let federation = Federation::new(FederationOptions {
        threads: order.threads.max(1),
        // More readers than threads pay where they wait for the store.
        partitions: Some(order.threads.max(order.spec.effective_parallelism())),
        memory_bytes: masking::query_memory(order),
        spill_dir: Some(scratch),
        ..FederationOptions::default()
    })
    .map_err(|error| federation_failure(&error, Stage::Planning))?;
    let unattached = attach(&federation, order, &secrets)
        .instrument(tracing::info_span!("connect"))
        .await?;
    if !order.views.is_empty() {
        federation.attach_views(order.views.clone()).await;
    }
    let catalog = order
        .sources
        .first()
        .filter(|_| order.spec.from.source_ref.is_some())
        .map(catalog_of);
    let published = shaping::published(order, &lake).await?;
    let planned = federation
        .plan_export(&order.spec, catalog.as_deref(), &keys, published.as_ref())
        .instrument(tracing::info_span!("plan"));
    let plan = match planned.await {
        Ok(plan) => plan,
        Err(error) => {
            let mut failure = federation_failure(&error, Stage::Planning);
            // The table a query misses may be one of a store that did not answer.
            if let Some(source) = unattached {
                failure = Failure {
                    message: format!("{}; {}", failure.message, source.message),
                    terminal: false,
                    ..failure
                };
            }
            return Err(failure);
        }
    };
    if let Some(rows) = plan.expected_rows() {
        state.expected.store(rows.saturating_add(1), Ordering::Relaxed);
    }
    let mut inspection = Inspection::new(order, &plan)?;
    let copying = tracing::info_span!("copy", lakegate.rows = Empty, lakegate.bytes = Empty);
    let copied = match plan.incremental() {
        None => {
            copy(
                order,
                &lake,
                &plan,
                federation.runtime_env(),
                &mut inspection,
                state,
            )
            .instrument(copying.clone())
            .await
        }
        Some(incremental) => {
            let reading = Reading {
                order,
                lake: &lake,
                federation: &federation,
                catalog: catalog.as_deref(),
                keys: &keys,
                published: published.as_ref(),
                plan: &plan,
                incremental,
            };
            reading
                .copy(&mut inspection, state)
                .instrument(copying.clone())
                .await
        }
    };
    copying.record("lakegate.rows", count(state.rows.load(Ordering::Relaxed)));
    copying.record("lakegate.bytes", count(state.bytes.load(Ordering::Relaxed)));
    drop(copying);
    let Copied {
        written,
        positions,
        mut summary,
        since,
        full_read,
    } = copied?;
    // The timer round all this stands still while the machine sleeps; the clock does not.
    if SystemClock.now() >= order.deadline {
        return Err(too_late(order));
    }
    state.enter(Phase::Committing);
    let rows_read = state.rows.load(Ordering::Relaxed);
    summary.extend(shaping::record(&plan));
    let info = CommitInfo {
        run_id: run.uid.clone(),
        attempt_id: run.attempt_id.clone(),
        export: Some(format!("{}/{}", run.namespace, run.export)),
        export_uid: run.export_uid.clone(),
        sources: shaping::positions(positions),
        summary,
    };
    let commit = lake
        .replace(written, info)
        .instrument(tracing::info_span!("commit"))
        .await
        .map_err(|error| lake_failure(&error))?;
    let report = report_of(&commit);
    Ok(Report {
        rows_read: (!commit.already).then_some(rows_read),
        personal: inspection.personal(),
        new_columns: shaping::new_columns(&plan),
        nulled_columns: shaping::nulled_columns(&plan),
        cursor: report.cursor.map(|cursor| {
            Box::new(CursorReport {
                from: since,
                ..*cursor
            })
        }),
        full_read,
        ..report
    })
}

/// Connects to the stores of the order. One store of a query that cannot be reached does not keep it from reading the
/// others; the first such is given back.
async fn attach(
    federation: &Arc<Federation>,
    order: &WorkOrder,
    secrets: &Arc<dyn Secrets>,
) -> Result<Option<Failure>, Failure> {
    let mut first_failure = None;
    for source in &order.sources {
        let context = SourceContext {
            namespace: source
                .metadata
                .namespace
                .clone()
                .unwrap_or_else(|| order.run.namespace.clone()),
            base_dir: base_dir(source),
            state_dir: order.state_dir.clone(),
            secrets: Arc::clone(secrets),
            runtime: Arc::clone(federation.runtime_env()),
        };
        let name = source.metadata.name.as_deref().unwrap_or_default();
        let is_query = order.spec.from.source_ref.is_none();
        let attached = if is_query {
            federation
                .attach_at_one_moment(name, &source.spec, &context)
                .await
        } else {
            federation.attach(name, &source.spec, &context).await
        };
        if let Err(error) = attached {
            let failure = source_failure(&error);
            if !is_query {
                return Err(failure);
            }
            tracing::warn!(
                source = name,
                error = failure.message,
                "a store of the query cannot be reached"
            );
            first_failure.get_or_insert(failure);
        }
    }
    Ok(first_failure)
}

/// What an attempt has written, for the commit.
struct Copied {
    written: WrittenFiles,
    /// Where in their logs the stores stood.
    positions: Vec<SourcePosition>,
    /// What the snapshot's summary is to say of the rows.
    summary: BTreeMap<String, String>,
    /// Where an incremental run began.
    since: Option<String>,
    /// Why an incremental run has read everything.
    full_read: Option<String>,
}

/// What the rows of a plan are written by, into files of no table yet.
async fn writer(
    order: &WorkOrder,
    lake: &Lake,
    plan: &ExportPlan,
    runtime: &Arc<RuntimeEnv>,
    state: &Arc<State>,
) -> Result<TableWriter, Failure> {
    let destination = &order.spec.destination;
    let progress = Arc::clone(state);
    let mut options = WriteOptions::new(&order.run.uid, &order.run.attempt_id);
    options.compression = match destination.compression() {
        Compression::Zstd => lakegate_lake::Compression::Zstd,
        Compression::Snappy => lakegate_lake::Compression::Snappy,
    };
    options.profile = destination.profile();
    options.threads = order.threads.max(1);
    options.row_group_bytes = row_group_bytes(&order.spec);
    options.file_bytes = destination.target_file_size();
    options.format = destination.format();
    options.masks = masking::record(plan);
    options.partition_by.clone_from(&destination.partition_by);
    options.bloom_filters.clone_from(&destination.bloom_filters);
    options.runtime = Some(Arc::clone(runtime));
    options.progress = Some(Arc::new(move |written: lakegate_lake::Progress| {
        progress.bytes.store(written.bytes, Ordering::Relaxed);
    }));
    lake.write(
        &destination.schema,
        &destination.table,
        Arc::clone(plan.schema()),
        options,
    )
    .await
    .map_err(|error| lake_failure(&error))
}

/// Removes what a failed attempt has written.
async fn abort(writer: TableWriter) {
    if let Err(error) = writer.abort().await {
        tracing::warn!(
            error = chain(&error),
            "files of a failed attempt could not be removed; a sweep will"
        );
    }
}

async fn copy(
    order: &WorkOrder,
    lake: &Lake,
    plan: &ExportPlan,
    runtime: &Arc<RuntimeEnv>,
    inspection: &mut Inspection,
    state: &Arc<State>,
) -> Result<Copied, Failure> {
    let mut writer = writer(order, lake, plan, runtime, state).await?;
    state.enter(Phase::Copying);
    let copied = async {
        let mut batches = plan.execute().map_err(|error| reading_failure(order, &error))?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|error| reading_failure(order, &error))?;
            inspection.look_at(&batch)?;
            let rows = batch.num_rows() as u64;
            writer.write(batch).await.map_err(|error| lake_failure(&error))?;
            state.rows.fetch_add(rows, Ordering::Relaxed);
        }
        Ok((inspection.verdict()?, batches.positions()))
    };
    match copied.await {
        Ok((counted, positions)) => {
            let written = writer.close().await.map_err(|error| lake_failure(&error))?;
            Ok(Copied {
                written,
                positions,
                summary: counted.into_iter().collect(),
                since: None,
                full_read: None,
            })
        }
        Err(failure) => {
            abort(writer).await;
            Err(failure)
        }
    }
}

/// Bytes of rows in a row group. Three row groups wait or are encoded at a time, which is a fifth of the run's memory:
/// beside them are what was read and not taken yet, what was encoded and not sent, and the process itself.
fn row_group_bytes(spec: &lakegate_crds::ExportSpec) -> usize {
    const PART: u64 = 15;
    const LARGEST: u64 = 64 << 20;
    usize::try_from((spec.effective_memory_limit() / PART).min(LARGEST)).unwrap_or(usize::MAX)
}

fn catalog_of(source: &DataSource) -> String {
    source
        .spec
        .catalog_name(source.metadata.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_cannot_be_read_shows_nothing_of_itself() {
        let mut line = std::io::Cursor::new("{\"secrets\": canary-4711}\n");
        let message = read_assignment(&mut line).unwrap_err();
        assert!(
            message.contains("column") && !message.contains("canary"),
            "{message}"
        );
        assert!(
            read_assignment(&mut std::io::Cursor::new(""))
                .unwrap_err()
                .contains("lakegate serve")
        );
    }
}
