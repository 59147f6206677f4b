//! Everything the three processes have in common.
//!
//! The processes meet only in Postgres; this crate holds the types and functions that
//! make them agree: what a delivery is, who owns a job, when a Signal exists. Arrows
//! point one way: `config`, `crypto` and `problem` stand on the ground, `connectors` know
//! `http` and `signals` and nothing of the database, and `inbox`, `credentials` and
//! `queue` bring the two together.

pub mod clock;
pub mod config;
pub mod connectors;
pub mod credentials;
pub mod crypto;
pub mod db;
pub mod http;
pub mod ids;
pub mod inbox;
pub mod problem;
pub mod queue;
pub mod ratelimit;
pub mod server;
pub mod signals;
pub mod telemetry;
