//! The OAuth code exchange. The token it gives is used once, to learn who came back, and
//! is then revoked.
//!
//! GitHub answers a failed exchange with 200 and an `error` in the body
//! (<https://docs.github.com/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors>).

use http::{Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};

use crate::connectors::github::GitHub;
use crate::connectors::github::client::operator_fault;
use crate::connectors::github::wire::TokenAnswer;
use crate::connectors::{Callback, ConnectorError};
use crate::http::Charge;

/// The account under which calls about persons are counted.
pub(super) const ACCOUNT: &str = "oauth";

/// What an exchange led to.
pub(super) enum Exchange {
    /// The person's token.
    Token(SecretString),
    /// No token, and why, in words for the person.
    Denied(&'static str),
}

/// Exchanges a code for the person's token, with whichever client secret is valid.
pub(super) async fn exchange(
    github: &GitHub,
    callback: &Callback,
    code: &str,
) -> Result<Exchange, ConnectorError> {
    let mut wrong_secret = operator_fault("no client secret is configured");
    for secret in &github.app.client_secrets {
        let answer = ask(github, callback, code, secret).await?;
        if let Some(token) = answer.access_token {
            return Ok(Exchange::Token(token));
        }
        match answer.error.as_deref() {
            Some("incorrect_client_credentials") => {
                wrong_secret = operator_fault("GitHub refuses the app's client id or secret");
            }
            Some("bad_verification_code") => {
                return Ok(Exchange::Denied(
                    "The authorization has expired or was used already; please begin again.",
                ));
            }
            Some("unverified_user_email") => {
                return Ok(Exchange::Denied(
                    "Your GitHub account has no verified e-mail address.",
                ));
            }
            other => {
                let code: String = other
                    .unwrap_or("no token and no error")
                    .chars()
                    .take(80)
                    .collect();
                return Err(operator_fault(format!(
                    "GitHub refused the code exchange: {code}"
                )));
            }
        }
    }
    Err(wrong_secret)
}

async fn ask(
    github: &GitHub,
    callback: &Callback,
    code: &str,
    secret: &SecretString,
) -> Result<TokenAnswer, ConnectorError> {
    let url = github.client.web(&["login", "oauth", "access_token"]);
    let request = github
        .client
        .request(Method::POST, url)
        // Without it the answer is form-encoded.
        .header(header::ACCEPT, "application/json")
        .form(&[
            ("client_id", github.app.client_id.as_str()),
            ("client_secret", secret.expose_secret()),
            ("code", code),
            ("redirect_uri", callback.redirect_uri.as_str()),
            ("code_verifier", callback.code_verifier.expose_secret()),
        ]);
    let charge = Charge::new(ACCOUNT, "exchange_code");
    match github.client.send(&charge, request).await {
        Ok(answer) => answer.json(),
        Err(refusal) if refusal.is(StatusCode::NOT_FOUND) => {
            Err(operator_fault("GitHub does not know the app's client id"))
        }
        Err(refusal) => Err(refusal.error.of_the_app()),
    }
}

/// Revokes the person's token. Best effort: it ends by itself within hours, and is stored
/// nowhere.
pub(super) async fn discard(github: &GitHub, token: &SecretString) {
    let Some(secret) = github.app.client_secrets.first() else {
        return;
    };
    let url = github
        .client
        .api(&["applications", &github.app.client_id, "token"]);
    let request = github
        .client
        .request(Method::DELETE, url)
        .basic_auth(&github.app.client_id, Some(secret.expose_secret()))
        .header(header::ACCEPT, "application/vnd.github+json")
        .json(&serde_json::json!({ "access_token": token.expose_secret() }));
    if let Err(refusal) = github
        .client
        .send(&Charge::new(ACCOUNT, "revoke_user_token"), request)
        .await
        && !refusal.is(StatusCode::NOT_FOUND)
        && !refusal.is(StatusCode::UNPROCESSABLE_ENTITY)
    {
        tracing::debug!(
            error = &refusal.error as &dyn std::error::Error,
            "a user token was not revoked and will expire by itself"
        );
    }
}
