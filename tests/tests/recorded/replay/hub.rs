//! A server that gives GitHub's recorded answers to the whole product: what was recorded, and
//! where nothing was, the least that is right.

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
use crate::server::{Answer, Server, serve_requests};

/// Rows per page, where a request does not say.
const PER_PAGE: usize = 30;

/// A request that was answered.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) at: DateTime<Utc>,
    /// The installation whose token it had or asked for.
    pub(super) installation: Option<u64>,
    /// Method, path and query.
    pub(super) what: String,
    pub(super) status: u16,
    /// Whether a recorded refusal was its answer.
    pub(super) is_refused: bool,
}

/// What a request does with an installation's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TokenStep {
    /// Asks for one.
    Mint,
    /// Has it.
    Use,
}

/// What the server knows while it runs.
pub(super) struct Hub {
    pub(super) world: World,
    /// Where a person comes back to who has installed the app.
    callback: OnceLock<String>,
    /// The installation that the next person makes.
    installing: Mutex<u64>,
    /// What the next requests of an installation meet, by its number, and whether these are for
    /// its token or with it.
    refusals: Mutex<BTreeMap<(u64, TokenStep), VecDeque<Value>>>,
    asked: Mutex<Vec<Asked>>,
}

/// A hub and its server.
pub(super) struct Running {
    pub(super) hub: Arc<Hub>,
    pub(super) server: Server,
}

/// Starts a server for a world.
pub(super) async fn start(world: World) -> Running {
    let hub = Arc::new(Hub {
        world,
        callback: OnceLock::new(),
        installing: Mutex::default(),
        refusals: Mutex::default(),
        asked: Mutex::default(),
    });
    let own = Arc::clone(&hub);
    let server = serve_requests(move |request| own.answer(request)).await;
    Running { hub, server }
}

impl Hub {
    /// Says where the product's API is.
    pub(super) fn call_back_to(&self, api: &str) {
        let url = format!("{api}/v1/connect/github/callback");
        self.callback.set(url).expect("said once");
    }

    /// The next person who comes installs this.
    pub(super) fn install(&self, installation: u64) {
        *lock(&self.installing) = installation;
    }

    /// The next requests for an installation's token, or with it, are refused in this way, one
    /// after the other.
    pub(super) fn refuse(&self, (installation, of): (u64, TokenStep), with: &[Value]) {
        lock(&self.refusals).insert((installation, of), with.iter().cloned().collect());
    }

    /// The installation of an account.
    pub(super) fn installation(&self, login: &str) -> u64 {
        let mut accounts = self.world.accounts.iter();
        let account = accounts.find(|account| account.login == login);
        account.expect("an account of the recordings").installation
    }

    /// What was asked for an installation's token, or with it, so far.
    pub(super) fn asked_for(&self, installation: u64) -> Vec<Asked> {
        let mut asked = self.asked();
        asked.retain(|one| one.installation == Some(installation));
        asked
    }

    /// Everything that was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        lock(&self.asked).clone()
    }

    fn answer(&self, request: &Parts) -> Answer {
        let holder = holder(request);
        let of = match holder {
            Some(Holder::Installation(id)) => Some((id, TokenStep::Use)),
            _ => minted(request).map(|id| (id, TokenStep::Mint)),
        };
        let at = SystemClock.now();
        let refusal = of.and_then(|of| lock(&self.refusals).get_mut(&of)?.pop_front());
        let is_refused = refusal.is_some();
        let answer = match refusal {
            Some(refusal) => github::answer(&refusal, at),
            None => self.right_answer(request, holder),
        };
        lock(&self.asked).push(Asked {
            at,
            installation: of.map(|(id, _)| id),
            what: format!("{} {}", request.method, request.uri),
            status: answer.status,
            is_refused,
        });
        answer
    }

    fn right_answer(&self, request: &Parts, holder: Option<Holder>) -> Answer {
        let path = request.uri.path().trim_matches('/');
        let segments: Vec<&str> = path.split('/').collect();
        let query = query(request);
        let installed = |id: &str| {
            self.world
                .installations
                .get(&id.parse().unwrap_or_default())
        };
        match (request.method.as_str(), segments.as_slice(), holder) {
            ("GET", ["apps", _, "installations", "new"], _) => self.installed(&query),
            ("GET", ["login", "oauth", "authorize"], _) => authorized(&query),
            ("POST", ["login", "oauth", "access_token"], _) => {
                let token = format!("ghu_{}", lock(&self.installing));
                Answer::of(&json!({ "access_token": token, "token_type": "bearer", "scope": "" }))
            }
            ("GET", ["user"], Some(Holder::Person(id))) => Answer::of(&self.person(id)),
            ("GET", ["user", "installations"], Some(Holder::Person(id))) => {
                let own = &self.world.installations[&id];
                Answer::of(&json!({ "total_count": 1, "installations": [own] }))
            }
            ("GET", ["user", "memberships", "orgs", _], Some(Holder::Person(id))) => {
                let account = &self.world.installations[&id]["account"];
                Answer::of(&json!({ "role": "admin", "state": "active", "organization": account }))
            }
            ("GET", ["app", "installations", id], _) => {
                installed(id).map_or_else(not_found, Answer::of)
            }
            ("POST", ["app", "installations", id, "access_tokens"], _) => self.token(id),
            ("DELETE", ["app", "installations", _] | ["applications", ..], _) => Answer {
                status: 204,
                ..Answer::of(&Value::Null)
            },
            ("GET", ["app", "hook", "deliveries"], _) => Answer::of(&json!([])),
            // Says nothing, so that everything is read.
            ("GET", ["search", "issues"], _) => {
                Answer::of(&json!({ "total_count": 0, "incomplete_results": true, "items": [] }))
            }
            ("GET", ["installation", "repositories"], Some(Holder::Installation(id))) => {
                self.repositories(id, request, &query)
            }
            ("GET", ["repos", owner, name, list @ ..], Some(Holder::Installation(_))) => {
                let name = format!("{owner}/{name}");
                match self.world.repositories.get(&name) {
                    Some(found) => {
                        let name = list.join("/");
                        let list = found.lists.get(&name);
                        rows_of(&name, list, request, &query)
                    }
                    None => not_found(),
                }
            }
            _ => not_found(),
        }
    }

    /// The page on which the app is installed: it is done at once.
    fn installed(&self, query: &BTreeMap<String, String>) -> Answer {
        let callback = self.callback.get().expect("it was said where the API is");
        let (id, state) = (*lock(&self.installing), &query["state"]);
        found(&format!(
            "{callback}?installation_id={id}&setup_action=install&state={state}"
        ))
    }

    /// The person who administers an installation's account: of a personal account, its owner.
    fn person(&self, installation: u64) -> Value {
        let account = &self.world.installations[&installation]["account"];
        if account["type"] == "User" {
            return account.clone();
        }
        self.world.person.clone()
    }

    /// A token that says of what it is; what was recorded with it stays, but for its end.
    fn token(&self, id: &str) -> Answer {
        let recorded = self.world.tokens.get(&id.parse().unwrap_or_default());
        let mut token = recorded.cloned().unwrap_or_else(|| json!({}));
        token["token"] = json!(format!("ghs_{id}"));
        token["expires_at"] = json!(SystemClock.now() + Duration::hours(1));
        Answer {
            status: 201,
            ..Answer::of(&token)
        }
    }

    fn repositories(&self, id: u64, request: &Parts, query: &BTreeMap<String, String>) -> Answer {
        let account = &self.world.installations[&id]["account"]["login"];
        let login = account.as_str().unwrap_or_default();
        let all: Vec<&Value> = self
            .world
            .repositories_of(login)
            .map(|repository| &repository.object)
            .collect();
        let (rows, links) = page(&all, request, query);
        let mut answer = Answer::of(&json!({ "total_count": all.len(), "repositories": rows }));
        answer.headers.extend(links);
        answer
    }
}

