//! Health and lifecycle of a process.

mod health;
mod lifecycle;

pub use health::{CheckError, Health, OperationalApi, is_operational, operational_routes};
pub use lifecycle::{Lifecycle, LifecycleError, panic_message, shutdown_signal};
