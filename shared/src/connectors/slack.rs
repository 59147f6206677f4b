//! Slack, as an app with a bot: webhooks (Events API) for what happens, polling for what they
//! miss.
//!
//! This file is the summary; `auth`, `client`, `names`, `webhook`, `normalize` and `sync` are
//! the parts, `wire` the provider's shapes.

mod auth;
mod blocks;
mod client;
mod names;
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

use super::{
    Access, AuthType, AuthorizeRequest, Callback, CallbackOutcome, Connector, ConnectorDeps,
    ConnectorError, Directory, DirectoryEntry, DirectoryKey, Grant, GrantState, KeySource,
    ProviderDescriptor, RateLimits, RefreshRequest, SyncPage, SyncRequest, TokenSet, VerifyError,
    WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest,
};
use crate::clock::SharedClock;
use crate::http::{HttpError, Outbound};
use crate::signals::mark_received;

/// The provider's slug.
const SLUG: &str = "slack";

/// Slack's events are a few kilobytes; a message with its blocks may be larger.
const MAX_WEBHOOK_BYTES: usize = 4 * 1024 * 1024;

/// The connector.
pub struct Slack {
    descriptor: ProviderDescriptor,
    app: AppSettings,
    client: client::Client,
    clock: SharedClock,
}

impl Slack {
    /// A connector for one app.
    pub fn new(app: AppSettings, deps: &ConnectorDeps) -> Result<Self, HttpError> {
        if app.signing_secrets.is_empty() {
            tracing::warn!("no webhook secret is set for Slack: every webhook will be refused");
        }
        if app.app_token.is_none() {
            tracing::warn!(
                "no app-level token is set for Slack: an event of a shared channel reaches only \
                 the workspace that Slack names in it"
            );
        }
        let outbound = Outbound::builder(SLUG, deps.gate.clone(), deps.clock.clone());
        let client = client::Client::new(outbound, deps.clock.clone(), app.base.clone())?;
        Ok(Self {
            descriptor: descriptor(app.limits.clone()),
            client,
            clock: deps.clock.clone(),
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
        webhook::verify(&self.app.signing_secrets, app_id, self.clock.now(), request)
    }

    fn handle_webhook(
        &self,
        delivery: &WebhookDelivery,
        directory: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError> {
        webhook::handle(&self.app, delivery, directory)
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncPage, ConnectorError> {
        let mut page = sync::page(self, &request).await?;
        // Rows without a time of their own are dated by the run.
        mark_received(&mut page.signals, request.until);
        Ok(page)
    }

    async fn look_up(
        &self,
        access: &Access,
        keys: &[DirectoryKey],
    ) -> Result<Vec<DirectoryEntry>, ConnectorError> {
        names::look_up(&self.client, access, keys).await
    }

    async fn has_resource(&self, access: &Access, id: &str) -> Result<bool, ConnectorError> {
        names::has_channel(&self.client, access, id).await
    }

    async fn grant_state(&self, grant: &Grant) -> Result<GrantState, ConnectorError> {
        auth::grant_state(self, grant).await
    }

    async fn recipients(&self, delivery: &WebhookDelivery) -> Result<Vec<String>, ConnectorError> {
        webhook::recipients(self, delivery).await
    }
}

/// What Slack is and can do.
fn descriptor(limits: RateLimits) -> ProviderDescriptor {
    ProviderDescriptor {
        slug: SLUG,
        display_name: "Slack",
        auth_type: AuthType::Oauth2,
        scopes: auth::SCOPES,
        reads: &[
            "messages, threads, files' names and reactions in the channels that the app is in",
            "the names of channels and members, and who joins or leaves",
        ],
        webhooks: true,
        polling: true,
        max_webhook_bytes: MAX_WEBHOOK_BYTES,
        required_headers: webhook::REQUIRED_HEADERS,
        connection_webhooks: None,
        kept_headers: webhook::KEPT_HEADERS,
        // A workspace has one bot of the app, and one tenant that ends it.
        exclusive_accounts: true,
        revoke_needs_administrator: false,
        kinds: normalize::KINDS,
        root_stream: sync::ROOT,
        visible_after: Duration::ZERO,
        redelivery_sweep: false,
        subscriptions: None,
        limits,
    }
}

#[cfg(test)]
mod tests;
