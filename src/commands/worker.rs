//! `lakegate worker`: one attempt of a run; see `docs/adr/0004-runs-are-child-processes.md` and
//! `docs/adr/0013-runs-as-jobs.md`.

use std::process::ExitCode;

use lakegate_operator::worker::{self, pod};

use crate::cli::WorkerOptions;

pub fn worker(options: WorkerOptions) -> ExitCode {
    let WorkerOptions {
        order,
        secrets_dir,
        state_dir,
        last_word,
    } = options;
    match (order, secrets_dir, state_dir) {
        (Some(order), Some(secrets_dir), Some(state_dir)) => {
            let options = pod::PodOptions {
                order,
                secrets_dir,
                state_dir,
                last_word,
            };
            pod::run(options, std::io::stdout())
        }
        _ => worker::run(std::io::stdin(), std::io::stdout()),
    }
}
