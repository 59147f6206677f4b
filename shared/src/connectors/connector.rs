//! The Connector SDK: what a provider must be able to do, in the field's own words.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::ConnectorError;
use crate::signals::{SignalDraft, SignalKind};

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

    /// Turns a verified delivery into Signals and changes of the connection. Pure.
    fn handle_webhook(&self, delivery: &WebhookDelivery) -> Result<WebhookOutcome, ConnectorError>;

    /// Reads one page of one stream.
    async fn sync(&self, request: SyncRequest) -> Result<SyncPage, ConnectorError>;

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
    /// Whether undelivered webhooks must be asked for again (hourly).
    pub redelivery_sweep: bool,
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
#[derive(Debug, Clone, Copy)]
pub struct RateLimits {
    /// Sustained calls per second and account.
    pub requests_per_second: f64,
    /// Calls of one account that may come at once after a pause.
    pub burst: u32,
    /// Calls in flight per account and process.
    pub account_concurrency: usize,
    /// Calls in flight per process, over all accounts.
    pub process_concurrency: usize,
}

/// The start of a leg of a connect flow.
#[derive(Debug, Clone)]
pub struct AuthorizeRequest {
    /// One-time value that the provider hands back.
    pub state: String,
    /// Our callback, as registered at the provider.
    pub redirect_uri: Url,
    /// PKCE challenge (S256) of this leg's verifier.
    pub code_challenge: String,
    /// What the previous leg left to know; `None` at the start.
    pub carry: Option<serde_json::Value>,
}

/// The provider's redirect back to us, its state already checked.
#[derive(Debug)]
pub struct Callback {
    /// All query parameters, as received. Untrusted.
    pub query: Vec<(String, String)>,
    /// PKCE verifier of this leg.
    pub code_verifier: SecretString,
    /// Our callback, as registered at the provider.
    pub redirect_uri: Url,
    /// What the previous leg left to know.
    pub carry: Option<serde_json::Value>,
}

impl Callback {
    /// The first value of a query parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What a redirect led to.
#[derive(Debug)]
pub enum CallbackOutcome {
    /// Another leg follows: the browser goes to [`Connector::authorize`] with this carry.
    Continue {
        /// What the next leg must know; stored sealed with its state.
        carry: serde_json::Value,
    },
    /// Access is granted and proved.
    Connected(NewGrant),
    /// Somebody else must approve first; the connection stays pending until a webhook
    /// [`AccountChange::Installed`] names `requester`.
    AwaitingApproval {
        /// The provider's id of the person who asked.
        requester: String,
    },
    /// The person or the provider said no.
    Denied {
        /// Why, in words for the person.
        reason: String,
    },
}

/// A grant that has just been proved.
#[derive(Debug)]
pub struct NewGrant {
    /// What was granted access to.
    pub account: ExternalAccount,
    /// Tokens that came with it; `None` when they are made on demand.
    pub tokens: Option<TokenSet>,
    /// Scopes or permissions, as the provider names them.
    pub scopes: Vec<String>,
}

/// A provider's account: an installation, a site, a workspace, a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalAccount {
    /// The id that deliveries are routed by.
    pub id: String,
    /// The name people know it by.
    pub name: String,
    /// What stays the same when `id` changes (a re-installed app gets a new id).
    pub stable_id: String,
    /// What else the connector wants to remember; no secrets.
    pub settings: serde_json::Value,
}

/// An account and its tokens, opened.
#[derive(Debug)]
pub struct Grant {
    /// The account.
    pub account: ExternalAccount,
    /// The access token, if one is at hand.
    pub access_token: Option<SecretString>,
    /// The refresh token, if the provider gives one.
    pub refresh_token: Option<SecretString>,
}

/// What is needed to get another access token.
#[derive(Debug)]
pub struct RefreshRequest {
    /// Whose token.
    pub account: ExternalAccount,
    /// The current refresh token, if the provider gives one.
    pub refresh_token: Option<SecretString>,
}

/// Tokens as the provider gave them.
#[derive(Debug)]
pub struct TokenSet {
    /// The access token; opaque, of any length.
    pub access_token: SecretString,
    /// The next refresh token.
    pub refresh_token: Option<SecretString>,
    /// When the access token ends; `None` if it does not.
    pub expires_at: Option<DateTime<Utc>>,
    /// When the refresh token ends.
    pub refresh_expires_at: Option<DateTime<Utc>>,
}

