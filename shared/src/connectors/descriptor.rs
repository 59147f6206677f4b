//! Descriptions of providers: what they send, and the limits of calls to them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ConnectorError, MissingScope};
#[cfg(doc)]
use crate::http::Priority;
use crate::model::{LimitScope, PushWays, SignalKind};

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
    /// Scopes that some streams need and a person may withhold.
    ///
    /// Without the scope the stream is denied, without a call; the other streams are read.
    pub stream_scopes: &'static [StreamScope],
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
    /// Policy of its access tokens.
    pub tokens: TokenPolicy,
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

/// Scope that the streams of one kind need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamScope {
    /// Kind of the streams: the part of their keys before the colon.
    pub kind: &'static str,
    /// The scope, as in [`ProviderDescriptor::scopes`] and [`super::NewGrant::scopes`].
    pub scope: &'static str,
}

impl ProviderDescriptor {
    /// Verifies that the granted scopes allow to read a stream.
    ///
    /// # Errors
    ///
    /// [`ConnectorError::Denied`] with the stream and a [`MissingScope`].
    pub fn verify_stream_scope(
        &self,
        stream: &str,
        granted: &[String],
    ) -> Result<(), ConnectorError> {
        missing_scope(self.stream_scopes, stream, granted).map_or(Ok(()), |scope| {
            Err(ConnectorError::denied(MissingScope(scope)).of_stream(stream))
        })
    }

    /// Since when deliveries reach a connection, whichever stream they concern; `None` if none do.
    pub fn pushed_since(&self, ways: &PushWays) -> Option<DateTime<Utc>> {
        let has_only_own_url = self
            .connection_webhooks
            .is_some_and(|webhooks| webhooks.is_only_url);
        if !self.webhooks {
            None
        } else if !has_only_own_url && self.subscriptions.is_none() {
            // The app's webhook is the operator's: it exists before any connection.
            Some(DateTime::<Utc>::MIN_UTC)
        } else {
            ways.since()
        }
    }
}

/// The scope that a stream needs and the grant lacks.
fn missing_scope(needed: &[StreamScope], stream: &str, granted: &[String]) -> Option<&'static str> {
    let kind = stream.split(':').next().unwrap_or_default();
    let is_granted = |scope: &str| granted.iter().any(|granted| granted == scope);
    let mut needed = needed.iter().filter(|needed| needed.kind == kind);
    needed
        .find(|needed| !is_granted(needed.scope))
        .map(|needed| needed.scope)
}

/// Policy of a provider's access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenPolicy {
    /// Time before the expiry at which a token is refreshed ahead of its use.
    pub refresh_before: Duration,
    /// Maximum number of refreshes of one grant, for all workers together; `None` if unlimited.
    pub quota: Option<TokenQuota>,
    /// Whether a refresh token remains valid when a later consent issues none.
    ///
    /// A first consent that issues none is then rejected.
    pub keeps_refresh_token: bool,
    /// Whether a revocation ends the tokens of one consent only, and no other grant of the person.
    ///
    /// Then a grant that could not be stored is revoked, and so is one that a later consent
    /// replaces: providers that keep few grants of a person end the oldest for each new one.
    pub revokes_one_consent: bool,
}

/// A number of token refreshes per window, beyond which the provider locks a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenQuota {
    /// Refreshes per window, failed ones included.
    pub refreshes: u32,
    /// Length of the sliding window; at most 30 days, for which refreshes are logged.
    pub window: Duration,
}

impl Default for TokenPolicy {
    /// A refresh five minutes before the expiry, without a quota.
    fn default() -> Self {
        Self {
            refresh_before: Duration::from_mins(5),
            quota: None,
            keeps_refresh_token: false,
            revokes_one_consent: false,
        }
    }
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
    /// Operations that it covers; all if empty. With [`LimitScope::Account`] they share one count.
    pub operations: &'static [&'static str],
    /// Unit that it counts.
    pub unit: RateUnit,
    /// Maximum units per second, independent of the remaining quota.
    pub per_second: f64,
    /// Maximum burst after a pause, in units.
    pub burst: u32,
    /// Time by which a call may be late without a loss of rate, in addition to the burst.
    ///
    /// For limits so low that a burst of one more call would cost a large part of them.
    pub slack: Duration,
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
            slack: Duration::ZERO,
            quota: None,
        }
    }
}

