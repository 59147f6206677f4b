//! Connector for Zoho Cliq: the channels and chats of a person, read message by message.
//!
//! Polling reads messages and channels. A bot's handlers may deliver messages as well, with their
//! edits and deletions, which no list shows. `wire` holds Cliq's JSON types, `zoho` what Zoho's
//! products share.

mod auth;
mod client;
mod directory;
mod normalize;
mod settings;
mod sync;
mod webhook;
mod wire;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use url::Url;

pub use settings::{AppSettings, ZohoCliqSettings};
pub use webhook::Webhooks;

use super::zoho::{Client, TOKENS};
use super::{
    Access, AppCheckRequest, AuthType, AuthorizeRequest, Callback, CallbackOutcome, Connector,
    ConnectorDeps, ConnectorError, Directory, Finding, Grant, KeySource, ProviderDescriptor,
    RateLimits, RefreshRequest, StreamScope, SyncPage, SyncRequest, TokenSet, VerifyError,
    WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest,
};
use crate::clock::SharedClock;
use crate::http::{HttpError, Priority};
use crate::model::{DirectoryEntry, DirectoryKey, PushWays, StreamSpec};

/// The provider's slug.
const SLUG: &str = "zoho_cliq";

/// Maximum size of a delivery, which may list the members of a channel.
const MAX_WEBHOOK_BYTES: usize = 1024 * 1024;

/// Scopes that the streams need. Zoho may grant one and reject it.
const STREAM_SCOPES: &[StreamScope] = &[
    needs(sync::CHANNELS, client::CHANNELS),
    needs(sync::CHAT, client::MESSAGES),
    needs(sync::THREADS, client::CHATS),
    needs(sync::THREADS, client::MESSAGES),
];

const fn needs(kind: &'static str, scope: &'static str) -> StreamScope {
    StreamScope { kind, scope }
}

/// Zoho Cliq connector of one app.
pub struct ZohoCliq {
    descriptor: ProviderDescriptor,
    app: AppSettings,
    client: Client,
    clock: SharedClock,
}

impl ZohoCliq {
    /// Builds the connector of one app.
    pub fn new(app: AppSettings, deps: &ConnectorDeps) -> Result<Self, HttpError> {
        Ok(Self {
            descriptor: descriptor(app.limits.clone()),
            client: Client::new(deps.outbound(SLUG), &app.zoho, &auth::PRODUCT)?,
            clock: deps.clock.clone(),
            app,
        })
    }
}

#[async_trait]
impl Connector for ZohoCliq {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    fn authorize(&self, request: &AuthorizeRequest) -> Result<Url, ConnectorError> {
        auth::zoho(self).authorize(request)
    }

    async fn exchange_token(&self, callback: Callback) -> Result<CallbackOutcome, ConnectorError> {
        auth::exchange_token(self, &callback).await
    }

    async fn refresh_token(&self, request: RefreshRequest) -> Result<TokenSet, ConnectorError> {
        auth::zoho(self).refresh(&request).await
    }

    async fn revoke(&self, grant: &Grant) -> Result<(), ConnectorError> {
        auth::zoho(self).revoke(grant).await
    }

    async fn verify_webhook(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        webhook::verify(self.clock.now(), request, keys).await
    }

    fn handle_webhook(
        &self,
        delivery: &WebhookDelivery,
        directory: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError> {
        webhook::handle(delivery, directory)
    }

    fn pushed_since(&self, stream: &StreamSpec, ways: &PushWays) -> Option<DateTime<Utc>> {
        // A bot is in channels only, and no handler reports that one was created.
        let since = self.descriptor.pushed_since(ways);
        since.filter(|_| sync::is_of_channel(stream))
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncPage, ConnectorError> {
        sync::read_page(self, &request).await
    }

    async fn resolve_directory(
        &self,
        access: &Access,
        keys: &[DirectoryKey],
    ) -> Result<Vec<DirectoryEntry>, ConnectorError> {
        let client = client::CliqClient {
            client: &self.client,
            access,
            priority: Priority::Immediate,
        };
        directory::resolve_directory(client, keys).await
    }

    async fn check_app(&self, request: &AppCheckRequest) -> Vec<Finding> {
        auth::zoho(self).check_app(request).await
    }
}

/// Zoho Cliq's descriptor with these rate limits.
fn descriptor(limits: RateLimits) -> ProviderDescriptor {
    ProviderDescriptor {
        slug: SLUG,
        display_name: "Zoho Cliq",
        auth_type: AuthType::Oauth2,
        scopes: auth::PRODUCT.scopes,
        stream_scopes: STREAM_SCOPES,
        reads: &[
            "messages and files' names in the channels and chats that you are in",
            "the names of channels, chats and members",
            "your address",
        ],
        webhooks: true,
        polling: true,
        max_webhook_bytes: MAX_WEBHOOK_BYTES,
        required_headers: &[],
        connection_webhooks: Some(webhook::CONNECTION_WEBHOOKS),
        stored_headers: webhook::STORED_HEADERS,
        // People of several tenants may be in one organization, or one person in several tenants.
        exclusive_accounts: false,
        revoke_needs_administrator: false,
        kinds: normalize::KINDS,
        root_stream: sync::ROOT,
        read_lag: sync::READ_LAG,
        needs_redelivery: false,
        tokens: TOKENS,
        subscriptions: None,
        limits,
    }
}

#[cfg(test)]
pub(super) mod tests;
