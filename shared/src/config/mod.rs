//! Settings: read once at start, validated together, passed on as plain values.
//!
//! Only [`Env`] reads the environment. A [`Reader`] parses its values and collects their problems,
//! so that an operator sees all missing, malformed and contradictory variables at once, by name and
//! never by value. Each struct has the settings of one concern; connectors read theirs with the
//! same [`Reader`].

mod crypto;
mod database;
mod env;
mod error;
mod process;
mod reader;
mod service;
mod trusted_proxies;

pub use crypto::CryptoConfig;
pub use database::{DatabaseConfig, Process};
pub use env::Env;
pub use error::{ConfigError, Problem};
pub use process::{ApiConfig, IngressConfig, WorkerConfig};
pub use reader::Reader;
pub use service::{ServiceConfig, health_addr, is_loopback, public_api_url, public_webhook_url};
pub use trusted_proxies::TrustedProxies;

/// The section about settings in the help of every process.
pub const SETTINGS_HELP: &str = "\
Runs until SIGTERM or SIGINT. Its settings are environment variables; .env.example documents them.";