/// Whose token a request has.
#[derive(Debug, Clone, Copy)]
enum Holder {
    Installation(u64),
    /// The person who administers this installation's account.
    Person(u64),
}

/// The installation whose token a request asks for.
fn minted(request: &Parts) -> Option<u64> {
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

/// A page of a repository's list, filtered and in the order that is asked for.
fn rows_of(
    name: &str,
    list: Option<&List>,
    request: &Parts,
    query: &BTreeMap<String, String>,
) -> Answer {
    let headers = list.map(|list| list.headers.clone()).unwrap_or_default();
    let tag = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("etag"));
    let known = request.headers.get(IF_NONE_MATCH);
    if let (Some((_, tag)), Some(known)) = (tag, known)
        && known.as_bytes() == tag.as_bytes()
    {
        return Answer {
            status: 304,
            headers,
            body: String::new(),
        };
    }
    let by = match (query.get("sort").map(String::as_str), name) {
        (Some("updated"), _) => "updated_at",
        (_, name) if name.ends_with("/reviews") => "submitted_at",
        _ => "created_at",
    };
    let at = |row: &Value| row[by].as_str().and_then(moment);
    let since = query.get("since").and_then(|text| moment(text));
    let mut rows: Vec<&Value> = list
        .into_iter()
        .flat_map(List::rows)
        .filter(|row| since.is_none_or(|since| at(row) >= Some(since)))
        .filter(|row| was_created(row, query.get("created").map(String::as_str)))
        .collect();
    let is_ascending =
        query.get("direction").is_some_and(|text| text == "asc") || name.ends_with("/reviews");
    if is_ascending {
        rows.sort_by_key(|row| at(row));
    } else {
        rows.sort_by_key(|row| Reverse(at(row)));
    }
    let (shown, links) = page(&rows, request, query);
    let mut answer = if name == "actions/runs" {
        Answer::of(&json!({ "total_count": rows.len(), "workflow_runs": shown }))
    } else {
        Answer::of(&json!(shown))
    };
    answer.headers.extend(headers);
    answer.headers.extend(links);
    answer
}

/// Whether a row was created as a filter says: `>=from` or `from..to`.
fn was_created(row: &Value, filter: Option<&str>) -> bool {
    let at = row["created_at"].as_str().and_then(moment);
    let Some(filter) = filter else { return true };
    match filter.split_once("..") {
        Some((from, to)) => moment(from) <= at && at <= moment(to),
        None => filter.strip_prefix(">=").and_then(moment) <= at,
    }
}

fn moment(text: &str) -> Option<DateTime<Utc>> {
    text.parse().ok()
}

/// A page of rows, and the links that lead on from it.
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
    let shown = rows.iter().skip((page - 1) * size).take(size).copied();
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
    (shown.collect(), links)
}

fn query(request: &Parts) -> BTreeMap<String, String> {
    let text = request.uri.query().unwrap_or_default();
    url::form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect()
}

/// The page on which a person consents: it is done at once.
fn authorized(query: &BTreeMap<String, String>) -> Answer {
    let (back, state) = (&query["redirect_uri"], &query["state"]);
    found(&format!("{back}?code=code&state={state}"))
}

fn found(location: &str) -> Answer {
    Answer {
        status: 302,
        headers: vec![("location".to_owned(), location.to_owned())],
        body: String::new(),
    }
}

fn not_found() -> Answer {
    Answer {
        status: 404,
        ..Answer::of(&json!({ "message": "Not Found" }))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
