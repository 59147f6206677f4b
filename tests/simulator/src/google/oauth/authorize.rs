//! The consent page.
//!
//! The login of a browser session is a person's address or id. The page consents immediately;
//! wrong requests get an error page and never a redirect.

use std::collections::BTreeSet;

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use url::Url;

use super::{EMAIL_SCOPE, Fields, OPENID_SCOPE, PROFILE_SCOPE, Service};
use crate::google::Google;
use crate::google::tokens::Code;
use crate::oauth::{self, redirect, session, sign_in_form, start_session};

/// Lifetime of an authorization code.
const CODE_TTL_SECONDS: i64 = 600;

fn page(status: StatusCode, text: &str) -> Response {
    oauth::page("Google", status, text)
}

fn error_page(error: &str) -> Response {
    page(
        StatusCode::BAD_REQUEST,
        &format!("<p>Access blocked: Error 400: {error}</p>"),
    )
}

pub(super) async fn authorize(
    State(service): State<Service>,
    uri: Uri,
    headers: HeaderMap,
    Query(fields): Query<Fields>,
) -> Response {
    let target = match check(&service, &fields) {
        Ok(target) => target,
        Err(error) => return error_page(error),
    };
    let person = session(&headers).and_then(|login| {
        let state = service.state();
        state.people.find(&login).cloned()
    });
    let Some(person) = person else {
        let return_to = format!("/google{uri}");
        let form = sign_in_form("/google/session", &return_to, "Address");
        return page(StatusCode::OK, &form);
    };
    let text = |name: &str| fields.get(name).map_or("", String::as_str);
    let settings = service.settings().clone();
    if settings.deny_authorizations {
        let fields = [("error", "access_denied"), ("state", text("state"))];
        return redirect(target, fields);
    }
    let mut guard = service.state();
    let state = &mut *guard;
    let requested = requested_scopes(text("scope"));
    let earlier = state.tokens.granted(&person.sub);
    let is_shown = text("prompt").split(' ').any(|word| word == "consent")
        || !earlier.is_some_and(|earlier| requested.is_subset(earlier));
    let mut scopes: BTreeSet<String> = requested;
    scopes.retain(|scope| !settings.withheld_scopes.contains(scope));
    if text("include_granted_scopes") == "true" {
        scopes.extend(earlier.into_iter().flatten().cloned());
    }
    let scope = scope_text(&scopes);
    let code = Code {
        sub: person.sub.clone(),
        scopes,
        redirect_uri: text("redirect_uri").to_owned(),
        challenge: fields.get("code_challenge").cloned(),
        nonce: fields.get("nonce").cloned(),
        is_offline: text("access_type") == "offline"
            && is_shown
            && !settings.withhold_refresh_tokens,
        expires_at: service.core.clock.seconds() + CODE_TTL_SECONDS,
    };
    let code = state.tokens.store_consent(code, &mut state.rng);
    let prompt = if is_shown { "consent" } else { "none" };
    let answer = [
        ("state", text("state")),
        ("code", code.as_str()),
        ("scope", scope.as_str()),
        ("authuser", "0"),
        ("hd", person.domain.as_str()),
        ("prompt", prompt),
    ];
    redirect(target, answer)
}

/// The redirect URI of a valid request, otherwise the error of the page.
fn check(service: &Google, fields: &Fields) -> Result<Url, &'static str> {
    let text = |name: &str| fields.get(name).map_or("", String::as_str);
    if text("client_id") != service.app.client_id {
        return Err("invalid_client");
    }
    let uri = text("redirect_uri");
    let is_registered = {
        let settings = service.settings();
        settings.redirect_uris.iter().any(|known| known == uri)
    };
    let target = Url::parse(uri).ok().filter(|_| is_registered);
    let target = target.ok_or("redirect_uri_mismatch")?;
    if text("response_type") != "code" {
        return Err("invalid_request");
    }
    let scopes = requested_scopes(text("scope"));
    let is_known = |scope: &String| {
        scope == OPENID_SCOPE
            || scope.starts_with("https://www.googleapis.com/auth/")
            || scope == "https://mail.google.com/"
    };
    if scopes.is_empty() || !scopes.iter().all(is_known) {
        return Err("invalid_scope");
    }
    let has_challenge = fields.contains_key("code_challenge");
    if has_challenge && text("code_challenge_method") != "S256" {
        return Err("invalid_request");
    }
    Ok(target)
}

/// Requested scopes in the spelling of responses.
fn requested_scopes(text: &str) -> BTreeSet<String> {
    text.split_ascii_whitespace()
        .map(|scope| match scope {
            "email" => EMAIL_SCOPE.to_owned(),
            "profile" => PROFILE_SCOPE.to_owned(),
            other => other.to_owned(),
        })
        .collect()
}

/// Scopes in a response; their order differs from that of the request.
pub(super) fn scope_text(scopes: &BTreeSet<String>) -> String {
    let all: Vec<&str> = scopes.iter().map(String::as_str).collect();
    all.join(" ")
}

pub(super) async fn sign_in(
    State(service): State<Service>,
    Form(fields): Form<Fields>,
) -> Response {
    let login = fields.get("login").map(String::as_str).unwrap_or_default();
    let return_to = fields
        .get("return_to")
        .filter(|path| path.starts_with("/google/"));
    if service.state().people.find(login).is_none() {
        return page(StatusCode::UNPROCESSABLE_ENTITY, "<p>User not found</p>");
    }
    start_session(login, return_to)
}
