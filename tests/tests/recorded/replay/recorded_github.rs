//! A server with GitHub's recorded responses for the whole system.
//!
//! Requests without a recording get a minimal valid response.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use chrono::{DateTime, Duration, Utc};
use http::header::{AUTHORIZATION, HOST, IF_NONE_MATCH};
use http::request::Parts;
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};

use super::world::{List, World};
use crate::github;
use crate::server::{RecordedResponse, Server, serve_requests};

/// Rows per page without the parameter `per_page`.
const PER_PAGE: usize = 30;

/// A served request.
#[derive(Debug, Clone)]
pub(super) struct RequestRecord {
    pub(super) at: DateTime<Utc>,
    /// Installation whose token it used or requested.
    pub(super) installation: Option<u64>,
    /// Method, path and query.
    pub(super) target: String,
    pub(super) status: u16,
    /// Whether the response was a recorded error.
    pub(super) is_error: bool,
}

/// Use of an installation token by a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TokenStep {
    /// Requests a token.
    Issue,
    /// Authenticates with the token.
    Use,
}

/// State of the server.
pub(super) struct RecordedGitHub {
    pub(super) world: World,
    /// Callback URL after an installation.
    callback: OnceLock<String>,
    /// Id of the next installation.
    next_installation: Mutex<u64>,
    /// Error responses for the next requests, by installation and use of the token.
    error_responses: Mutex<BTreeMap<(u64, TokenStep), VecDeque<Value>>>,
    requests: Mutex<Vec<RequestRecord>>,
}

/// The state with its server.
pub(super) struct Running {
    pub(super) github_server: Arc<RecordedGitHub>,
    pub(super) server: Server,
}

/// Starts a server.
pub(super) async fn start(world: World) -> Running {
    let github_server = Arc::new(RecordedGitHub {
        world,
        callback: OnceLock::new(),
        next_installation: Mutex::default(),
        error_responses: Mutex::default(),
        requests: Mutex::default(),
    });
    let state = Arc::clone(&github_server);
    let server = serve_requests(move |request| state.respond(request)).await;
    Running {
        github_server,
        server,
    }
}

impl RecordedGitHub {
    /// Sets the callback URL from the base URL of the API.
    pub(super) fn set_callback(&self, api: &str) {
        let url = format!("{api}/v1/connect/github/callback");
        self.callback.set(url).expect("the callback is set once");
    }

    /// Sets the installation of the next connect flow.
    pub(super) fn install(&self, installation: u64) {
        *lock(&self.next_installation) = installation;
    }

    /// Sets error responses for the next requests of an installation and step, in this order.
    pub(super) fn inject_errors(&self, step: (u64, TokenStep), errors: &[Value]) {
        lock(&self.error_responses).insert(step, errors.iter().cloned().collect());
    }

    /// Installation id of an account.
    pub(super) fn installation(&self, login: &str) -> u64 {
        let mut accounts = self.world.accounts.iter();
        let account = accounts.find(|account| account.login == login);
        account.expect("an account of the recordings").installation
    }

    /// Requests for or with an installation's token.
    pub(super) fn requests_of(&self, installation: u64) -> Vec<RequestRecord> {
        let mut requests = self.requests();
        requests.retain(|request| request.installation == Some(installation));
        requests
    }

    /// All requests.
    pub(super) fn requests(&self) -> Vec<RequestRecord> {
        lock(&self.requests).clone()
    }

    fn respond(&self, request: &Parts) -> RecordedResponse {
        let holder = holder(request);
        let step = match holder {
            Some(Holder::Installation(id)) => Some((id, TokenStep::Use)),
            _ => issued_for(request).map(|id| (id, TokenStep::Issue)),
        };
        let at = SystemClock.now();
        let error_response =
            step.and_then(|step| lock(&self.error_responses).get_mut(&step)?.pop_front());
        let is_error = error_response.is_some();
        let response = match error_response {
            Some(error_response) => github::fill_response(&error_response, at),
            None => self.default_response(request, holder),
        };
        lock(&self.requests).push(RequestRecord {
            at,
            installation: step.map(|(id, _)| id),
            target: format!("{} {}", request.method, request.uri),
            status: response.status,
            is_error,
        });
        response
    }

