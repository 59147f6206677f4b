//! The API: what belongs to no site, and each site's Jira.

mod lists;
mod search;

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::Jira;
use super::hooks;
use super::world::World;
use crate::simulator::clock::Clock;
use crate::simulator::faults::{Effect, Rule, Target};
use crate::simulator::wire;

type Hub = Arc<Jira>;
pub(super) type Fields = HashMap<String, String>;

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

/// A refusal in Jira's own form.
pub(super) fn refusal(status: StatusCode, why: &str) -> Response {
    (
        status,
        Json(json!({ "errorMessages": [why], "errors": {} })),
    )
        .into_response()
}

/// A refusal of the gateway before Jira.
fn gateway(status: StatusCode, message: &str) -> Response {
    (
        status,
        Json(json!({ "code": status.as_u16(), "message": message })),
    )
        .into_response()
}

pub(super) fn not_found() -> Response {
    refusal(
        StatusCode::NOT_FOUND,
        "Not found, or you do not have permission.",
    )
}

fn unauthorized() -> Response {
    gateway(StatusCode::UNAUTHORIZED, "Unauthorized")
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
        Some(caller) => {
            let person = &world.people[&caller.person];
            Json(json!({ "account_id": person.id, "name": person.name })).into_response()
        }
        None => unauthorized(),
    }
}

async fn site(
    State(hub): State<Hub>,
    Path((site, rest)): Path<(String, String)>,
    method: Method,
    Query(query): Query<Fields>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (_running, _) = hub.core.stats.begin();
    let subject = format!("{method} /api/ex/jira/{site}/{rest}");
    let rule = hub.core.faults.pick(Target::Request, &subject, Some(&site));
    let ask = || answer(&hub, &site, &rest, &method, &query, &headers, &body);
    let response = match &rule {
        None => ask(),
        Some(rule) => {
            if let Some(response) = wire::before(rule).await.or_else(|| pretended(rule)) {
                response
            } else {
                wire::after(rule, ask()).await
            }
        }
    };
    let pattern: Vec<&str> = rest
        .split('/')
        .map(|part| {
            let id = part.bytes().any(|byte| byte.is_ascii_digit()) && part.len() > 1;
            if id { "{id}" } else { part }
        })
        .collect();
    hub.core.stats.answered(
        format!(
            "{method} /atlassian/api/ex/jira/{{site}}/{}",
            pattern.join("/")
        ),
        response.status().as_u16(),
    );
    response
}

/// The refusal that a fault pretends.
pub(super) fn pretended(rule: &Rule) -> Option<Response> {
    let seconds = rule.seconds.unwrap_or(30.0);
    Some(match rule.effect {
        Effect::TooManyRequests => limited("jira-burst-based", Some(seconds)),
        Effect::PrimaryLimit => limited("jira-quota-global-based", Some(seconds)),
        Effect::SecondaryLimit => limited("jira-quota-tenant-based", Some(seconds)),
        Effect::SecondaryLimitBare => limited("jira-burst-based", None),
        Effect::Unauthorized => gateway(StatusCode::UNAUTHORIZED, "Unauthorized"),
        Effect::Forbidden => gateway(
            StatusCode::UNAUTHORIZED,
            "Unauthorized; scope does not match",
        ),
        _ => return None,
    })
}

