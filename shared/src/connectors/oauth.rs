//! OAuth 2.0: authorization URLs, code exchange and token refresh (RFC 6749, RFC 7636).
//!
//! A [`Dialect`] holds the differences between providers. The provider's client sends the requests
//! and classifies the responses, as for every other call; this module interprets the tokens and the
//! error codes of the token endpoint. Errors with an unknown code keep their classification. An error
//! response without a code, such as a proxy's page of HTML, is a temporary failure.

mod client_check;
mod tokens;

use std::collections::BTreeMap;
use std::future::Future;

use http::Method;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::error::permanent_error;
use super::response::{ApiError, Response};
use super::{AuthorizeRequest, Callback, CallbackOutcome, ConnectorError, RefreshRequest};
use crate::http::{Charge, Outbound};

pub(super) use client_check::{ClientAnswer, ClientSettings};
pub(super) use tokens::{IssuedTokens, TokenResponse, expires_at};

/// Length to which a provider's error code is cut in messages.
const MAX_ERROR_CODE: usize = 80;

/// OAuth client of an app.
#[derive(Debug)]
pub struct OAuthClient {
    /// Client id.
    pub id: String,
    /// Client secrets: one, or two during a rotation.
    pub secrets: Vec<SecretString>,
}

/// Differences between providers' OAuth endpoints.
#[derive(Debug)]
pub(super) struct Dialect {
    /// The provider's name for people.
    pub provider: &'static str,
    /// Separator of requested scopes.
    pub scope_separator: &'static str,
    /// Whether the authorization code is bound to a PKCE verifier.
    pub uses_pkce: bool,
    /// `grant_type` of the code exchange; `None` if the provider documents none.
    pub code_grant_type: Option<&'static str>,
    /// Encoding of requests to the token endpoint.
    pub encoding: Encoding,
    /// Place of the client's credentials in these requests.
    pub authentication: ClientAuthentication,
    /// Error codes of a wrong client secret; the next secret is tried.
    pub rejected_secret: &'static [&'static str],
    /// Error codes of an authorization code that has expired or was already used.
    pub expired_code: &'static [&'static str],
    /// Further error codes of the exchange that the person can act on, each with a text for them.
    pub denials: &'static [(&'static str, &'static str)],
    /// Error codes by which the provider states that the grant is revoked.
    pub revoked_grant: &'static [&'static str],
}

/// Encoding of requests to a token endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) enum Encoding {
    /// A form, as RFC 6749 requires.
    Form,
    /// A JSON object.
    Json,
}

/// Place of the client's credentials in a request to the token endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) enum ClientAuthentication {
    /// Parameters of the body.
    Body,
    /// HTTP Basic authentication.
    Basic,
}

/// End of a connect flow without tokens.
pub(super) type FlowEnd = Result<CallbackOutcome, ConnectorError>;

impl Dialect {
    /// The dialect of the RFCs, with PKCE.
    pub(super) const STANDARD: Self = Self {
        provider: "The provider",
        scope_separator: " ",
        uses_pkce: true,
        code_grant_type: Some("authorization_code"),
        encoding: Encoding::Form,
        authentication: ClientAuthentication::Body,
        rejected_secret: &["invalid_client"],
        expired_code: &["invalid_grant"],
        denials: &[],
        revoked_grant: &["invalid_grant"],
    };

    /// Builds an authorization URL. Scopes and parameters without a value are omitted.
    pub(super) fn authorize_url(
        &self,
        mut page: Url,
        client: &OAuthClient,
        request: &AuthorizeRequest,
        scopes: &[&str],
        parameters: &[(&str, &str)],
    ) -> Url {
        let scopes = scopes.join(self.scope_separator);
        let mut query = vec![
            ("client_id", client.id.as_str()),
            ("scope", scopes.as_str()),
            ("redirect_uri", request.redirect_uri.as_str()),
            ("state", request.state.as_str()),
        ];
        if self.uses_pkce {
            query.push(("code_challenge", &request.code_challenge));
            query.push(("code_challenge_method", "S256"));
        }
        query.extend(parameters);
        query.retain(|(_, value)| !value.is_empty());
        page.query_pairs_mut().extend_pairs(query);
        page
    }

