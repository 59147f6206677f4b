//! Zoho's errors, and the one table that maps them to [`ConnectorError`].
//!
//! The code decides, then the status: that of the body, which Mail repeats there and which may
//! differ from the one of HTTP, or that of HTTP. The forms differ between products and between
//! versions of one API, and some errors come with 200. Sources: "Access Token" and "Multi-DC" at
//! zoho.com, the API references of Cliq and Mail, and answers that other clients have recorded.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::connectors::response::{self, DEFAULT_RETRY_AFTER};
use crate::connectors::wire::{Json, read_json, text};
use crate::connectors::zoho::product::Product;
use crate::connectors::{ConnectorError, MissingScope, Source};

/// Maximum length of an error message in the log.
const MAX_LOGGED_CHARS: usize = 200;

/// Part of the codes of too many calls, such as `URL_ROLLING_THROTTLES_LIMIT_EXCEEDED`.
const THROTTLE: &str = "throttle";
/// Codes of too many calls.
const LIMITS: &[&str] = &["request_limit_exceeded", "rate_limit_exceeded"];
/// Code of an accounts server after too many requests, and a part of its description.
const ACCOUNTS_THROTTLE: &str = "access denied";
const ACCOUNTS_THROTTLE_TEXT: &str = "too many requests";
/// Codes of a token that is no longer valid.
const INVALID_TOKEN: &[&str] = &["oauthtoken_invalid", "invalid_oauthtoken"];
/// Codes of a token without the scope that a call needs.
///
/// Zoho rejects scopes that it granted.
const MISSING_SCOPE: &[&str] = &[
    "oauthtoken_scope_invalid",
    "invalid_oauthscope",
    "oauth_scope_mismatch",
];
/// Codes that only the operator can correct, in Zoho's API console.
const SETTINGS: &[&str] = &[
    "invalid_client",
    "invalid_client_secret",
    "invalid_redirect_uri",
    "invalid_scope",
];
/// Codes for which a resource, or a path that is documented, is not available to the person.
const DENIALS: &[&str] = &["request_url_invalid", "chat_access_denied"];

/// A failed call, with what its response states.
pub(super) struct CallError<'a> {
    pub(super) operation: &'static str,
    pub(super) http_status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: ErrorBody,
    /// Whether the body is a text that is not JSON, as from a proxy.
    pub(super) is_page: bool,
    /// The scope that the call needs.
    pub(super) scope: Option<&'static str>,
    pub(super) product: &'static Product,
}

/// Zoho's error response, as the source of a [`ConnectorError`].
#[derive(Debug, thiserror::Error)]
#[error("Zoho responded to {operation} with {status}: {message}")]
struct CallFailed {
    operation: &'static str,
    status: StatusCode,
    message: String,
}

/// The content of a body about an error, in any of Zoho's forms.
#[derive(Debug, Default)]
pub(super) struct ErrorBody {
    pub(super) is_json: bool,
    /// `status.code` of Mail.
    status: Option<StatusCode>,
    /// The code of `error`.
    error: Option<String>,
    /// The code beside `message`, or within `data`.
    code: Option<String>,
    message: Option<String>,
    has_access_token: bool,
}

/// The fields of all forms.
#[derive(Default, Deserialize)]
struct Fields<'b> {
    #[serde(default, deserialize_with = "text")]
    code: Option<String>,
    #[serde(default, deserialize_with = "text")]
    message: Option<String>,
    /// A code, or an object with one.
    #[serde(default)]
    error: Value,
    #[serde(default, deserialize_with = "text")]
    error_description: Option<String>,
    /// An object with a code, or a word.
    #[serde(default)]
    status: Value,
    /// The content, or an object with a code.
    #[serde(borrow, default)]
    data: Option<&'b RawValue>,
    access_token: Option<SecretString>,
}

#[derive(Default, Deserialize)]
struct Detail {
    #[serde(rename = "errorCode", default, deserialize_with = "text")]
    code: Option<String>,
    #[serde(rename = "moreInfo", default, deserialize_with = "text")]
    info: Option<String>,
}

