//! The `sync-worker` process.

use anyhow::Context;
use shared::config::Env;
use sync_worker::Config;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let env = Env::from_process()?;
    let config = Config::from_env(&env)?;
    let telemetry = shared::telemetry::init("sync-worker", &env)?;
    let address = config.worker.bind_addr;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} (POBLYSH_WORKER_BIND_ADDR)"))?;
    tracing::info!(server.address = %address, "working");
    let life = sync_worker::start(config, listener, telemetry.metrics())?;
    life.run().await;
    telemetry.shutdown().await;
    Ok(())
}
