//! Webhooks (Events API): verification, then normalization.
//!
//! The signature is the HMAC-SHA-256 of `v0:<timestamp>:<raw body>` under the app's signing
//! secret, no older than five minutes ("Verifying requests from Slack" at docs.slack.dev). All
//! attempts of an event have the same id. Retry headers are ignored, because the earlier attempt
//! may have failed.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::normalize::{self, NormalizeContext};
use super::settings::{AppSettings, app_id, webhook_secrets};
use super::wire::{Authorization, Envelope, Event, Metadata, Ts, WireError, or_default, rows};
use super::{Slack, descriptor, directory};
use crate::clock::SharedClock;
use crate::config::Reader;
use crate::connectors::headers::{signature_hex, single_header};
use crate::connectors::settings::{APP_ACCOUNT, App, AppReader};
use crate::connectors::wire::{Json, plausible};
use crate::connectors::{
    AccountChange, Acknowledgement, ConnectorError, Directory, Handshake, KeySource,
    ProviderDescriptor, SyncHint, VerifyError, WebhookDelivery, WebhookOutcome, WebhookReceipt,
    WebhookRequest, WebhookVerifier,
};
use crate::crypto::{sha256, verify_hmac_sha256_hex};
use crate::http::Charge;
use crate::model::mark_received;

const SIGNATURE: &str = "x-slack-signature";
const TIMESTAMP: &str = "x-slack-request-timestamp";

/// Headers that verification requires.
pub(super) const REQUIRED_HEADERS: &[&str] = &[TIMESTAMP, SIGNATURE];

/// Headers stored with a delivery.
pub(super) const STORED_HEADERS: &[&str] = &[
    "x-slack-retry-num",
    "x-slack-retry-reason",
    "content-type",
    "user-agent",
];

const SIGNATURE_PREFIX: &str = "v0=";
/// Maximum difference between a signature's timestamp and our clock.
const WINDOW_SECONDS: i64 = 300;
/// Maximum length of an event's name.
const MAX_EVENT_NAME: usize = 60;
/// Maximum length of an id; longer ones are not Slack's.
const MAX_ID_LENGTH: usize = 60;
/// Maximum pages of an event's authorizations.
const MAX_PAGES: usize = 50;

/// Verifier of deliveries, with the app's signing secrets.
pub struct Webhooks {
    descriptor: ProviderDescriptor,
    secrets: Vec<SecretString>,
    app_id: Option<String>,
    clock: SharedClock,
}

impl Webhooks {
    /// Reads the settings of verification.
    pub fn from_reader(reader: &mut Reader<'_>, clock: &SharedClock) -> Self {
        let mut reader = AppReader::new(reader);
        Self {
            descriptor: descriptor(AppSettings::limits(&mut reader)),
            secrets: webhook_secrets(&mut reader),
            app_id: app_id(&mut reader),
            clock: clock.clone(),
        }
    }
}

#[async_trait]
impl WebhookVerifier for Webhooks {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    fn is_configured(&self) -> bool {
        !self.secrets.is_empty()
    }

    async fn verify(
        &self,
        request: &WebhookRequest<'_>,
        _: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        let now = self.clock.now();
        verify(&self.secrets, self.app_id.as_deref(), now, request)
    }
}

