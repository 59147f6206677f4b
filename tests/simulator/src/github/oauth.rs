//! OAuth web flow: authorize, exchange, refresh, check and revoke.
//!
//! Responses are form-encoded unless the client accepts JSON. Errors have status 200 with
//! `error`. PKCE supports only S256, and only registered callback URLs are allowed.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use axum::Router;
use axum::extract::{Form, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use url::Url;

use super::caller::Caller;
use super::pages::{login_page, session_user};
use super::reply::Reply;
use super::tokens::{Pair, REFRESH_TTL_SECONDS};
use super::{GitHub, render};
use crate::clock::iso;
use crate::oauth::{escape, redirect, s256};

type Service = Arc<GitHub>;
type Fields = HashMap<String, String>;

const TROUBLESHOOTING: &str = "https://docs.github.com/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/";

/// OAuth error with GitHub's code and description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Code,
    Client,
    Redirect,
    GrantType,
    RefreshToken,
}

impl Failure {
    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Code => (
                "bad_verification_code",
                "The code passed is incorrect or expired.",
            ),
            Self::Client => (
                "incorrect_client_credentials",
                "The client_id and/or client_secret passed are incorrect.",
            ),
            Self::Redirect => (
                "redirect_uri_mismatch",
                "The redirect_uri MUST match the registered callback URL for this application.",
            ),
            Self::GrantType => ("unsupported_grant_type", "The grant_type is not supported."),
            Self::RefreshToken => (
                "bad_refresh_token",
                "The refresh token passed is incorrect or expired.",
            ),
        }
    }

    fn fields(self) -> Value {
        let (code, description) = self.parts();
        json!({
            "error": code, "error_description": description,
            "error_uri": format!("{TROUBLESHOOTING}#{}", code.replace('_', "-")),
        })
    }
}

pub(crate) fn router() -> Router<Service> {
    Router::new()
        .route(
            "/login/oauth/authorize",
            get(authorize).post(submit_consent),
        )
        .route("/login/oauth/access_token", post(access_token))
}

/// REST API for user tokens, with HTTP Basic authentication.
pub(crate) fn applications() -> Router<Service> {
    Router::new()
        .route(
            "/applications/{client_id}/token",
            post(check_token).delete(delete_token),
        )
        .route(
            "/applications/{client_id}/grant",
            axum::routing::delete(delete_grant),
        )
}

async fn authorize(
    State(service): State<Service>,
    headers: HeaderMap,
    request_uri: Uri,
    Query(fields): Query<Fields>,
) -> Response {
    authorization_response(&service, &headers, &fields, &request_uri.to_string())
}

