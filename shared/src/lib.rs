//! Types and functions that the three processes share.
//!
//! The processes meet only in Postgres; this crate defines deliveries, job ownership and the
//! visibility of Signals for all of them. Dependencies point one way: `config`, `crypto` and
//! `problem` depend on no other module, `connectors` use `http` and `signals` and not the
//! database, and `inbox`, `credentials` and `queue` combine connectors and database.

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
