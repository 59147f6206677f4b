//! Tokens in responses of token endpoints.

use chrono::{DateTime, Duration, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::connectors::error::permanent_error;
use crate::connectors::response::Response;
use crate::connectors::{ConnectorError, TokenSet};

/// Response of a token endpoint without an error code.
pub(in super::super) struct TokenResponse {
    body: Body,
    response: Response,
}

#[derive(Deserialize)]
struct Body {
    #[serde(flatten)]
    tokens: IssuedTokens,
    /// A list, as text or as an array.
    #[serde(default)]
    scope: Value,
    #[serde(default)]
    error: Value,
}

/// Tokens of one holder, as a token endpoint returns them.
#[derive(Default, Deserialize)]
pub(in super::super) struct IssuedTokens {
    access_token: Option<SecretString>,
    refresh_token: Option<SecretString>,
    /// Seconds, as a number or as text.
    #[serde(default)]
    expires_in: Value,
    /// Seconds until the refresh token expires, in the same forms.
    #[serde(default)]
    refresh_token_expires_in: Value,
}

impl IssuedTokens {
    /// Returns the tokens with their expiry; `None` without an access token.
    pub(in super::super) fn into_set(self, now: DateTime<Utc>) -> Option<TokenSet> {
        let is_present = |token: &SecretString| !token.expose_secret().is_empty();
        Some(TokenSet {
            access_token: self.access_token.filter(is_present)?,
            refresh_token: self.refresh_token.filter(is_present),
            expires_at: expires_at(&self.expires_in, now),
            refresh_expires_at: expires_at(&self.refresh_token_expires_in, now),
        })
    }
}

impl TokenResponse {
    pub(super) fn read(response: Response) -> Result<Self, ConnectorError> {
        let body = response.json()?;
        Ok(Self { body, response })
    }

    /// The error code of a response with a success status: some providers report errors so.
    pub(super) fn error_code(&self) -> Option<&str> {
        let code = self.body.error.as_str().filter(|code| !code.is_empty());
        code.filter(|_| !self.has_access_token())
    }

    /// Returns whether there is an access token.
    pub(in super::super) const fn has_access_token(&self) -> bool {
        self.body.tokens.access_token.is_some()
    }

    /// The granted scopes, separated by commas or spaces at the provider; empty if it names none.
    pub(in super::super) fn scopes(&self) -> Vec<String> {
        let listed: Vec<&str> = match &self.body.scope {
            Value::Array(scopes) => scopes.iter().filter_map(Value::as_str).collect(),
            text => text.as_str().into_iter().collect(),
        };
        listed
            .into_iter()
            .flat_map(|text| text.split([',', ' ']))
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The requested scopes that were granted: all if the provider names none (RFC 6749, 5.1).
    ///
    /// `is_same` compares a granted scope with a requested one.
    pub(in super::super) fn granted(
        &self,
        requested: &[&str],
        is_same: impl Fn(&str, &str) -> bool,
    ) -> Vec<String> {
        let listed = self.scopes();
        let is_granted = |scope: &&&str| {
            listed.is_empty() || listed.iter().any(|granted| is_same(granted, scope))
        };
        let granted = requested.iter().filter(is_granted);
        granted.map(|scope| (*scope).to_owned()).collect()
    }

    /// Parses the provider's own fields.
    pub(in super::super) fn fields<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ConnectorError> {
        self.response.json()
    }

    /// Returns the tokens with their expiry.
    pub(in super::super) fn into_set(self, now: DateTime<Utc>) -> Result<TokenSet, ConnectorError> {
        let tokens = self.body.tokens.into_set(now);
        tokens.ok_or_else(|| permanent_error("the token response holds no access token"))
    }
}

/// Returns the end of a token's lifetime.
///
/// A lifetime that is not positive or not readable counts as not stated. The token is used until
/// the provider rejects it, which costs one call; an expiry in the past would refresh it each time.
pub(in super::super) fn expires_at(
    expires_in: &Value,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let text = || expires_in.as_str()?.trim().parse().ok();
    let seconds = expires_in.as_f64().or_else(text)?;
    let lifetime = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    let lifetime = Duration::from_std(lifetime).ok()?;
    now.checked_add_signed(lifetime).filter(|end| *end > now)
}