/// Verifies a delivery's signature under any of the active secrets.
pub(super) fn verify(
    secrets: &[SecretString],
    app_id: Option<&str>,
    now: DateTime<Utc>,
    request: &WebhookRequest<'_>,
) -> Result<WebhookReceipt, VerifyError> {
    let WebhookRequest { headers, body, .. } = *request;
    if secrets.is_empty() {
        return Err(VerifyError::NotConfigured);
    }
    let timestamp = single_header(headers, TIMESTAMP)?;
    let signature = single_header(headers, SIGNATURE)?;
    let hex = signature_hex(signature, SIGNATURE_PREFIX)?;
    let seconds: i64 = Some(timestamp)
        .filter(|text| text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or(VerifyError::Malformed)?;
    if (now.timestamp() - seconds).abs() > WINDOW_SECONDS {
        return Err(VerifyError::Stale);
    }
    let parts = [b"v0:", timestamp.as_bytes(), b":", body.as_ref()];
    if !verify_hmac_sha256_hex(secrets, &parts, hex) {
        return Err(VerifyError::Mismatch);
    }
    Ok(build_receipt(app_id, body))
}

/// Builds the receipt of a verified delivery.
///
/// An unreadable body is still a verified delivery: its dedupe id is the body's digest, and it has
/// no route.
fn build_receipt(app_id: Option<&str>, body: &Bytes) -> WebhookReceipt {
    let json = Json::of(body);
    let envelope: Envelope<'_> = json.read().unwrap_or_default();
    let kind = envelope.kind.as_deref().unwrap_or("unknown");
    if let ("url_verification", Some(challenge)) = (kind, &envelope.challenge) {
        return WebhookReceipt {
            event: kind.to_owned(),
            dedupe_id: String::new(),
            routes: Vec::new(),
            acknowledgement: Acknowledgement::of("text/plain; charset=utf-8", challenge.clone()),
            handshake: Some(Handshake::default()),
            stored_body: None,
        };
    }
    let event_json = envelope.event.map(|raw| Json::of(raw.get()));
    let event: Event<'_> = event_json
        .as_ref()
        .and_then(|json| json.read().ok())
        .unwrap_or_default();
    let name = match (&event.kind, &event.subtype) {
        (Some(kind), Some(subtype)) => format!("{kind}.{subtype}"),
        (Some(kind), None) => kind.clone(),
        (None, _) => kind.to_owned(),
    };
    let foreign = app_id.is_some() && app_id != envelope.api_app_id.as_deref();
    let route = account(&envelope)
        .filter(|id| !foreign && id.len() <= MAX_ID_LENGTH)
        .cloned();
    let dedupe_id = match (&envelope.event_id, envelope.minute_rate_limited) {
        (Some(id), _) => id.clone(),
        (None, Some(minute)) => {
            format!("{kind}:{}:{minute}", route.as_deref().unwrap_or_default())
        }
        (None, None) => hex::encode(sha256(body)),
    };
    WebhookReceipt {
        event: name.chars().take(MAX_EVENT_NAME).collect(),
        dedupe_id: dedupe_id.chars().take(200).collect(),
        routes: route.into_iter().collect(),
        acknowledgement: Acknowledgement::default(),
        handshake: None,
        stored_body: Some(strip_token(body)),
    }
}

/// The account that a delivery is routed to: the one authorization that Slack includes.
fn account<'e>(envelope: &'e Envelope<'_>) -> Option<&'e String> {
    envelope
        .authorizations
        .as_deref()
        .and_then(<[_]>::first)
        .and_then(Authorization::account)
        .or(envelope.team_id.as_ref())
        .or(envelope.enterprise_id.as_ref())
}

/// Removes Slack's verification token from a body.
///
/// The token is a secret, because some apps still authenticate requests by it. Commands and
/// interactions are forms, which contain the token and no event, so nothing of them is stored.
fn strip_token(body: &Bytes) -> Bytes {
    #[derive(Deserialize)]
    struct WithToken<'a> {
        #[serde(borrow, default)]
        token: Option<&'a RawValue>,
    }
    if !Json::of(body).is_object() {
        return Bytes::new();
    }
    let token = match serde_json::from_slice(body) {
        Ok(WithToken { token: Some(token) }) => token,
        Ok(WithToken { token: None }) => return body.clone(),
        Err(_) => return strip_token_lenient(body),
    };
    let from = token.get().as_ptr() as usize - body.as_ptr() as usize;
    let rest = &body[from + token.get().len()..];
    Bytes::from([&body[..from], b"\"\"", rest].concat())
}

/// Removes the token if the strict parser fails, such as with duplicate keys.
///
/// Invalid JSON may contain the token anywhere, so only its brace is stored, which makes the
/// delivery fail.
fn strip_token_lenient(body: &Bytes) -> Bytes {
    match Json::of(body).read::<Map<String, Value>>() {
        Ok(mut fields) => {
            if let Some(token) = fields.get_mut("token") {
                *token = Value::from("");
            }
            Bytes::from(Value::Object(fields).to_string())
        }
        Err(_) => Bytes::from_static(b"{"),
    }
}

/// Normalizes a verified delivery.
pub(super) fn handle(
    app: &AppSettings,
    delivery: &WebhookDelivery,
    directory: &Directory,
) -> Result<WebhookOutcome, ConnectorError> {
    // Commands and interactions are forms, which contain no event.
    let json = Json::of(&delivery.body);
    if !json.is_object() {
        return Ok(WebhookOutcome::default());
    }
    let envelope: Envelope<'_> = json.read().map_err(|_| WireError::NotAnObject)?;
    if envelope.kind.as_deref() == Some("app_rate_limited") {
        return Ok(WebhookOutcome {
            sync_hint: Some(SyncHint::All),
            ..WebhookOutcome::default()
        });
    }
    let Some(raw) = envelope.event else {
        return Ok(WebhookOutcome::default());
    };
    let event_json = Json::of(raw.get());
    let mut event: Event<'_> = event_json.read().map_err(|_| WireError::Missing("event"))?;
    let sent = envelope
        .event_time
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .and_then(plausible);
    let at = sent.unwrap_or(delivery.received_at);
    // All attempts have the same envelope, so its time is a stable fallback for the event's.
    event.at = event.at.or(sent.map(Ts::of));
    let context = NormalizeContext {
        account: &delivery.account,
        directory,
    };
    // An unknown channel may be a known one with a new id: reading its name requests a lookup.
    if matches!(
        event.kind.as_deref(),
        Some("channel_rename" | "group_rename")
    ) && let Some(channel) = event.channel()
    {
        context.channel_name(channel);
    }
    let facts = normalize::from_event(&context, &event, raw, at).map(|fact| {
        let mut facts: Vec<_> = fact.into_iter().collect();
        if sent.is_none() {
            mark_received(&mut facts, delivery.received_at);
        }
        facts
    });
    Ok(WebhookOutcome {
        changes: account_changes(&context, &event, at),
        directory_updates: directory::entries_of(&event),
        more_recipients: app.app_token.is_some()
            && envelope.event_context.is_some()
            && (envelope.is_ext_shared_channel == Some(true)
                || envelope
                    .authorizations
                    .iter()
                    .flatten()
                    .any(|one| one.is_enterprise_install == Some(true))),
        ..WebhookOutcome::from_signals(facts)
    })
}

