//! The worker as the Pod of a Job.
//!
//! Its order is a file, its secrets are mounted, and it talks to nobody: who watches over it reads its log. So there is no
//! end of an input to end by; a signal ends it, and its order's deadline.

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

use super::{check_version, perform_with_heartbeat, refuse, report::Reporter, secrets::MountedSecrets};
use crate::protocol::WorkOrder;

/// Exit code when a signal ended it, as a shell shows the one for SIGTERM.
pub const TERMINATED: i32 = 143;

/// Time between two signs of life: each is a line of the Pod's log, which is kept.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Where a Pod's worker finds what it needs.
#[derive(Debug, Clone)]
pub struct PodOptions {
    /// The order, as JSON.
    pub order: PathBuf,

    /// The mounted Secrets: a directory each, in it a file a key.
    pub secrets_dir: PathBuf,

    /// Scratch files go there.
    pub state_dir: PathBuf,

    /// Where the last message is left, if that file exists: the kubelet's termination log.
    pub last_word: PathBuf,
}

/// Performs the order and reports on `stdout`. The attempt's failure is a report, too: the exit code only tells whether
/// there was one.
///
/// Ends the process with [`TERMINATED`] on SIGTERM and SIGINT, at once: what is not committed is no part of any table.
pub fn run(options: PodOptions, stdout: impl Write + Send + 'static) -> ExitCode {
    let stdout = Reporter::new(stdout).leave_last_word(&options.last_word);
    if let Err(error) = end_on_signals() {
        return refuse(&stdout, format!("signals cannot be listened to: {error}"), false);
    }
    let order = match read_order(&options) {
        Ok(order) => order,
        Err(message) => return refuse(&stdout, message, true),
    };
    let secrets = MountedSecrets::new(options.secrets_dir, order.run.namespace.clone());
    perform_with_heartbeat(order, Arc::new(secrets), &stdout, HEARTBEAT)
}

fn read_order(options: &PodOptions) -> Result<WorkOrder, String> {
    let path = options.order.display();
    let text = std::fs::read_to_string(&options.order)
        .map_err(|error| format!("the work order {path} cannot be read: {error}"))?;
    let order: WorkOrder = serde_json::from_str(&text)
        .map_err(|error| format!("the work order {path} cannot be read: {error}"))?;
    check_version(
        &order,
        "let the operator's image and its worker image be the same",
    )?;
    Ok(WorkOrder {
        state_dir: options.state_dir.clone(),
        ..order
    })
}

/// The first process of a container has no default answer to signals: without this, it would be killed after its grace.
fn end_on_signals() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut terminate, mut interrupt) = {
        let _guard = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            });
            tracing::info!("a signal ends this worker");
            std::process::exit(TERMINATED);
        })?;
    Ok(())
}
