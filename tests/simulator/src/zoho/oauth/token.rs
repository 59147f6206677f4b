//! The token endpoint and the revocation of a grant.
//!
//! Errors have status 200, unless a setting says otherwise: a response is a success if it has
//! an `access_token`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Fields, Service};
use crate::faults::Effect;
use crate::zoho::Zoho;
use crate::zoho::data_center::DataCenter;
use crate::zoho::tokens::{Denied, Issued};

/// Error of a request for tokens beyond a limit.
const THROTTLED: &str = "Access Denied";

impl From<Denied> for &'static str {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::InvalidCode => "invalid_code",
            Denied::InvalidRedirectUri => "invalid_redirect_uri",
            Denied::Throttled => THROTTLED,
        }
    }
}

/// Body of an error; that of a throttled request has a description.
fn error_body(error: &str) -> Value {
    match error {
        THROTTLED => json!({
            "error_description": "You have made too many requests continuously. Please try \
                                  again after some time.",
            "error": error, "status": "failure",
        }),
        _ => json!({ "error": error }),
    }
}

/// Error response of an injected fault.
pub(super) fn fault_response(effect: Effect) -> Option<Response> {
    let error = match effect {
        Effect::TooManyRequests
        | Effect::PrimaryLimit
        | Effect::SecondaryLimit
        | Effect::SecondaryLimitBare => THROTTLED,
        Effect::Unauthorized => "invalid_client",
        _ => return None,
    };
    Some(Json(error_body(error)).into_response())
}

/// Parameters of a request, from its form and its query.
fn parameters(query: Fields, body: &[u8]) -> Fields {
    let mut fields = query;
    fields.extend(url::form_urlencoded::parse(body).into_owned());
    fields
}

fn respond(service: &Zoho, result: Result<Value, String>) -> Response {
    match result {
        Ok(body) => Json(body).into_response(),
        Err(error) => {
            let status = StatusCode::from_u16(service.settings().error_status);
            let status = status.unwrap_or(StatusCode::OK);
            (status, Json(error_body(&error))).into_response()
        }
    }
}

pub(super) async fn token(
    State(service): State<Service>,
    data_center: DataCenter,
    Query(query): Query<Fields>,
    body: Bytes,
) -> Response {
    let fields = parameters(query, &body);
    respond(&service, issue(&service, data_center, &fields))
}

fn issue(service: &Zoho, data_center: DataCenter, fields: &Fields) -> Result<Value, String> {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let grant_type = field("grant_type");
    if grant_type == "refresh_token" {
        service.core.stats.count("zoho.refreshes", 1);
    }
    let settings = service.settings().clone();
    if let Some(error) = settings.token_error {
        return Err(error);
    }
    authenticate_client(service, data_center, fields)?;
    let now = service.core.clock.seconds();
    let mut guard = service.state();
    let state = &mut *guard;
    let (tokens, rng) = (&mut state.tokens, &mut state.rng);
    let issued = match grant_type {
        "authorization_code" => {
            let uri = fields.get("redirect_uri").map(String::as_str);
            tokens.exchange(data_center, field("code"), uri, &settings, now, rng)
        }
        "refresh_token" => tokens.refresh(data_center, field("refresh_token"), &settings, now, rng),
        _ => return Err("unsupported_grant_type".to_owned()),
    };
    let issued = issued.map_err(|denied| <&str>::from(denied).to_owned())?;
    Ok(token_json(service, data_center, &issued))
}

/// Verifies the client's id and its secret in the data centre.
fn authenticate_client(
    service: &Zoho,
    data_center: DataCenter,
    fields: &Fields,
) -> Result<(), String> {
    let field = |name: &str| fields.get(name).map(String::as_str);
    if field("client_id") != Some(service.app.client_id.as_str()) {
        return Err("invalid_client".to_owned());
    }
    if field("client_secret") != Some(service.client_secret(data_center).as_str()) {
        return Err("invalid_client_secret".to_owned());
    }
    Ok(())
}

/// Response with an access token, and after a consent with a refresh token.
fn token_json(service: &Zoho, data_center: DataCenter, issued: &Issued) -> Value {
    let settings = service.settings();
    let mut body = json!({ "access_token": issued.access_token });
    if let Some(token) = &issued.refresh_token {
        body["refresh_token"] = json!(token);
    }
    if !settings.omit_scope {
        let scopes: Vec<&str> = issued.caller.scopes.iter().map(String::as_str).collect();
        body["scope"] = json!(scopes.join(" "));
    }
    if !settings.omit_api_domain {
        body["api_domain"] = json!(service.server(data_center));
    }
    body["token_type"] = json!("Bearer");
    if settings.expires_in_sec {
        body["expires_in_sec"] = json!(settings.token_seconds);
        body["expires_in"] = json!(settings.token_seconds * 1_000);
    } else {
        body["expires_in"] = json!(settings.token_seconds);
    }
    body
}

/// Revokes the grant of a token, given in the query or the form.
pub(super) async fn revoke(
    State(service): State<Service>,
    data_center: DataCenter,
    Query(query): Query<Fields>,
    body: Bytes,
) -> Response {
    let fields = parameters(query, &body);
    let token = fields.get("token").map(String::as_str).unwrap_or_default();
    let is_revoked = service.state().tokens.revoke(data_center, token);
    let result = if is_revoked {
        service.core.stats.count("zoho.revocations", 1);
        Ok(json!({ "status": "success" }))
    } else {
        Err("invalid_code".to_owned())
    };
    respond(&service, result)
}
