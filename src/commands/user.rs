//! `lakegate user add`.

use std::{
    io::{IsTerminal as _, Read as _},
    process::ExitCode,
};

use super::Failure;
use crate::cli::UserCommand;

pub fn user(command: UserCommand) -> Result<ExitCode, Failure> {
    let UserCommand::Add { name } = command;
    if std::io::stdin().is_terminal() {
        eprintln!("Type the password of {name}, then Enter and Ctrl-D:");
    }
    let mut password = String::new();
    std::io::stdin().read_to_string(&mut password)?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(format!("the password of {name} is empty: write it to standard input").into());
    }
    println!("{}", lakegate_gateway::auth::user_line(&name, password)?);
    Ok(ExitCode::SUCCESS)
}