    fn default_response(&self, request: &Parts, holder: Option<Holder>) -> RecordedResponse {
        let path = request.uri.path().trim_matches('/');
        let segments: Vec<&str> = path.split('/').collect();
        let query = query(request);
        let installed = |id: &str| {
            self.world
                .installations
                .get(&id.parse().unwrap_or_default())
        };
        match (request.method.as_str(), segments.as_slice(), holder) {
            ("GET", ["apps", _, "installations", "new"], _) => self.install_page(&query),
            ("GET", ["login", "oauth", "authorize"], _) => consent_page(&query),
            ("POST", ["login", "oauth", "access_token"], _) => {
                let token = format!("ghu_{}", lock(&self.next_installation));
                RecordedResponse::of(
                    &json!({ "access_token": token, "token_type": "bearer", "scope": "" }),
                )
            }
            ("GET", ["user"], Some(Holder::Person(id))) => RecordedResponse::of(&self.person(id)),
            ("GET", ["user", "installations"], Some(Holder::Person(id))) => {
                let installation = &self.world.installations[&id];
                RecordedResponse::of(&json!({ "total_count": 1, "installations": [installation] }))
            }
            ("GET", ["user", "memberships", "orgs", _], Some(Holder::Person(id))) => {
                let account = &self.world.installations[&id]["account"];
                RecordedResponse::of(
                    &json!({ "role": "admin", "state": "active", "organization": account }),
                )
            }
            ("GET", ["app", "installations", id], _) => {
                installed(id).map_or_else(not_found, RecordedResponse::of)
            }
            ("POST", ["app", "installations", id, "access_tokens"], _) => self.token(id),
            ("DELETE", ["app", "installations", _] | ["applications", ..], _) => RecordedResponse {
                status: 204,
                ..RecordedResponse::of(&Value::Null)
            },
            ("GET", ["app", "hook", "deliveries"], _) => RecordedResponse::of(&json!([])),
            // Incomplete results, so that the connector reads all lists.
            ("GET", ["search", "issues"], _) => RecordedResponse::of(
                &json!({ "total_count": 0, "incomplete_results": true, "items": [] }),
            ),
            ("GET", ["installation", "repositories"], Some(Holder::Installation(id))) => {
                self.repositories(id, request, &query)
            }
            ("GET", ["repos", owner, name, list @ ..], Some(Holder::Installation(_))) => {
                let name = format!("{owner}/{name}");
                match self.world.repositories.get(&name) {
                    Some(found) => {
                        let name = list.join("/");
                        let list = found.lists.get(&name);
                        list_response(&name, list, request, &query)
                    }
                    None => not_found(),
                }
            }
            _ => not_found(),
        }
    }

    /// The installation page, which redirects immediately.
    fn install_page(&self, query: &BTreeMap<String, String>) -> RecordedResponse {
        let callback = self.callback.get().expect("a callback");
        let (id, state) = (*lock(&self.next_installation), &query["state"]);
        redirect(&format!(
            "{callback}?installation_id={id}&setup_action=install&state={state}"
        ))
    }

    /// Admin of an installation's account, or the owner of a personal account.
    fn person(&self, installation: u64) -> Value {
        let account = &self.world.installations[&installation]["account"];
        if account["type"] == "User" {
            return account.clone();
        }
        self.world.person.clone()
    }

    /// Installation token: the recorded one with an own value and expiry.
    fn token(&self, id: &str) -> RecordedResponse {
        let recorded = self.world.tokens.get(&id.parse().unwrap_or_default());
        let mut token = recorded.cloned().unwrap_or_else(|| json!({}));
        token["token"] = json!(format!("ghs_{id}"));
        token["expires_at"] = json!(SystemClock.now() + Duration::hours(1));
        RecordedResponse {
            status: 201,
            ..RecordedResponse::of(&token)
        }
    }

    fn repositories(
        &self,
        id: u64,
        request: &Parts,
        query: &BTreeMap<String, String>,
    ) -> RecordedResponse {
        let account = &self.world.installations[&id]["account"]["login"];
        let login = account.as_str().unwrap_or_default();
        let all: Vec<&Value> = self
            .world
            .repositories_of(login)
            .map(|repository| &repository.object)
            .collect();
        let (rows, links) = page(&all, request, query);
        let mut response =
            RecordedResponse::of(&json!({ "total_count": all.len(), "repositories": rows }));
        response.headers.extend(links);
        response
    }
}

/// Owner of a token.
#[derive(Debug, Clone, Copy)]
enum Holder {
    Installation(u64),
    /// Admin of this installation's account.
    Person(u64),
}

/// Installation whose token a request creates.
fn issued_for(request: &Parts) -> Option<u64> {
    let path = request.uri.path().strip_prefix("/app/installations/")?;
    path.strip_suffix("/access_tokens")?.parse().ok()
}

