//! The api-server: the HTTP API for operators and tenants, connect flows and the feed.
//!
//! [`start`] starts the whole server; the process and the tests call it. [`openapi_json`] returns
//! the OpenAPI document, which is generated from the router.

#![expect(
    unused_qualifications,
    reason = "utoipa's macros generate qualified names of parameter types"
)]

mod auth;
mod config;
mod connection_gauge;
mod console;
mod error;
mod extract;
mod feed_watcher;
mod grant;
mod health_review;
mod host_cookie;
mod idempotency;
mod limits;
mod middleware;
mod openapi;
mod pages;
mod query;
mod reseal;
mod router;
mod routes;
mod server;
mod state;

pub use config::Config;
pub use router::openapi_json;
pub use server::{start, start_with};