/// Changes of the connection that an event reports.
fn account_changes(
    context: &NormalizeContext<'_>,
    event: &Event<'_>,
    at: DateTime<Utc>,
) -> Vec<AccountChange> {
    let bot = context.bot_user();
    let about_bot = || bot.is_some() && event.user() == bot;
    let removed = |channel: Option<&str>| AccountChange::StreamsChanged {
        removed_resources: channel.into_iter().map(str::to_owned).collect(),
    };
    let change = match event.kind.as_deref().unwrap_or_default() {
        "app_uninstalled" => AccountChange::GrantCheckRequired,
        "tokens_revoked" => return revoked_tokens(context, event, at),
        "member_joined_channel" if about_bot() => removed(None),
        "member_left_channel" if about_bot() => removed(event.channel()),
        "channel_left" | "group_left" | "channel_deleted" | "group_deleted" => {
            removed(event.channel())
        }
        "channel_id_changed" => {
            let (Some(from), Some(to)) = (&event.old_channel_id, &event.new_channel_id) else {
                return Vec::new();
            };
            AccountChange::ResourceIdChanged {
                from: from.clone(),
                to: to.clone(),
            }
        }
        // `team_access_*`: workspaces of the organization were added or removed.
        "channel_unarchive" | "group_unarchive" | "team_access_granted" | "team_access_revoked" => {
            removed(None)
        }
        _ => return Vec::new(),
    };
    vec![change]
}

/// Changes that a `tokens_revoked` event reports.
///
/// Its lists contain users' ids. A revoked bot token is confirmed with Slack before the grant
/// ends. Of the user tokens, only the installer's is stored.
fn revoked_tokens(
    context: &NormalizeContext<'_>,
    event: &Event<'_>,
    at: DateTime<Utc>,
) -> Vec<AccountChange> {
    let Some(tokens) = &event.tokens else {
        return Vec::new();
    };
    let mut changes = Vec::new();
    let bot = context.bot_user();
    if !tokens.bot.is_empty() && bot.is_none_or(|bot| tokens.bot.iter().any(|user| user == bot)) {
        changes.push(AccountChange::GrantCheckRequired);
    }
    let installer = context.account.settings["installer_id"].as_str();
    if let Some(id) = installer.filter(|id| tokens.oauth.iter().any(|user| user == id)) {
        let user_id = id.to_owned();
        changes.push(AccountChange::UserTokenRevoked { user_id, at });
    }
    changes
}

/// Requests the accounts of all installations that receive an event.
pub(super) async fn recipients(
    slack: &Slack,
    delivery: &WebhookDelivery,
) -> Result<Vec<String>, ConnectorError> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(default, deserialize_with = "rows")]
        authorizations: Vec<Authorization>,
        #[serde(default, deserialize_with = "or_default")]
        response_metadata: Metadata,
    }
    let json = Json::of(&delivery.body);
    let envelope: Envelope<'_> = json.read().map_err(|_| WireError::NotAnObject)?;
    let (Some(context), Some(token)) = (&envelope.event_context, &slack.app.app_token) else {
        return Ok(Vec::new());
    };
    let mut accounts = Vec::new();
    let mut cursor = String::new();
    for _ in 0..MAX_PAGES {
        let arguments = [
            ("event_context", context.as_str()),
            ("limit", "100"),
            ("cursor", cursor.as_str()),
        ];
        let count = if cursor.is_empty() { 2 } else { 3 };
        let response = slack
            .client
            .call(
                &Charge::new(APP_ACCOUNT, "apps.event.authorizations.list"),
                token,
                &arguments[..count],
            )
            .await
            .map_err(|error| match error.cause {
                // The app-level token failed, so no connection needs a refresh.
                ConnectorError::Unauthorized(source) => ConnectorError::Permanent(source),
                other => other,
            })?;
        let page: Page = response.json()?;
        accounts.extend(
            page.authorizations
                .iter()
                .filter_map(|one| one.account().cloned()),
        );
        match page.response_metadata.next_cursor {
            Some(next) => cursor = next,
            None => break,
        }
    }
    accounts.sort_unstable();
    accounts.dedup();
    Ok(accounts)
}

#[cfg(test)]
mod tests;
