//! Connector for Slack, as an app with a bot.
//!
//! Webhooks (Events API) deliver events; polling reads the facts that webhooks miss. `wire` holds
//! Slack's JSON types.

mod app_check;
mod auth;
mod blocks;
mod client;
mod directory;
mod normalize;
mod settings;
mod sync;
mod text;
mod webhook;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use url::Url;

pub use settings::{AppSettings, SlackSettings};
pub use webhook::Webhooks;

use super::settings::warn_without_webhook_secret;
use super::{
    Access, AppCheckRequest, AuthType, AuthorizeRequest, Callback, CallbackOutcome, Connector,
    ConnectorDeps, ConnectorError, Directory, Finding, Grant, GrantState, KeySource,
    ProviderDescriptor, RateLimits, RefreshRequest, SyncPage, SyncRequest, TokenPolicy, TokenSet,
    VerifyError, WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest,
};
use crate::http::HttpError;
use crate::model::{DirectoryEntry, DirectoryKey, mark_received};

/// The provider's slug.
const SLUG: &str = "slack";

/// Maximum size of a delivery; most events have a few kilobytes, messages with blocks more.
const MAX_WEBHOOK_BYTES: usize = 4 * 1024 * 1024;

/// Slack connector of one app.
pub struct Slack {
    descriptor: ProviderDescriptor,
    app: AppSettings,
    client: client::Client,
}

impl Slack {
    /// Builds the connector of one app.
    pub fn new(app: AppSettings, deps: &ConnectorDeps) -> Result<Self, HttpError> {
        warn_without_webhook_secret(SLUG, &app.signing_secrets);
        if app.app_token.is_none() {
            tracing::warn!(
                provider = SLUG,
                "no app-level token is set, events of shared channels reach one workspace only"
            );
        }
        let client = client::Client::new(deps.outbound(SLUG), app.base.clone())?;
        Ok(Self {
            descriptor: descriptor(app.limits.clone()),
            client,
            app,
        })
    }
}

#[async_trait]
impl Connector for Slack {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    fn authorize(&self, request: &AuthorizeRequest) -> Result<Url, ConnectorError> {
        Ok(auth::authorize(self, request))
    }

    async fn exchange_token(&self, callback: Callback) -> Result<CallbackOutcome, ConnectorError> {
        auth::exchange_token(self, &callback).await
    }

    async fn refresh_token(&self, request: RefreshRequest) -> Result<TokenSet, ConnectorError> {
        auth::refresh_token(self, &request).await
    }

    async fn revoke(&self, grant: &Grant) -> Result<(), ConnectorError> {
        auth::revoke(self, grant).await
    }

    async fn verify_webhook(
        &self,
        request: &WebhookRequest<'_>,
        _: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        let app_id = self.app.app_id.as_deref();
        webhook::verify(
            &self.app.signing_secrets,
            app_id,
            self.client.now(),
            request,
        )
    }

    fn handle_webhook(
        &self,
        delivery: &WebhookDelivery,
        directory: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError> {
        webhook::handle(&self.app, delivery, directory)
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncPage, ConnectorError> {
        let mut page = sync::read_page(self, &request).await?;
        // Rows without a timestamp get the run's upper bound.
        mark_received(&mut page.signals, request.upper_bound);
        Ok(page)
    }

    async fn resolve_directory(
        &self,
        access: &Access,
        keys: &[DirectoryKey],
    ) -> Result<Vec<DirectoryEntry>, ConnectorError> {
        directory::resolve_directory(&self.client, access, keys).await
    }

    async fn has_resource(&self, access: &Access, id: &str) -> Result<bool, ConnectorError> {
        directory::has_channel(&self.client, access, id).await
    }

    async fn fetch_grant_state(&self, grant: &Grant) -> Result<GrantState, ConnectorError> {
        auth::fetch_grant_state(self, grant).await
    }

    async fn list_recipients(
        &self,
        delivery: &WebhookDelivery,
    ) -> Result<Vec<String>, ConnectorError> {
        webhook::recipients(self, delivery).await
    }

    async fn check_app(&self, request: &AppCheckRequest) -> Vec<Finding> {
        app_check::check(self, request).await
    }
}

/// Slack's descriptor with these rate limits.
fn descriptor(limits: RateLimits) -> ProviderDescriptor {
    ProviderDescriptor {
        slug: SLUG,
        display_name: "Slack",
        auth_type: AuthType::Oauth2,
        scopes: auth::SCOPES,
        stream_scopes: &[],
        reads: &[
            "messages, threads, files' names and reactions in the channels that the app is in",
            "the names of channels and members, and who joins or leaves",
        ],
        webhooks: true,
        polling: true,
        max_webhook_bytes: MAX_WEBHOOK_BYTES,
        required_headers: webhook::REQUIRED_HEADERS,
        connection_webhooks: None,
        stored_headers: webhook::STORED_HEADERS,
        // A workspace has one bot of the app, so one tenant owns the grant.
        exclusive_accounts: true,
        revoke_needs_administrator: false,
        kinds: normalize::KINDS,
        root_stream: sync::ROOT,
        read_lag: Duration::ZERO,
        needs_redelivery: false,
        tokens: TokenPolicy::default(),
        subscriptions: None,
        limits,
    }
}

#[cfg(test)]
pub(super) mod tests;
