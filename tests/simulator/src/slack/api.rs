//! The Web API: one route with the method's name in its path, 200 for nearly all responses.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::settings::Settings;
use super::tokens::{Holder, TokenState};
use super::{SOURCE, Slack, access, entities, history, lists, scopes};
use crate::faults::{Effect, Rule, Target};
use crate::usage::{self, Outcome, hash, hash_without};
use crate::wire;

type Service = Arc<Slack>;

pub(crate) fn router(service: &Service) -> Router {
    Router::new()
        .route("/api/{method}", get(call).post(call))
        .with_state(Arc::clone(service))
}

/// Arguments of a call, from its query, form or JSON.
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

    /// Sorted arguments without the token and without the issue time of cursors.
    fn canonical(&self) -> BTreeMap<&str, String> {
        let fields = self.0.iter().filter(|(name, _)| *name != "token");
        fields
            .map(|(name, value)| match name.as_str() {
                "cursor" => ("cursor", lists::cursor_position(value)),
                name => (name, value.clone()),
            })
            .collect()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1" | "True")
    }

    /// An argument, or its default.
    pub(crate) fn get_or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        match self.get(name) {
            "" => default,
            value => value,
        }
    }

    /// The argument `limit`: the maximum number of rows.
    pub(crate) fn limit(&self, default: usize, max: usize) -> Result<usize, Value> {
        match self.get("limit") {
            "" | "0" => Ok(default),
            text => match text.parse::<usize>() {
                Ok(number) => Ok(number.min(max)),
                Err(_) => Err(error_json("invalid_limit")),
            },
        }
    }

    pub(crate) fn number(&self, name: &str, default: usize, max: usize) -> usize {
        self.get(name).parse().unwrap_or(default).clamp(1, max)
    }
}

/// Response body of a method; the error is a body with `ok: false`.
pub(crate) type MethodResult = Result<Value, Value>;

/// Error body: `{"ok":false,"error":…}`.
pub(crate) fn error_json(error: &str) -> Value {
    json!({ "ok": false, "error": error })
}

async fn call(
    State(service): State<Service>,
    Path(name): Path<String>,
    verb: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (_running, _) = service.core.stats.start_request();
    let arguments = Arguments::read(query.as_deref(), &headers, &body);
    let token = bearer(&headers).unwrap_or_else(|| arguments.get("token").to_owned());
    let now = service.core.clock.seconds();
    let token_state = service.world().token_state(&token, now);
    let account = match &token_state {
        TokenState::Active(holder) => Some(holder.account.clone()),
        _ => None,
    };
    let subject = format!("{verb} /slack/api/{name}");
    let rule = service
        .core
        .faults
        .pick(Target::Request, &subject, account.as_deref());
    let response = match &rule {
        None => respond(&service, &name, &arguments, &headers, &token, &token_state),
        Some(rule) => {
            if let Some(response) = wire::fault_response(rule)
                .await
                .or_else(|| fault_response(rule))
            {
                if let Some(account) = &account {
                    record(&service, account, &name, Outcome::Free);
                }
                response
            } else {
                let real = respond(&service, &name, &arguments, &headers, &token, &token_state);
                wire::apply_fault(rule, real).await
            }
        }
    };
    service.core.stats.record_response(
        format!("POST /slack/api/{name}"),
        response.status().as_u16(),
    );
    response
}

/// Records a call's charge to the limit of its method.
fn record(service: &Slack, account: &str, method: &str, outcome: Outcome) {
    let charged = matches!(outcome, Outcome::Charged(..));
    service.core.usage.record(&usage::Request {
        source: SOURCE,
        account,
        route: method,
        at: service.core.clock.milliseconds(),
        outcome,
        used: &[(method, u64::from(charged))],
    });
}

/// Error response of an injected fault.
fn fault_response(rule: &Rule) -> Option<Response> {
    Some(match rule.effect {
        Effect::TooManyRequests
        | Effect::SecondaryLimit
        | Effect::SecondaryLimitBare
        | Effect::PrimaryLimit => too_many_requests(rule.seconds.unwrap_or(30.0)),
        Effect::Unauthorized => Json(error_json("invalid_auth")).into_response(),
        Effect::Forbidden => Json(json!({
            "ok": false, "error": "missing_scope", "needed": "channels:history", "provided": "",
        }))
        .into_response(),
        _ => return None,
    })
}

