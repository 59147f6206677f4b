//! Connector for Zoho Mail: mailboxes of people, read folder by folder.
//!
//! A folder's list has no filter by time and no position that lasts, so it is read from the newest
//! mail down to the last known one. The outgoing webhook, which people set up in their mailbox,
//! reports incoming mail at once and has the same dedupe keys. Texts of mails are not kept. `wire`
//! holds Zoho Mail's JSON types, `zoho` what Zoho's products share.

mod auth;
mod client;
mod normalize;
mod settings;
mod sync;
mod webhook;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use url::Url;

pub use settings::{AppSettings, ZohoMailSettings};
pub use webhook::Webhooks;

use super::zoho::{Client, PROFILE, TOKENS};
use super::{
    AppCheckRequest, AuthType, AuthorizeRequest, Callback, CallbackOutcome, Connector,
    ConnectorDeps, ConnectorError, Directory, Finding, Grant, KeySource, ProviderDescriptor,
    RateLimits, RefreshRequest, StreamScope, SyncPage, SyncRequest, TokenSet, VerifyError,
    WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest,
};
use crate::http::HttpError;
use crate::model::{PushWays, StreamSpec};

/// The provider's slug.
const SLUG: &str = "zoho_mail";

/// The requested scopes.
const SCOPES: &[&str] = &[client::ACCOUNTS, client::FOLDERS, client::MESSAGES, PROFILE];

/// Zoho may grant the scope of mails and then reject it. The webhook needs none.
const STREAM_SCOPES: &[StreamScope] = &[StreamScope {
    kind: sync::FOLDER,
    scope: client::MESSAGES,
}];

/// Maximum size of a delivery, which has the whole text of a mail. Polling finds larger mails.
const MAX_WEBHOOK_BYTES: usize = 1024 * 1024;

/// Maximum time from a mail's arrival until it is listed, which Zoho does not state.
const READ_LAG: Duration = Duration::from_mins(5);

/// Zoho Mail connector of one OAuth client.
pub struct ZohoMail {
    descriptor: ProviderDescriptor,
    app: AppSettings,
    client: Client,
}

impl ZohoMail {
    /// Builds the connector of one OAuth client.
    pub fn new(app: AppSettings, deps: &ConnectorDeps) -> Result<Self, HttpError> {
        Ok(Self {
            descriptor: descriptor(app.limits.clone()),
            client: Client::new(deps.outbound(SLUG), &app.zoho, &client::PRODUCT)?,
            app,
        })
    }
}

#[async_trait]
impl Connector for ZohoMail {
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
        webhook::verify(request, keys).await
    }

    fn handle_webhook(
        &self,
        delivery: &WebhookDelivery,
        _: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError> {
        Ok(webhook::handle(delivery))
    }

    fn pushed_since(&self, stream: &StreamSpec, ways: &PushWays) -> Option<DateTime<Utc>> {
        // The outgoing webhook reports incoming mail only.
        let since = self.descriptor.pushed_since(ways);
        since.filter(|_| !sync::is_sent(stream))
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncPage, ConnectorError> {
        sync::read_page(self, &request).await
    }

    async fn check_app(&self, request: &AppCheckRequest) -> Vec<Finding> {
        auth::zoho(self).check_app(request).await
    }
}

/// Zoho Mail's descriptor with these rate limits.
fn descriptor(limits: RateLimits) -> ProviderDescriptor {
    ProviderDescriptor {
        slug: SLUG,
        display_name: "Zoho Mail",
        auth_type: AuthType::Oauth2,
        scopes: SCOPES,
        stream_scopes: STREAM_SCOPES,
        reads: &[
            "senders, recipients and subjects of mails that you receive and send",
            "when they were sent, and the names of your folders",
            "your name and address",
        ],
        webhooks: true,
        polling: true,
        max_webhook_bytes: MAX_WEBHOOK_BYTES,
        required_headers: &[],
        connection_webhooks: Some(webhook::CONNECTION_WEBHOOKS),
        stored_headers: &["content-type", "user-agent"],
        // Several tenants may connect one mailbox.
        exclusive_accounts: false,
        revoke_needs_administrator: false,
        kinds: normalize::KINDS,
        root_stream: sync::ROOT,
        read_lag: READ_LAG,
        needs_redelivery: false,
        tokens: TOKENS,
        subscriptions: None,
        limits,
    }
}

#[cfg(test)]
pub(super) mod tests;