/// Renewal policy of a provider's subscriptions.
#[derive(Debug, Clone, Copy)]
pub struct SubscriptionPolicy {
    /// Whether the provider lists all of its subscriptions.
    pub is_listed: bool,
    /// The origin of their ids.
    pub ids: SubscriptionIds,
    /// The URL to which their deliveries are sent.
    pub address: SubscriptionAddress,
    /// Time at which a subscription is renewed.
    pub renewal: RenewalTime,
    /// Time before the expiry at which a missing renewal raises an alert.
    pub alert_before: Duration,
}

/// Time at which a subscription is renewed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RenewalTime {
    /// This long before its expiry.
    Before(Duration),
    /// When this part of its lifetime, from 0 to 1, has passed.
    ///
    /// For providers that may grant any lifetime.
    AfterPart(f64),
}

impl RenewalTime {
    /// Returns when a subscription is due that was created or renewed at `since`.
    pub fn due_at(self, since: DateTime<Utc>, expires_at: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Before(before) => expires_at - before,
            Self::AfterPart(part) => {
                let lifetime = (expires_at - since).to_std().unwrap_or_default();
                expires_at - lifetime.mul_f64((1.0 - part).clamp(0.0, 1.0))
            }
        }
    }
}

/// Origin of a subscription's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionIds {
    /// The provider's response has it.
    Provider,
    /// The service plans it before the call.
    ///
    /// The provider may send deliveries before its response arrives.
    Planned,
}

/// URL to which the deliveries of subscriptions are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionAddress {
    /// The app's URL. Deliveries are verified with the app's secret and routed by their content.
    App,
    /// The connection's own URL. Deliveries reach that connection only.
    Connection,
}

/// Verification of deliveries to a connection's URL.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionWebhooks {
    /// Headers (lower case) that every genuine delivery has.
    pub required_headers: &'static [&'static str],
    /// Header (lower case) in which the provider sends its signing secret.
    ///
    /// `None` if the service generates the secret.
    pub handshake_header: Option<&'static str>,
    /// Whether an administrator may register a public key of the provider instead of a secret.
    pub accepts_public_key: bool,
    /// Whether deliveries arrive at no other URL than the connection's.
    pub is_only_url: bool,
}

impl ConnectionWebhooks {
    /// Returns a required header that the request lacks, unless it is a handshake.
    pub fn missing_header(&self, headers: &HeaderMap) -> Option<&'static str> {
        let is_handshake = self
            .handshake_header
            .is_some_and(|name| headers.contains_key(name));
        let mut required = self.required_headers.iter().copied();
        required.find(|name| !is_handshake && !headers.contains_key(*name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_before_expiry_or_after_part() {
        let since = DateTime::UNIX_EPOCH;
        let expires_at = since + chrono::TimeDelta::hours(10);
        let due = |renewal: RenewalTime| (renewal.due_at(since, expires_at) - since).num_hours();
        assert_eq!(due(RenewalTime::Before(Duration::from_hours(3))), 7);
        assert_eq!(due(RenewalTime::AfterPart(0.8)), 8);
        let expired = RenewalTime::AfterPart(0.8).due_at(expires_at, since);
        assert_eq!(expired, since, "immediately");
    }

    #[test]
    fn stream_needs_every_scope_of_its_kind() {
        let needed = [("events", "a"), ("events", "b"), ("mail", "c")]
            .map(|(kind, scope)| StreamScope { kind, scope });
        let missing = |stream: &str, granted: &[&str]| {
            let granted: Vec<String> = granted.iter().map(|scope| (*scope).to_owned()).collect();
            missing_scope(&needed, stream, &granted)
        };
        assert_eq!(missing("events:1", &["a", "b"]), None);
        assert_eq!(missing("events:1", &["a", "c"]), Some("b"));
        assert_eq!(missing("mail", &["a", "b"]), Some("c"));
        assert_eq!(missing("eventsource:1", &[]), None, "another kind");
        assert_eq!(missing("root", &[]), None);
    }
}