/// Form of the consent page: the same fields, and `authorize`, which is `0` to decline.
async fn submit_consent(
    State(service): State<Service>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Response {
    authorization_response(&service, &headers, &fields, "/login/oauth/authorize")
}

fn authorization_response(
    service: &Service,
    headers: &HeaderMap,
    fields: &Fields,
    page: &str,
) -> Response {
    let field = |name: &str| {
        fields
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    };
    if field("client_id") != Some(&service.app.client_id) {
        return (
            StatusCode::NOT_FOUND,
            Html("<h1>404</h1><p>This is not the web page you are looking for.</p>"),
        )
            .into_response();
    }
    let Some(user) = session_user(service, headers) else {
        return login_page(page).into_response();
    };
    let settings = service.settings().clone();
    let redirect_uri = field("redirect_uri");
    let registered = settings.callback_urls.first().cloned().unwrap_or_default();
    let state = field("state");
    if redirect_uri.is_some_and(|uri| !settings.callback_urls.iter().any(|known| known == uri)) {
        return redirect_back(&registered, state, &Failure::Redirect.fields());
    }
    let target = redirect_uri.unwrap_or(&registered);
    let method = field("code_challenge_method");
    if field("code_challenge").is_some() && method != Some("S256") {
        let fields = json!({
            "error": "invalid_request",
            "error_description": "The code_challenge_method must be S256.",
        });
        return redirect_back(target, state, &fields);
    }
    if settings.deny_authorizations || field("authorize") == Some("0") {
        let fields = json!({
            "error": "access_denied",
            "error_description": "The user has denied your application access.",
            "error_uri": format!("{TROUBLESHOOTING}#access-denied"),
        });
        return redirect_back(target, state, &fields);
    }
    let now = service.core.clock.seconds();
    let challenge = field("code_challenge").map(str::to_owned);
    let code = service
        .tokens
        .issue_code(user, redirect_uri.map(str::to_owned), challenge, now);
    redirect_back(target, state, &json!({ "code": code }))
}

/// Redirects the browser to a URL with these fields and the unchanged state.
pub(crate) fn redirect_back(target: &str, state: Option<&str>, fields: &Value) -> Response {
    let Ok(url) = Url::parse(target) else {
        let text = format!("<p>The redirect URL {} is invalid.</p>", escape(target));
        return (StatusCode::BAD_REQUEST, Html(text)).into_response();
    };
    let fields = text_fields(fields);
    let fields = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .chain(state.map(|state| ("state", state)));
    redirect(url, fields)
}

/// Fields of an object, with their values as text.
fn text_fields(object: &Value) -> Vec<(&str, String)> {
    let fields = object.as_object().into_iter().flatten();
    fields
        .map(|(name, value)| {
            let text = value.as_str().map(str::to_owned);
            (name.as_str(), text.unwrap_or_else(|| value.to_string()))
        })
        .collect()
}

async fn access_token(State(service): State<Service>, request: Request) -> Response {
    let accepts_json = accepts_json(request.headers());
    service.core.stats.count("github.token_requests", 1);
    let fields = match read_fields(request).await {
        Ok(fields) => fields,
        Err(status) => return status.into_response(),
    };
    if fields.get("client_id") != Some(&service.app.client_id) {
        return Reply::not_found().into_response();
    }
    let body = exchange(&service, &fields)
        .map_or_else(Failure::fields, |pair| token_response(&service, &pair));
    if accepts_json {
        return Reply::ok(&body).into_response();
    }
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(text_fields(&body));
    let mut reply = Reply::empty();
    reply.status = StatusCode::OK;
    reply.body = form.finish().into();
    let mut response = reply.into_response();
    let content_type = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("json"))
}

