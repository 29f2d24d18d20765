//! `lakegate run export/NAME`: a run now, followed to its end.

use std::{process::ExitCode, sync::Arc, time::Duration};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use jiff::Timestamp;
use lakegate_crds::{ExportRun, Kind};
use lakegate_federation::{Federation, FederationOptions};
use lakegate_operator::{Operator, OperatorOptions, ProcessLauncher};
use lakegate_store::{FolderStore, Key, ResourceStore};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Failure, instance::Instance};
use crate::{
    cli::StateOptions,
    control::{self, Client, ObjectView, StartRun, parse_resource},
    table,
};

/// How often a run's status is asked for.
const POLL: Duration = Duration::from_millis(200);

pub fn run(resource: &str, no_wait: bool, state: &StateOptions) -> Result<ExitCode, Failure> {
    let (kind, export) = parse_resource(resource)?;
    if kind != Kind::Export {
        return Err(format!("a {kind} cannot be run: only exports can, such as export/orders").into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match Instance::find(state).await? {
            Instance::Running(client) => {
                let request = StartRun { namespace: export.namespace.clone(), export: export.name.clone() };
                let started = client.start_run(&request).await?;
                let run = Key::new(export.namespace.clone(), started.run);
                if no_wait {
                    println!("{} started", run.name);
                    return Ok(ExitCode::SUCCESS);
                }
                follow(&Watched::Running(client), &export, &run).await
            }
            Instance::Stopped(store) => {
                if no_wait {
                    return Err("no serve is running, so the run would have nobody to perform it: leave --no-wait out".into());
                }
                alone(store, &export).await
            }
        }
    })
}

/// Perform the run in this process, without schedules, since no serve is up.
async fn alone(store: Arc<FolderStore>, export: &Key) -> Result<ExitCode, Failure> {
    let state_dir = store.state_dir().to_owned();
    let resources: Arc<dyn ResourceStore> = Arc::<FolderStore>::clone(&store);
    let federation = Federation::new(FederationOptions {
        spill_dir: Some(state_dir.clone()),
        threads: 1,
        ..FederationOptions::default()
    })?;
    let mut options = OperatorOptions::new(&state_dir);
    options.schedules = false;
    let launcher = ProcessLauncher::new(std::env::current_exe()?, ["worker"]);
    let operator = Operator::new(
        Arc::clone(&resources),
        Arc::clone(&federation),
        Arc::new(launcher),
        options,
    );
    let handle = operator.handle();
    let shutdown = CancellationToken::new();
    let catalogs = tokio::spawn(federation.run_catalogs(Arc::clone(&resources), state_dir, shutdown.clone()));
    let stop = shutdown.clone();
    let operator = tokio::spawn(async move { operator.run(stop.cancelled()).await });
    let outcome = async {
        let run = handle.run_now(export).await?;
        follow(&Watched::Alone(resources), export, &run).await
    }
    .await;
    shutdown.cancel();
    operator.await?;
    catalogs.await?;
    store.close().await;
    outcome
}

/// Where a run's status is read.
enum Watched {
    Running(Client),
    Alone(Arc<dyn ResourceStore>),
}

impl Watched {
    async fn run(&self, key: &Key) -> Result<Option<ExportRun>, Failure> {
        let views: Vec<ObjectView> = match self {
            Self::Running(client) => client.objects(Kind::ExportRun).await?,
            Self::Alone(store) => control::list_objects(store.as_ref(), Kind::ExportRun).await?,
        };
        let found = views.into_iter().find(|view| {
            let namespace = view.object.pointer("/metadata/namespace").and_then(Value::as_str);
            view.name() == key.name && namespace.unwrap_or("default") == key.namespace
        });
        Ok(found
            .map(|view| serde_json::from_value(view.object))
            .transpose()?)
    }
}

fn bar() -> Result<ProgressBar, Failure> {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template(
        "{spinner} {prefix} {wide_msg} {elapsed}",
    )?);
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(bar)
}

