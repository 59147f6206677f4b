//! Types and functions that the three processes share.
//!
//! The processes meet only in Postgres; this crate defines deliveries, job ownership and the
//! visibility of Signals for all of them. Modules form layers, and each uses lower ones only: the
//! ground is `model`, `config`, `clock` and `problem`, on top are `inbox`, `credentials`, `signals`
//! and `ratelimit`. A test, `tests/tests/layers.rs`, enforces it.

pub mod clock;
pub mod config;
pub mod connectors;
pub mod credentials;
pub mod crypto;
pub mod db;
pub mod health;
pub mod http;
pub mod inbox;
pub mod model;
pub mod problem;
pub mod queue;
pub mod ratelimit;
pub mod server;
pub mod service;
pub mod signals;
pub mod telemetry;
