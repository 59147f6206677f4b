//! The api-server: the HTTP API for operators and tenants, connect flows and the feed.
//!
//! [`start`] starts the whole server; the process and the tests call it. [`openapi_json`] returns
//! the OpenAPI document, which is generated from the router.

#![expect(
    unused_qualifications,
    reason = "utoipa's macros generate qualified names of parameter types"
)]

mod auth;
mod compression;
mod config;
mod error;
mod etag;
mod extract;
mod feed_watcher;
mod grant;
mod health_review;
mod idempotency;
mod limits;
mod middleware;
mod openapi;
mod pages;
mod query;
mod reading_metrics;
mod reseal;
mod router;
mod routes;
mod server;
mod state;

pub use config::Config;
pub use router::openapi_json;
pub use server::{start, start_with};