fn holder(request: &Parts) -> Option<Holder> {
    let token = request.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let token = token.strip_prefix("Bearer ")?;
    let (kind, id) = token.split_once('_')?;
    let id = id.parse().ok()?;
    match kind {
        "ghs" => Some(Holder::Installation(id)),
        "ghu" => Some(Holder::Person(id)),
        _ => None,
    }
}

/// A page of a repository's list, filtered and sorted by the query.
fn list_response(
    name: &str,
    list: Option<&List>,
    request: &Parts,
    query: &BTreeMap<String, String>,
) -> RecordedResponse {
    let headers = list.map(|list| list.headers.clone()).unwrap_or_default();
    let tag = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("etag"));
    let if_none_match = request.headers.get(IF_NONE_MATCH);
    if let (Some((_, tag)), Some(if_none_match)) = (tag, if_none_match)
        && if_none_match.as_bytes() == tag.as_bytes()
    {
        return RecordedResponse {
            status: 304,
            headers,
            body: String::new(),
        };
    }
    let sort_field = match (query.get("sort").map(String::as_str), name) {
        (Some("updated"), _) => "updated_at",
        (_, name) if name.ends_with("/reviews") => "submitted_at",
        _ => "created_at",
    };
    let at = |row: &Value| row[sort_field].as_str().and_then(timestamp);
    let since = query.get("since").and_then(|text| timestamp(text));
    let mut rows: Vec<&Value> = list
        .into_iter()
        .flat_map(List::rows)
        .filter(|row| since.is_none_or(|since| at(row) >= Some(since)))
        .filter(|row| matches_created(row, query.get("created").map(String::as_str)))
        .collect();
    let is_ascending =
        query.get("direction").is_some_and(|text| text == "asc") || name.ends_with("/reviews");
    if is_ascending {
        rows.sort_by_key(|row| at(row));
    } else {
        rows.sort_by_key(|row| Reverse(at(row)));
    }
    let (page_rows, links) = page(&rows, request, query);
    let mut response = if name == "actions/runs" {
        RecordedResponse::of(&json!({ "total_count": rows.len(), "workflow_runs": page_rows }))
    } else {
        RecordedResponse::of(&json!(page_rows))
    };
    response.headers.extend(headers);
    response.headers.extend(links);
    response
}

/// Whether a row's creation matches a filter: `>=from` or `from..to`.
fn matches_created(row: &Value, filter: Option<&str>) -> bool {
    let at = row["created_at"].as_str().and_then(timestamp);
    let Some(filter) = filter else { return true };
    match filter.split_once("..") {
        Some((from, to)) => timestamp(from) <= at && at <= timestamp(to),
        None => filter.strip_prefix(">=").and_then(timestamp) <= at,
    }
}

fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    text.parse().ok()
}

/// A page of rows, and its `Link` header.
fn page<'r>(
    rows: &[&'r Value],
    request: &Parts,
    query: &BTreeMap<String, String>,
) -> (Vec<&'r Value>, Option<(String, String)>) {
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let (size, page) = (
        number("per_page").unwrap_or(PER_PAGE).max(1),
        number("page").unwrap_or(1).max(1),
    );
    let last = rows.len().div_ceil(size);
    let page_rows = rows.iter().skip((page - 1) * size).take(size).copied();
    let link = |page: usize, relation: &str| {
        let host = request
            .headers
            .get(HOST)
            .and_then(|host| host.to_str().ok());
        let mut pairs = query.clone();
        pairs.insert("page".to_owned(), page.to_string());
        let pairs = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        let (host, path) = (host.unwrap_or_default(), request.uri.path());
        format!("<http://{host}{path}?{pairs}>; rel=\"{relation}\"")
    };
    let links = (page < last).then(|| {
        let links = format!("{}, {}", link(page + 1, "next"), link(last, "last"));
        ("link".to_owned(), links)
    });
    (page_rows.collect(), links)
}

fn query(request: &Parts) -> BTreeMap<String, String> {
    let text = request.uri.query().unwrap_or_default();
    url::form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect()
}

/// The consent page, which redirects immediately.
fn consent_page(query: &BTreeMap<String, String>) -> RecordedResponse {
    let (redirect_uri, state) = (&query["redirect_uri"], &query["state"]);
    redirect(&format!("{redirect_uri}?code=code&state={state}"))
}

fn redirect(location: &str) -> RecordedResponse {
    RecordedResponse {
        status: 302,
        headers: vec![("location".to_owned(), location.to_owned())],
        body: String::new(),
    }
}

fn not_found() -> RecordedResponse {
    RecordedResponse {
        status: 404,
        ..RecordedResponse::of(&json!({ "message": "Not Found" }))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
