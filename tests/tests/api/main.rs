//! Tests of the api-server over HTTP: one file per group of endpoints.
//!
//! Each covers success, a missing credential, another tenant, invalid input and conflicts.

mod api_keys;
mod connect;
mod connections;
mod contract;
mod deliveries;
mod document;
mod errors;
mod health;
mod idempotency;
mod isolation;
mod jobs;
mod limits;
mod providers;
mod representation;
mod server;
mod signals;
mod stream;
mod sync;
mod tenants;
