//! The Connector SDK: what a provider must be able to do, in the field's own words.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use super::{
    Access, AuthorizeRequest, Callback, CallbackOutcome, ConnectorError, Directory, DirectoryEntry,
    DirectoryKey, Grant, LimitScope, RefreshRequest, Subscription, SubscriptionSpec, SyncPage,
    SyncRequest, TokenSet, VerifyError, WebhookDelivery, WebhookOutcome, WebhookReceipt,
};
use crate::signals::SignalKind;

/// A provider, as its API and ours speak of it. See the module's documentation for what
/// each operation may assume.
#[async_trait]
pub trait Connector: Send + Sync {
    /// What the provider is and can do.
    fn descriptor(&self) -> &ProviderDescriptor;

    /// Where to send the person's browser next. Called at the start of a connect flow and
    /// again for every [`CallbackOutcome::Continue`].
    fn authorize(&self, request: &AuthorizeRequest) -> Result<Url, ConnectorError>;

    /// Handles the provider's redirect: exchanges the code, proves who granted what.
    async fn exchange_token(&self, callback: Callback) -> Result<CallbackOutcome, ConnectorError>;

    /// Gets a usable access token. `Unauthorized` means that the grant is gone,
    /// `Permission` that the provider suspended it, `Permanent` an operator's mistake.
    async fn refresh_token(&self, request: RefreshRequest) -> Result<TokenSet, ConnectorError>;

    /// Ends the grant at the provider. A grant that is gone already is a success.
    async fn revoke(&self, grant: &Grant) -> Result<(), ConnectorError>;

    /// Checks a webhook's authenticity over the raw bytes, before anything is parsed.
    fn verify_webhook(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<WebhookReceipt, VerifyError>;

    /// Turns a verified delivery into Signals and changes of the connection. Pure: what it
    /// wants to know of the directory and does not find there, the directory remembers, and
    /// the delivery is handled again once it is known.
    fn handle_webhook(
        &self,
        delivery: &WebhookDelivery,
        directory: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError>;

    /// Reads one page of one stream.
    async fn sync(&self, request: SyncRequest) -> Result<SyncPage, ConnectorError>;

    /// Asks the provider what these entries are. One that it does not know is left out.
    async fn look_up(
        &self,
        access: &Access,
        keys: &[DirectoryKey],
    ) -> Result<Vec<DirectoryEntry>, ConnectorError> {
        let _ = (access, keys);
        Ok(Vec::new())
    }

    /// Routes of everybody a delivery is for, where the delivery itself names one of them
    /// only; asked when [`WebhookOutcome::more_recipients`] says so.
    async fn recipients(&self, delivery: &WebhookDelivery) -> Result<Vec<String>, ConnectorError> {
        let _ = delivery;
        Ok(Vec::new())
    }

    /// The subscriptions that the provider holds for this grant, known to us or not.
    async fn subscriptions(&self, access: &Access) -> Result<Vec<Subscription>, ConnectorError> {
        let _ = access;
        Ok(Vec::new())
    }

    /// Has the provider send deliveries about something to `webhook_url`.
    async fn subscribe(
        &self,
        access: &Access,
        wanted: &SubscriptionSpec,
        webhook_url: &Url,
    ) -> Result<Subscription, ConnectorError> {
        let _ = (access, wanted, webhook_url);
        Err(ConnectorError::Permanent(
            "the provider has no subscriptions".into(),
        ))
    }

    /// Lets a subscription live on; answers it with its new end. One that the provider does
    /// not know any more is `Permission`: it is made anew.
    async fn renew(
        &self,
        access: &Access,
        subscription: &Subscription,
    ) -> Result<Subscription, ConnectorError> {
        let _ = (access, subscription);
        Err(ConnectorError::Permanent(
            "the provider has no subscriptions".into(),
        ))
    }

    /// Ends a subscription. One that is gone already is a success.
    async fn unsubscribe(
        &self,
        access: &Access,
        subscription: &Subscription,
    ) -> Result<(), ConnectorError> {
        let _ = (access, subscription);
        Ok(())
    }

    /// Asks the provider to send again what it failed to deliver since `since`; answers how
    /// many. Providers that retry by themselves keep the default.
    async fn recover_deliveries(&self, since: DateTime<Utc>) -> Result<u64, ConnectorError> {
        let _ = since;
        Ok(0)
    }
}

/// What a provider is and can do; listed by `GET /v1/providers`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says yes or no to a question of its own"
)]
#[derive(Debug, Clone)]
pub struct ProviderDescriptor {
    /// The provider's name in URLs and in `Signal.source`.
    pub slug: &'static str,
    /// The provider's name for people.
    pub display_name: &'static str,
    /// How people connect it.
    pub auth_type: AuthType,
    /// What is asked of the person who connects.
    pub scopes: &'static [&'static str],
    /// Whether it sends webhooks.
    pub webhooks: bool,
    /// Whether it can be polled.
    pub polling: bool,
    /// The largest webhook body that is accepted, in bytes.
    pub max_webhook_bytes: usize,
    /// Request headers without which a delivery cannot be genuine (lower case); their
    /// absence is noticed before the body is read.
    pub required_headers: &'static [&'static str],
    /// Request headers that are kept with a delivery (lower case).
    pub kept_headers: &'static [&'static str],
    /// Whether one account belongs to one tenant only.
    pub exclusive_accounts: bool,
    /// Every kind it can give.
    pub kinds: &'static [SignalKind],
    /// The stream that lists the other streams; every sync starts with it.
    pub root_stream: &'static str,
    /// How long after it happened a fact may still not show when the provider is asked.
    pub visible_after: Duration,
    /// Whether undelivered webhooks must be asked for again (hourly).
    pub redelivery_sweep: bool,
    /// How its subscriptions live; `None` where webhooks need none.
    pub subscriptions: Option<SubscriptionPolicy>,
    /// How often and how many at once it may be called.
    pub limits: RateLimits,
}