    /// Maps an error of a call with the grant's tokens.
    ///
    /// Only the codes of a revoked grant end it, and not in a response that reports an outage.
    pub(super) fn map_grant_error(&self, error: ApiError) -> ConnectorError {
        if !self.revoked_grant.contains(&error.code.as_str()) {
            return error.cause;
        }
        match error.cause.into_app_error() {
            ConnectorError::Permanent(source) => ConnectorError::GrantRevoked(source),
            temporary => temporary,
        }
    }

    /// Maps an error of the code exchange. There is no grant yet that it could end.
    fn map_exchange_error(&self, error: ApiError) -> FlowEnd {
        let code = error.code.as_str();
        if self.expired_code.contains(&code) {
            return Ok(CallbackOutcome::denied(
                "The authorization has expired or was already used. Start again.",
            ));
        }
        match self.denials.iter().find(|(denial, _)| *denial == code) {
            Some((_, reason)) => Ok(CallbackOutcome::denied(*reason)),
            None => Err(error.cause.into_app_error()),
        }
    }

    /// Returns the redirect's authorization code, or the outcome of the flow without one.
    fn authorization_code<'c>(&self, callback: &'c Callback) -> Result<&'c str, FlowEnd> {
        let provider = self.provider;
        if let Some(error) = callback.param("error") {
            return Err(match error {
                "access_denied" => Ok(CallbackOutcome::denied(format!(
                    "The consent was declined at {provider}."
                ))),
                other => Err(permanent_error(format!(
                    "{provider} rejected the authorization request: {}",
                    truncated(other)
                ))),
            });
        }
        let code = callback.param("code").filter(|code| !code.is_empty());
        code.ok_or_else(|| {
            Ok(CallbackOutcome::denied(format!(
                "{provider} returned no authorization code. Start again."
            )))
        })
    }
}

/// A provider's API client, which sends requests and classifies responses.
pub(super) trait TokenClient: Sync {
    /// Starts a request to the token endpoint.
    fn token_request(&self, url: Url) -> RequestBuilder;

    /// Sends it. Error codes in responses with an error status become [`ApiError::code`].
    fn send_token_request(
        &self,
        charge: &Charge<'_>,
        request: RequestBuilder,
    ) -> impl Future<Output = Result<Response, ApiError>> + Send;
}

/// An API client that calls the token endpoint like every other operation.
pub(super) trait ApiClient: Sync {
    /// Its HTTP client.
    fn outbound(&self) -> &Outbound;

    /// Sends a request and classifies the response.
    fn execute(
        &self,
        charge: &Charge<'_>,
        request: RequestBuilder,
    ) -> impl Future<Output = Result<Response, ApiError>> + Send;
}

impl<C: ApiClient> TokenClient for C {
    fn token_request(&self, url: Url) -> RequestBuilder {
        self.outbound().request(Method::POST, url)
    }

    fn send_token_request(
        &self,
        charge: &Charge<'_>,
        request: RequestBuilder,
    ) -> impl Future<Output = Result<Response, ApiError>> + Send {
        self.execute(charge, request)
    }
}

/// A provider's token endpoint.
pub(super) struct TokenEndpoint<'a, C> {
    pub dialect: &'static Dialect,
    pub api: &'a C,
    pub url: Url,
    pub client: &'a OAuthClient,
}

