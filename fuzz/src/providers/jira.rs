//! Jira: subscriptions with a token, and administrators' webhooks with a signature.

use chrono::DateTime;
use http::HeaderMap;
use serde_json::Value;
use shared::connectors::Connector;

use super::Provider;
use crate::message::Message;
use crate::provider::{CLIENT_SECRETS, NOW, WEBHOOK_SECRETS};
use crate::signature;
use crate::webhook::{self, Scheme, set_header, single_header};

pub(super) const PROVIDER: Provider = Provider {
    slug: "jira",
    settings: |base| {
        vec![
            ("JIRA_CLIENT_ID", "client-id".to_owned()),
            ("JIRA_CLIENT_SECRET", CLIENT_SECRETS.join(",")),
            ("JIRA_AUTH_BASE_URL", base.to_owned()),
            ("JIRA_API_BASE_URL", base.to_owned()),
        ]
    },
    sign: ByApp::sign,
    check_delivery,
};

/// The directive `@by: administrator` selects the scheme.
fn check_delivery(connector: &dyn Connector, data: &[u8]) {
    let by_administrator = Message::parse(data).directive("by") == Some("administrator");
    if by_administrator {
        webhook::run::<ByAdministrator>(connector, data);
    } else {
        webhook::run::<ByApp>(connector, data);
    }
}

const AUTHORIZATION: &str = "authorization";
const IDENTIFIER: &str = "x-atlassian-webhook-identifier";
const TOKEN_HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const LEEWAY: i64 = 60;
const HOUR: i64 = 3_600;

fn has_token(headers: &HeaderMap) -> bool {
    single_header(headers, AUTHORIZATION)
        .and_then(|value| {
            let bearer = value.strip_prefix("Bearer ");
            bearer.or_else(|| value.strip_prefix("JWT "))
        })
        .and_then(|token| signature::verify_token(&CLIENT_SECRETS, token))
        .is_some_and(|(head, claims)| has_valid_claims(&head, &claims))
}

/// Whether the header and claims of a signed token are valid now.
fn has_valid_claims(head: &str, claims: &str) -> bool {
    let (Ok(head), Ok(claims)) = (
        serde_json::from_str::<Value>(head),
        serde_json::from_str::<Value>(claims),
    ) else {
        return false;
    };
    let numeric_date = |name: &str| {
        let seconds = claims[name].as_i64()?;
        DateTime::from_timestamp(seconds, 0).map(|_| seconds)
    };
    let has_begun = |name: &str| {
        claims[name].is_null() || numeric_date(name).is_some_and(|time| time <= NOW + LEEWAY)
    };
    let is_unexpired = numeric_date("exp").is_some_and(|exp| {
        let lifetime = exp - numeric_date("iat").unwrap_or(exp);
        (NOW - LEEWAY..=NOW + LEEWAY + HOUR).contains(&exp) && (0..=HOUR).contains(&lifetime)
    });
    let is_hs256 = head["alg"] == "HS256" && head.get("crit").is_none();
    is_hs256 && has_begun("iat") && has_begun("nbf") && is_unexpired
}

/// Scheme of subscriptions: a token signed with the app's client secret.
struct ByApp;

impl Scheme for ByApp {
    const SIGNATURE: &'static str = AUTHORIZATION;
    const SIGNATURE_CHARS: usize = 43;
    const COVERS_BODY: bool = false;

    fn is_authentic(headers: &HeaderMap, _: &[u8]) -> bool {
        has_token(headers)
    }

    /// An input's header may be invalid.
    fn is_well_formed(message: &Message<'_>) -> bool {
        message.directive("head").is_none()
    }

    /// Signs the message's claims, or valid ones. Invalid claims must be rejected.
    fn sign(message: &Message<'_>, headers: &mut HeaderMap, secret: usize) {
        // Serialized again, because parsers differ in their handling of duplicate fields.
        let claims = message.json("claims").map(|claims| claims.to_string());
        let valid_claims = || format!(r#"{{"iat":{NOW},"exp":{}}}"#, NOW + 180);
        let token = signature::token(
            CLIENT_SECRETS[secret],
            message.directive("head").unwrap_or(TOKEN_HEADER),
            &claims.unwrap_or_else(valid_claims),
        );
        set_header(headers, AUTHORIZATION, &format!("Bearer {token}"));
        Self::identify(headers);
    }

    fn identify(headers: &mut HeaderMap) {
        set_header(headers, IDENTIFIER, "webhook-1");
    }
}

/// Scheme of an administrator's webhook: a signature with the connection's webhook secret.
struct ByAdministrator;

impl Scheme for ByAdministrator {
    const SIGNATURE: &'static str = "x-hub-signature";
    const SIGNATURE_CHARS: usize = 64;
    const COVERS_BODY: bool = true;
    const TO_CONNECTION: bool = true;

    fn is_authentic(headers: &HeaderMap, body: &[u8]) -> bool {
        webhook::is_signed(headers, Self::SIGNATURE, body)
    }

    fn sign(message: &Message<'_>, headers: &mut HeaderMap, secret: usize) {
        let signed = signature::body_signature(WEBHOOK_SECRETS[secret], message.body);
        headers.remove(AUTHORIZATION);
        set_header(headers, Self::SIGNATURE, &signed);
        Self::identify(headers);
    }

    fn identify(headers: &mut HeaderMap) {
        ByApp::identify(headers);
    }
}
