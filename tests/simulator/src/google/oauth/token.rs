//! The token endpoint and the revocation of a grant.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::authorize::scope_text;
use super::identity::id_token;
use super::{Fields, OPENID_SCOPE, Service};
use crate::google::tokens::{Caller, Code};
use crate::google::{Google, State as World};
use crate::oauth::s256;

type TokenResult = Result<Value, TokenError>;

/// An error response of the token endpoint.
struct TokenError {
    status: StatusCode,
    name: String,
    description: String,
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.name, "error_description": self.description });
        (self.status, Json(body)).into_response()
    }
}

fn error(status: StatusCode, name: &str, description: &str) -> TokenError {
    TokenError {
        status,
        name: name.to_owned(),
        description: description.to_owned(),
    }
}

fn bad_request(name: &str, description: &str) -> TokenError {
    error(StatusCode::BAD_REQUEST, name, description)
}

pub(super) async fn token(
    State(service): State<Service>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(fields) = form(&headers, &body) else {
        let error = bad_request("invalid_request", "The request must be form-encoded.");
        return error.into_response();
    };
    match exchange(&service, &headers, &fields) {
        Ok(body) => {
            let headers = [(header::CACHE_CONTROL, "no-cache, no-store, max-age=0")];
            (headers, Json(body)).into_response()
        }
        Err(error) => error.into_response(),
    }
}

/// Fields of a form; `None` for another content type.
fn form(headers: &HeaderMap, body: &[u8]) -> Option<Fields> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    kind.starts_with("application/x-www-form-urlencoded")
        .then(|| url::form_urlencoded::parse(body).into_owned().collect())
}

fn exchange(service: &Google, headers: &HeaderMap, fields: &Fields) -> TokenResult {
    let injected = service.settings().token_error.clone();
    if let Some(name) = injected {
        let status = match name.as_str() {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        return Err(error(status, &name, "Bad Request"));
    }
    authenticate_client(service, headers, fields)?;
    match fields.get("grant_type").map(String::as_str) {
        Some("authorization_code") => exchange_code(service, fields),
        Some("refresh_token") => refresh(service, fields),
        Some(other) => {
            let description = format!("Invalid grant_type: {other}");
            Err(bad_request("unsupported_grant_type", &description))
        }
        None => Err(bad_request(
            "invalid_request",
            "Required parameter is missing: grant_type",
        )),
    }
}

/// Verifies the client's id and secret, in the body or in `Basic`.
fn authenticate_client(
    service: &Google,
    headers: &HeaderMap,
    fields: &Fields,
) -> Result<(), TokenError> {
    let basic = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
        .and_then(|text| STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let field = |name: &str| fields.get(name).map(String::as_str);
    let in_header = basic.as_deref().and_then(|pair| pair.split_once(':'));
    let (id, secret) = in_header.map_or_else(
        || (field("client_id"), field("client_secret")),
        |(id, secret)| (Some(id), Some(secret)),
    );
    let Some(id) = id else {
        let description = "Could not determine client ID from request.";
        return Err(bad_request("invalid_request", description));
    };
    let app = &service.app;
    if id != app.client_id || secret != Some(app.client_secret.as_str()) {
        return Err(error(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            "Unauthorized",
        ));
    }
    Ok(())
}

fn exchange_code(service: &Google, fields: &Fields) -> TokenResult {
    let now = service.core.clock.seconds();
    let field = |name: &str| fields.get(name).map(String::as_str);
    let mut guard = service.state();
    let state = &mut *guard;
    let code = state
        .tokens
        .take_code(field("code").unwrap_or_default(), now);
    let code = code.ok_or_else(|| bad_request("invalid_grant", "Bad Request"))?;
    if field("redirect_uri") != Some(code.redirect_uri.as_str()) {
        return Err(bad_request("redirect_uri_mismatch", "Bad Request"));
    }
    verify_pkce(&code, field("code_verifier"))?;
    let caller = Caller {
        sub: code.sub.clone(),
        scopes: code.scopes.clone(),
    };
    let mut body = access_json(service, state, &caller, code.nonce.as_deref());
    if code.is_offline {
        let settings = service.settings();
        let refresh = state.tokens.issue_refresh(
            &caller.sub,
            &caller.scopes,
            settings.grant_seconds,
            settings.max_refresh_tokens,
            now,
            &mut state.rng,
        );
        body["refresh_token"] = json!(refresh.token);
        if let Some(seconds) = refresh.expires_in {
            body["refresh_token_expires_in"] = json!(seconds);
        }
    }
    Ok(body)
}

/// A verifier is required exactly when the consent had a challenge.
fn verify_pkce(code: &Code, verifier: Option<&str>) -> Result<(), TokenError> {
    let description = match (&code.challenge, verifier) {
        (None, None) => return Ok(()),
        (Some(challenge), Some(verifier)) if s256(verifier) == *challenge => return Ok(()),
        (None, Some(_)) => "code_verifier or verifier is not needed.",
        (Some(_), None) => "Missing code verifier.",
        (Some(_), Some(_)) => "Invalid code verifier.",
    };
    Err(bad_request("invalid_grant", description))
}

/// Exchanges a refresh token, which stays valid.
fn refresh(service: &Google, fields: &Fields) -> TokenResult {
    service.core.stats.count("google.refreshes", 1);
    let now = service.core.clock.seconds();
    let Some(token) = fields.get("refresh_token") else {
        return Err(bad_request(
            "invalid_request",
            "Required parameter is missing: refresh_token",
        ));
    };
    let mut guard = service.state();
    let state = &mut *guard;
    let Some(caller) = state.tokens.use_refresh(token, now) else {
        let text = service.settings().invalid_grant_text.clone();
        return Err(bad_request("invalid_grant", &text));
    };
    Ok(access_json(service, state, &caller, None))
}

/// Response with a new access token, and an identity token with scope `openid`.
fn access_json(service: &Google, state: &mut World, caller: &Caller, nonce: Option<&str>) -> Value {
    let ttl = service.settings().token_seconds;
    let expires_at = service.core.clock.seconds() + ttl;
    let token = state
        .tokens
        .issue_access(&caller.sub, &caller.scopes, expires_at, &mut state.rng);
    let mut body = json!({
        "access_token": token, "expires_in": ttl, "scope": scope_text(&caller.scopes),
        "token_type": "Bearer",
    });
    let person = state.people.get(&caller.sub);
    if let Some(person) = person.filter(|_| caller.has_any(&[OPENID_SCOPE])) {
        body["id_token"] = json!(id_token(service, person, caller, &token, nonce));
    }
    body
}

/// Revokes the grant of a token, given in the query or the body.
pub(super) async fn revoke(
    State(service): State<Service>,
    Query(query): Query<Fields>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = form(&headers, &body).unwrap_or_default();
    let Some(token) = query.get("token").or_else(|| form.get("token")) else {
        let error = bad_request("invalid_request", "Required parameter is missing: token");
        return error.into_response();
    };
    let now = service.core.clock.seconds();
    if service.state().tokens.revoke(token, now) {
        service.core.stats.count("google.revocations", 1);
        Json(json!({})).into_response()
    } else {
        bad_request("invalid_token", "Token expired or revoked").into_response()
    }
}
