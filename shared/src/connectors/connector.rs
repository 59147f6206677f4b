//! The Connector SDK: what a provider must be able to do, in the field's own words.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use super::{
    Access, AuthorizeRequest, Callback, CallbackOutcome, ConnectionWebhooks, ConnectorError,
    Directory, DirectoryEntry, DirectoryKey, ExternalAccount, Grant, GrantState, KeySource,
    LimitScope, RefreshRequest, Subscription, SubscriptionSpec, SyncPage, SyncRequest, TokenSet,
    VerifyError, WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest,
};
#[cfg(doc)]
use crate::http::Priority;
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

    /// Gets a usable access token. `GrantRevoked` and `GrantSuspended` are the provider's word on
    /// the grant, and nothing else ends it; `Permanent` is an operator's mistake.
    async fn refresh_token(&self, request: RefreshRequest) -> Result<TokenSet, ConnectorError>;

    /// Ends the grant at the provider. A grant that is gone already is a success.
    async fn revoke(&self, grant: &Grant) -> Result<(), ConnectorError>;

    /// Verifies a webhook's authenticity over the raw bytes, before anything is parsed.
    async fn verify_webhook(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
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

    /// Whether the provider still shows a resource under this id, where another may be the same one
    /// under its present id. `true` where it does not say.
    async fn has_resource(&self, access: &Access, id: &str) -> Result<bool, ConnectorError> {
        let _ = (access, id);
        Ok(true)
    }

    /// Asks the provider whether it honours a grant; asked when a delivery says
    /// [`super::AccountChange::GrantInDoubt`]. An error says nothing of the grant.
    async fn grant_state(&self, grant: &Grant) -> Result<GrantState, ConnectorError> {
        let _ = grant;
        Err(ConnectorError::Permanent(
            "the provider cannot be asked for the state of a grant".into(),
        ))
    }

    /// Routes of everybody a delivery is for, where the delivery itself names one of them
    /// only; asked when [`WebhookOutcome::more_recipients`] says so.
    async fn recipients(&self, delivery: &WebhookDelivery) -> Result<Vec<String>, ConnectorError> {
        let _ = delivery;
        Ok(Vec::new())
    }

    /// The account as the provider describes it now; `None` where nothing of that changes, or the
    /// provider does not say. Asked at every look at the account's subscriptions.
    async fn describe(&self, access: &Access) -> Result<Option<ExternalAccount>, ConnectorError> {
        let _ = access;
        Ok(None)
    }

    /// The subscriptions that the provider holds for this grant, known to us or not. One of ours
    /// that is not among them is made anew, where the policy says that all are listed.
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
    /// What is read, in words for the person who connects; lower case, without a full stop.
    pub reads: &'static [&'static str],
    /// Whether it sends webhooks.
    pub webhooks: bool,
    /// Whether it can be polled.
    pub polling: bool,
    /// The largest webhook body that is accepted, in bytes.
    pub max_webhook_bytes: usize,
    /// Request headers without which a delivery cannot be genuine (lower case); their
    /// absence is noticed before the body is read.
    pub required_headers: &'static [&'static str],
    /// How deliveries to a connection's own URL are verified; `None` where the provider has none.
    pub connection_webhooks: Option<ConnectionWebhooks>,
    /// Request headers that are kept with a delivery (lower case).
    pub kept_headers: &'static [&'static str],
    /// Whether one account belongs to one tenant only.
    pub exclusive_accounts: bool,
    /// Whether revoking a grant takes the app away from everybody in the account, which only a
    /// proved administrator may do.
    pub revoke_needs_administrator: bool,
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

/// One of a provider's limits: a highest rate, and a quota per window where there is one.
#[derive(Debug, Clone)]
pub struct RateBudget {
    /// Who shares it: all calls of an account, of one operation of an account, or all calls
    /// of our app.
    pub reach: LimitScope,
    /// The operations it concerns; all when empty.
    pub operations: &'static [&'static str],
    /// What it counts.
    pub unit: RateUnit,
    /// Units per second at most, whatever is left of the quota.
    pub per_second: f64,
    /// Units that may be used at once after a pause.
    pub burst: u32,
    /// How many units there are per window.
    pub quota: Option<RateQuota>,
}

/// A quota: so many units per window.
///
/// Calls go at the budget's highest rate while less than half of the quota is used, and evenly
/// over the rest of the window from then on.
#[derive(Debug, Clone, Copy)]
pub struct RateQuota {
    /// Units per window, as long as the provider states no other number.
    pub units: u32,
    /// How long a window lasts that the provider has not stated the end of.
    pub window: Duration,
    /// The part of it, from 0 to 1, that is kept for [`Priority::Immediate`] calls.
    pub reserve: f64,
    /// The part of it that [`Priority::Poll`] calls may use; all when `None`.
    pub poll_share: Option<f64>,
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
            unit: RateUnit::Calls,
            per_second,
            burst,
            quota: None,
        }
    }
}

/// How a provider's subscriptions live.
#[derive(Debug, Clone, Copy)]
pub struct SubscriptionPolicy {
    /// Whether the provider lists all that it holds.
    pub is_listed: bool,
    /// How long before its end a subscription is renewed.
    pub renew_before: Duration,
    /// How long before its end somebody must be told that it was not.
    pub alert_before: Duration,
}
