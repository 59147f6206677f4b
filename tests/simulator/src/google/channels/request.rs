//! Validation of the body of a watch request.

use axum::http::StatusCode;
use serde_json::Value;
use url::{Host, Url};

use super::ChannelKind;
use crate::google::error::ApiError;
use crate::google::settings::Settings;

const MAX_ID_LENGTH: usize = 64;
const MAX_TOKEN_LENGTH: usize = 256;

/// A valid request for a channel.
pub(super) struct ChannelRequest {
    pub(super) id: String,
    pub(super) address: String,
    pub(super) token: Option<String>,
    /// Epoch milliseconds, cut to the maximum of the kind.
    pub(super) expiration: i64,
}

pub(super) fn bad_request(reason: &'static str, message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, reason, message)
}

impl ChannelRequest {
    pub(super) fn parse(
        body: &Value,
        kind: ChannelKind,
        settings: &Settings,
        now: i64,
    ) -> Result<Self, ApiError> {
        let text = |name: &str| body[name].as_str();
        let is_id = |id: &&str| {
            let allowed = |one: u8| one.is_ascii_alphanumeric() || b"-_+/=".contains(&one);
            (1..=MAX_ID_LENGTH).contains(&id.len()) && id.bytes().all(allowed)
        };
        let id = text("id").filter(is_id);
        let id = id.ok_or_else(|| bad_request("invalid", "Invalid channel id"))?;
        if !matches!(text("type"), Some("web_hook" | "webhook")) {
            let reason = "push.channelTypeNotSupported";
            return Err(bad_request(reason, "Unknown channel type"));
        }
        let token = text("token");
        if token.is_some_and(|token| token.len() > MAX_TOKEN_LENGTH) {
            return Err(bad_request("invalid", "Channel token too long"));
        }
        Ok(Self {
            id: id.to_owned(),
            address: address(text("address").unwrap_or_default(), settings)?,
            token: token.map(str::to_owned),
            expiration: expiration(body, kind, settings, now)?,
        })
    }
}

/// The address, which needs TLS unless it is a permitted loopback address.
fn address(text: &str, settings: &Settings) -> Result<String, ApiError> {
    let url = Url::parse(text).ok();
    let is_loopback = |url: &Url| match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let is_accepted = url.is_some_and(|url| match url.scheme() {
        "https" => true,
        "http" => settings.loopback_addresses && is_loopback(&url),
        _ => false,
    });
    if !is_accepted {
        let message = format!("WebHook callback must be HTTPS: {text}");
        return Err(bad_request("push.webhookUrlNotHttps", &message));
    }
    Ok(text.to_owned())
}

/// End of the channel: `expiration` in milliseconds, or `params.ttl` in seconds.
fn expiration(
    body: &Value,
    kind: ChannelKind,
    settings: &Settings,
    now: i64,
) -> Result<i64, ApiError> {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse::<i64>().ok(),
        other => other.as_i64(),
    };
    let invalid = || bad_request("invalid", "Invalid expiration");
    let requested = match (&body["expiration"], &body["params"]["ttl"]) {
        (Value::Null, Value::Null) => now + kind.default_seconds * 1_000,
        (Value::Null, ttl) => {
            let seconds = number(ttl).ok_or_else(invalid)?;
            now.saturating_add(seconds.saturating_mul(1_000))
        }
        (expiration, _) => number(expiration).ok_or_else(invalid)?,
    };
    if requested <= now {
        return Err(invalid());
    }
    let granted = settings.max_channel_seconds.unwrap_or(kind.max_seconds);
    Ok(requested.min(now + granted.min(kind.max_seconds) * 1_000))
}
