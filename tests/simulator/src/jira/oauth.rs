//! The identity service: consent page and token endpoint.
//!
//! The login of a browser session is the account id. The cookie `atlassian_site=<cloud id>`
//! restricts a consent to one site; without it, the consent is for all of the person's sites. The
//! page consents immediately, and the sites are added to the person's only grant.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use url::Url;

use super::Jira;
use super::world::{AccessToken, Code, RefreshToken};
use crate::faults::{Rule, Target};
use crate::oauth::{self, cookie, redirect, s256, session, sign_in_form, start_session};
use crate::wire;

/// Lifetime of an authorization code.
const CODE_TTL_SECONDS: i64 = 600;
/// Lifetime of an unused refresh token.
const REFRESH_TOKEN_IDLE_TTL_SECONDS: i64 = 90 * 24 * 3_600;

type Service = Arc<Jira>;
type Fields = HashMap<String, String>;

pub(crate) fn router(service: &Service) -> Router {
    Router::new()
        .route("/auth/authorize", get(authorize))
        .route("/auth/session", post(sign_in))
        .route("/auth/oauth/token", post(token))
        .with_state(Arc::clone(service))
}

fn page(status: StatusCode, text: &str) -> Response {
    oauth::page("Atlassian", status, text)
}

async fn authorize(
    State(service): State<Service>,
    uri: Uri,
    headers: HeaderMap,
    Query(fields): Query<Fields>,
) -> Response {
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let callback = service.settings().callback_url.clone();
    for (name, expected) in [
        ("audience", "api.atlassian.com"),
        ("client_id", service.app.client_id.as_str()),
        ("redirect_uri", callback.as_str()),
        ("response_type", "code"),
    ] {
        if field(name) != expected {
            return page(StatusCode::BAD_REQUEST, &format!("<p>invalid {name}</p>"));
        }
    }
    let challenge = fields.get("code_challenge").cloned();
    if challenge.is_some() && field("code_challenge_method") != "S256" {
        return page(
            StatusCode::BAD_REQUEST,
            "<p>invalid code_challenge_method</p>",
        );
    }
    let person = session(&headers).filter(|id| service.world().people.contains_key(id));
    let Some(person) = person else {
        let return_to = format!("/atlassian{uri}");
        let form = sign_in_form("/atlassian/auth/session", &return_to, "Account id");
        return page(StatusCode::OK, &form);
    };
    let Ok(target) = Url::parse(&callback) else {
        return page(StatusCode::BAD_REQUEST, "<p>invalid redirect_uri</p>");
    };
    let (is_denied, withheld) = {
        let settings = service.settings();
        (
            settings.deny_authorizations,
            settings.withheld_scopes.clone(),
        )
    };
    let state = field("state");
    if is_denied {
        let fields = [
            ("error", "access_denied"),
            ("error_description", "User did not authorize the request"),
            ("state", state.as_str()),
        ];
        return redirect(target, fields);
    }
    let now = service.core.clock.seconds();
    let mut world = service.world();
    let chosen = cookie(&headers, "atlassian_site");
    let sites: Vec<String> = world.people[&person]
        .sites
        .iter()
        .filter(|site| chosen.as_ref().is_none_or(|id| id == *site))
        .cloned()
        .collect();
    world
        .grants
        .entry(person.clone())
        .or_default()
        .extend(sites);
    let code = world.secret(48);
    world.codes.insert(
        code.clone(),
        Code {
            person,
            scopes: field("scope")
                .split(' ')
                .filter(|scope| !withheld.iter().any(|name| name == scope))
                .map(str::to_owned)
                .collect(),
            expires: now + CODE_TTL_SECONDS,
            challenge,
        },
    );
    redirect(target, [("state", state.as_str()), ("code", code.as_str())])
}

async fn sign_in(State(service): State<Service>, Form(fields): Form<Fields>) -> Response {
    let login = fields.get("login").map(String::as_str).unwrap_or_default();
    let return_to = fields
        .get("return_to")
        .filter(|path| path.starts_with("/atlassian/"));
    if !service.world().people.contains_key(login) {
        return page(StatusCode::UNPROCESSABLE_ENTITY, "<p>User not found</p>");
    }
    start_session(login, return_to)
}

