//! The bootstrap and the lifecycle of a process.
//!
//! [`run`] is a process from its settings to its exit code: settings, telemetry, listener, start,
//! shutdown. A process starts with a [`Bootstrap`], which opens the database, checks its role and
//! has the clock, the health check and the [`Lifecycle`]. The process adds its own parts as
//! supervised tasks, then [`Bootstrap::serve`] makes it a running [`Service`]. Tests start a
//! process in the same way, without [`run`].

mod bootstrap;
mod health;
mod lifecycle;
mod listen;
mod pool_metrics;
mod run;

pub use bootstrap::{Bootstrap, Service, StartError};
pub use health::{CheckError, Health, OperationalApi, operational_routes};
pub use lifecycle::{Lifecycle, LifecycleError, panic_message};
pub use listen::ListenError;
pub use run::{RunError, run};
