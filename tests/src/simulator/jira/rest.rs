//! The API: what belongs to no site, and each site's Jira.

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
use super::{hooks, limits};
use crate::simulator::faults::{Effect, Rule, Target};
use crate::simulator::usage::Outcome;
use crate::simulator::wire;

type Hub = Arc<Jira>;
/// A query; what is given more than once is joined by commas.
type Fields = HashMap<String, String>;

pub(crate) fn router(hub: &Hub) -> Router {
    Router::new()
        .route("/api/oauth/token/accessible-resources", get(resources))
        .route("/api/me", get(me))
        .route("/api/ex/jira/{site}/{*rest}", any(site))
        .with_state(Arc::clone(hub))
}

/// Who calls.
pub(super) struct Caller {
    pub(super) person: String,
    scopes: Vec<String>,
}

impl Caller {
    fn may(&self, scope: &str) -> bool {
        self.scopes.iter().any(|one| one == scope)
    }
}

/// What Jira answers, before it is sent.
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

    /// A refusal in Jira's own form.
    pub(super) fn refused(status: StatusCode, why: &str) -> Self {
        Self {
            status,
            body: Some(json!({ "errorMessages": [why], "errors": {} })),
        }
    }

    pub(super) fn bad(why: &str) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, why)
    }

    pub(super) fn not_found() -> Self {
        let why = "Not found, or you do not have permission.";
        Self::refused(StatusCode::NOT_FOUND, why)
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

/// A request to a site, once it is known who calls.
pub(super) struct Ask<'a> {
    pub(super) hub: &'a Jira,
    pub(super) site: &'a str,
    pub(super) caller: &'a Caller,
    method: &'a str,
    pub(super) query: &'a Fields,
    /// The body.
    pub(super) given: &'a Value,
}

impl Ask<'_> {
    pub(super) fn place<'w>(&self, world: &'w World) -> &'w Site {
        &world.sites[self.site]
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub(super) fn number(&self, name: &str, otherwise: usize) -> usize {
        self.text(name).parse().unwrap_or(otherwise)
    }

    /// A list, from the body or the query.
    pub(super) fn listed(&self, name: &str) -> Vec<String> {
        match &self.given[name] {
            Value::Array(values) => values.iter().map(plain).collect(),
            Value::String(text) => split(text),
            _ => split(self.text(name)),
        }
    }

    /// One window of a list, as most of Jira's lists are.
    pub(super) fn window(&self, all: Vec<Value>, name: &str, otherwise: usize) -> Reply {
        let start = self.number("startAt", 0);
        let most = self.number("maxResults", otherwise).clamp(1, 1_000);
        let total = all.len();
        let rows: Vec<Value> = all.into_iter().skip(start).take(most).collect();
        let last = start + rows.len() >= total;
        let mut page = json!({
            "startAt": start, "maxResults": most, "total": total, name: rows,
        });
        // Older lists do not say whether there is more.
        if name == "values" {
            page["isLast"] = json!(last);
        }
        Reply::ok(page)
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn split(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A refusal of the gateway before Jira.
pub(super) fn gateway(status: StatusCode, message: &str) -> Response {
    (
        status,
        Json(json!({ "code": status.as_u16(), "message": message })),
    )
        .into_response()
}

fn unauthorized() -> Response {
    gateway(StatusCode::UNAUTHORIZED, "Unauthorized")
}

fn lacks_scope() -> Response {
    gateway(
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
        .access
        .get(token)
        .filter(|access| access.expires > now && world.grants.contains_key(&access.person))
        .map(|access| Caller {
            person: access.person.clone(),
            scopes: access.scopes.clone(),
        })
}

async fn resources(State(hub): State<Hub>, headers: HeaderMap) -> Response {
    let (_running, _) = hub.core.stats.begin();
    let world = hub.world();
    let Some(caller) = identify(&world, &headers, hub.core.clock.seconds()) else {
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
        // The same site once more, for another product.
        all.push(entry(json!(["read:confluence-space.summary"])));
    }
    Json(Value::Array(all)).into_response()
}

async fn me(State(hub): State<Hub>, headers: HeaderMap) -> Response {
    let world = hub.world();
    match identify(&world, &headers, hub.core.clock.seconds()) {
        Some(caller) if caller.may("read:me") => {
            let person = &world.people[&caller.person];
            Json(json!({
                "account_type": "atlassian", "account_id": person.id, "name": person.name,
                "nickname": person.name, "zoneinfo": person.zone.1, "account_status": "active",
            }))
            .into_response()
        }
        Some(_) => lacks_scope(),
        None => unauthorized(),
    }
}

async fn site(
    State(hub): State<Hub>,
    Path((site, rest)): Path<(String, String)>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (_running, _) = hub.core.stats.begin();
    let query = fields(query.as_deref().unwrap_or_default());
    let subject = format!("{method} /api/ex/jira/{site}/{rest}");
    let endpoint = format!("{method} {}", pattern(&rest));
    let rule = hub.core.faults.pick(Target::Request, &subject, Some(&site));
    let ask = || answer(&hub, &site, &rest, &method, &query, &headers, &body);
    let response = match &rule {
        None => ask(),
        Some(rule) => {
            if let Some(response) = wire::before(rule).await.or_else(|| pretended(rule)) {
                metering::record(&hub, &site, &endpoint, Outcome::Free);
                response
            } else {
                wire::after(rule, ask()).await
            }
        }
    };
    let pattern = pattern(&rest);
    hub.core.stats.answered(
        format!("{method} /atlassian/api/ex/jira/{{site}}/{pattern}"),
        response.status().as_u16(),
    );
    response
}

fn fields(query: &str) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let known = fields.entry(name.into_owned()).or_default();
        if !known.is_empty() {
            known.push(',');
        }
        known.push_str(&value);
    }
    fields
}

/// A path without its ids.
fn pattern(rest: &str) -> String {
    let parts: Vec<&str> = rest
        .split('/')
        .map(|part| {
            let id = part.bytes().any(|byte| byte.is_ascii_digit()) && part.len() > 1;
            if id { "{id}" } else { part }
        })
        .collect();
    parts.join("/")
}

/// The refusal that a fault pretends.
pub(super) fn pretended(rule: &Rule) -> Option<Response> {
    let seconds = rule.seconds.unwrap_or(30.0);
    Some(match rule.effect {
        Effect::TooManyRequests => limits::limited("jira-burst-based", Some(seconds)),
        Effect::PrimaryLimit => limits::limited("jira-quota-global-based", Some(seconds)),
        Effect::SecondaryLimit => limits::limited("jira-quota-tenant-based", Some(seconds)),
        Effect::SecondaryLimitBare => limits::limited("jira-burst-based", None),
        Effect::Unauthorized => unauthorized(),
        Effect::Forbidden => lacks_scope(),
        _ => return None,
    })
}

/// The scopes that a path needs, all of them.
fn needed(parts: &[&str]) -> &'static [&'static str] {
    match parts {
        ["rest", "agile", _, "sprint", ..] | ["rest", "agile", _, "board", _, "sprint", ..] => {
            &["read:sprint:jira-software"]
        }
        ["rest", "agile", ..] => &["read:board-scope:jira-software"],
        // Webhooks need the right to read what they tell.
        [_, _, _, "webhook", ..] => &["manage:jira-webhook", "read:jira-work"],
        [_, _, _, "myself" | "user" | "users", ..] => &["read:jira-user"],
        _ => &["read:jira-work"],
    }
}

