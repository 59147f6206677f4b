//! A process from its settings to its exit code.

use std::process::ExitCode;

use tokio::net::TcpListener;

use super::listen::{ListenError, listen};
use super::{LifecycleError, Service, StartError};
use crate::config::{ConfigError, Env, ServiceConfig};
use crate::telemetry::{self, MetricsHandle, TelemetryError};

/// The error that ends a process.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The settings are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Telemetry cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The address of the server cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The process cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A supervised task failed.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
}

/// Runs a process until SIGTERM, SIGINT or the failure of a supervised task.
///
/// `settings` reads the process's settings from the environment, `start` starts it. The process
/// fails if the shutdown had to abort work in flight.
pub async fn run<C>(
    settings: impl FnOnce(&Env) -> Result<C, ConfigError>,
    start: impl AsyncFnOnce(C, TcpListener, MetricsHandle) -> Result<Service, StartError>,
) -> Result<ExitCode, RunError>
where
    C: AsRef<ServiceConfig>,
{
    let env = Env::from_process()?;
    let config = settings(&env)?;
    let ServiceConfig {
        process, bind_addr, ..
    } = *config.as_ref();
    let telemetry = telemetry::init(process.name(), &env)?;
    let listener = listen(bind_addr, process.bind_variable()).await?;
    let service = start(config, listener, telemetry.metrics()).await?;
    let is_drained = service.lifecycle().run().await;
    telemetry.shutdown().await;
    Ok(if is_drained? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
