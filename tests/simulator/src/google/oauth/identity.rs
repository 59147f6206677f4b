//! Identity of a person: user information, identity tokens and their keys.

use aws_lc_rs::digest;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{EMAIL_SCOPE, OPENID_SCOPE, PROFILE_SCOPE, Service};
use crate::clock::Clock;
use crate::google::Google;
use crate::google::error::ApiError;
use crate::google::people::Person;
use crate::google::tokens::Caller;

/// Lifetime of an identity token.
const ID_TOKEN_TTL_SECONDS: i64 = 3_600;

/// Identity token of a person, for the client.
pub(super) fn id_token(
    service: &Google,
    person: &Person,
    caller: &Caller,
    access_token: &str,
    nonce: Option<&str>,
) -> String {
    // The receiver compares the times with the system clock, not with the simulated one.
    let now = Clock::system_seconds();
    let hash = digest::digest(&digest::SHA256, access_token.as_bytes());
    let client = &service.app.client_id;
    let mut claims = json!({
        "iss": "https://accounts.google.com", "azp": client, "aud": client, "sub": person.sub,
        "hd": person.domain, "at_hash": URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]),
        "iat": now, "exp": now + ID_TOKEN_TTL_SECONDS,
    });
    if let Some(nonce) = nonce {
        claims["nonce"] = json!(nonce);
    }
    add_fields(&mut claims, person, caller, "email_verified");
    service.keys.sign(&claims)
}

/// Adds the fields that the scopes allow.
fn add_fields(target: &mut Value, person: &Person, caller: &Caller, verified: &str) {
    if caller.has_any(&[EMAIL_SCOPE]) {
        target["email"] = json!(person.address);
        target[verified] = json!(true);
    }
    if caller.has_any(&[PROFILE_SCOPE]) {
        let (given, family) = person.name.split_once(' ').unwrap_or((&person.name, ""));
        target["name"] = json!(person.name);
        target["given_name"] = json!(given);
        target["family_name"] = json!(family);
        target["picture"] = json!(format!(
            "https://lh3.googleusercontent.com/a/{}=s96-c",
            person.permission_id
        ));
    }
}

/// Person of the token, if a scope allows to read who it is.
fn identify(service: &Google, headers: &HeaderMap) -> Result<(Person, Caller), ApiError> {
    let caller = service.caller(headers)?;
    if !caller.has_any(&[OPENID_SCOPE, EMAIL_SCOPE, PROFILE_SCOPE]) {
        let method = "google.identity.oauth2.userinfo.get";
        return Err(ApiError::missing_scope("oauth2.googleapis.com", method));
    }
    let person = service.person(&caller.sub);
    person
        .map(|person| (person, caller))
        .ok_or_else(ApiError::unauthorized)
}

/// User information of `OpenID` Connect.
pub(super) async fn openid_userinfo(
    State(service): State<Service>,
    headers: HeaderMap,
) -> Response {
    let Ok((person, caller)) = identify(&service, &headers) else {
        let body = json!({
            "error": "invalid_request", "error_description": "Invalid Credentials",
        });
        return (StatusCode::UNAUTHORIZED, Json(body)).into_response();
    };
    let mut body = json!({ "sub": person.sub, "hd": person.domain });
    add_fields(&mut body, &person, &caller, "email_verified");
    Json(body).into_response()
}

/// User information of the older API.
pub(super) async fn userinfo(
    State(service): State<Service>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let (person, caller) = identify(&service, &headers)?;
    let mut body = json!({ "id": person.sub, "hd": person.domain });
    add_fields(&mut body, &person, &caller, "verified_email");
    Ok(Json(body))
}

const KEYS_CACHE_CONTROL: &str = "public, max-age=20404, must-revalidate, no-transform";

pub(super) async fn jwks(State(service): State<Service>) -> Response {
    let headers = [(header::CACHE_CONTROL, KEYS_CACHE_CONTROL)];
    (headers, Json(service.keys.jwks())).into_response()
}

pub(super) async fn certificates(State(service): State<Service>) -> Response {
    let headers = [(header::CACHE_CONTROL, KEYS_CACHE_CONTROL)];
    (headers, Json(service.keys.certificates())).into_response()
}
