//! The Connector SDK: the operations of a provider, and its description.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use super::{
    Access, AuthorizeRequest, Callback, CallbackOutcome, ConnectionWebhooks, ConnectorError,
    Directory, Grant, GrantState, KeySource, RefreshRequest, SyncPage, SyncRequest, TokenSet,
    VerifyError, WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest,
};
#[cfg(doc)]
use crate::http::Priority;
use crate::model::SignalKind;
use crate::model::{
    DirectoryEntry, DirectoryKey, ExternalAccount, LimitScope, Subscription, SubscriptionSpec,
};

/// Connector of one provider.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Describes the provider.
    fn descriptor(&self) -> &ProviderDescriptor;

    /// Builds the provider's URL for the next authorization step.
    ///
    /// Called at the start of a connect flow and after every [`CallbackOutcome::NextStep`].
    fn authorize(&self, request: &AuthorizeRequest) -> Result<Url, ConnectorError>;

    /// Handles the provider's redirect: exchanges the code and verifies the grant.
    async fn exchange_token(&self, callback: Callback) -> Result<CallbackOutcome, ConnectorError>;

    /// Obtains a new access token.
    ///
    /// Only `GrantRevoked` and `GrantSuspended` mean that the grant ended; `Permanent` means that
    /// the operator must correct the settings.
    async fn refresh_token(&self, request: RefreshRequest) -> Result<TokenSet, ConnectorError>;

    /// Revokes the grant at the provider; succeeds if the grant no longer exists.
    async fn revoke(&self, grant: &Grant) -> Result<(), ConnectorError>;

    /// Verifies a webhook's signature over the raw bytes, before the body is parsed.
    async fn verify_webhook(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError>;

    /// Normalizes a verified delivery to Signals and changes of the connection.
    ///
    /// It makes no calls. The directory notes the entries that it lacks, and the delivery is
    /// handled again after they are resolved.
    fn handle_webhook(
        &self,
        delivery: &WebhookDelivery,
        directory: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError>;

    /// Reads one page of one stream.
    async fn sync(&self, request: SyncRequest) -> Result<SyncPage, ConnectorError>;

    /// Fetches directory entries; the result omits the ones that the provider does not know.
    async fn resolve_directory(
        &self,
        access: &Access,
        keys: &[DirectoryKey],
    ) -> Result<Vec<DirectoryEntry>, ConnectorError> {
        let _ = (access, keys);
        Ok(Vec::new())
    }

    /// Returns whether the provider still has a resource with this id.
    ///
    /// Asked when another resource may be the same one under a new id. The default is `true`.
    async fn has_resource(&self, access: &Access, id: &str) -> Result<bool, ConnectorError> {
        let _ = (access, id);
        Ok(true)
    }

    /// Fetches the state of a grant, after [`super::AccountChange::GrantCheckRequired`].
    ///
    /// An error does not mean that the grant ended.
    async fn fetch_grant_state(&self, grant: &Grant) -> Result<GrantState, ConnectorError> {
        let _ = grant;
        Err(ConnectorError::Permanent(
            "the provider has no operation for the state of a grant".into(),
        ))
    }

    /// Fetches the routes of all accounts that a delivery was sent for.
    ///
    /// Called if [`WebhookOutcome::more_recipients`] is set: the delivery names only one of them.
    async fn list_recipients(
        &self,
        delivery: &WebhookDelivery,
    ) -> Result<Vec<String>, ConnectorError> {
        let _ = delivery;
        Ok(Vec::new())
    }

    /// Fetches the account's current description; `None` if it never changes or is not available.
    ///
    /// Called whenever the account's subscriptions are reconciled.
    async fn describe_account(
        &self,
        access: &Access,
    ) -> Result<Option<ExternalAccount>, ConnectorError> {
        let _ = access;
        Ok(None)
    }

    /// Lists the provider's subscriptions of this grant, including unknown ones.
    ///
    /// A known subscription that is not listed is created again if the policy says that the
    /// provider lists all of them.
    async fn list_subscriptions(
        &self,
        access: &Access,
    ) -> Result<Vec<Subscription>, ConnectorError> {
        let _ = access;
        Ok(Vec::new())
    }

    /// Creates a subscription that sends deliveries to `webhook_url`.
    async fn subscribe(
        &self,
        access: &Access,
        spec: &SubscriptionSpec,
        webhook_url: &Url,
    ) -> Result<Subscription, ConnectorError> {
        let _ = (access, spec, webhook_url);
        Err(ConnectorError::Permanent(
            "the provider has no subscriptions".into(),
        ))
    }

    /// Renews a subscription and returns it with its new expiry.
    ///
    /// `Permission` means that the subscription no longer exists, so that it is created again.
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

    /// Deletes a subscription; succeeds if it no longer exists.
    async fn unsubscribe(
        &self,
        access: &Access,
        subscription: &Subscription,
    ) -> Result<(), ConnectorError> {
        let _ = (access, subscription);
        Ok(())
    }

    /// Requests redelivery of the deliveries that failed since `since` and returns their number.
    ///
    /// Connectors of providers that retry keep the default.
    async fn redeliver_webhooks(&self, since: DateTime<Utc>) -> Result<u64, ConnectorError> {
        let _ = since;
        Ok(0)
    }
}

/// Description of a provider; listed by `GET /v1/providers`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the properties are independent of each other"
)]
#[derive(Debug, Clone)]
pub struct ProviderDescriptor {
    /// Name in URLs and in `Signal.source`.
    pub slug: &'static str,
    /// Name for people.
    pub display_name: &'static str,
    /// Method of authorization.
    pub auth_type: AuthType,
    /// Requested scopes or permissions.
    pub scopes: &'static [&'static str],
    /// Data to be read, as text for the connect link's page; lower case, without a full stop.
    pub reads: &'static [&'static str],
    /// Whether the provider sends webhooks.
    pub webhooks: bool,
    /// Whether the connector polls it.
    pub polling: bool,
    /// Maximum size of a webhook body, in bytes.
    pub max_webhook_bytes: usize,
    /// Headers (lower case) that every genuine delivery has, checked before the body is read.
    pub required_headers: &'static [&'static str],
    /// Verification of deliveries to a connection's URL; `None` if there are none.
    pub connection_webhooks: Option<ConnectionWebhooks>,
    /// Headers (lower case) that are stored with a delivery.
    pub stored_headers: &'static [&'static str],
    /// Whether an account belongs to at most one tenant.
    pub exclusive_accounts: bool,
    /// Whether revoking a grant removes the app from the whole account.
    ///
    /// Only a verified administrator may do that.
    pub revoke_needs_administrator: bool,
    /// All kinds that the connector produces.
    pub kinds: &'static [SignalKind],
    /// Key of the stream that lists all others; every sync starts with it.
    pub root_stream: &'static str,
    /// Maximum delay until a fact appears in the provider's responses.
    pub read_lag: Duration,
    /// Whether the service requests redelivery of failed webhooks, every hour.
    pub needs_redelivery: bool,
    /// Policy of its subscriptions; `None` if webhooks need none.
    pub subscriptions: Option<SubscriptionPolicy>,
    /// Limits of calls to the provider.
    pub limits: RateLimits,
}

