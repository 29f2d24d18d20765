//! `lakegate`: the one binary. Each subcommand is a file of [`commands`].

mod cli;
mod commands;
mod control;
mod table;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

// The default allocator keeps memory of finished queries; this one returns it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    commands::run(cli::Cli::parse())
}
