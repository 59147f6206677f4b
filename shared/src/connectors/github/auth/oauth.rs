//! OAuth code exchange. The user token identifies the person and is then revoked.
//!
//! GitHub responds to a failed exchange with status 200 and an `error` in the body
//! (<https://docs.github.com/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors>).

use http::{Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};

use crate::connectors::github::GitHub;
use crate::connectors::github::client::permanent_error;
use crate::connectors::github::wire::TokenResponse;
use crate::connectors::{Callback, ConnectorError};
use crate::http::Charge;

/// Account to which calls with user tokens are charged.
pub(super) const ACCOUNT: &str = "oauth";

/// Outcome of an exchange.
pub(super) enum Exchange {
    /// The user token.
    Token(SecretString),
    /// The reason without a token, as text for the person.
    Denied(&'static str),
}

/// Exchanges a code for a user token, with the client secret that is valid.
pub(super) async fn exchange(
    github: &GitHub,
    callback: &Callback,
    code: &str,
) -> Result<Exchange, ConnectorError> {
    let mut rejected_secret = permanent_error("no client secret is configured");
    for secret in &github.app.client_secrets {
        let response = request_token(github, callback, code, secret).await?;
        if let Some(token) = response.access_token {
            return Ok(Exchange::Token(token));
        }
        match response.error.as_deref() {
            Some("incorrect_client_credentials") => {
                rejected_secret = permanent_error("GitHub rejected the app's client id or secret");
            }
            Some("bad_verification_code") => {
                return Ok(Exchange::Denied(
                    "The authorization has expired or was already used. Start again.",
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
                return Err(permanent_error(format!(
                    "GitHub rejected the code exchange: {code}"
                )));
            }
        }
    }
    Err(rejected_secret)
}

async fn request_token(
    github: &GitHub,
    callback: &Callback,
    code: &str,
    secret: &SecretString,
) -> Result<TokenResponse, ConnectorError> {
    let url = github.client.web(&["login", "oauth", "access_token"]);
    let request = github
        .client
        .request(Method::POST, url)
        // Without it the response is form-encoded.
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
        Ok(response) => response.json(),
        Err(error) if error.is(StatusCode::NOT_FOUND) => {
            Err(permanent_error("GitHub does not know the app's client id"))
        }
        Err(error) => Err(error.cause.into_app_error()),
    }
}

/// Revokes a user token, best effort: it is not stored and expires within hours.
pub(super) async fn revoke_token(github: &GitHub, token: &SecretString) {
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
    if let Err(error) = github
        .client
        .send(&Charge::new(ACCOUNT, "revoke_user_token"), request)
        .await
        && !error.is(StatusCode::NOT_FOUND)
        && !error.is(StatusCode::UNPROCESSABLE_ENTITY)
    {
        tracing::debug!(
            error = &error.cause as &dyn std::error::Error,
            "user token not revoked, leaving it to expire"
        );
    }
}
