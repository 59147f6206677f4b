//! The consent page.
//!
//! The login of a browser session is a person's address or login. The page consents
//! immediately, at any data centre, and the redirect names the one in which the person's
//! account lives. Wrong requests get an error page and never a redirect.

use std::collections::BTreeSet;

use axum::extract::{Form, OriginalUri, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use url::Url;

use super::{Fields, Service};
use crate::oauth::{self, redirect, session, sign_in_form, start_session};
use crate::zoho::data_center::DataCenter;
use crate::zoho::tokens::Code;
use crate::zoho::{HOME, Zoho};

fn page(status: StatusCode, text: &str) -> Response {
    oauth::page("Zoho", status, text)
}

fn error_page(error: &str) -> Response {
    page(StatusCode::BAD_REQUEST, &format!("<p>Error: {error}</p>"))
}

pub(super) async fn authorize(
    State(service): State<Service>,
    data_center: DataCenter,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Query(fields): Query<Fields>,
) -> Response {
    let target = match check(&service, data_center, &fields) {
        Ok(target) => target,
        Err(error) => return error_page(error),
    };
    let person = session(&headers).and_then(|login| {
        let state = service.state();
        state.people.find(&login).cloned()
    });
    let Some(person) = person else {
        let action = format!("/zoho/{}/oauth/v2/session", data_center.name());
        let form = sign_in_form(&action, &uri.to_string(), "Address");
        return page(StatusCode::OK, &form);
    };
    let settings = service.settings().clone();
    if !settings.multi_dc && person.data_center != HOME {
        return error_page("invalid_client");
    }
    let text = |name: &str| fields.get(name).map_or("", String::as_str);
    if settings.deny_authorizations {
        let fields = [("error", "access_denied"), ("state", text("state"))];
        return redirect(target, fields);
    }
    let code = {
        let mut guard = service.state();
        let state = &mut *guard;
        let scopes = requested_scopes(text("scope"));
        let earlier = state.tokens.granted(&person.login);
        let is_new = text("prompt") == "consent"
            || !earlier.is_some_and(|earlier| scopes.is_subset(&earlier));
        let code = Code {
            login: person.login.clone(),
            data_center: person.data_center,
            scopes,
            redirect_uri: text("redirect_uri").to_owned(),
            is_offline: text("access_type") == "offline"
                && is_new
                && !settings.withhold_refresh_tokens,
        };
        let now = service.core.clock.seconds();
        state.tokens.store_consent(code, now, &mut state.rng)
    };
    let own_server = service.server(person.data_center);
    let server = settings.accounts_server.as_ref().unwrap_or(&own_server);
    let location = settings.location.as_deref();
    let answer = [
        ("state", text("state")),
        ("code", code.as_str()),
        ("location", location.unwrap_or(person.data_center.name())),
        ("accounts-server", server.as_str()),
    ];
    if !settings.trailing_ampersand {
        return redirect(target, answer);
    }
    let mut target = target;
    target.query_pairs_mut().extend_pairs(answer);
    let location = [(header::LOCATION, format!("{target}&"))];
    (StatusCode::FOUND, location).into_response()
}

/// The redirect URI of a valid request, otherwise the error of the page.
fn check(service: &Zoho, data_center: DataCenter, fields: &Fields) -> Result<Url, &'static str> {
    let text = |name: &str| fields.get(name).map_or("", String::as_str);
    let settings = service.settings();
    let is_registered = settings.multi_dc || data_center == HOME;
    if text("client_id") != service.app.client_id || !is_registered {
        return Err("invalid_client");
    }
    let uri = text("redirect_uri");
    let is_known = settings.redirect_uris.iter().any(|known| known == uri);
    let target = Url::parse(uri).ok().filter(|_| is_known);
    let target = target.ok_or("invalid_redirect_uri")?;
    if text("response_type") != "code" {
        return Err("invalid_response_type");
    }
    let scopes = requested_scopes(text("scope"));
    if scopes.is_empty() || !scopes.iter().all(|scope| is_scope(scope)) {
        return Err("invalid_scope");
    }
    Ok(target)
}

/// Requested scopes, separated by commas or spaces.
fn requested_scopes(text: &str) -> BTreeSet<String> {
    let scopes = text.split([',', ' ']);
    let scopes = scopes.filter(|scope| !scope.is_empty());
    scopes.map(str::to_owned).collect()
}

/// Whether a scope has the form `Service.object.OPERATION` of a known service.
fn is_scope(scope: &str) -> bool {
    let parts: Vec<&str> = scope.split('.').collect();
    let [service, object, operation] = parts[..] else {
        return false;
    };
    matches!(service, "AaaServer" | "ZohoCliq" | "ZohoMail")
        && !object.is_empty()
        && matches!(operation, "READ" | "CREATE" | "UPDATE" | "DELETE" | "ALL")
}

pub(super) async fn sign_in(
    State(service): State<Service>,
    Form(fields): Form<Fields>,
) -> Response {
    let login = fields.get("login").map(String::as_str).unwrap_or_default();
    let return_to = fields
        .get("return_to")
        .filter(|path| path.starts_with("/zoho/"));
    if service.state().people.find(login).is_none() {
        return page(StatusCode::UNPROCESSABLE_ENTITY, "<p>User not found</p>");
    }
    start_session(login, return_to)
}