impl ErrorBody {
    /// Parses a body; empty if it is none of Zoho's.
    pub(super) fn parse(body: &Bytes) -> Self {
        let json = Json::of(body);
        if !json.is_object() {
            return Self {
                is_json: json.is_json(),
                ..Self::default()
            };
        }
        let Ok(fields) = json.read::<Fields<'_>>() else {
            return Self {
                is_json: json.is_json(),
                ..Self::default()
            };
        };
        let nested = |value: &Value, name: &str| {
            let text = value[name].as_str().filter(|text| !text.is_empty());
            text.map(str::to_owned)
        };
        let detail = fields.data.filter(|data| data.get().starts_with('{'));
        let detail: Detail = detail
            .and_then(|data| read_json(data.get()).ok())
            .unwrap_or_default();
        let error = fields.error.as_str().filter(|code| !code.is_empty());
        Self {
            is_json: true,
            status: stated_status(&fields.status["code"]),
            error: error
                .map(str::to_owned)
                .or_else(|| nested(&fields.error, "code")),
            code: fields.code.or(detail.code),
            message: fields
                .message
                .or(fields.error_description)
                .or_else(|| nested(&fields.error, "message"))
                .or(detail.info)
                .or_else(|| nested(&fields.status, "description")),
            has_access_token: fields
                .access_token
                .is_some_and(|token| !token.expose_secret().is_empty()),
        }
    }

    /// Zoho's code.
    pub(super) fn code(&self) -> Option<&str> {
        self.error.as_deref().or(self.code.as_deref())
    }

    /// Whether there is an access token, the only sign of a token endpoint's success.
    pub(super) const fn has_access_token(&self) -> bool {
        self.has_access_token
    }

    /// Whether the body reports an error, also with 200.
    pub(super) fn is_failure(&self) -> bool {
        self.error.is_some() || self.status.is_some_and(|status| !status.is_success())
    }

    fn has_code(&self, known: &[&str]) -> bool {
        let codes = [&self.error, &self.code];
        let mut codes = codes.into_iter().filter_map(Option::as_deref);
        codes.any(|code| known.iter().any(|known| known.eq_ignore_ascii_case(code)))
    }

    /// Whether a product has rejected the call for the number of calls.
    fn is_limit(&self) -> bool {
        let codes = [&self.error, &self.code];
        let mut codes = codes.into_iter().filter_map(Option::as_deref);
        self.has_code(LIMITS)
            || codes.any(|code| code.to_ascii_lowercase().contains(THROTTLE))
            || self.status == Some(StatusCode::TOO_MANY_REQUESTS)
    }

    /// Whether an accounts server has rejected the request for the number of requests.
    fn is_accounts_throttle(&self) -> bool {
        let message = self.message.as_deref().unwrap_or_default();
        self.has_code(&[ACCOUNTS_THROTTLE])
            && message
                .to_ascii_lowercase()
                .contains(ACCOUNTS_THROTTLE_TEXT)
    }

    fn log_message(&self) -> String {
        let parts = [self.code(), self.message.as_deref()];
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        parts.join(": ").chars().take(MAX_LOGGED_CHARS).collect()
    }
}

/// A status in a body: a number or its digits.
fn stated_status(code: &Value) -> Option<StatusCode> {
    let number = code.as_u64().or_else(|| code.as_str()?.trim().parse().ok());
    let status = StatusCode::from_u16(u16::try_from(number?).ok()?).ok()?;
    // Other numbers are not statuses.
    (status.as_u16() < 600).then_some(status)
}

impl CallError<'_> {
    /// The status that the response means.
    pub(super) fn status(&self) -> StatusCode {
        if self.http_status.is_server_error() {
            return self.http_status;
        }
        let stated = self.body.status.filter(|status| !status.is_success());
        match stated {
            Some(stated) => stated,
            // An error with 200 and without a status of its own.
            None if self.http_status.is_success() && self.body.is_failure() => {
                StatusCode::BAD_REQUEST
            }
            None => self.http_status,
        }
    }

    /// Maps the response to an error.
    pub(super) fn classify(self, now: DateTime<Utc>) -> ConnectorError {
        let status = self.status();
        let body = &self.body;
        let source: Source = Box::new(CallFailed {
            operation: self.operation,
            status,
            message: body.log_message(),
        });
        // At the token endpoint the code is enough: nothing else is denied there.
        let is_token_throttle = self.scope.is_none() && body.has_code(&[ACCOUNTS_THROTTLE]);
        if is_token_throttle || body.is_accounts_throttle() {
            return ConnectorError::Transient(source);
        }
        let is_limit = body.is_limit() || self.http_status == StatusCode::TOO_MANY_REQUESTS;
        if is_limit {
            // A proxy's page does not mean that Zoho locked the endpoint.
            let pause = if self.is_page {
                DEFAULT_RETRY_AFTER
            } else {
                self.product.lock
            };
            return ConnectorError::RateLimited {
                retry_at: response::retry_at(self.headers, now).unwrap_or(now + pause),
                scope: self.product.lock_scope,
                operation: self.operation,
                source,
            };
        }
        if status.is_server_error() {
            return ConnectorError::Transient(source);
        }
        if body.has_code(INVALID_TOKEN) {
            return ConnectorError::Unauthorized(source);
        }
        if body.has_code(MISSING_SCOPE) {
            return match self.scope {
                Some(scope) => ConnectorError::denied(MissingScope(scope)),
                None => ConnectorError::denied(source),
            };
        }
        if body.has_code(SETTINGS) {
            return ConnectorError::Permanent(source);
        }
        if body.has_code(DENIALS) {
            return ConnectorError::denied(source);
        }
        response::map_status(status, self.headers, self.operation, now, source)
    }
}

#[cfg(test)]
mod tests;
