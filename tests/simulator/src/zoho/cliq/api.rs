//! Requests to the API: token, scope, limit and method.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, RawQuery, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use serde_json::Value;

use super::errors::{self, ApiError, Version};
use super::facts::SOURCE;
use super::{ZohoCliq, channels, chats, messages, search, time, users};
use crate::usage::{self, Outcome, ResponseFingerprint};
use crate::zoho::access;
use crate::zoho::data_center::DataCenter;
use crate::zoho::locks::Limit;
use crate::zoho::tokens::Caller;

/// Scope of messages, without which no fact of a message is on the API.
pub(super) const MESSAGES: &str = "ZohoCliq.Messages.READ";
const CHANNELS: &str = "ZohoCliq.Channels.READ";
const CHATS: &str = "ZohoCliq.Chats.READ";
const USERS: &str = "ZohoCliq.Users.READ";

const CHANNEL_LIST: &str = "channels";
const CHANNEL: &str = "channels/{id}";
const MEMBERS: &str = "channels/{id}/members";
const THREADS: &str = "channels/{id}/threads";
const CHAT_LIST: &str = "chats";
const MESSAGE_LIST: &str = "chats/{id}/messages";
const MESSAGE: &str = "chats/{id}/messages/{id}";
const MAIN_MESSAGE: &str = "threads/{id}/messages/main";
const USER_LIST: &str = "users";
const USER: &str = "users/{id}";
const SEARCH: &str = "v3/messages/search";

/// Documented calls per minute of a person to each endpoint, and seconds of the lock.
///
/// That of threads has no documented figures, so it has those of its neighbours.
pub(super) const LIMITS: [(&str, usize, i64); 11] = [
    (CHANNEL_LIST, 30, 300),
    (CHANNEL, 30, 300),
    (MEMBERS, 100, 300),
    (THREADS, 30, 300),
    (CHAT_LIST, 30, 300),
    (MESSAGE_LIST, 15, 300),
    (MESSAGE, 30, 300),
    (MAIN_MESSAGE, 30, 300),
    (USER_LIST, 30, 600),
    (USER, 20, 600),
    (SEARCH, 50, 600),
];

/// Window of the limits.
pub(super) const WINDOW_SECONDS: i64 = 60;

/// Name and scope of an endpoint.
type Endpoint = (&'static str, &'static str);

/// The endpoint of a path; `None` is an unknown URL.
///
/// The description's path of a single message ends with a second `messages`.
fn endpoint(version: Version, method: &Method, parts: &[&str]) -> Option<Endpoint> {
    if method != Method::GET {
        return None;
    }
    Some(match (version, parts) {
        (Version::V2, ["channels"]) => (CHANNEL_LIST, CHANNELS),
        (Version::V2, ["channels", _]) => (CHANNEL, CHANNELS),
        (Version::V2, ["channels", _, "members"]) => (MEMBERS, CHANNELS),
        (Version::V2, ["channels", _, "threads"]) => (THREADS, CHATS),
        (Version::V2, ["chats"]) => (CHAT_LIST, CHATS),
        (Version::V2, ["chats", _, "messages"]) => (MESSAGE_LIST, MESSAGES),
        (Version::V2, ["chats", _, "messages", _] | ["chats", _, "messages", _, "messages"]) => {
            (MESSAGE, MESSAGES)
        }
        (Version::V2, ["threads", _, "messages", "main"]) => (MAIN_MESSAGE, MESSAGES),
        (Version::V2, ["users"]) => (USER_LIST, USERS),
        (Version::V2, ["users", _]) => (USER, USERS),
        (Version::V3, ["messages", "search"]) => (SEARCH, CHATS),
        _ => return None,
    })
}

/// A response's body, with the ledger rows of the facts that it shows.
pub(super) struct Answer {
    pub(super) body: Value,
    pub(super) facts: Vec<u64>,
}

impl Answer {
    /// A body that shows no facts.
    pub(super) const fn of(body: Value) -> Self {
        Self {
            body,
            facts: Vec::new(),
        }
    }
}

/// An authenticated request.
pub(super) struct Call<'a> {
    pub(super) version: Version,
    /// Login of the caller.
    pub(super) login: &'a str,
    pub(super) data_center: DataCenter,
    /// Decoded segments of the path below the version.
    pub(super) parts: &'a [&'a str],
    /// Decoded parameters of the query, or of the JSON body that some requests have.
    pub(super) fields: &'a [(String, String)],
}

impl<'c> Call<'c> {
    pub(super) fn text(&self, name: &str) -> Option<&'c str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// Values of a parameter with commas.
    pub(super) fn list(&self, name: &str) -> Option<Vec<&'c str>> {
        let text = self.text(name)?;
        Some(text.split(',').map(str::trim).collect())
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.invalid()),
        }
    }

    /// Milliseconds of a time.
    pub(super) fn millis(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let text = self.text(name);
        text.map(|text| time::parse(text).ok_or_else(|| self.invalid()))
            .transpose()
    }

    /// Number of rows: cut to `max`, which is also the default.
    pub(super) fn limit(&self, max: usize) -> Result<usize, ApiError> {
        let Some(text) = self.text("limit") else {
            return Ok(max);
        };
        match text.parse::<usize>() {
            Ok(limit) if limit >= 1 => Ok(limit.min(max)),
            _ => Err(self.invalid()),
        }
    }

    pub(super) const fn invalid(&self) -> ApiError {
        ApiError::invalid_parameter(self.version)
    }
}

