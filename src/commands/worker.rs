//! `lakegate worker`: one attempt of a run; see `docs/adr/0004-runs-are-child-processes.md`.

use std::process::ExitCode;

pub fn worker() -> ExitCode {
    lakegate_operator::worker::run(std::io::stdin(), std::io::stdout())
}