/// Show how far the run is until it has ended, then what it did.
async fn follow(watched: &Watched, export: &Key, key: &Key) -> Result<ExitCode, Failure> {
    let bar = bar()?;
    bar.set_prefix(format!("export/{export}"));
    let run = loop {
        let Some(run) = watched.run(key).await? else {
            return Err(format!("run {key} is gone: it was deleted, or its history was trimmed").into());
        };
        let status = run.status.clone().unwrap_or_default();
        if status.state.unwrap_or_default().is_terminal() {
            break run;
        }
        let progress = status.progress.unwrap_or_default();
        let rows = progress.rows.unwrap_or_default().max(0) as u64;
        let bytes = progress.bytes.unwrap_or_default().max(0) as u64;
        if let Some(total) = progress.total_rows.filter(|total| *total > 0)
            && bar.length().is_none()
        {
            // The store's own estimate, so the bar may end early or late.
            bar.set_length(total as u64);
            bar.set_style(ProgressStyle::with_template(
                "{prefix} [{bar:30}] {wide_msg} {elapsed} (eta {eta})",
            )?);
        }
        bar.set_position(rows);
        bar.set_message(match status.next_attempt_time {
            Some(_) => format!(
                "attempt {} failed, trying again",
                status.attempts.unwrap_or_default()
            ),
            None if rows == 0 => "starting".to_owned(),
            None => format!(
                "{} rows, {} written, {} rows/s",
                HumanCount(rows),
                HumanBytes(bytes),
                HumanCount(bar.per_sec() as u64)
            ),
        });
        tokio::time::sleep(POLL).await;
    };
    bar.finish_and_clear();
    Ok(summary(&run, export))
}

fn summary(run: &ExportRun, export: &Key) -> ExitCode {
    let status = run.status.clone().unwrap_or_default();
    let time = |time: Option<&lakegate_crds::Time>| time.map_or_else(Timestamp::now, |time| time.0);
    let took = table::duration(
        time(status.start_time.as_ref()),
        time(status.finish_time.as_ref()),
    );
    let name = run.metadata.name.clone().unwrap_or_default();
    if let Some(failure) = &status.failure {
        eprintln!(
            "{name}: Failed ({}) after {took}: {}",
            failure.reason, failure.message
        );
        return ExitCode::FAILURE;
    }
    let destination = run
        .spec
        .resolved
        .as_ref()
        .map(|spec| format!("{}.{}", spec.destination.schema, spec.destination.table));
    println!(
        "{name}: Complete in {took}\n  {} rows, {} in {} files\n  export {export} -> {}{}",
        HumanCount(status.rows_written.unwrap_or_default().max(0) as u64),
        HumanBytes(status.bytes_written.unwrap_or_default().max(0) as u64),
        status.files.unwrap_or_default(),
        destination.unwrap_or_default(),
        // plain files have none
        status
            .snapshot_id
            .map(|id| format!(", snapshot {id}"))
            .unwrap_or_default(),
    );
    let columns = run
        .spec
        .resolved
        .iter()
        .flat_map(|spec| spec.columns.iter().flatten());
    let masked: Vec<String> = columns
        .filter_map(|column| {
            Some(format!(
                "{} ({})",
                column.output_name()?,
                column.mask.as_deref()?.method()?
            ))
        })
        .collect();
    if !masked.is_empty() {
        println!("  masked: {}", masked.join(", "));
    }
    let personal: Vec<&str> = status
        .personal_columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    if !personal.is_empty() {
        println!("  looks personal and is not masked: {}", personal.join(", "));
    }
    if !status.new_columns.is_empty() {
        println!("  new columns, left out: {}", status.new_columns.join(", "));
    }
    for column in &status.nulled_columns {
        println!(
            "  did not fit their cast and became null: {} values of {}",
            HumanCount(column.values.max(0) as u64),
            column.name
        );
    }
    ExitCode::SUCCESS
}
