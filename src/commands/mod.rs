//! One file a subcommand.

mod cluster;
mod crds;
mod describe;
mod finalizers;
mod gateway;
mod get;
mod instance;
mod operator;
mod ping;
mod process;
mod run;
mod serve;
mod user;
mod validate;
mod worker;

use std::{error::Error, process::ExitCode};

use crate::{
    cli::{Cli, Command, cluster::FinalizersCommand},
    telemetry,
};

/// What a subcommand can fail with; printed with its causes.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Run the subcommand; its failure goes to standard error and exit code 1.
pub fn run(cli: Cli) -> ExitCode {
    let is_child = matches!(&cli.command, Command::Worker(options) if options.order.is_none());
    let service = match &cli.command {
        Command::Serve(_) => Some("lakegate"),
        Command::Operator(_) => Some("lakegate-operator"),
        Command::Gateway(_) => Some("lakegate-gateway"),
        Command::Worker(_) => Some("lakegate-worker"),
        _ => None,
    };
    // Sends what is left when the subcommand is done.
    let _traces = telemetry::start(&cli.logs, is_child, service);
    let outcome = match cli.command {
        Command::Serve(options) => serve::serve(options),
        Command::Operator(options) => operator::operator(*options),
        Command::Gateway(options) => gateway::gateway(*options),
        Command::Validate { directory } => validate::validate(&directory),
        Command::Get {
            kind,
            name,
            output,
            state,
        } => get::get(&kind, name.as_deref(), output, &state),
        Command::Describe { resource, state } => describe::describe(&resource, &state),
        Command::Run {
            resource,
            no_wait,
            state,
        } => run::run(&resource, no_wait, &state),
        Command::Crds { check, write } => crds::crds(check.as_deref(), write.as_deref()),
        Command::User { command } => user::user(command),
        Command::Ping(options) => ping::ping(&options),
        Command::Finalizers {
            command: FinalizersCommand::Clear(options),
        } => finalizers::clear(&options),
        Command::Worker(options) => Ok(worker::worker(options)),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("lakegate: {}", with_causes(failure.as_ref()));
        ExitCode::FAILURE
    })
}

/// An error and why, on one line; our errors do not print their source themselves.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// A runtime for a subcommand that only waits for others.
fn small_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}
