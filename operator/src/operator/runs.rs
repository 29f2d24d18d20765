//! Looks at runs: their workers from the start to the end.

use std::sync::Arc;

use lakegate_crds::{ExportRun, ExportRunStatus, ExportSpec, Kind, RunState, conditions::Reason};
use lakegate_store::{Entry, Key};
use tokio::sync::mpsc;

use super::{DECISIONS_PER_LOOK, Inner, Looked, SHUTDOWN_PATIENCE, Target, is_ended, lock};
use crate::{
    attempt::{CommitLookup, Ending, Fence, StopCause, Work},
    cache::export_of,
    decide::{Decision, Effect, ObservedRun, decide_run, limits_of, record_of},
    launcher::{Exit, Worker, WorkerEvent},
    measure, orders,
    protocol::{Failure, RunIdentity},
    trace,
    workers::WorkerView,
};

impl Inner {
    pub(super) async fn look_at_run(self: &Arc<Self>, key: &Key) -> Result<Looked, String> {
        let mut commit = CommitLookup::NotAsked;
        let mut fence = self.unfenced();
        for _ in 0..DECISIONS_PER_LOOK {
            let Some(entry) = self.cache.runs.get(key) else {
                return Ok(Looked::gone());
            };
            if is_ended(&entry) || !(self.options.schedules || lock(&self.requested).contains(key)) {
                return Ok(Looked::gone());
            }
            let export = export_of(&entry);
            let spec = self.spec_of(&entry, export.as_ref());
            let unable = orders::missing_dependency(&entry, spec.as_ref(), &self.cache);
            let view = self.workers.view(&entry.uid);
            let ahead = export.as_ref().and_then(|export| self.ahead_of(&entry, export));
            let decision = decide_run(ObservedRun {
                entry: &entry,
                spec: spec.as_ref(),
                work: &view.work,
                worker_id: view.worker_id.as_deref(),
                attempt_id: view.attempt_id.as_deref(),
                commit: &commit,
                fence: &fence,
                progress_interval: self.options.progress_interval,
                session: &self.session,
                cancelled: lock(&self.cancelled).contains(&entry.uid),
                ahead: ahead.as_deref(),
                capacity: self.workers.has_capacity(),
                unable: unable.as_ref(),
                failure: None,
                now: self.options.clock.now(),
            });
            let Some(effect) = decision.effects.first() else {
                return self.conclude_run(&entry, &view, export.as_ref(), decision).await;
            };
            match effect {
                Effect::StartWorker { attempt } => {
                    let (Some(export), Some(spec)) = (&export, spec) else {
                        return Ok(Looked::gone());
                    };
                    // Another run of this Export, or the last free place, may be faster: then the next decision waits.
                    self.start_worker(&entry, export, spec, *attempt).await;
                }
                Effect::StopWorker(cause) => self.workers.stop(&entry.uid, *cause),
                Effect::LookUpCommit => commit = self.look_up_commit(&entry, spec.as_ref()).await,
                Effect::Fence => {
                    fence = match self.launcher.fence(key, &entry.uid).await {
                        None => Fence::Clear,
                        Some(who) => Fence::Open(who),
                    };
                    // What the lake said while an attempt could still commit is worth nothing.
                    commit = CommitLookup::NotAsked;
                }
                Effect::CreateRun(_) | Effect::CancelRun(_) | Effect::DeleteRun { .. } => {}
            }
        }
        Ok(Looked::Unfinished)
    }

    /// Workers that end with their operator have ended when it knows of none.
    fn unfenced(&self) -> Fence {
        if self.launcher.outlives_operator() {
            Fence::NotAsked
        } else {
            Fence::Clear
        }
    }

    /// The spec a run performs: its own, the one fixed with its first look, or its Export's.
    fn spec_of(&self, run: &Entry<ExportRun>, export: Option<&Key>) -> Option<ExportSpec> {
        let own = run.object.as_deref().and_then(|run| run.spec.resolved.as_deref());
        let fixed = run.status.as_ref().and_then(|status| status.resolved.as_deref());
        if let Some(spec) = own.or(fixed) {
            return Some(spec.clone());
        }
        self.cache
            .exports
            .get(export?)?
            .object
            .as_deref()
            .map(|export| export.spec.clone())
    }

    /// The unfinished run of the same Export that goes first: one at work, else the oldest.
    fn ahead_of(&self, run: &Entry<ExportRun>, export: &Key) -> Option<String> {
        if let Some(at_work) = self.workers.run_of_export(export) {
            return (at_work != run.key).then_some(at_work.name);
        }
        let order = |run: &Entry<ExportRun>| {
            let created = run
                .object
                .as_deref()
                .and_then(|object| object.metadata.creation_timestamp.clone());
            let attempted = run
                .status
                .as_ref()
                .and_then(|status| status.attempts)
                .unwrap_or(0)
                > 0;
            (!attempted, created.map(|created| created.0), run.key.name.clone())
        };
        let mine = order(run);
        let requested = lock(&self.requested);
        self.cache
            .runs_of(export)
            .iter()
            // Without schedules nobody performs the others, so nobody waits for them.
            .filter(|other| !is_ended(other) && (self.options.schedules || requested.contains(&other.key)))
            .map(order)
            .filter(|other| *other < mine)
            .min()
            .map(|(_, _, name)| name)
    }

