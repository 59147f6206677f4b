//! Identity of a person, and the list of the accounts servers.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::{PROFILE_SCOPE, Service, token};
use crate::faults::Effect;
use crate::zoho::access::Refusal;
use crate::zoho::data_center::DataCenter;
use crate::zoho::people::Person;
use crate::zoho::{Settings, Zoho};

fn refusal(refusal: Refusal) -> Response {
    let error = match refusal {
        Refusal::NoToken | Refusal::InvalidToken => "INVALID_OAUTHTOKEN",
        Refusal::MissingScope => "INVALID_OAUTHSCOPE",
    };
    (StatusCode::UNAUTHORIZED, Json(json!({ "error": error }))).into_response()
}

/// Error response of an injected fault.
pub(super) fn fault_response(effect: Effect) -> Option<Response> {
    match effect {
        Effect::Unauthorized => Some(refusal(Refusal::InvalidToken)),
        Effect::Forbidden => Some(refusal(Refusal::MissingScope)),
        other => token::fault_response(other),
    }
}

/// Person of the token, if a scope allows to read who it is.
fn identify(
    service: &Zoho,
    data_center: DataCenter,
    headers: &HeaderMap,
) -> Result<Person, Refusal> {
    let caller = service.caller(data_center, headers)?;
    service.check_scope(&caller, &[PROFILE_SCOPE])?;
    let person = service.person(&caller.login);
    person.ok_or(Refusal::InvalidToken)
}

pub(super) async fn user_info(
    State(service): State<Service>,
    data_center: DataCenter,
    headers: HeaderMap,
) -> Response {
    match identify(&service, data_center, &headers) {
        Ok(person) => Json(user_json(&person, &service.settings())).into_response(),
        Err(reason) => refusal(reason),
    }
}

fn user_json(person: &Person, settings: &Settings) -> Value {
    let zuid = if settings.zuid_as_string {
        json!(person.zuid.to_string())
    } else {
        json!(person.zuid)
    };
    json!({
        "First_Name": person.first_name, "Last_Name": person.last_name,
        "Display_Name": person.name(), "Email": person.address, "ZUID": zuid,
    })
}

/// Accounts servers of all data centres, the same at each of them.
pub(super) async fn server_info(
    State(service): State<Service>,
    _data_center: DataCenter,
) -> Json<Value> {
    let locations: Map<String, Value> = DataCenter::ALL
        .iter()
        .map(|one| (one.name().to_owned(), json!(service.server(*one))))
        .collect();
    Json(json!({ "result": "success", "locations": locations }))
}
