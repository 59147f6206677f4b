//! Providers: one folder and one registry line each.
//!
//! A connector knows its provider's words and nothing of databases, queues or our own
//! HTTP answers. Everything it needs is given to its constructor.

mod connector;
mod directory;
mod error;
mod grant;
mod registry;
mod stream;
mod subscription;
mod webhook;

mod support;
mod wire;

#[cfg(test)]
mod testing;

pub mod github;
pub mod jira;
pub mod slack;

pub use connector::*;
pub use directory::*;
pub use error::{ConnectorError, LimitScope, Source};
pub use grant::*;
pub use registry::{ConnectorDeps, ConnectorSettings, Registry, RegistryError};
pub use stream::*;
pub use subscription::*;
pub use webhook::*;
