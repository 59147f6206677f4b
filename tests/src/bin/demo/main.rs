//! The part of `scripts/demo` that speaks HTTP: it connects simulated teams through the real
//! OAuth flow, as their browsers would, and prints their Signals as they arrive.
//!
//! It knows only what any client of ours may know: the API, and the simulated provider's pages.
//! Starting and ending processes is the script's business.
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

/// Where everything is, and how much of it is wanted.
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
    /// Where the teams are remembered between runs.
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