/// Routes of both versions, mounted under each data centre.
pub(super) fn router(service: &Arc<ZohoCliq>) -> Router {
    let routes = Router::new()
        .route("/api/v2/{*rest}", any(version_2))
        .route("/api/v3/{*rest}", any(version_3))
        .with_state(Arc::clone(service));
    service.zoho.mount(routes, errors::fault_response)
}

/// Parts of a request that both versions read.
type Parts = (
    State<Arc<ZohoCliq>>,
    DataCenter,
    Path<(String, String)>,
    OriginalUri,
    Method,
    RawQuery,
    HeaderMap,
);

async fn version_2(parts: Parts, body: Bytes) -> Response {
    respond(Version::V2, &parts, &body)
}

async fn version_3(parts: Parts, body: Bytes) -> Response {
    respond(Version::V3, &parts, &body)
}

fn respond(version: Version, parts: &Parts, body: &[u8]) -> Response {
    let (State(service), data_center, Path((_, rest)), uri, method, RawQuery(query), headers) =
        parts;
    let caller = match service.zoho.caller(*data_center, headers) {
        Ok(caller) => caller,
        Err(reason) => return errors::refusal(reason),
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let Some((name, scope)) = endpoint(version, method, &parts) else {
        return ApiError::unknown_url().into_response();
    };
    if let Err(reason) = service.zoho.check_scope(&caller, &[scope]) {
        return errors::refusal(reason);
    }
    if !service.admit(&caller, name) {
        service.record(&caller, name, Outcome::Refused);
        return ApiError::throttled(version).into_response();
    }
    let fields = fields(query.as_deref().unwrap_or_default(), body);
    let call = Call {
        version,
        login: &caller.login,
        data_center: *data_center,
        parts: &parts,
        fields: &fields,
    };
    let answer = match service.answer(name, &call) {
        Ok(answer) => answer,
        Err(error) => {
            service.record(&caller, name, Outcome::Free);
            return error.into_response();
        }
    };
    service.zoho.core.ledger.mark_polled(answer.facts);
    let fingerprint = ResponseFingerprint {
        request: usage::hash(&(SOURCE, &caller.login, uri.0.to_string(), body)),
        body: usage::hash_without(&answer.body, &["sync_token"]),
        token: usage::hash(&access::token(headers)),
    };
    service.record(&caller, name, Outcome::Charged(1, fingerprint));
    Json(answer.body).into_response()
}

/// Parameters of the query, and of a JSON body with texts or numbers.
fn fields(query: &str, body: &[u8]) -> Vec<(String, String)> {
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned();
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let in_body = body.as_object().into_iter().flatten();
    let in_body = in_body.map(|(name, value)| {
        let text = value.as_str().map(str::to_owned);
        (name.clone(), text.unwrap_or_else(|| value.to_string()))
    });
    query.chain(in_body).collect()
}

impl ZohoCliq {
    /// Counts a call to an endpoint; `false` if it is locked for the caller.
    fn admit(&self, caller: &Caller, endpoint: &'static str) -> bool {
        let Some(throttle) = self.settings().throttles.get(endpoint).copied() else {
            return true;
        };
        let limit = Limit {
            calls: throttle.per_minute,
            window_seconds: WINDOW_SECONDS,
            lock_seconds: throttle.lock_seconds,
        };
        let key = (SOURCE, caller.login.clone(), endpoint);
        let now = self.zoho.core.clock.seconds();
        let mut state = self.zoho.state();
        state.locks.admit(key, limit, now).is_ok()
    }

    fn record(&self, caller: &Caller, endpoint: &'static str, outcome: Outcome) {
        let used = u64::from(matches!(outcome, Outcome::Charged(..)));
        self.zoho.core.usage.record(&usage::Request {
            source: SOURCE,
            account: &caller.login,
            route: endpoint,
            at: self.zoho.core.clock.milliseconds(),
            outcome,
            used: &[(endpoint, used)],
        });
    }

    fn answer(&self, endpoint: &'static str, call: &Call<'_>) -> Result<Answer, ApiError> {
        let world = self.world();
        let settings = self.settings();
        match (endpoint, call.parts) {
            (CHANNEL_LIST, _) => channels::list(&world, &settings, call),
            (CHANNEL, [_, id, ..]) => channels::get(&world, call, id),
            (MEMBERS, [_, id, ..]) => channels::members(&world, call, id),
            (THREADS, [_, id, ..]) => channels::threads(&world, &settings, call, id),
            (CHAT_LIST, _) => chats::list(&world, call),
            (MESSAGE_LIST, [_, id, ..]) => messages::list(&world, &settings, call, id),
            (MESSAGE, [_, id, _, message, ..]) => {
                messages::get(&world, &settings, call, id, message)
            }
            (MAIN_MESSAGE, [_, id, ..]) => messages::main(&world, &settings, call, id),
            (USER_LIST, _) => users::list(&world, &settings, call, self.zoho.core.clock.seconds()),
            (USER, [_, id]) => users::get(&world, call, id),
            (SEARCH, _) => search::search(&world, &settings, call),
            _ => Err(ApiError::unknown_url()),
        }
    }
}
