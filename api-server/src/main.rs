//! The process of the api-server.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use api_server::Config;
use clap::{Parser, Subcommand};
use shared::config::{Env, SETTINGS_HELP};
use shared::telemetry;
use tokio::net::TcpListener;

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
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        None => serve(),
        Some(Command::Openapi) => print(&api_server::openapi_json()),
    }
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

#[tokio::main]
async fn serve() -> anyhow::Result<ExitCode> {
    let env = Env::from_process()?;
    let config = Config::from_env(&env)?;
    let telemetry = telemetry::init("api-server", &env)?;
    let address = config.bind_addr();
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address}"))?;
    let server = api_server::serve(config, telemetry.metrics(), listener).await?;
    let is_clean = server.lifecycle().run().await;
    telemetry.shutdown().await;
    Ok(if is_clean? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
