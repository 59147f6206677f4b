//! The Web API: one route, a method's name in its path, 200 for nearly every answer.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::tokens::Standing;
use super::{Slack, lists};
use crate::simulator::faults::{Effect, Rule, Target};
use crate::simulator::wire;

type Hub = Arc<Slack>;

pub(crate) fn router(hub: &Hub) -> Router {
    Router::new()
        .route("/api/{method}", get(call).post(call))
        .with_state(Arc::clone(hub))
}

/// A call's arguments, from its query, its form or its JSON.
pub(crate) struct Arguments(HashMap<String, String>);

impl Arguments {
    fn read(query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut fields: HashMap<String, String> =
            url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        let kind = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if kind.starts_with("application/json") {
            let object: HashMap<String, Value> = serde_json::from_slice(body).unwrap_or_default();
            fields.extend(object.into_iter().map(|(name, value)| match value {
                Value::String(text) => (name, text),
                other => (name, other.to_string()),
            }));
        } else {
            fields.extend(url::form_urlencoded::parse(body).into_owned());
        }
        Self(fields)
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1" | "True")
    }

    pub(crate) fn number(&self, name: &str, otherwise: usize, most: usize) -> usize {
        self.get(name).parse().unwrap_or(otherwise).clamp(1, most)
    }
}

/// `{"ok":false,"error":…}`.
pub(crate) fn refusal(error: &str) -> Value {
    json!({ "ok": false, "error": error })
}

async fn call(
    State(hub): State<Hub>,
    Path(name): Path<String>,
    verb: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (_running, _) = hub.core.stats.begin();
    let arguments = Arguments::read(query.as_deref(), &headers, &body);
    let token = bearer(&headers).unwrap_or_else(|| arguments.get("token").to_owned());
    let now = hub.core.clock.seconds();
    let standing = hub.world().standing(&token, now);
    let account = match &standing {
        Standing::Bot(team) => Some(team.clone()),
        _ => None,
    };
    let subject = format!("{verb} /slack/api/{name}");
    let rule = hub
        .core
        .faults
        .pick(Target::Request, &subject, account.as_deref());
    let response = match &rule {
        None => answer(&hub, &name, &arguments, &headers, &token, &standing),
        Some(rule) => {
            if let Some(response) = wire::before(rule).await.or_else(|| pretended(rule)) {
                response
            } else {
                let real = answer(&hub, &name, &arguments, &headers, &token, &standing);
                wire::after(rule, real).await
            }
        }
    };
    hub.core.stats.answered(
        format!("POST /slack/api/{name}"),
        response.status().as_u16(),
    );
    response
}

/// The refusal that a fault pretends.
fn pretended(rule: &Rule) -> Option<Response> {
    Some(match rule.effect {
        Effect::TooManyRequests
        | Effect::SecondaryLimit
        | Effect::SecondaryLimitBare
        | Effect::PrimaryLimit => limited(rule.seconds.unwrap_or(30.0)),
        Effect::Unauthorized => Json(refusal("invalid_auth")).into_response(),
        Effect::Forbidden => Json(json!({
            "ok": false, "error": "missing_scope", "needed": "channels:history", "provided": "",
        }))
        .into_response(),
        _ => return None,
    })
}

fn limited(seconds: f64) -> Response {
    let wait = format!("{}", seconds.max(0.0).ceil());
    (
        StatusCode::TOO_MANY_REQUESTS,
        [(header::RETRY_AFTER, wait)],
        Json(refusal("ratelimited")),
    )
        .into_response()
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::to_owned)
}

fn answer(
    hub: &Slack,
    name: &str,
    arguments: &Arguments,
    headers: &HeaderMap,
    token: &str,
    standing: &Standing,
) -> Response {
    let value = match name {
        "oauth.v2.access" => access(hub, arguments, headers),
        "apps.event.authorizations.list" if token == hub.app.token => {
            lists::authorizations(hub, arguments)
        }
        "apps.event.authorizations.list" => refusal("not_allowed_token_type"),
        _ => match standing {
            Standing::Bot(team) => {
                if let Some(wait) = over_limit(hub, name, team) {
                    return limited(wait);
                }
                lists::method(hub, name, arguments, team)
            }
            Standing::Expired => refusal("token_expired"),
            Standing::Revoked => refusal("token_revoked"),
            Standing::Unknown if token.is_empty() => refusal("not_authed"),
            Standing::Unknown => refusal("invalid_auth"),
        },
    };
    Json(value).into_response()
}

