//! Connector for Gmail: mailboxes of people, read by their headers.
//!
//! A push says which mailbox has changed; its history says what has. Neither bodies nor the
//! beginnings of mails are read. `wire` holds Gmail's JSON types, `google` what Google's products
//! share.

mod access;
mod app_check;
mod auth;
mod client;
mod normalize;
mod settings;
mod sync;
mod watch;
mod webhook;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use url::Url;

pub use access::MailboxAccess;
pub use settings::{AppSettings, GmailSettings, PushSettings};
pub use webhook::Webhooks;

use super::google::{Client, TOKENS};
use super::{
    Access, AppCheckRequest, AuthType, AuthorizeRequest, Callback, CallbackOutcome, Connector,
    ConnectorDeps, ConnectorError, Directory, Finding, Grant, KeySource, ProviderDescriptor,
    RateLimits, RefreshRequest, Renewal, RenewalTime, SubscribeRequest, SubscriptionAddress,
    SubscriptionIds, SubscriptionPolicy, SyncPage, SyncRequest, TokenSet, VerifyError,
    WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest,
};
use crate::clock::SharedClock;
use crate::http::HttpError;
use crate::model::{ExternalAccount, Subscription};

/// The provider's slug.
const SLUG: &str = "gmail";

/// Maximum size of a push, which has some hundred bytes.
const MAX_WEBHOOK_BYTES: usize = 64 * 1024;

/// Maximum time from a message's acceptance until it is listed, which Gmail does not state.
const READ_LAG: Duration = Duration::from_mins(5);

/// Gmail connector of one app.
pub struct Gmail {
    descriptor: ProviderDescriptor,
    app: AppSettings,
    client: Client,
    pushes: Option<webhook::Pushes>,
    clock: SharedClock,
}

impl Gmail {
    /// Builds the connector of one app.
    pub fn new(app: AppSettings, deps: &ConnectorDeps) -> Result<Self, HttpError> {
        if app.topic.is_some() && app.pushes.is_none() {
            tracing::warn!(
                provider = SLUG,
                "no service account of the push subscription is set, rejecting all webhooks"
            );
        }
        let pushes = app.pushes.clone();
        Ok(Self {
            descriptor: descriptor(app.limits.clone(), app.access),
            client: Client::new(deps.outbound(SLUG), app.google.hosts.clone())?,
            pushes: pushes.map(|settings| webhook::Pushes::new(settings, deps.clock.clone())),
            clock: deps.clock.clone(),
            app,
        })
    }
}

#[async_trait]
impl Connector for Gmail {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    fn authorize(&self, request: &AuthorizeRequest) -> Result<Url, ConnectorError> {
        Ok(auth::google(self).authorize(request))
    }

    async fn exchange_token(&self, callback: Callback) -> Result<CallbackOutcome, ConnectorError> {
        auth::exchange_token(self, &callback).await
    }

    fn grant_key(&self, account: &ExternalAccount) -> Option<String> {
        Some(auth::google(self).grant_key(account))
    }

    async fn refresh_token(&self, request: RefreshRequest) -> Result<TokenSet, ConnectorError> {
        auth::google(self).refresh(&request).await
    }

    async fn revoke(&self, grant: &Grant) -> Result<(), ConnectorError> {
        auth::google(self).revoke(grant).await
    }

    async fn verify_webhook(
        &self,
        request: &WebhookRequest<'_>,
        _: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        webhook::verify(self.pushes.as_ref(), self.clock.now(), request)
    }

    fn handle_webhook(
        &self,
        _: &WebhookDelivery,
        _: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError> {
        Ok(webhook::handle())
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncPage, ConnectorError> {
        sync::read_page(self, &request).await
    }

    async fn describe_account(
        &self,
        access: &Access,
    ) -> Result<Option<ExternalAccount>, ConnectorError> {
        auth::describe(self, access).await
    }

    async fn subscribe(
        &self,
        access: &Access,
        _: &SubscribeRequest,
    ) -> Result<Subscription, ConnectorError> {
        watch::start(self, access).await
    }

    async fn renew(
        &self,
        access: &Access,
        _: &Subscription,
        _: &SubscribeRequest,
    ) -> Result<Renewal, ConnectorError> {
        Ok(Renewal::Extended(watch::start(self, access).await?))
    }

    async fn unsubscribe(&self, access: &Access, _: &Subscription) -> Result<(), ConnectorError> {
        watch::stop(self, access).await
    }

    async fn check_app(&self, request: &AppCheckRequest) -> Vec<Finding> {
        app_check::check(self, request).await
    }
}

/// Gmail's descriptor with these rate limits.
fn descriptor(limits: RateLimits, access: MailboxAccess) -> ProviderDescriptor {
    ProviderDescriptor {
        slug: SLUG,
        display_name: "Gmail",
        auth_type: AuthType::Oauth2,
        scopes: access.product().scopes,
        stream_scopes: &[],
        reads: &[
            "senders, recipients and subjects of mails that you receive and send",
            "when they were sent, and their labels",
            "your address",
        ],
        webhooks: true,
        polling: true,
        max_webhook_bytes: MAX_WEBHOOK_BYTES,
        required_headers: webhook::REQUIRED_HEADERS,
        connection_webhooks: None,
        // The token is a secret, and the route names the mailbox.
        stored_headers: &["content-type", "user-agent"],
        // Several tenants may connect one mailbox.
        exclusive_accounts: false,
        revoke_needs_administrator: false,
        kinds: normalize::KINDS,
        root_stream: sync::ROOT,
        // A message has the time of its acceptance, and is listed after it was scanned.
        read_lag: READ_LAG,
        needs_redelivery: false,
        tokens: TOKENS,
        subscriptions: Some(SubscriptionPolicy {
            is_listed: false,
            ids: SubscriptionIds::Provider,
            address: SubscriptionAddress::App,
            // Every day of seven.
            renewal: RenewalTime::AfterPart(1.0 / 7.0),
            // Three renewals were missed.
            alert_before: Duration::from_hours(3 * 24),
        }),
        limits,
    }
}

#[cfg(test)]
pub(super) mod tests;
