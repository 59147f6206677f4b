//! Connector for Google Calendar.
//!
//! Pushes only wake up the stream of a calendar. The lists of events show the facts, each of which
//! is a function of one row, so every path gives it the same dedupe key. `google` holds what
//! Google's products share.

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

pub use settings::{AppSettings, GoogleCalendarSettings};
pub use webhook::Webhooks;

use super::google::{
    CHANNELS, Client, Google, MAX_PUSH_BYTES, REQUIRED_HEADERS, STORED_HEADERS, TOKENS,
    handle_push, verify_push,
};
use super::{
    Access, AppCheckRequest, AuthType, AuthorizeRequest, Callback, CallbackOutcome, Connector,
    ConnectorDeps, ConnectorError, Directory, Finding, Grant, KeySource, ProviderDescriptor,
    RateLimits, RefreshRequest, Renewal, SubscribeRequest, SyncPage, SyncRequest, TokenSet,
    VerifyError, WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest,
};
use crate::http::HttpError;
use crate::model::{ExternalAccount, PushWays, StreamSpec, Subscription};

/// The provider's slug.
const SLUG: &str = "google_calendar";

/// Google Calendar connector of one OAuth client.
pub struct GoogleCalendar {
    descriptor: ProviderDescriptor,
    app: AppSettings,
    client: Client,
}

impl GoogleCalendar {
    /// Builds the connector of one OAuth client.
    pub fn new(app: AppSettings, deps: &ConnectorDeps) -> Result<Self, HttpError> {
        Ok(Self {
            descriptor: descriptor(app.limits.clone()),
            client: Client::new(deps.outbound(SLUG), app.google.hosts.clone())?,
            app,
        })
    }

    const fn google(&self) -> Google<'_> {
        Google {
            app: &self.app.google,
            client: &self.client,
            product: &auth::PRODUCT,
        }
    }
}

#[async_trait]
impl Connector for GoogleCalendar {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    fn authorize(&self, request: &AuthorizeRequest) -> Result<Url, ConnectorError> {
        Ok(self.google().authorize(request))
    }

    async fn exchange_token(&self, callback: Callback) -> Result<CallbackOutcome, ConnectorError> {
        match self.google().exchange(&callback).await {
            Ok(consent) => Ok(auth::connect(consent)),
            Err(end) => end,
        }
    }

    fn grant_key(&self, account: &ExternalAccount) -> Option<String> {
        Some(self.google().grant_key(account))
    }

    async fn refresh_token(&self, request: RefreshRequest) -> Result<TokenSet, ConnectorError> {
        self.google().refresh(&request).await
    }

    async fn revoke(&self, grant: &Grant) -> Result<(), ConnectorError> {
        self.google().revoke(grant).await
    }

    async fn verify_webhook(
        &self,
        request: &WebhookRequest<'_>,
        _keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        verify_push(SLUG, &self.app.google.webhook_secrets, request)
    }

    fn handle_webhook(
        &self,
        delivery: &WebhookDelivery,
        _directory: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError> {
        Ok(handle_push(delivery))
    }

    fn pushed_since(&self, stream: &StreamSpec, ways: &PushWays) -> Option<DateTime<Utc>> {
        // Each stream has a watch channel of its own, unless Google has none for it.
        ways.subscribed_since.get(&stream.key).copied()
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncPage, ConnectorError> {
        let has_pushes = !self.app.google.webhook_secrets.is_empty();
        sync::read_page(&self.client, &request, has_pushes).await
    }

    async fn describe_account(
        &self,
        access: &Access,
    ) -> Result<Option<ExternalAccount>, ConnectorError> {
        auth::describe(&self.client, access).await.map(Some)
    }

    async fn subscribe(
        &self,
        access: &Access,
        request: &SubscribeRequest,
    ) -> Result<Subscription, ConnectorError> {
        let secrets = &self.app.google.webhook_secrets;
        webhook::create(&self.client, access, secrets, request).await
    }

    async fn renew(
        &self,
        access: &Access,
        _subscription: &Subscription,
        request: &SubscribeRequest,
    ) -> Result<Renewal, ConnectorError> {
        self.subscribe(access, request).await.map(Renewal::Replaced)
    }

    async fn unsubscribe(
        &self,
        access: &Access,
        subscription: &Subscription,
    ) -> Result<(), ConnectorError> {
        webhook::end(&self.client, access, subscription).await
    }

    async fn check_app(&self, request: &AppCheckRequest) -> Vec<Finding> {
        self.google().check_app_with_channels(request).await
    }
}

/// Google Calendar's descriptor with these rate limits.
fn descriptor(limits: RateLimits) -> ProviderDescriptor {
    ProviderDescriptor {
        slug: SLUG,
        display_name: "Google Calendar",
        auth_type: AuthType::Oauth2,
        scopes: auth::PRODUCT.scopes,
        stream_scopes: &[],
        reads: &[
            "events of the calendars that you may change: titles, times, guests and descriptions",
            "times of private events, but not their titles or content",
            "the names of your calendars",
        ],
        webhooks: true,
        polling: true,
        max_webhook_bytes: MAX_PUSH_BYTES,
        required_headers: REQUIRED_HEADERS,
        connection_webhooks: None,
        stored_headers: STORED_HEADERS,
        // Several tenants may connect one person's account.
        exclusive_accounts: false,
        revoke_needs_administrator: false,
        kinds: normalize::KINDS,
        root_stream: sync::ROOT,
        // Google publishes no figure; changes are listed within seconds.
        read_lag: Duration::from_mins(1),
        needs_redelivery: false,
        tokens: TOKENS,
        subscriptions: Some(CHANNELS),
        limits,
    }
}

#[cfg(test)]
pub(super) mod tests;
