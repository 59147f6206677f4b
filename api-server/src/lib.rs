//! The api-server: operators' and tenants' HTTP API, connect flows and the feed.
//!
//! [`serve`] is the whole server as a function; the process and the tests call it alike.
//! Everything that a client can see is described by the document that [`openapi_json`]
//! gives, which is made from the router itself.

#![expect(
    unused_qualifications,
    reason = "utoipa's macros write the names of parameter types out in full"
)]

mod auth;
mod config;
mod error;
mod extract;
mod feed_watcher;
mod layers;
mod limits;
mod openapi;
mod query;
mod reseal;
mod router;
mod routes;
mod server;
mod state;

pub use config::Config;
pub use openapi::openapi_json;
pub use server::{Server, StartError, serve, serve_with};