/// How long to wait, if the method was called too often in the present minute.
#[expect(clippy::cast_precision_loss, reason = "at most sixty seconds")]
fn over_limit(hub: &Slack, name: &str, team: &str) -> Option<f64> {
    let (limited, tiers) = {
        let settings = hub.settings();
        (settings.limited, settings.tiers)
    };
    let most = match name {
        "conversations.history" | "conversations.replies" if limited => 1,
        _ if !tiers => return None,
        "conversations.list" | "users.list" | "auth.teams.list" => 20,
        "users.info" | "conversations.members" => 100,
        _ => 50,
    };
    let now = hub.core.clock.seconds();
    let mut world = hub.world();
    let window = world
        .windows
        .entry((name.to_owned(), team.to_owned()))
        .or_insert((now, 0));
    if now - window.0 >= 60 {
        *window = (now, 0);
    }
    window.1 += 1;
    (window.1 > most).then(|| (60 - (now - window.0)).max(1) as f64)
}

/// The token endpoint: codes and refresh tokens.
fn access(hub: &Slack, arguments: &Arguments, headers: &HeaderMap) -> Value {
    let (id, secret) = client(arguments, headers);
    if id != hub.app.client_id {
        return refusal("invalid_client_id");
    }
    if secret != hub.app.client_secret {
        return refusal("bad_client_secret");
    }
    let now = hub.core.clock.seconds();
    let rotation = hub.settings().rotation;
    let mut world = hub.world();
    let (team, issued, user) = match arguments.get("grant_type") {
        "refresh_token" => {
            hub.core.stats.count("slack.refreshes", 1);
            let Some(team) = world.refreshed_by(arguments.get("refresh_token")) else {
                return refusal("invalid_refresh_token");
            };
            let issued = world.issue(&team, true, now);
            (team, issued, None)
        }
        "" | "authorization_code" => {
            let Some(code) = world.codes.remove(arguments.get("code")) else {
                return refusal("invalid_code");
            };
            if code.expires_at <= now {
                return refusal("invalid_code");
            }
            if arguments.get("redirect_uri") != code.redirect_uri {
                return refusal("bad_redirect_uri");
            }
            let issued = world.install(&code.team, code.scopes, rotation, now);
            world.join_everywhere(&code.team);
            (code.team, issued, Some(code.user))
        }
        _ => return refusal("invalid_grant_type"),
    };
    let (Some(place), Some(installation)) =
        (world.teams.get(&team), world.installations.get(&team))
    else {
        return refusal("team_not_found");
    };
    let mut answer = json!({
        "ok": true, "app_id": hub.app.id, "access_token": issued.access, "token_type": "bot",
        "scope": installation.scopes.join(","), "bot_user_id": place.bot,
        "team": { "id": place.id, "name": place.name }, "enterprise": null,
        "is_enterprise_install": false,
    });
    if let (Some(refresh), Some(life)) = (issued.refresh, issued.expires_in) {
        answer["refresh_token"] = json!(refresh);
        answer["expires_in"] = json!(life);
    }
    if let Some(user) = user {
        answer["authed_user"] = json!({ "id": user });
    }
    answer
}

/// Client id and secret, from Basic authentication or the arguments.
fn client(arguments: &Arguments, headers: &HeaderMap) -> (String, String) {
    let basic = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
        .and_then(|text| STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|pair| {
            let (id, secret) = pair.split_once(':')?;
            Some((id.to_owned(), secret.to_owned()))
        });
    basic.unwrap_or_else(|| {
        (
            arguments.get("client_id").to_owned(),
            arguments.get("client_secret").to_owned(),
        )
    })
}
