//! `provider-sim`: the provider simulator as a program.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Parser;
use provider_sim::{Config, ProviderOptions};
use tokio::signal::unix::{SignalKind, signal};

/// A server that behaves like the providers, with a world that a test controls.
#[derive(Debug, Parser)]
#[command(name = "provider-sim", version)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one and prints it.
    #[arg(long, default_value = "127.0.0.1:8090")]
    bind: SocketAddr,
    /// Base of the webhook receiver; deliveries go to {url}/webhooks/{provider}.
    #[arg(long, default_value = "http://127.0.0.1:8081")]
    webhook_url: String,
    /// Base of the API; apps have registered {url}/v1/connect/{provider}/callback.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    api_url: String,
    /// Seed of the world, the secrets and the faults.
    #[arg(long)]
    seed: Option<u64>,
    /// Accounts that exist from the start.
    #[arg(long, default_value_t = 2)]
    accounts: usize,
    /// People in each account, beside its administrator.
    #[arg(long, default_value_t = 4)]
    people: usize,
    /// Facts per repository, channel and project that happened in the 30 days before the start.
    #[arg(long, default_value_t = 0)]
    history: usize,
    /// Facts per second that happen automatically.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Enforce no rate limits.
    #[arg(long)]
    no_limits: bool,
    /// Maximum number of deliveries in flight.
    #[arg(long, default_value_t = 64)]
    delivery_concurrency: usize,
    #[command(flatten)]
    providers: ProviderOptions,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("POBLYSH_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let simulator = provider_sim::start(Config {
        bind: arguments.bind,
        webhook_url: Some(arguments.webhook_url).filter(|url| !url.is_empty()),
        api_url: arguments.api_url,
        seed: arguments.seed,
        accounts: arguments.accounts,
        people: arguments.people,
        history: arguments.history,
        rate: arguments.rate,
        enforces_limits: !arguments.no_limits,
        delivery_concurrency: arguments.delivery_concurrency,
        providers: arguments.providers,
    })
    .await?;
    tracing::info!(
        url = simulator.base_url(),
        seed = simulator.seed(),
        "provider simulator listening"
    );
    let mut terminated =
        signal(SignalKind::terminate()).context("failed to install the SIGTERM handler")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("failed to install the SIGINT handler")?,
        _ = terminated.recv() => {}
    }
    simulator.shutdown().await;
    Ok(())
}
