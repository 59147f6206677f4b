//! The family's part of the control API.
//!
//! Zoho has routes of the same names. They are not shared: the two families have other people, grants
//! and tokens, so a common trait would be as long as the routes that it replaces. The common routes
//! of providers are in `provider_control`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Google;
use super::settings::Settings;
use crate::provider_control::{ControlError, merge_settings};

type Service = Arc<Google>;

/// Index of these routes.
pub(super) const INDEX: &str = "\
GET    /_sim/google/people            people, their grants                    POST changes an address
GET    /_sim/google/settings          client, consent, quotas, channels       POST changes fields
POST   /_sim/google/tokens            expire, revoke or change_password of a person
GET    /_sim/google/keys              ids of the signing keys                 POST {rotate: true}
Google's services are all at /google, such as /google/drive/v3.
";

pub(super) fn router(service: Service) -> Router {
    Router::new()
        .route("/_sim/google/people", get(people).post(rename))
        .route("/_sim/google/settings", get(settings).post(change_settings))
        .route("/_sim/google/tokens", post(change_tokens))
        .route("/_sim/google/keys", get(keys).post(rotate_keys))
        .with_state(service)
}

async fn people(State(service): State<Service>) -> Json<Value> {
    let state = service.state();
    let describe = |person: &super::Person| {
        json!({
            "login": person.sub, "address": person.address, "name": person.name,
            "permission_id": person.permission_id, "domain": person.domain,
            "scopes": state.tokens.granted(&person.sub),
        })
    };
    let people: Vec<Value> = state.people.all().map(describe).collect();
    Json(json!({ "people": people }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    login: String,
    address: String,
}

async fn rename(
    State(service): State<Service>,
    Json(body): Json<Rename>,
) -> Result<StatusCode, ControlError> {
    let mut state = service.state();
    let is_taken = state.people.find(&body.address).is_some();
    if is_taken || !state.people.rename(&body.login, &body.address) {
        return Err(ControlError::conflict("unknown person or taken address"));
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn settings(State(service): State<Service>) -> Json<Settings> {
    Json(service.settings().clone())
}

async fn change_settings(
    State(service): State<Service>,
    Json(changes): Json<Map<String, Value>>,
) -> Result<Json<Settings>, ControlError> {
    merge_settings(service.shared_settings(), changes).map(Json)
}

/// Each field names a person by id or address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeTokens {
    /// The access tokens expire now.
    expire: Option<String>,
    /// The grant ends, as in the person's account settings.
    revoke: Option<String>,
    /// Tokens with scopes of Gmail end.
    change_password: Option<String>,
}

async fn change_tokens(
    State(service): State<Service>,
    Json(body): Json<ChangeTokens>,
) -> Result<StatusCode, ControlError> {
    let now = service.core.clock.seconds();
    let mut state = service.state();
    let find = |login: &Option<String>| {
        let Some(login) = login else { return Ok(None) };
        let person = state.people.find(login);
        let person = person.ok_or_else(|| ControlError::conflict("unknown person"))?;
        Ok(Some(person.sub.clone()))
    };
    let (expire, revoke) = (find(&body.expire)?, find(&body.revoke)?);
    let change_password = find(&body.change_password)?;
    if let Some(sub) = expire {
        state.tokens.expire_access(&sub, now);
    }
    if let Some(sub) = revoke {
        state.tokens.end_grant(&sub);
    }
    if let Some(sub) = change_password {
        state.tokens.change_password(&sub);
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn keys(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "keys": service.keys.ids() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateKeys {
    rotate: bool,
}

async fn rotate_keys(
    State(service): State<Service>,
    Json(body): Json<RotateKeys>,
) -> Result<Json<Value>, ControlError> {
    if body.rotate && service.keys.rotate().is_err() {
        return Err(ControlError::conflict("no key could be generated"));
    }
    Ok(Json(json!({ "keys": service.keys.ids() })))
}