    async fn look_up_commit(&self, run: &Entry<ExportRun>, spec: Option<&ExportSpec>) -> CommitLookup {
        let lake = spec.and_then(|spec| {
            let key = Key::new(&run.key.namespace, &spec.destination.lake_ref.name);
            Some((self.cache.sources.get(&key)?.object?, spec))
        });
        // Without its lake a run has nowhere to have committed to.
        let Some((lake, spec)) = lake else {
            return CommitLookup::Absent;
        };
        match self
            .surroundings
            .find_commit(&lake, &spec.destination, &run.uid)
            .await
        {
            Ok(Some(report)) => CommitLookup::Found(report),
            Ok(None) => CommitLookup::Absent,
            Err(why) => CommitLookup::Unknown(why),
        }
    }

    /// Starts an attempt. False when there is no place for it; whatever else goes wrong is the attempt's own end.
    async fn start_worker(
        self: &Arc<Self>,
        run: &Entry<ExportRun>,
        export: &Key,
        spec: ExportSpec,
        attempt: u32,
    ) -> bool {
        let attempt_id = uuid::Uuid::new_v4().to_string();
        let clock = &self.options.clock;
        if !self
            .workers
            .reserve(&run.key, &run.uid, export, attempt, &attempt_id, clock.now())
        {
            return false;
        }
        let not_started = |ending: Ending| self.workers.not_started(&run.uid, ending, clock.now());
        let Some(inputs) = orders::inputs(&run.key.namespace, &spec, &self.cache) else {
            not_started(Ending::Failed(Failure {
                reason: Reason::DependencyNotFound.to_string(),
                message: "a DataSource of the run was removed".to_owned(),
                terminal: true,
            }));
            return true;
        };
        let identity = RunIdentity {
            namespace: run.key.namespace.clone(),
            name: run.key.name.clone(),
            uid: run.uid.clone(),
            export: export.name.clone(),
            attempt,
            attempt_id: attempt_id.clone(),
        };
        let limits = limits_of(Some(&spec));
        let begun = run.status.as_ref().and_then(|status| record_of(status).started);
        let deadline = begun
            .unwrap_or_else(|| clock.now())
            .checked_add(limits.timeout)
            .unwrap_or(jiff::Timestamp::MAX);
        let order = orders::order(identity, spec, inputs, deadline, &self.options.state_dir);
        match self.launcher.launch(order, self.store.as_ref()).await {
            Ok(worker) => {
                tracing::info!(run = %run.key, attempt, worker = worker.id, "a worker started");
                self.listen(&run.key, &run.uid, worker);
            }
            Err(error) => not_started(error.ending()),
        }
        true
    }

    /// Follows a worker for which there is a place.
    pub(super) fn listen(self: &Arc<Self>, run: &Key, run_uid: &str, worker: Worker) {
        let attempt_id = worker.attempt_id.clone();
        let events = self.workers.started(run_uid, worker);
        let target = Target {
            kind: Kind::ExportRun,
            key: run.clone(),
        };
        tokio::spawn(Arc::clone(self).attend(run_uid.to_owned(), attempt_id, target, events));
    }