fn too_many_requests(seconds: f64) -> Response {
    let wait = format!("{}", seconds.max(0.0).ceil());
    (
        StatusCode::TOO_MANY_REQUESTS,
        [(header::RETRY_AFTER, wait)],
        Json(error_json("ratelimited")),
    )
        .into_response()
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::to_owned)
}

fn respond(
    service: &Slack,
    name: &str,
    arguments: &Arguments,
    headers: &HeaderMap,
    token: &str,
    token_state: &TokenState,
) -> Response {
    let result = match name {
        "api.test" => Ok(json!({ "ok": true, "args": arguments.0 })),
        "oauth.v2.access" => access::access(service, arguments, headers),
        "oauth.v2.exchange" => access::exchange(service, arguments, headers, token),
        "apps.event.authorizations.list" if token == service.app.token => {
            lists::authorizations(service, arguments)
        }
        "apps.event.authorizations.list" => Err(error_json("not_allowed_token_type")),
        _ => match token_state {
            TokenState::Active(holder) => {
                if let Some(wait) = check_limit(service, name, &holder.account) {
                    record(service, &holder.account, name, Outcome::Refused);
                    return too_many_requests(wait);
                }
                let value =
                    scopes::into_body(call_method(service, name, arguments, headers, holder));
                let fingerprint = usage::ResponseFingerprint {
                    request: hash(&(&holder.account, &holder.person, name, arguments.canonical())),
                    body: hash_without(&value, &["response_metadata", "cache_ts"]),
                    token: hash(token),
                };
                record(
                    service,
                    &holder.account,
                    name,
                    Outcome::Charged(1, fingerprint),
                );
                return add_scopes_header(service, holder, Json(value).into_response());
            }
            TokenState::Expired => Err(error_json("token_expired")),
            TokenState::Revoked => Err(error_json("token_revoked")),
            TokenState::Removed => Err(error_json("account_inactive")),
            TokenState::Unknown if token.is_empty() => Err(error_json("not_authed")),
            TokenState::Unknown => Err(error_json("invalid_auth")),
        },
    };
    Json(scopes::into_body(result)).into_response()
}

/// Calls a method that needs a bot or user token.
fn call_method(
    service: &Slack,
    name: &str,
    arguments: &Arguments,
    headers: &HeaderMap,
    holder: &Holder,
) -> MethodResult {
    match name {
        "auth.test" => Ok(lists::auth_test(service, holder)),
        "auth.revoke" => Ok(access::revoke(service, arguments, holder)),
        "auth.teams.list" => lists::workspaces(service, arguments, holder),
        "apps.uninstall" => access::uninstall(service, arguments, headers, &holder.account),
        "team.info" => lists::team_info(service, arguments, holder),
        "users.info" => lists::user_info(service, arguments, holder),
        "users.list" => lists::users(service, arguments, holder),
        "users.conversations" => lists::conversations(service, arguments, holder, true),
        "conversations.list" => lists::conversations(service, arguments, holder, false),
        "conversations.info" => lists::conversation_info(service, arguments, holder),
        "conversations.join" => lists::join(service, arguments, holder),
        "conversations.members" => lists::members(service, arguments, holder),
        "conversations.history" => history::history(service, arguments, holder),
        "conversations.replies" => history::replies(service, arguments, holder),
        "chat.getPermalink" => history::permalink(service, arguments, holder),
        "bots.info" => entities::bot_info(service, arguments, holder),
        "files.info" => entities::file_info(service, arguments, holder),
        "files.list" => entities::files(service, arguments, holder),
        "reactions.get" => entities::reactions(service, arguments, holder),
        _ => Err(error_json("unknown_method")),
    }
}

/// Adds `x-oauth-scopes`, the scopes of the token.
fn add_scopes_header(service: &Slack, holder: &Holder, mut response: Response) -> Response {
    let world = service.world();
    let scopes = world.grant(holder).map(|grant| grant.scopes.join(","));
    if let Some(value) = scopes.and_then(|text| text.parse().ok()) {
        response.headers_mut().insert("x-oauth-scopes", value);
    }
    response
}