fn answer(
    hub: &Jira,
    site: &str,
    rest: &str,
    method: &Method,
    query: &Fields,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    let now = hub.core.clock.seconds();
    let mut guard = hub.world();
    let world = &mut *guard;
    let Some(caller) = identify(world, headers, now) else {
        return unauthorized();
    };
    let covered = world
        .grants
        .get(&caller.person)
        .is_some_and(|sites| sites.contains(site));
    if !covered || !world.sites.contains_key(site) {
        return gateway(StatusCode::NOT_FOUND, "No message available");
    }
    let endpoint = format!("{method} {}", pattern(rest));
    if let Some(refused) = limits::refuse(hub, &mut world.usage, site, &endpoint) {
        metering::record(hub, site, &endpoint, Outcome::Refused);
        return refused;
    }
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    if !needed(&parts).iter().all(|scope| caller.may(scope)) {
        return lacks_scope();
    }
    let given: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let ask = Ask {
        hub,
        site,
        caller: &caller,
        method: method.as_str(),
        query,
        given: &given,
    };
    let reply = route(&ask, world, &parts, now);
    // Questions that are put by POST are charged as the reading that they are.
    let writes = parts.get(3) == Some(&"webhook") && method != Method::GET;
    let points = limits::cost(writes, reply.body.as_ref());
    world.usage.charge(site, points);
    let token = headers.get(header::AUTHORIZATION);
    let answer = ask.answered(rest, token, reply.body.as_ref());
    metering::record(hub, site, &endpoint, Outcome::Charged(points, answer));
    let mut response = reply.into_response();
    limits::announce(hub, &world.usage, site, response.headers_mut());
    response
}

fn route(ask: &Ask<'_>, world: &mut World, parts: &[&str], now: i64) -> Reply {
    let version = match parts.get(2) {
        Some(&"2") => 2,
        _ => 3,
    };
    match (ask.method, parts) {
        (_, ["rest", "api", "2" | "3", "search"]) => Reply::refused(
            StatusCode::GONE,
            "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.",
        ),
        ("GET" | "POST", ["rest", "api", "2" | "3", "search", "jql"]) => search::jql(ask, world),
        ("POST", ["rest", "api", "2" | "3", "search", "approximate-count"]) => {
            search::count(ask, world)
        }
        ("POST", ["rest", "api", "3", "webhook"]) => hooks::register(ask, world, now),
        ("GET", ["rest", "api", "3", "webhook"]) => hooks::list(ask, world, now),
        ("PUT", ["rest", "api", "3", "webhook", "refresh"]) => hooks::refresh(ask, world, now),
        ("DELETE", ["rest", "api", "3", "webhook"]) => hooks::delete(ask, world),
        ("POST", ["rest", "api", "2" | "3", "worklog", "list"]) => worklogs::named(ask, world),
        ("POST", ["rest", "api", "3", "changelog", "bulkfetch"]) => issues::changes(ask, world),
        ("POST", ["rest", "api", "3", "issue", "bulkfetch"]) => issues::several(ask, world),
        ("POST", ["rest", "api", "3", "comment", "list"]) => issues::comments_named(ask, world),
        ("GET", ["rest", "agile", "1.0", rest @ ..]) => agile::answer(ask, world, rest),
        ("GET", ["rest", "api", "2" | "3", rest @ ..]) => match rest {
            ["issue", id, rest @ ..] => issues::about(ask, world, id, rest, version),
            ["worklog", which] => worklogs::changed(ask, world, which),
            _ => lists::answer(ask, world, rest),
        },
        _ => Reply::not_found(),
    }
}