fn limited(reason: &'static str, seconds: Option<f64>) -> Response {
    let mut response = gateway(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded");
    let headers = response.headers_mut();
    headers.insert("ratelimit-reason", header::HeaderValue::from_static(reason));
    if let Some(seconds) = seconds
        && let Ok(value) = format!("{}", seconds.max(0.0).ceil()).parse()
    {
        headers.insert(header::RETRY_AFTER, value);
    }
    response
}

/// Counts an answer's points; a refusal when the hour's are used up.
fn over_quota(hub: &Jira, world: &mut World) -> Option<Response> {
    let most = hub.settings().points_per_hour?;
    // Hours are the machine's: the client has no other clock.
    let now = Clock::system_seconds();
    let hour = now / 3_600;
    if world.points.0 != hour {
        world.points = (hour, 0);
    }
    if world.points.1 < most {
        world.points.1 += 1;
        return None;
    }
    let next: DateTime<Utc> = DateTime::from_timestamp((hour + 1) * 3_600, 0).unwrap_or_default();
    let mut response = limited("jira-quota-global-based", None);
    if let Ok(value) = next.to_rfc3339_opts(SecondsFormat::Secs, true).parse() {
        response.headers_mut().insert("x-ratelimit-reset", value);
    }
    Some(response)
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
    let mut world = hub.world();
    let Some(caller) = identify(&world, headers, now) else {
        return unauthorized();
    };
    let covered = world
        .grants
        .get(&caller.person)
        .is_some_and(|sites| sites.contains(site));
    if !covered || !world.sites.contains_key(site) {
        return gateway(StatusCode::NOT_FOUND, "No message available");
    }
    if let Some(refused) = over_quota(hub, &mut world) {
        return refused;
    }
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    let scope = match parts.as_slice() {
        ["rest", "agile", ..] => "read:board-scope:jira-software",
        [_, _, _, "webhook", ..] => "manage:jira-webhook",
        [_, _, _, "myself"] => "read:jira-user",
        _ => "read:jira-work",
    };
    // Webhooks need the right to read what they tell.
    if !caller.may(scope) || (scope == "manage:jira-webhook" && !caller.may("read:jira-work")) {
        return gateway(
            StatusCode::UNAUTHORIZED,
            "Unauthorized; scope does not match",
        );
    }
    let given: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    match (method.as_str(), parts.as_slice()) {
        (_, ["rest", "api", "2" | "3", "search"]) => refusal(
            StatusCode::GONE,
            "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.",
        ),
        ("GET" | "POST", ["rest", "api", "2" | "3", "search", "jql"]) => {
            search::jql(hub, &mut world, site, &caller, query, &given)
        }
        ("POST", ["rest", "api", "3", "webhook"]) => {
            let url = hub.settings().webhook_url.clone();
            match world.sites.get_mut(site) {
                Some(site) => {
                    Json(hooks::register(site, &caller.person, &given, &url, now)).into_response()
                }
                None => not_found(),
            }
        }
        ("GET", ["rest", "api", "3", "webhook"]) => {
            let number = |name: &str, otherwise| {
                query
                    .get(name)
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(otherwise)
            };
            let (start, most) = (number("startAt", 0), number("maxResults", 100));
            expire(&mut world, site, now);
            Json(hooks::list(&world.sites[site], &caller.person, start, most)).into_response()
        }
        ("PUT", ["rest", "api", "3", "webhook", "refresh"]) => {
            expire(&mut world, site, now);
            let until = now + hooks::LIFE;
            for id in hooks::ids(&given) {
                let hook = world
                    .sites
                    .get_mut(site)
                    .and_then(|site| site.hooks.get_mut(&id));
                if let Some(hook) = hook.filter(|hook| hook.owner == caller.person) {
                    hook.expires = until;
                }
            }
            Json(json!({ "expirationDate": until * 1_000 })).into_response()
        }
        ("DELETE", ["rest", "api", "3", "webhook"]) => {
            for id in hooks::ids(&given) {
                if let Some(site) = world.sites.get_mut(site)
                    && site
                        .hooks
                        .get(&id)
                        .is_some_and(|hook| hook.owner == caller.person)
                {
                    site.hooks.remove(&id);
                }
            }
            StatusCode::ACCEPTED.into_response()
        }
        _ => lists::answer(hub, &world, site, &caller, method, &parts, query, &given),
    }
}

/// Webhooks whose time is over are gone.
pub(super) fn expire(world: &mut World, site: &str, now: i64) {
    if let Some(site) = world.sites.get_mut(site) {
        site.hooks.retain(|_, hook| hook.expires > now);
    }
}