/// How people connect a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthType {
    /// OAuth 2.0 authorization code; the grant is the person's or the workspace's.
    Oauth2,
    /// An app is installed on an account; OAuth proves who did it.
    AppInstallation,
}

/// A provider's limits as we keep them, below what it publishes.
#[derive(Debug, Clone)]
pub struct RateLimits {
    /// What calls are charged to; a call passes every budget that concerns it.
    pub budgets: Vec<RateBudget>,
    /// Calls in flight per account and process.
    pub account_concurrency: usize,
    /// Calls in flight per process, over all accounts.
    pub process_concurrency: usize,
}

/// One of a provider's limits: so much per second, so much at once after a pause.
#[derive(Debug, Clone)]
pub struct RateBudget {
    /// Who shares it: all calls of an account, of one operation of an account, or all calls
    /// of our app.
    pub reach: LimitScope,
    /// The operations it concerns; all when empty.
    pub operations: &'static [&'static str],
    /// Whether it concerns only calls that read the past and can wait.
    pub bulk: bool,
    /// What it counts.
    pub unit: RateUnit,
    /// How many units come back per second.
    pub per_second: f64,
    /// Units that may be used at once after a pause.
    pub burst: u32,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateUnit {
    /// Calls.
    Calls,
    /// What the provider charges for a call; a call counts as one until its answer says how
    /// much it cost ([`crate::http::LimitObservation::spent`]).
    Points,
}

impl RateBudget {
    /// So many calls per account.
    pub const fn per_account(per_second: f64, burst: u32) -> Self {
        Self {
            reach: LimitScope::Account,
            operations: &[],
            bulk: false,
            unit: RateUnit::Calls,
            per_second,
            burst,
        }
    }
}

/// How a provider's subscriptions live.
#[derive(Debug, Clone, Copy)]
pub struct SubscriptionPolicy {
    /// How long before its end a subscription is renewed.
    pub renew_before: Duration,
    /// How long before its end somebody must be told that it was not.
    pub alert_before: Duration,
}