/// Calls per minute and workspace of a method, by Slack's tiers.
///
/// `None` for methods without a published tier. Source: "Rate limits" and the reference of
/// methods at docs.slack.dev.
pub(crate) fn per_minute(method: &str, settings: &Settings) -> Option<u32> {
    match method {
        "conversations.history" | "conversations.replies" if settings.limited => Some(1),
        _ if !settings.tiers => None,
        "apps.uninstall" => Some(1),
        "conversations.list" | "users.list" | "auth.teams.list" => Some(20),
        "users.info" | "conversations.members" | "files.info" => Some(100),
        "auth.test" | "chat.getPermalink" => None,
        _ => Some(50),
    }
}

/// Counts a call; returns the seconds to wait if the method's limit is exceeded.
#[expect(clippy::cast_precision_loss, reason = "at most sixty seconds")]
fn check_limit(service: &Slack, name: &str, account: &str) -> Option<f64> {
    let limit = per_minute(name, &service.settings())?;
    let now = service.core.clock.seconds();
    let mut world = service.world();
    let window = world
        .windows
        .entry((name.to_owned(), account.to_owned()))
        .or_insert((now, 0));
    if now - window.0 >= 60 {
        *window = (now, 0);
    }
    window.1 += 1;
    (window.1 > limit).then(|| (60 - (now - window.0)).max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Core, control};

    #[tokio::test]
    async fn tiers_limit_each_method_per_workspace() {
        let core = Core::new(1);
        let service = Slack::start(&Config::default(), "http://a", 1, core).expect("Slack");
        let over = |method: &str, account: &str| check_limit(&service, method, account);
        for (method, tier) in [("users.list", 20), ("users.info", 100)] {
            for _ in 0..tier {
                assert_eq!(over(method, "T1"), None, "{method}");
            }
            let wait = over(method, "T1").expect("the tier is exceeded");
            assert!((1.0..=60.0).contains(&wait), "{wait}");
            assert_eq!(over(method, "T2"), None, "another workspace");
        }
        assert_eq!(over("conversations.history", "T1"), None, "another method");
        service.core.clock.advance(61);
        assert_eq!(over("users.list", "T1"), None);
        service.change_settings(|settings| settings.limited = true);
        assert_eq!(over("conversations.replies", "T1"), None);
        assert!(over("conversations.replies", "T1").is_some());
    }

    #[tokio::test]
    async fn same_page_counts_as_repeated_despite_new_cursor() {
        let core = Core::new(1);
        let service = Slack::start(&Config::default(), "http://a", 1, core).expect("Slack");
        let bot = {
            let mut world = service.world();
            let team = world.teams.keys().next().expect("a workspace").clone();
            let bot = Holder::bot(&team);
            world.grant_scopes(&bot, vec!["channels:read".to_owned()], false, 0);
            bot
        };
        let token_state = TokenState::Active(bot.clone());
        let page = async |cursor: &str, token: &str| {
            let fields = [("limit", "1"), ("cursor", cursor)];
            let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let arguments = Arguments(fields.into());
            let headers = HeaderMap::new();
            let method = "conversations.list";
            let response = respond(&service, method, &arguments, &headers, token, &token_state);
            let body = axum::body::to_bytes(response.into_body(), 100_000).await;
            let body: Value = serde_json::from_slice(&body.expect("a body")).expect("JSON");
            let next = &body["response_metadata"]["next_cursor"];
            next.as_str().expect("a cursor").to_owned()
        };
        for (token, repeated, recharged) in [("one", 0, 0), ("one", 2, 0), ("two", 2, 2)] {
            let next = page("", token).await;
            page(&next, token).await;
            service.core.clock.advance(1);
            let usage = control::usage(&service.core, &*service, &bot.account);
            assert_eq!((usage.repeated, usage.recharged), (repeated, recharged));
        }
        let usage = control::usage(&service.core, &*service, &bot.account);
        let list = &usage.limits["conversations.list"];
        assert_eq!((usage.charged, list.used, list.quota), (6, 6, Some(20)));
    }
}
