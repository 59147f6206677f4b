//! Access of a request: its token, its data centre and its scopes.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, header};

use super::Zoho;
use super::data_center::DataCenter;
use super::tokens::Caller;

/// Reason why a request has no access; each product has its own response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request has no token.
    NoToken,
    /// The token is unknown, expired, revoked, or of another data centre.
    InvalidToken,
    /// The token lacks the scope, or the scope is refused though it was granted.
    MissingScope,
}

/// Schemes of the `Authorization` header.
const SCHEMES: [&str; 2] = ["Zoho-oauthtoken", "Bearer"];

/// Token of a request's `Authorization` header.
pub(crate) fn token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let mut schemes = SCHEMES.iter();
    let is_known = schemes.any(|known| scheme.eq_ignore_ascii_case(known));
    is_known.then(|| token.trim())
}

/// Whether a scope, or the one with all operations, is among the granted ones.
pub(crate) fn includes(granted: &BTreeSet<String>, scope: &str) -> bool {
    let (object, _) = scope.rsplit_once('.').unwrap_or((scope, ""));
    granted.contains(scope) || granted.contains(&format!("{object}.ALL"))
}

impl Zoho {
    /// Caller of a request's access token.
    pub(crate) fn caller(
        &self,
        data_center: DataCenter,
        headers: &HeaderMap,
    ) -> Result<Caller, Refusal> {
        let token = token(headers).ok_or(Refusal::NoToken)?;
        let now = self.core.clock.seconds();
        let caller = self.state().tokens.caller(data_center, token, now);
        caller.ok_or(Refusal::InvalidToken)
    }

    /// Checks that one of these scopes was granted and is not refused at use.
    pub(crate) fn check_scope(&self, caller: &Caller, scopes: &[&str]) -> Result<(), Refusal> {
        let settings = self.settings();
        let is_refused = |scope: &str| settings.refused_scopes.iter().any(|one| one == scope);
        let mut scopes = scopes.iter();
        let allows = scopes.any(|scope| includes(&caller.scopes, scope) && !is_refused(scope));
        allows.then_some(()).ok_or(Refusal::MissingScope)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn both_schemes_carry_a_token() {
        let of = |value: &'static str| {
            let value = HeaderValue::from_static(value);
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
            token(&headers).map(str::to_owned)
        };
        assert_eq!(of("Zoho-oauthtoken 1000.a").as_deref(), Some("1000.a"));
        assert_eq!(of("Bearer 1000.a").as_deref(), Some("1000.a"));
        assert_eq!(of("Basic 1000.a"), None);
        assert_eq!(token(&HeaderMap::new()), None);
    }

    #[test]
    fn scope_with_all_operations_includes_each() {
        let granted = ["ZohoMail.messages.ALL".to_owned()].into();
        assert!(includes(&granted, "ZohoMail.messages.READ"));
        assert!(!includes(&granted, "ZohoMail.folders.READ"));
    }
}