impl<C: TokenClient> TokenEndpoint<'_, C> {
    /// Exchanges the code of a redirect.
    pub(super) async fn exchange(
        &self,
        charge: &Charge<'_>,
        callback: &Callback,
    ) -> Result<TokenResponse, FlowEnd> {
        let code = self.dialect.authorization_code(callback)?;
        self.exchange_code(charge, callback, code).await
    }

    /// Exchanges a code that the caller has taken from the redirect.
    pub(super) async fn exchange_code(
        &self,
        charge: &Charge<'_>,
        callback: &Callback,
        code: &str,
    ) -> Result<TokenResponse, FlowEnd> {
        let verifier = callback.code_verifier.expose_secret();
        let grant = self.code_grant(code, &callback.redirect_uri, verifier);
        let response = self.request(charge, &grant).await;
        response.map_err(|error| self.dialect.map_exchange_error(error))
    }

    /// The parameters of a code exchange.
    fn code_grant<'p>(
        &self,
        code: &'p str,
        redirect_uri: &'p Url,
        verifier: &'p str,
    ) -> Vec<(&'static str, &'p str)> {
        let grant_type = self.dialect.code_grant_type;
        let mut grant: Vec<_> = grant_type
            .map(|grant_type| ("grant_type", grant_type))
            .into_iter()
            .collect();
        grant.push(("code", code));
        grant.push(("redirect_uri", redirect_uri.as_str()));
        if self.dialect.uses_pkce {
            grant.push(("code_verifier", verifier));
        }
        grant
    }

    /// Refreshes a grant's tokens.
    ///
    /// If the response has no refresh token, the current one remains valid.
    pub(super) async fn refresh(
        &self,
        operation: &'static str,
        request: &RefreshRequest,
    ) -> Result<TokenResponse, ConnectorError> {
        let Some(refresh_token) = &request.refresh_token else {
            // Not a response of the provider, so the grant's state is unchanged.
            return Err(permanent_error(
                "the grant has no refresh token: the consent lacked offline access",
            ));
        };
        let grant = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose_secret()),
        ];
        let charge = Charge::new(&request.account.id, operation);
        let response = self.request(&charge, &grant).await;
        response.map_err(|error| self.dialect.map_grant_error(error))
    }

    /// Sends a request with each client secret until one is accepted.
    ///
    /// A wrong secret is an operator's error and does not revoke the grant.
    async fn request(
        &self,
        charge: &Charge<'_>,
        grant: &[(&str, &str)],
    ) -> Result<TokenResponse, ApiError> {
        let mut rejection = ApiError::from(permanent_error("no client secret is configured"));
        for secret in &self.client.secrets {
            match self.request_with_secret(charge, grant, secret).await {
                Err(error) if self.dialect.rejected_secret.contains(&error.code.as_str()) => {
                    rejection = ApiError {
                        cause: error.cause.into_app_error(),
                        ..error
                    };
                }
                outcome => return outcome,
            }
        }
        Err(rejection)
    }

    async fn request_with_secret(
        &self,
        charge: &Charge<'_>,
        grant: &[(&str, &str)],
        secret: &SecretString,
    ) -> Result<TokenResponse, ApiError> {
        let (id, secret) = (self.client.id.as_str(), secret.expose_secret());
        let request = self.api.token_request(self.url.clone());
        let (request, credentials) = match self.dialect.authentication {
            ClientAuthentication::Basic => (request.basic_auth(id, Some(secret)), None),
            ClientAuthentication::Body => {
                let credentials = [("client_id", id), ("client_secret", secret)];
                (request, Some(credentials))
            }
        };
        let parameters = credentials.iter().flatten().chain(grant).copied();
        let request = match self.dialect.encoding {
            Encoding::Form => request.form(&parameters.collect::<Vec<_>>()),
            Encoding::Json => request.json(&parameters.collect::<BTreeMap<_, _>>()),
        };
        let response = self.api.send_token_request(charge, request).await;
        let response = response.map_err(temporary_without_code)?;
        let tokens = TokenResponse::read(response)?;
        match tokens.error_code() {
            None => Ok(tokens),
            Some(code) => Err(ApiError {
                status: None,
                code: code.to_owned(),
                cause: permanent_error(format!(
                    "{} rejected {}: {}",
                    self.dialect.provider,
                    charge.operation,
                    truncated(code)
                )),
            }),
        }
    }
}

/// Converts an error response without an OAuth error code to a temporary failure.
///
/// A token endpoint states a code (RFC 6749, section 5.2), so another server sent it.
fn temporary_without_code(error: ApiError) -> ApiError {
    if error.status.is_none() || !error.code.is_empty() {
        return error;
    }
    let cause = match error.cause {
        ConnectorError::Unauthorized(source)
        | ConnectorError::Denied { source, .. }
        | ConnectorError::Permanent(source) => ConnectorError::Transient(source),
        other => other,
    };
    ApiError { cause, ..error }
}

fn truncated(code: &str) -> String {
    code.chars().take(MAX_ERROR_CODE).collect()
}

#[cfg(test)]
mod tests;