    /// Listens to one worker until it is gone.
    async fn attend(
        self: Arc<Self>,
        run_uid: String,
        attempt_id: String,
        target: Target,
        mut events: mpsc::Receiver<WorkerEvent>,
    ) {
        let mut exit = None;
        while let Some(event) = events.recv().await {
            let is_news = match event {
                WorkerEvent::Message(message) => {
                    self.workers.heard(&run_uid, message, self.options.clock.now())
                }
                WorkerEvent::Waiting(why) => self.workers.waiting(&run_uid, why),
                WorkerEvent::Alive => self.workers.alive(&run_uid, self.options.clock.now()),
                WorkerEvent::Exited(how) => {
                    exit = Some(how);
                    break;
                }
            };
            if is_news {
                self.queue.add(target.clone());
            }
        }
        let exit = exit.unwrap_or_else(|| Exit::now("its launcher lost sight of it"));
        let scratch = orders::scratch_dir(&self.options.state_dir, &attempt_id);
        match tokio::fs::remove_dir_all(&scratch).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %scratch.display(), %error, "scratch files of a worker could not be removed");
            }
            _ => {}
        }
        self.workers.exited(&run_uid, exit, self.options.clock.now());
        let is_wanted = self
            .cache
            .runs
            .get(&target.key)
            .is_some_and(|run| run.uid == run_uid);
        if is_wanted {
            self.queue.add(target);
        } else {
            self.workers.forget(&run_uid);
        }
        // A place is free.
        for run in self.cache.runs.keys(|run| !is_ended(run)) {
            self.wake(Kind::ExportRun, run);
        }
    }

    async fn conclude_run(
        &self,
        entry: &Entry<ExportRun>,
        worker: &WorkerView,
        export: Option<&Key>,
        decision: Decision<ExportRunStatus>,
    ) -> Result<Looked, String> {
        let status = decision.status.clone();
        let looked = self.conclude(entry, decision).await?;
        // The status tells of the attempt's end, so the memory of it may go. While it is not known whether the attempt
        // has committed, the status still names its worker.
        if matches!(worker.work, Work::Ended { .. }) && status.worker.is_none() {
            trace::attempt(entry, worker);
            self.workers.forget(&entry.uid);
        }
        if status.state().is_terminal() {
            self.account(entry, export, &status);
            lock(&self.cancelled).remove(&entry.uid);
            lock(&self.requested).remove(&entry.key);
            self.sweep(entry, &status, export).await;
        }
        Ok(looked)
    }

    /// Metrics, trace and log of a run that has ended.
    fn account(&self, run: &Entry<ExportRun>, export: Option<&Key>, status: &ExportRunStatus) {
        measure::run(export, status);
        trace::run(run, export, status, self.options.clock.now());
        tell(run, status);
    }

    /// Removes what dead attempts of an ended run left behind. A courtesy: what stays costs space, nothing else.
    async fn sweep(&self, run: &Entry<ExportRun>, status: &ExportRunStatus, export: Option<&Key>) {
        let clean = status.state() == RunState::Complete && status.attempts.unwrap_or(0) <= 1;
        let spec = self.spec_of(run, export);
        let Some(spec) = spec.filter(|_| !clean && status.attempts.unwrap_or(0) > 0) else {
            return;
        };
        let lake = Key::new(&run.key.namespace, &spec.destination.lake_ref.name);
        let Some(lake) = self.cache.sources.get(&lake).and_then(|lake| lake.object) else {
            return;
        };
        match self.surroundings.sweep(&lake, &spec.destination, &run.uid).await {
            Ok(0) => {}
            Ok(files) => {
                tracing::info!(run = %run.key, files, "removed what unfinished attempts had written");
            }
            Err(error) => {
                tracing::warn!(run = %run.key, error, "what unfinished attempts had written is still there");
            }
        }
    }

    /// Ends every worker and writes down where its run stands. Those that outlive their operator are left alone: their
    /// runs are under way for whoever reads the status, and they are.
    pub(super) async fn end_workers(self: &Arc<Self>) {
        if self.launcher.outlives_operator() {
            return;
        }
        let runs = self.workers.stop_all(StopCause::Shutdown);
        if runs.is_empty() {
            return;
        }
        tracing::info!(workers = runs.len(), "ending workers");
        // Each launcher bounds how long an end takes; the bound here is for one that does not.
        let all_gone = async {
            while self.workers.running() > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(2 * SHUTDOWN_PATIENCE, all_gone)
            .await
            .is_err()
        {
            tracing::warn!(
                "not every worker has ended; what they work on is found unfinished at the next start"
            );
        }
        for key in runs {
            // A failure to write is logged: the next operator finds the run open, and takes the attempt for lost.
            if let Err(error) = self.write_down(&key).await {
                tracing::warn!(run = %key, error, "where a run stands could not be written");
            }
        }
    }

    /// One look at a run that starts nothing.
    async fn write_down(&self, key: &Key) -> Result<(), String> {
        let mut commit = CommitLookup::NotAsked;
        let fence = self.unfenced();
        for _ in 0..3 {
            let Some(entry) = self.cache.runs.get(key) else {
                return Ok(());
            };
            let view = self.workers.view(&entry.uid);
            if is_ended(&entry) || !matches!(view.work, Work::Ended { .. }) {
                return Ok(());
            }
            let export = export_of(&entry);
            let spec = self.spec_of(&entry, export.as_ref());
            let decision = decide_run(ObservedRun {
                entry: &entry,
                spec: spec.as_ref(),
                work: &view.work,
                worker_id: view.worker_id.as_deref(),
                attempt_id: view.attempt_id.as_deref(),
                commit: &commit,
                fence: &fence,
                progress_interval: self.options.progress_interval,
                session: &self.session,
                cancelled: false,
                ahead: None,
                capacity: false,
                unable: None,
                failure: None,
                now: self.options.clock.now(),
            });
            if decision.effects.contains(&Effect::LookUpCommit) {
                commit = self.look_up_commit(&entry, spec.as_ref()).await;
                continue;
            }
            let status = decision.status.clone();
            self.conclude(&entry, decision).await?;
            if status.worker.is_none() {
                trace::attempt(&entry, &view);
            }
            if status.state().is_terminal() {
                self.account(&entry, export.as_ref(), &status);
            }
            return Ok(());
        }
        Ok(())
    }
}

/// Logs how a run ended.
fn tell(run: &Entry<ExportRun>, status: &ExportRunStatus) {
    let run = &run.key;
    let attempts = status.attempts.unwrap_or(0);
    let duration = status.duration.as_deref().unwrap_or("0ms");
    match &status.failure {
        Some(failure) if status.state() == RunState::Failed => {
            tracing::warn!(%run, attempts, duration, reason = failure.reason, error = failure.message, "a run failed");
        }
        _ => {
            let rows = status.rows_written.unwrap_or(0);
            tracing::info!(%run, attempts, duration, rows, "a run succeeded");
        }
    }
}
