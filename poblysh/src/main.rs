//! `poblysh`: the operator's command.
//!
//! `doctor` and `migrate` work with the settings and the database of the processes; all other
//! subcommands are clients of the HTTP API.

mod api;
mod arguments;
mod commands;
mod doctor;
mod options;
mod output;
mod sse;
mod table;

use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::api::Api;
use crate::arguments::{Arguments, Command};
use crate::commands::{
    connect, connections, deliveries, jobs, keys, manual, migrate, overview, providers, signals,
    tenants,
};
use crate::output::Output;

#[tokio::main]
async fn main() -> ExitCode {
    // As for `migrations`: a file is read if there is one, and real variables win. A malformed
    // file is a finding of `doctor`.
    dotenvy::dotenv().ok();
    let arguments = Arguments::parse();
    match Box::pin(run(arguments)).await {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
            let text = texts.join("\n  because: ");
            // Without stderr there is no place left for the error.
            writeln!(io::stderr(), "error: {text}").ok();
            ExitCode::FAILURE
        }
    }
}

/// Whether the reader of the output has ended, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause: &(dyn Error + 'static)| {
        let error = cause.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    })
}

/// Runs a subcommand.
async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { options, command } = arguments;
    let output = Output::new(options.json);
    let api = || Api::new(&options);
    match command {
        Command::Doctor(arguments) => return Box::pin(doctor::run(&arguments, output)).await,
        Command::Migrate(arguments) => migrate::run(arguments, output).await?,
        Command::Completions { shell } => manual::complete(Arguments::command(), shell)?,
        Command::Man(arguments) => manual::run(Arguments::command(), &arguments)?,
        Command::Overview => overview::run(&api()?, output).await?,
        Command::Providers => providers::run(&api()?, output).await?,
        Command::Tenants(command) => tenants::run(command, &api()?, output).await?,
        Command::Keys(command) => keys::run(command, &api()?, output).await?,
        Command::Connect(arguments) => connect::run(&arguments, &api()?, output).await?,
        Command::Connections(command) => connections::run(command, &api()?, output).await?,
        Command::Jobs(command) => jobs::run(command, &api()?, output).await?,
        Command::Deliveries(command) => deliveries::run(command, &api()?, output).await?,
        Command::Signals(command) => signals::run(command, &api()?, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}