/// Reads the fields of the query and of a form or JSON body.
async fn read_fields(request: Request) -> Result<Fields, StatusCode> {
    let mut fields: Fields = serde_urlencoded::from_str(request.uri().query().unwrap_or_default())
        .map_err(|_| StatusCode::BAD_REQUEST)?;
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let is_json = content_type.is_some_and(|value| value.contains("json"));
    let body = axum::body::to_bytes(request.into_body(), 64 * 1024)
        .await
        .map_err(|_| StatusCode::BAD_REQUEST)?;
    if body.is_empty() {
        return Ok(fields);
    }
    if is_json {
        let value: Value = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
        for (name, value) in value.as_object().into_iter().flatten() {
            if let Some(text) = value.as_str() {
                fields.insert(name.clone(), text.to_owned());
            }
        }
    } else {
        let form: Fields =
            serde_urlencoded::from_bytes(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
        fields.extend(form);
    }
    Ok(fields)
}

fn exchange(service: &Service, fields: &Fields) -> Result<Pair, Failure> {
    let field = |name: &str| fields.get(name).map(String::as_str);
    if field("client_secret") != Some(&service.app.client_secret) {
        return Err(Failure::Client);
    }
    let now = service.core.clock.seconds();
    let seconds = service.settings().user_token_seconds;
    match field("grant_type") {
        Some("refresh_token") => {
            service.core.stats.count("github.refreshes", 1);
            let refresh = field("refresh_token").unwrap_or_default();
            service
                .tokens
                .refresh(refresh, now, seconds)
                .ok_or(Failure::RefreshToken)
        }
        None | Some("authorization_code") => {
            let code = service
                .tokens
                .take_code(field("code").unwrap_or_default(), now)
                .ok_or(Failure::Code)?;
            let matches = match (&code.redirect_uri, field("redirect_uri")) {
                (Some(authorized), Some(given)) => authorized == given,
                (None, Some(given)) => service
                    .settings()
                    .callback_urls
                    .iter()
                    .any(|known| known == given),
                (_, None) => true,
            };
            if !matches {
                return Err(Failure::Redirect);
            }
            if let Some(challenge) = &code.challenge
                && field("code_verifier").map(s256).as_ref() != Some(challenge)
            {
                return Err(Failure::Code);
            }
            service.core.stats.count("github.user_tokens", 1);
            Ok(service.tokens.issue_pair(code.user, now, seconds))
        }
        Some(_) => Err(Failure::GrantType),
    }
}

fn token_response(service: &Service, pair: &Pair) -> Value {
    json!({
        "access_token": pair.access, "expires_in": service.settings().user_token_seconds,
        "refresh_token": pair.refresh, "refresh_token_expires_in": REFRESH_TTL_SECONDS,
        "token_type": "bearer", "scope": "",
    })
}

/// Token in the body of a request that authenticates as the client.
fn token_in_body(
    service: &Service,
    caller: &Caller,
    client_id: &str,
    body: &[u8],
) -> Result<String, Reply> {
    if !matches!(caller, Caller::Client(true)) || client_id != service.app.client_id {
        return Err(Reply::not_found());
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let token = body["access_token"].as_str();
    token
        .map(str::to_owned)
        .ok_or_else(|| Reply::unprocessable("Validation Failed"))
}

async fn check_token(
    State(service): State<Service>,
    axum::Extension(caller): axum::Extension<Caller>,
    Path(client_id): Path<String>,
    body: bytes::Bytes,
) -> Reply {
    let token = match token_in_body(&service, &caller, &client_id, &body) {
        Ok(token) => token,
        Err(reply) => return reply,
    };
    let Some(pair) = service.tokens.pair(&token, service.core.clock.seconds()) else {
        return Reply::not_found();
    };
    let world = service.world();
    let last_eight = token
        .get(token.len().saturating_sub(8)..)
        .unwrap_or_default();
    Reply::ok(&json!({
        "id": pair.user, "url": format!("{}/authorizations/{}", service.urls.api, pair.user),
        "app": {"client_id": client_id, "name": service.app.slug, "url": format!("{}/apps/{}", service.urls.web, service.app.slug)},
        "token": token, "hashed_token": hex::encode(digest::digest(&digest::SHA256, token.as_bytes())),
        "token_last_eight": last_eight, "note": null, "note_url": null, "scopes": [],
        "fingerprint": null, "created_at": iso(pair.created_at), "updated_at": iso(pair.created_at),
        "expires_at": iso(pair.expires_at), "user": render::user(&world, pair.user),
    }))
}

async fn delete_token(
    State(service): State<Service>,
    axum::Extension(caller): axum::Extension<Caller>,
    Path(client_id): Path<String>,
    body: bytes::Bytes,
) -> Reply {
    match token_in_body(&service, &caller, &client_id, &body) {
        Err(reply) => reply,
        Ok(token) if service.tokens.revoke_pair(&token) => Reply::empty(),
        Ok(_) => Reply::not_found(),
    }
}

async fn delete_grant(
    State(service): State<Service>,
    axum::Extension(caller): axum::Extension<Caller>,
    Path(client_id): Path<String>,
    body: bytes::Bytes,
) -> Reply {
    let token = match token_in_body(&service, &caller, &client_id, &body) {
        Ok(token) => token,
        Err(reply) => return reply,
    };
    match service.tokens.pair(&token, service.core.clock.seconds()) {
        None => Reply::not_found(),
        Some(pair) => {
            service.tokens.revoke_grant(pair.user);
            Reply::empty()
        }
    }
}
