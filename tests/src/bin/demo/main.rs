//! HTTP client of `scripts/demo`: connects simulated teams and prints their Signals.
//!
//! It uses only the public API and the simulated provider's pages; the teams are connected by the
//! real OAuth flow. The script starts and ends the processes.
#![expect(clippy::print_stdout, reason = "this program's output is its purpose")]

mod api;
mod browser;
mod follow;
mod simulator;
mod teams;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use secrecy::SecretString;
use url::Url;

/// Connects simulated teams and follows their Signals.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Wait for the simulator and print the settings with which the processes reach it.
    Settings {
        /// Base URL of the simulator.
        #[arg(long)]
        simulator: Url,
    },
    /// Connect teams, then print each Signal.
    Follow(Box<FollowArguments>),
}

/// Arguments of `demo follow`.
#[derive(clap::Args)]
struct FollowArguments {
    /// Base URL of the api-server.
    #[arg(long)]
    api: Url,
    /// Base URL of the webhook-ingress.
    #[arg(long)]
    ingress: Url,
    /// Base URL of the sync-worker.
    #[arg(long)]
    worker: Url,
    /// Base URL of the simulator.
    #[arg(long)]
    simulator: Url,
    /// How many teams to connect.
    #[arg(long, default_value_t = 3)]
    tenants: usize,
    /// End after this many Signals.
    #[arg(long)]
    exit_after: Option<u64>,
    /// File that keeps the teams between runs.
    #[arg(long)]
    state: PathBuf,
    /// The operator's token.
    #[arg(long, env = "POBLYSH_OPERATOR_TOKEN", hide_env_values = true)]
    operator_token: SecretString,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Settings { simulator } => {
            print!("{}", simulator::settings(&simulator).await?);
            Ok(())
        }
        Command::Follow(arguments) => follow::run(&arguments).await,
    }
}
