//! Tests of the api-server over HTTP: one file per group of endpoints.
//!
//! Each covers success, a missing credential, another tenant, invalid input and conflicts.

mod api_keys;
mod audit_log;
mod bulk;
mod connect;
mod connections;
mod console;
mod deliveries;
mod document;
mod errors;
mod events;
mod health;
mod isolation;
mod jobs;
mod limits;
mod operators;
mod providers;
mod roles;
mod server;
mod signals;
mod stream;
mod sync;
mod tenants;
