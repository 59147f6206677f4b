//! Check of the Slack app: OAuth client, signing secrets and app-level token.

use secrecy::{ExposeSecret, SecretString};

use super::Slack;
use super::auth::check_client;
use crate::connectors::app_check::chain;
use crate::connectors::settings::APP_ACCOUNT;
use crate::connectors::{AppCheckRequest, ConnectorError, Finding};
use crate::http::Charge;

/// Length of a signing secret, in hexadecimal digits.
const SIGNING_SECRET_LENGTH: usize = 32;
/// Prefix of app-level tokens.
const APP_TOKEN_PREFIX: &str = "xapp-";
/// Context of an event that Slack cannot have sent.
const IMPOSSIBLE_CONTEXT: &str = "poblysh-doctor";

/// Checks the app.
pub(super) async fn check(slack: &Slack, request: &AppCheckRequest) -> Vec<Finding> {
    vec![
        check_client(slack, &request.callback_url).await,
        check_signing_secrets(&slack.app.signing_secrets),
        check_app_token(slack).await,
    ]
}

fn check_signing_secrets(secrets: &[SecretString]) -> Finding {
    const SUBJECT: &str = "signing_secret";
    if secrets.is_empty() {
        return Finding::warning(
            SUBJECT,
            "no signing secret is set, so every event is rejected and workspaces are polled",
            "Copy the Signing Secret of the app's Basic Information to POBLYSH_SLACK_WEBHOOK_SECRET.",
        );
    }
    let has_shape = |secret: &SecretString| {
        let text = secret.expose_secret();
        text.len() == SIGNING_SECRET_LENGTH
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if secrets.iter().all(has_shape) {
        return Finding::ok(SUBJECT, "the signing secret has Slack's form");
    }
    Finding::warning(
        SUBJECT,
        "the signing secret does not have Slack's form (32 hexadecimal digits)",
        "Copy the Signing Secret, not the Verification Token or the Client Secret, to \
         POBLYSH_SLACK_WEBHOOK_SECRET.",
    )
}

/// Checks the app-level token with a call for an event that does not exist.
async fn check_app_token(slack: &Slack) -> Finding {
    const SUBJECT: &str = "app_token";
    const CURE: &str = "Generate an app-level token with the scope authorizations:read on the \
                        app's Basic Information, and set POBLYSH_SLACK_APP_TOKEN.";
    let Some(token) = &slack.app.app_token else {
        return Finding::warning(
            SUBJECT,
            "no app-level token is set, so events of shared channels reach one workspace only",
            CURE,
        );
    };
    if !token.expose_secret().starts_with(APP_TOKEN_PREFIX) {
        return Finding::failure(
            SUBJECT,
            "the app-level token does not begin with xapp-",
            CURE,
        );
    }
    let charge = Charge::new(APP_ACCOUNT, "apps.event.authorizations.list");
    let arguments = [("event_context", IMPOSSIBLE_CONTEXT)];
    let Err(error) = slack.client.call(&charge, token, &arguments).await else {
        return Finding::ok(SUBJECT, "Slack accepts the app-level token");
    };
    match error.cause {
        ConnectorError::Unauthorized(_) | ConnectorError::Denied { .. } => Finding::failure(
            SUBJECT,
            format!("Slack rejects the app-level token ({})", error.code),
            CURE,
        ),
        cause @ (ConnectorError::Transient(_) | ConnectorError::RateLimited { .. }) => {
            Finding::warning(
                SUBJECT,
                format!("Slack gave no usable answer: {}", chain(&cause)),
                "Try again in a minute.",
            )
        }
        // Slack rejects the context after it has accepted the token.
        _ => Finding::ok(SUBJECT, "Slack accepts the app-level token"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::FindingStatus;

    #[test]
    fn signing_secret_has_slacks_form() {
        let check = |secrets: &[&str]| {
            let secrets: Vec<SecretString> = secrets.iter().map(|text| (*text).into()).collect();
            check_signing_secrets(&secrets).status
        };
        assert_eq!(check(&[&"0123456789abcdef".repeat(2)]), FindingStatus::Ok);
        for other in ["", "0123456789abcdef", "Zabcdefghijklmnopqrstuvwxyz01234"] {
            assert_eq!(check(&[other]), FindingStatus::Warning, "{other}");
        }
        assert_eq!(check(&[]), FindingStatus::Warning);
    }
}
