//! Connectors of providers: one folder and one registry line each.
//!
//! A connector knows its provider's API and nothing of the database, the queue or the service's
//! HTTP API. Its constructor takes all of its dependencies.

mod app_check;
mod connector;
mod descriptor;
mod directory;
mod error;
mod grant;
mod new_token;
mod registry;
mod stream;
mod subscription;
mod webhook;

mod cursor;
mod headers;
mod mail_header;
mod oauth;
mod page;
mod response;
mod rows;
mod settings;
mod wire;

#[cfg(test)]
mod testing;

pub mod github;
pub mod gmail;
pub mod google;
pub mod google_calendar;
pub mod google_drive;
pub mod jira;
pub mod slack;
pub mod zoho;
pub mod zoho_cliq;
pub mod zoho_mail;

pub use app_check::{AppCheckRequest, Finding, FindingStatus, ProviderActivity};
pub use connector::*;
pub use descriptor::*;
pub use directory::*;
pub use error::{ConnectorError, MissingScope, Source};
pub use grant::*;
pub use new_token::with_new_token;
pub use oauth::OAuthClient;
pub use registry::{
    AddedProvider, ConnectorDeps, ConnectorSettings, Registry, RegistryError, WebhookRegistry,
};
pub use settings::{App, AppReader, ProviderSettings};
pub use stream::*;
pub use subscription::*;
pub use webhook::*;
