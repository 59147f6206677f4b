//! Providers: one folder and one registry line each.
//!
//! A connector knows its provider's words and nothing of databases, queues or our own
//! HTTP answers. Everything it needs is given to its constructor.

mod connector;
mod error;
mod registry;

pub mod github;

pub use connector::*;
pub use error::{ConnectorError, LimitScope, Source};
pub use registry::{ConnectorDeps, ConnectorSettings, Registry, RegistryError};
