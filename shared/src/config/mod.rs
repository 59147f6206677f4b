//! Settings: read once at start, checked as a whole, handed on as plain values.
//!
//! [`Env`] is the only reader of the environment. A [`Reader`] takes values out of it and
//! collects what is wrong with them, so that an operator sees every missing, malformed or
//! contradictory variable at once, by name and never by value. The structs hold what one
//! concern needs; connectors read their own settings with the same [`Reader`].

mod crypto;
mod database;
mod env;
mod process;
mod reader;
mod trusted_proxies;

pub use crypto::CryptoConfig;
pub use database::{DatabaseConfig, Process};
pub use env::Env;
pub use process::{ApiConfig, IngressConfig, WorkerConfig, is_loopback, public_webhook_url};
pub use reader::{ConfigError, Problem, Reader};
pub use trusted_proxies::TrustedProxies;

/// What the help of every process says of its settings.
pub const SETTINGS_HELP: &str = "\
Runs until SIGTERM or SIGINT. Its settings are environment variables; .env.example documents them.";