async fn token(State(service): State<Service>, headers: HeaderMap, body: Bytes) -> Response {
    let (_running, _) = service.core.stats.start_request();
    let fields = parse_fields(&headers, &body);
    let rule: Option<Rule> =
        service
            .core
            .faults
            .pick(Target::Request, "POST /auth/oauth/token", None);
    let response = match &rule {
        None => exchange(&service, &fields),
        Some(rule) => {
            if let Some(response) = wire::fault_response(rule)
                .await
                .or_else(|| super::rest::fault_response(rule))
            {
                response
            } else {
                wire::apply_fault(rule, exchange(&service, &fields)).await
            }
        }
    };
    let status = response.status().as_u16();
    service
        .core
        .stats
        .record_response("POST /atlassian/auth/oauth/token".to_owned(), status);
    response
}

fn parse_fields(headers: &HeaderMap, body: &[u8]) -> Fields {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if kind.starts_with("application/json") {
        serde_json::from_slice(body).unwrap_or_default()
    } else {
        url::form_urlencoded::parse(body).into_owned().collect()
    }
}

fn error_response(status: StatusCode, error: &str, reason: &str) -> Response {
    let body = json!({ "error": error, "error_description": reason });
    (status, Json(body)).into_response()
}

fn exchange(service: &Jira, fields: &Fields) -> Response {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    if field("client_id") != service.app.client_id
        || field("client_secret") != service.app.client_secret
    {
        return error_response(StatusCode::UNAUTHORIZED, "access_denied", "Unauthorized");
    }
    let now = service.core.clock.seconds();
    let reuse_seconds = service.settings().reuse_seconds;
    let mut world = service.world();
    let (person, scopes) = match field("grant_type") {
        "authorization_code" => {
            let code = world.codes.remove(field("code"));
            let redirect_uri_matches = field("redirect_uri") == service.settings().callback_url;
            let verifier_matches = |code: &Code| match &code.challenge {
                Some(challenge) => s256(field("code_verifier")) == *challenge,
                None => true,
            };
            match code
                .filter(|code| code.expires > now && redirect_uri_matches && verifier_matches(code))
            {
                Some(code) => (code.person, code.scopes),
                None => {
                    return error_response(
                        StatusCode::FORBIDDEN,
                        "invalid_grant",
                        "Invalid authorization code",
                    );
                }
            }
        }
        "refresh_token" => {
            service.core.stats.count("jira.refreshes", 1);
            let has_grant =
                |world: &super::world::World, person: &str| world.grants.contains_key(person);
            let valid = world
                .refresh_tokens
                .get(field("refresh_token"))
                .filter(|token| {
                    token.expires > now
                        && token.used_at.is_none_or(|used| now - used < reuse_seconds)
                        && has_grant(&world, &token.person)
                });
            let Some((person, scopes)) =
                valid.map(|token| (token.person.clone(), token.scopes.clone()))
            else {
                return error_response(
                    StatusCode::FORBIDDEN,
                    "invalid_grant",
                    "Unknown or invalid refresh token.",
                );
            };
            if let Some(token) = world.refresh_tokens.get_mut(field("refresh_token")) {
                token.used_at.get_or_insert(now);
            }
            (person, scopes)
        }
        _ => {
            return error_response(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "Grant type not supported",
            );
        }
    };
    Json(issue_tokens(service, &mut world, person, scopes, now)).into_response()
}

fn issue_tokens(
    service: &Jira,
    world: &mut super::world::World,
    person: String,
    scopes: Vec<String>,
    now: i64,
) -> Value {
    let ttl = service.settings().token_seconds;
    let access = format!("eyJ{}", world.secret(1_200));
    let mut response = json!({
        "access_token": access, "expires_in": ttl, "token_type": "Bearer",
        "scope": scopes.join(" "),
    });
    world.access_tokens.insert(
        access,
        AccessToken {
            person: person.clone(),
            scopes: scopes.clone(),
            expires: now + ttl,
        },
    );
    if scopes.iter().any(|scope| scope == "offline_access") {
        let refresh = format!("eyR{}", world.secret(600));
        response["refresh_token"] = json!(refresh);
        world.refresh_tokens.insert(
            refresh,
            RefreshToken {
                person,
                scopes,
                used_at: None,
                expires: now + REFRESH_TOKEN_IDLE_TTL_SECONDS,
            },
        );
    }
    response
}
