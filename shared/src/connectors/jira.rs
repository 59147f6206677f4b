//! Connector for Jira Cloud, with OAuth 2.0 (3LO).
//!
//! Webhooks are subscribed to per site; polling reads the facts that webhooks miss and those that
//! have no event. `wire` holds Jira's JSON types.

mod auth;
mod client;
mod directory;
mod normalize;
mod settings;
mod subscriptions;
mod sync;
mod webhook;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use url::Url;

pub use settings::{AppSettings, JiraSettings};
pub use webhook::Webhooks;

use super::{
    Access, AppCheckRequest, AuthType, AuthorizeRequest, Callback, CallbackOutcome, Connector,
    ConnectorDeps, ConnectorError, Directory, Finding, Grant, KeySource, ProviderDescriptor,
    RateLimits, RefreshRequest, Renewal, RenewalTime, SubscribeRequest, SubscriptionAddress,
    SubscriptionIds, SubscriptionPolicy, SyncPage, SyncRequest, TokenPolicy, TokenSet, VerifyError,
    WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest,
};
use crate::http::{HttpError, Priority};
use crate::model::{
    DirectoryEntry, DirectoryKey, ExternalAccount, PushWays, StreamSpec, Subscription,
    mark_received,
};

/// The provider's slug.
const SLUG: &str = "jira";

/// Maximum size of a delivery; an issue with all its fields has some hundred kilobytes.
const MAX_WEBHOOK_BYTES: usize = 8 * 1024 * 1024;

/// Jira connector of one app.
pub struct Jira {
    descriptor: ProviderDescriptor,
    app: AppSettings,
    client: client::Client,
}

impl Jira {
    /// Builds the connector of one app.
    pub fn new(app: AppSettings, deps: &ConnectorDeps) -> Result<Self, HttpError> {
        let client = client::Client::new(
            deps.outbound(SLUG),
            app.auth_base.clone(),
            app.api_base.clone(),
        )?;
        Ok(Self {
            descriptor: descriptor(app.limits.clone()),
            client,
            app,
        })
    }
}

#[async_trait]
impl Connector for Jira {
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

    /// Does nothing: Atlassian has no call that revokes a grant.
    ///
    /// A person removes the app in their account's connected apps. The subscriptions have already
    /// been deleted.
    async fn revoke(&self, _grant: &Grant) -> Result<(), ConnectorError> {
        Ok(())
    }

    async fn verify_webhook(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        webhook::verify(&self.app.client.secrets, self.client.now(), request, keys).await
    }

    fn handle_webhook(
        &self,
        delivery: &WebhookDelivery,
        directory: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError> {
        webhook::handle(delivery, directory)
    }

    fn pushed_since(&self, stream: &StreamSpec, ways: &PushWays) -> Option<DateTime<Utc>> {
        // Only webhooks that an administrator sets up report worklogs and projects.
        if sync::is_reported_by_administrators_only(stream) {
            ways.own_url_since
        } else {
            self.descriptor.pushed_since(ways)
        }
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncPage, ConnectorError> {
        let mut page = sync::read_page(&self.client, &request).await?;
        // Rows without a timestamp get the run's upper bound.
        mark_received(&mut page.signals, request.upper_bound);
        Ok(page)
    }

    async fn resolve_directory(
        &self,
        access: &Access,
        keys: &[DirectoryKey],
    ) -> Result<Vec<DirectoryEntry>, ConnectorError> {
        directory::resolve_directory(&self.client, access, keys, Priority::Immediate).await
    }

    async fn describe_account(
        &self,
        access: &Access,
    ) -> Result<Option<ExternalAccount>, ConnectorError> {
        auth::describe(self, access).await
    }

    async fn list_subscriptions(
        &self,
        access: &Access,
    ) -> Result<Vec<Subscription>, ConnectorError> {
        subscriptions::list(&self.client, access).await
    }

    async fn subscribe(
        &self,
        access: &Access,
        request: &SubscribeRequest,
    ) -> Result<Subscription, ConnectorError> {
        subscriptions::create(&self.client, access, request).await
    }

    async fn renew(
        &self,
        access: &Access,
        subscription: &Subscription,
        _request: &SubscribeRequest,
    ) -> Result<Renewal, ConnectorError> {
        let renewed = subscriptions::renew(&self.client, access, subscription).await?;
        Ok(Renewal::Extended(renewed))
    }

    async fn unsubscribe(
        &self,
        access: &Access,
        subscription: &Subscription,
    ) -> Result<(), ConnectorError> {
        subscriptions::unsubscribe(&self.client, access, subscription).await
    }

    async fn check_app(&self, request: &AppCheckRequest) -> Vec<Finding> {
        vec![auth::check_client(self, &request.callback_url).await]
    }
}

/// Jira's descriptor with these rate limits.
fn descriptor(limits: RateLimits) -> ProviderDescriptor {
    ProviderDescriptor {
        slug: SLUG,
        display_name: "Jira",
        auth_type: AuthType::Oauth2,
        scopes: auth::SCOPES,
        stream_scopes: &[],
        reads: &[
            "issues with their changes, comments and worklogs",
            "boards, sprints, versions and projects",
            "the names of people who work on them",
        ],
        webhooks: true,
        polling: true,
        max_webhook_bytes: MAX_WEBHOOK_BYTES,
        required_headers: webhook::REQUIRED_HEADERS,
        connection_webhooks: Some(webhook::CONNECTION_WEBHOOKS),
        stored_headers: webhook::STORED_HEADERS,
        // Several tenants may connect one site, each with a separate grant.
        exclusive_accounts: false,
        revoke_needs_administrator: false,
        kinds: normalize::KINDS,
        root_stream: sync::ROOT,
        // The search index lags, and the worklog list omits the last minute.
        read_lag: sync::READ_LAG,
        needs_redelivery: false,
        tokens: TokenPolicy::default(),
        subscriptions: Some(SubscriptionPolicy {
            is_listed: true,
            ids: SubscriptionIds::Provider,
            address: SubscriptionAddress::App,
            renewal: RenewalTime::Before(Duration::from_hours(7 * 24)),
            alert_before: Duration::from_hours(3 * 24),
        }),
        limits,
    }
}

#[cfg(test)]
pub(super) mod tests;