/// Method of authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthType {
    /// OAuth 2.0 authorization code; the grant belongs to a person or a workspace.
    Oauth2,
    /// Installation of an app on an account; OAuth identifies the installer.
    AppInstallation,
}

/// Limits of calls to a provider, below the ones that it publishes.
#[derive(Debug, Clone)]
pub struct RateLimits {
    /// Budgets; a call is charged to every budget that covers it.
    pub budgets: Vec<RateBudget>,
    /// Maximum concurrent calls per account and process.
    pub account_concurrency: usize,
    /// Maximum concurrent calls per process.
    pub process_concurrency: usize,
}

/// One limit of a provider: a maximum rate and, optionally, a quota per window.
#[derive(Debug, Clone)]
pub struct RateBudget {
    /// Calls that share the budget.
    pub scope: LimitScope,
    /// Operations that it covers; all if empty.
    pub operations: &'static [&'static str],
    /// Unit that it counts.
    pub unit: RateUnit,
    /// Maximum units per second, independent of the remaining quota.
    pub per_second: f64,
    /// Maximum burst after a pause, in units.
    pub burst: u32,
    /// Quota per window.
    pub quota: Option<RateQuota>,
}

/// A number of units per window.
///
/// Calls use the budget's maximum rate until half of the quota is used; the rest is spread evenly
/// over the rest of the window.
#[derive(Debug, Clone, Copy)]
pub struct RateQuota {
    /// Units per window, until a response states another number.
    pub units: u32,
    /// Length of a window whose end the provider has not stated.
    pub window: Duration,
    /// Part of the quota, from 0 to 1, that is reserved for [`Priority::Immediate`] calls.
    pub reserve: f64,
    /// Part of the quota that [`Priority::Poll`] calls may use; all of it if `None`.
    pub poll_share: Option<f64>,
}

/// Unit of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateUnit {
    /// Calls.
    Calls,
    /// Points that the provider charges for a call.
    ///
    /// A call counts as one point until its response states the cost
    /// ([`crate::http::LimitObservation::spent`]).
    Points,
}

impl RateBudget {
    /// A budget of calls per account, without a quota.
    pub const fn per_account(per_second: f64, burst: u32) -> Self {
        Self {
            scope: LimitScope::Account,
            operations: &[],
            unit: RateUnit::Calls,
            per_second,
            burst,
            quota: None,
        }
    }
}

/// Renewal policy of a provider's subscriptions.
#[derive(Debug, Clone, Copy)]
pub struct SubscriptionPolicy {
    /// Whether the provider lists all of its subscriptions.
    pub is_listed: bool,
    /// Time before the expiry at which a subscription is renewed.
    pub renew_before: Duration,
    /// Time before the expiry at which a missing renewal raises an alert.
    pub alert_before: Duration,
}
