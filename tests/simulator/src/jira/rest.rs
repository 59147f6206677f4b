//! The REST API: account resources, and Jira of each site.

mod agile;
mod issues;
mod lists;
mod metering;
mod search;
mod worklogs;

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Jira;
use super::world::{Site, World};
use super::{limits, webhooks};
use crate::faults::{Effect, Rule, Target};
use crate::usage::Outcome;
use crate::wire;

type Service = Arc<Jira>;
/// Query parameters. Repeated ones are joined by commas.
type Fields = HashMap<String, String>;

pub(crate) fn router(service: &Service) -> Router {
    Router::new()
        .route("/api/oauth/token/accessible-resources", get(resources))
        .route("/api/me", get(me))
        .route("/api/ex/jira/{site}/{*rest}", any(site))
        .with_state(Arc::clone(service))
}

/// Person and scopes of an access token.
pub(super) struct Caller {
    pub(super) person: String,
    scopes: Vec<String>,
}

impl Caller {
    fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|granted| granted == scope)
    }
}

/// A response before it is sent.
pub(super) struct Reply {
    status: StatusCode,
    body: Option<Value>,
}

impl Reply {
    pub(super) const fn ok(body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body: Some(body),
        }
    }

    pub(super) const fn empty(status: StatusCode) -> Self {
        Self { status, body: None }
    }

    /// An error in Jira's format.
    pub(super) fn error(status: StatusCode, reason: &str) -> Self {
        Self {
            status,
            body: Some(json!({ "errorMessages": [reason], "errors": {} })),
        }
    }

    pub(super) fn bad_request(reason: &str) -> Self {
        Self::error(StatusCode::BAD_REQUEST, reason)
    }

    pub(super) fn not_found() -> Self {
        let reason = "Not found, or you do not have permission.";
        Self::error(StatusCode::NOT_FOUND, reason)
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self.body {
            Some(body) => (self.status, Json(body)).into_response(),
            None => self.status.into_response(),
        }
    }
}

/// An authenticated request to a site.
pub(super) struct SiteRequest<'a> {
    pub(super) service: &'a Jira,
    pub(super) site: &'a str,
    pub(super) caller: &'a Caller,
    method: &'a str,
    pub(super) query: &'a Fields,
    pub(super) body: &'a Value,
}

impl SiteRequest<'_> {
    pub(super) fn find_site<'w>(&self, world: &'w World) -> &'w Site {
        &world.sites[self.site]
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub(super) fn number(&self, name: &str, default: usize) -> usize {
        self.text(name).parse().unwrap_or(default)
    }

    /// A list parameter of the body or the query.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        match &self.body[name] {
            Value::Array(values) => values.iter().map(to_text).collect(),
            Value::String(text) => split_commas(text),
            _ => split_commas(self.text(name)),
        }
    }

    /// A page of a list, with `startAt` and `maxResults`.
    pub(super) fn page(&self, all: Vec<Value>, name: &str, default: usize) -> Reply {
        let start = self.number("startAt", 0);
        let max_results = self.number("maxResults", default).clamp(1, 1_000);
        let total = all.len();
        let rows: Vec<Value> = all.into_iter().skip(start).take(max_results).collect();
        let last = start + rows.len() >= total;
        let mut page = json!({
            "startAt": start, "maxResults": max_results, "total": total, name: rows,
        });
        // Only lists with `values` have `isLast`.
        if name == "values" {
            page["isLast"] = json!(last);
        }
        Reply::ok(page)
    }
}

fn to_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn split_commas(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// An error of the API gateway.
pub(super) fn gateway_error(status: StatusCode, message: &str) -> Response {
    (
        status,
        Json(json!({ "code": status.as_u16(), "message": message })),
    )
        .into_response()
}

fn unauthorized() -> Response {
    gateway_error(StatusCode::UNAUTHORIZED, "Unauthorized")
}

fn missing_scope() -> Response {
    gateway_error(
        StatusCode::UNAUTHORIZED,
        "Unauthorized; scope does not match",
    )
}

fn identify(world: &World, headers: &HeaderMap, now: i64) -> Option<Caller> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .unwrap_or_default();
    world
        .access_tokens
        .get(token)
        .filter(|access| access.expires > now && world.grants.contains_key(&access.person))
        .map(|access| Caller {
            person: access.person.clone(),
            scopes: access.scopes.clone(),
        })
}

