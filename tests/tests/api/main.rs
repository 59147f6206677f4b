//! The api-server from outside: one file per group of endpoints, each with the good case,
//! no credential, another tenant, bad input and conflicts.

mod api_keys;
mod connect;
mod connections;
mod deliveries;
mod document;
mod errors;
mod isolation;
mod jobs;
mod limits;
mod providers;
mod server;
mod signals;
mod stream;
mod sync;
mod tenants;