/// Proof that a webhook is genuine, and what is needed to file it.
#[derive(Debug, Clone)]
pub struct WebhookReceipt {
    /// The event's name, `issues.opened` for example.
    pub event: String,
    /// The provider's id of the delivery: the same id is the same delivery.
    pub dedupe_id: String,
    /// The account it is routed by; `None` when it concerns none.
    pub account_id: Option<String>,
    /// A handshake's answer; such a request is answered and not stored.
    pub reply: Option<HandshakeReply>,
}

/// The answer a provider's handshake demands.
#[derive(Debug, Clone)]
pub struct HandshakeReply {
    /// `Content-Type` of the answer.
    pub content_type: &'static str,
    /// The answer's body.
    pub body: String,
}

/// Why a webhook is refused. Every variant is a 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// No secret is configured, so nothing can be genuine.
    #[error("no webhook secret is configured")]
    NotConfigured,
    /// A header that carries or accompanies the signature is missing.
    #[error("the header {0} is missing")]
    MissingHeader(&'static str),
    /// The signature is not of the form the provider documents.
    #[error("the signature is malformed")]
    Malformed,
    /// The signature is too old or from the future.
    #[error("the signature's time is outside the window")]
    Stale,
    /// The signature belongs to another secret or another body.
    #[error("the signature does not match")]
    Mismatch,
}

impl VerifyError {
    /// A short word for metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::MissingHeader(_) => "missing_header",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::Mismatch => "mismatch",
        }
    }
}

/// A delivery that was verified and stored, as handed to [`Connector::handle_webhook`].
#[derive(Debug, Clone)]
pub struct WebhookDelivery {
    /// The kept headers (lower-case names).
    pub headers: Vec<(String, String)>,
    /// The body as received.
    pub body: Bytes,
    /// When we received it.
    pub received_at: DateTime<Utc>,
}

impl WebhookDelivery {
    /// The value of a kept header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What a delivery says.
#[derive(Debug, Default)]
pub struct WebhookOutcome {
    /// Facts; empty when the event has no kind.
    pub signals: Vec<SignalDraft>,
    /// What it changes about the connection.
    pub changes: Vec<AccountChange>,
}

/// What a provider tells about the grant itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountChange {
    /// The app was installed, or installed again under a new id.
    Installed {
        /// The account as it is now.
        account: ExternalAccount,
        /// The provider's id of the person who had asked for it, if somebody else approved.
        requester: Option<String>,
    },
    /// Calls are refused until [`AccountChange::Unsuspended`].
    Suspended,
    /// The suspension is over; what was missed must be read again.
    Unsuspended,
    /// The grant is gone for good.
    Removed,
    /// Streams came or went: the root stream must be read again.
    StreamsChanged {
        /// Ids of resources that are no longer ours to read; their streams retire at once.
        removed_resources: Vec<String>,
    },
    /// Events were missed: an incremental sync must fill the gap.
    GapDetected,
}

/// One page to read.
#[derive(Debug)]
pub struct SyncRequest {
    /// Whose data.
    pub account: ExternalAccount,
    /// A token that was valid when the call was made.
    pub access_token: SecretString,
    /// Which stream.
    pub stream: StreamSpec,
    /// Where the last committed page ended; `None` for a stream never read.
    pub cursor: Option<serde_json::Value>,
    /// How far back a stream that has no cursor is read.
    pub horizon: DateTime<Utc>,
    /// The frozen upper bound of this run: what happens later belongs to the next one.
    pub until: DateTime<Utc>,
}

/// A stream of a connection: one kind of object in one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// Stable name, unique in the connection: `issues:1296269`.
    pub key: String,
    /// Id of the resource it belongs to (a repository); matches
    /// [`AccountChange::StreamsChanged`].
    pub resource_id: Option<String>,
    /// What the connector needs to address it; may change over time (a renamed repository).
    pub target: serde_json::Value,
}

/// One page that was read. Its Signals and its cursor are committed together.
#[derive(Debug)]
pub struct SyncPage {
    /// The facts on it.
    pub signals: Vec<SignalDraft>,
    /// The cursor behind it.
    pub cursor: serde_json::Value,
    /// Whether the run goes on with this cursor.
    pub more: bool,
    /// Streams found; only the root stream finds any. After its last page, streams that
    /// were not found are retired.
    pub streams: Vec<StreamSpec>,
}