async fn resources(State(service): State<Service>, headers: HeaderMap) -> Response {
    let (_running, _) = service.core.stats.start_request();
    let world = service.world();
    let Some(caller) = identify(&world, &headers, service.core.clock.seconds()) else {
        return unauthorized();
    };
    let mut all = Vec::new();
    for site in world.grants.get(&caller.person).into_iter().flatten() {
        let Some(site) = world.sites.get(site) else {
            continue;
        };
        let entry = |scopes: Value| {
            json!({ "id": site.id, "name": site.name, "url": site.url, "scopes": scopes,
                    "avatarUrl": format!("{}/avatar.png", site.url) })
        };
        all.push(entry(json!(caller.scopes)));
        // The site also appears with the scopes of another product.
        all.push(entry(json!(["read:confluence-space.summary"])));
    }
    Json(Value::Array(all)).into_response()
}

async fn me(State(service): State<Service>, headers: HeaderMap) -> Response {
    let world = service.world();
    match identify(&world, &headers, service.core.clock.seconds()) {
        Some(caller) if caller.has_scope("read:me") => {
            let person = &world.people[&caller.person];
            Json(json!({
                "account_type": "atlassian", "account_id": person.id, "name": person.name,
                "nickname": person.name, "zoneinfo": person.zone.1, "account_status": "active",
            }))
            .into_response()
        }
        Some(_) => missing_scope(),
        None => unauthorized(),
    }
}

async fn site(
    State(service): State<Service>,
    Path((site, rest)): Path<(String, String)>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (_running, _) = service.core.stats.start_request();
    let query = fields(query.as_deref().unwrap_or_default());
    let subject = format!("{method} /api/ex/jira/{site}/{rest}");
    let endpoint = format!("{method} {}", pattern(&rest));
    let rule = service
        .core
        .faults
        .pick(Target::Request, &subject, Some(&site));
    let handle = || respond(&service, &site, &rest, &method, &query, &headers, &body);
    let response = match &rule {
        None => handle(),
        Some(rule) => {
            if let Some(response) = wire::fault_response(rule)
                .await
                .or_else(|| fault_response(rule))
            {
                metering::record(&service, &site, &endpoint, Outcome::Free);
                response
            } else {
                wire::apply_fault(rule, handle()).await
            }
        }
    };
    let pattern = pattern(&rest);
    service.core.stats.record_response(
        format!("{method} /atlassian/api/ex/jira/{{site}}/{pattern}"),
        response.status().as_u16(),
    );
    response
}

fn fields(query: &str) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let joined = fields.entry(name.into_owned()).or_default();
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(&value);
    }
    fields
}

/// Replaces the ids of a path by `{id}`.
fn pattern(rest: &str) -> String {
    let parts: Vec<&str> = rest
        .split('/')
        .map(|part| {
            let is_id = part.bytes().any(|byte| byte.is_ascii_digit()) && part.len() > 1;
            if is_id { "{id}" } else { part }
        })
        .collect();
    parts.join("/")
}

/// Error response of an injected fault.
pub(super) fn fault_response(rule: &Rule) -> Option<Response> {
    let seconds = rule.seconds.unwrap_or(30.0);
    Some(match rule.effect {
        Effect::TooManyRequests => limits::too_many_requests("jira-burst-based", Some(seconds)),
        Effect::PrimaryLimit => limits::too_many_requests("jira-quota-global-based", Some(seconds)),
        Effect::SecondaryLimit => {
            limits::too_many_requests("jira-quota-tenant-based", Some(seconds))
        }
        Effect::SecondaryLimitBare => limits::too_many_requests("jira-burst-based", None),
        Effect::Unauthorized => unauthorized(),
        Effect::Forbidden => missing_scope(),
        _ => return None,
    })
}

