//! The `api-server` process.

use std::io::Write;
use std::process::ExitCode;

use api_server::Config;
use clap::{Parser, Subcommand};
use shared::config::{Process, SETTINGS_HELP};
use shared::service;

/// Serves the API of Poblysh Connectors: connect flows, connections, jobs and the feed of Signals.
#[derive(Debug, Parser)]
#[command(version, after_help = SETTINGS_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the OpenAPI document.
    Openapi,
    /// Asks the running process on this host whether it is ready; the status is 1 if it is not.
    Health,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        None => Ok(Box::pin(service::run(Config::from_env, api_server::start)).await?),
        Some(Command::Openapi) => print(&api_server::openapi_json()),
        Some(Command::Health) => {
            service::probe(Process::Api).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
