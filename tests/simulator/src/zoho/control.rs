//! The family's part of the control API.
//!
//! Google has routes of the same names. They are not shared: the two families have other people, grants
//! and tokens, so a common trait would be as long as the routes that it replaces. The common routes
//! of providers are in `provider_control`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Zoho;
use super::data_center::DataCenter;
use super::people::{NewOrganization, Person};
use super::settings::Settings;
use crate::provider_control::{ControlError, merge_settings};

type Service = Arc<Zoho>;

/// Colleagues of the administrator of a new account.
const DEFAULT_PEOPLE: usize = 4;

/// Index of these routes.
pub(super) const INDEX: &str = "\
GET    /_sim/zoho/people              people, their grants                    POST changes an address
GET    /_sim/zoho/settings            client, consent, tokens                 POST changes fields
POST   /_sim/zoho/tokens              expire or revoke those of a person
GET    /_sim/zoho/locks               locked endpoints, and the calls in the lock
Zoho's data centres are at /zoho/us, /zoho/eu, ..., such as /zoho/us/oauth/v2/auth.
";

pub(super) fn router(service: Service) -> Router {
    Router::new()
        .route("/_sim/zoho/people", get(people).post(rename))
        .route("/_sim/zoho/settings", get(settings).post(change_settings))
        .route("/_sim/zoho/tokens", post(change_tokens))
        .route("/_sim/zoho/locks", get(locks))
        .with_state(service)
}

/// Body of a request for a new organization; each product may have more fields.
#[derive(Debug, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NewAccount {
    pub(crate) name: Option<String>,
    pub(crate) people: Option<usize>,
    pub(crate) data_center: Option<DataCenter>,
    /// Id of the administrator's account.
    pub(crate) zuid: Option<u64>,
}

impl Zoho {
    /// Adds the organization of a control request and returns its administrator's login.
    pub(crate) fn add_account(&self, new: &NewAccount) -> Result<String, ControlError> {
        let new = NewOrganization {
            name: new.name.as_deref(),
            colleagues: new.people.unwrap_or(DEFAULT_PEOPLE),
            data_center: new.data_center,
            zuid: new.zuid,
        };
        let admin = self.add_organization(&new);
        admin.ok_or_else(|| ControlError::conflict("the data centre has an account with this id"))
    }
}

async fn people(State(service): State<Service>) -> Json<Value> {
    let state = service.state();
    let describe = |person: &Person| {
        json!({
            "login": person.login, "zuid": person.zuid.to_string(), "address": person.address,
            "name": person.name(), "data_center": person.data_center,
            "organization_id": person.organization.to_string(),
            "scopes": state.tokens.granted(&person.login),
            "refresh_tokens": state.tokens.refresh_tokens(&person.login),
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

/// Each field names a person by login or address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeTokens {
    /// The access tokens expire now.
    expire: Option<String>,
    /// All grants end, as in the person's account settings.
    revoke: Option<String>,
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
        Ok(Some(person.login.clone()))
    };
    let (expire, revoke) = (find(&body.expire)?, find(&body.revoke)?);
    if let Some(login) = expire {
        state.tokens.expire_access(&login, now);
    }
    if let Some(login) = revoke {
        state.tokens.revoke_all(&login);
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn locks(State(service): State<Service>) -> Json<Value> {
    let now = service.core.clock.seconds();
    let locks = service.state().locks.report(now);
    Json(json!({ "locks": locks }))
}