/// Scopes of a path; all are required.
fn required_scopes(parts: &[&str]) -> &'static [&'static str] {
    match parts {
        ["rest", "agile", _, "sprint", ..] | ["rest", "agile", _, "board", _, "sprint", ..] => {
            &["read:sprint:jira-software"]
        }
        ["rest", "agile", ..] => &["read:board-scope:jira-software"],
        // The management of webhooks also needs the scope of their data.
        [_, _, _, "webhook", ..] => &["manage:jira-webhook", "read:jira-work"],
        [_, _, _, "myself" | "user" | "users", ..] => &["read:jira-user"],
        _ => &["read:jira-work"],
    }
}

fn respond(
    service: &Jira,
    site: &str,
    rest: &str,
    method: &Method,
    query: &Fields,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    let now = service.core.clock.seconds();
    let mut guard = service.world();
    let world = &mut *guard;
    let Some(caller) = identify(world, headers, now) else {
        return unauthorized();
    };
    let is_granted = world
        .grants
        .get(&caller.person)
        .is_some_and(|sites| sites.contains(site));
    if !is_granted || !world.sites.contains_key(site) {
        return gateway_error(StatusCode::NOT_FOUND, "No message available");
    }
    let endpoint = format!("{method} {}", pattern(rest));
    if let Some(error) = limits::check(service, &mut world.usage, site, &endpoint) {
        metering::record(service, site, &endpoint, Outcome::Refused);
        return error;
    }
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    if !required_scopes(&parts)
        .iter()
        .all(|scope| caller.has_scope(scope))
    {
        return missing_scope();
    }
    let json: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let request = SiteRequest {
        service,
        site,
        caller: &caller,
        method: method.as_str(),
        query,
        body: &json,
    };
    let reply = route(&request, world, &parts, now);
    // Reads with POST are charged as reads.
    let writes = parts.get(3) == Some(&"webhook") && method != Method::GET;
    let points = limits::cost(writes, reply.body.as_ref());
    world.usage.charge(site, points);
    let token = headers.get(header::AUTHORIZATION);
    let fingerprint = request.fingerprint(rest, token, reply.body.as_ref());
    metering::record(
        service,
        site,
        &endpoint,
        Outcome::Charged(points, fingerprint),
    );
    let mut response = reply.into_response();
    limits::add_headers(service, &world.usage, site, response.headers_mut());
    response
}

fn route(request: &SiteRequest<'_>, world: &mut World, parts: &[&str], now: i64) -> Reply {
    let version = match parts.get(2) {
        Some(&"2") => 2,
        _ => 3,
    };
    match (request.method, parts) {
        (_, ["rest", "api", "2" | "3", "search"]) => Reply::error(
            StatusCode::GONE,
            "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.",
        ),
        ("GET" | "POST", ["rest", "api", "2" | "3", "search", "jql"]) => {
            search::jql(request, world)
        }
        ("POST", ["rest", "api", "2" | "3", "search", "approximate-count"]) => {
            search::count(request, world)
        }
        ("POST", ["rest", "api", "3", "webhook"]) => webhooks::register(request, world, now),
        ("GET", ["rest", "api", "3", "webhook"]) => webhooks::list(request, world, now),
        ("PUT", ["rest", "api", "3", "webhook", "refresh"]) => {
            webhooks::refresh(request, world, now)
        }
        ("DELETE", ["rest", "api", "3", "webhook"]) => webhooks::delete(request, world),
        ("POST", ["rest", "api", "2" | "3", "worklog", "list"]) => worklogs::list(request, world),
        ("POST", ["rest", "api", "3", "changelog", "bulkfetch"]) => {
            issues::bulk_fetch_changelogs(request, world)
        }
        ("POST", ["rest", "api", "3", "issue", "bulkfetch"]) => issues::bulk_fetch(request, world),
        ("POST", ["rest", "api", "3", "comment", "list"]) => issues::list_comments(request, world),
        ("GET", ["rest", "agile", "1.0", rest @ ..]) => agile::respond(request, world, rest),
        ("GET", ["rest", "api", "2" | "3", rest @ ..]) => match rest {
            ["issue", id, rest @ ..] => issues::respond(request, world, id, rest, version),
            ["worklog", kind] => worklogs::list_changes(request, world, kind),
            _ => lists::respond(request, world, rest),
        },
        _ => Reply::not_found(),
    }
}
