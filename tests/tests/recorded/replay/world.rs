//! State of GitHub by the recordings: accounts, repositories and their lists.
//!
//! Each row is the newest recorded version. Objects that the system needs and no recording has
//! are generated with minimal content: installations, repository ids, and pull requests of which
//! only reviews were recorded.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::exchanges::Exchange;

/// First id of generated objects, above all recorded ids.
const GENERATED_IDS: u64 = 990_000_000_000;
/// Headers of a recorded list that affect clients.
const HEADERS: [&str; 5] = [
    "etag",
    "last-modified",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

/// A list of a repository.
#[derive(Debug, Default)]
pub(super) struct List {
    /// Recorded headers.
    pub(super) headers: Vec<(String, String)>,
    rows: BTreeMap<u64, Value>,
}

impl List {
    /// Rows in an arbitrary order.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Value> {
        self.rows.values()
    }
}

/// A repository.
#[derive(Debug, Default)]
pub(super) struct Repository {
    /// The repository as in a list of repositories.
    pub(super) object: Value,
    /// Lists by path relative to the repository.
    pub(super) lists: BTreeMap<String, List>,
}

impl Repository {
    /// Id of the repository.
    pub(super) fn id(&self) -> u64 {
        self.object["id"].as_u64().expect("an id")
    }
}

/// An account with an installation of the app.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) login: String,
    /// Id of the installation.
    pub(super) installation: u64,
}

/// State of the served GitHub.
#[derive(Debug, Default)]
pub(super) struct World {
    /// Repositories by `owner/name`.
    pub(super) repositories: BTreeMap<String, Repository>,
    /// Installations by id.
    pub(super) installations: BTreeMap<u64, Value>,
    /// Recorded installation tokens, by installation id.
    pub(super) tokens: BTreeMap<u64, Value>,
    /// Accounts that can be connected.
    pub(super) accounts: Vec<Account>,
    /// A recorded user.
    pub(super) person: Value,
    /// Number of recorded rows, by list.
    pub(super) recorded: BTreeMap<String, usize>,
}

impl World {
    /// Builds the state from recorded responses.
    pub(super) fn of(exchanges: &[Exchange]) -> Self {
        let mut world = Self::default();
        for exchange in exchanges
            .iter()
            .filter(|exchange| matches!(exchange.status, 200 | 201))
        {
            world.add(exchange);
        }
        for repository in world.repositories.values() {
            for (name, list) in &repository.lists {
                let kind = kind_of(name).to_owned();
                *world.recorded.entry(kind).or_default() += list.rows.len();
            }
        }
        world.add_missing_objects();
        world
    }

    /// Repositories of an account.
    pub(super) fn repositories_of<'w>(
        &'w self,
        login: &'w str,
    ) -> impl Iterator<Item = &'w Repository> {
        let repositories = self
            .repositories
            .iter()
            .filter(move |(name, _)| owner(name) == login);
        repositories.map(|(_, repository)| repository)
    }

    fn add(&mut self, exchange: &Exchange) {
        let path = exchange.path.as_deref().unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        for row in rows(&exchange.body) {
            self.add_row(row);
        }
        let body = &exchange.body;
        let token_of = path
            .strip_prefix("/app/installations/")
            .and_then(|rest| rest.strip_suffix("/access_tokens"));
        if let Some(id) = token_of.and_then(|id| id.parse().ok()) {
            self.tokens.insert(id, body.clone());
        }
        if path == "/user" && body["type"] == "User" {
            self.person = body.clone();
        }
        if let Some((name, list)) = list_of_path(path)
            && let Some(repository) = self.repositories.get_mut(&name)
            && let Some(list) = repository.lists.get_mut(&list)
        {
            let headers = exchange.headers.iter();
            list.headers = headers
                .filter(|(name, _)| HEADERS.contains(&name.to_ascii_lowercase().as_str()))
                .cloned()
                .collect();
        }
    }

    fn add_row(&mut self, row: &Value) {
        let Some(id) = row["id"].as_u64() else { return };
        if row["access_tokens_url"].is_string() {
            self.installations.insert(id, row.clone());
        } else if is_repository(row) {
            self.repository_of(row).object = row.clone();
        } else if let Some((name, list)) = locate(row) {
            for part in [&row["base"]["repo"], &row["repository"]] {
                if is_repository(part) && self.repository_of(part).object.is_null() {
                    self.repository_of(part).object = part.clone();
                }
            }
            let repository = self.repositories.entry(name).or_default();
            let rows = &mut repository.lists.entry(list).or_default().rows;
            let updated = |row: &Value| row["updated_at"].as_str().map(str::to_owned);
            if rows
                .get(&id)
                .is_none_or(|existing| updated(existing) <= updated(row))
            {
                rows.insert(id, row.clone());
            }
        }
    }

    fn repository_of(&mut self, object: &Value) -> &mut Repository {
        let name = object["full_name"].as_str().expect("a name");
        self.repositories.entry(name.to_owned()).or_default()
    }

    fn add_missing_objects(&mut self) {
        let mut numbers = GENERATED_IDS..;
        let mut number = || numbers.next().expect("an unused id");
        for (name, repository) in &mut self.repositories {
            if repository.object.is_null() {
                let login = owner(name);
                repository.object = json!({
                    "id": number(), "full_name": name, "owner": { "login": login, "type": "User" },
                });
            }
            repository.add_missing_pulls(&mut number);
        }
        // A renamed repository has one id and several names; keep the name with the most lists.
        let mut kept: BTreeMap<u64, (usize, String)> = BTreeMap::new();
        for (name, repository) in &self.repositories {
            let lists = repository.lists.len();
            let best = kept.entry(repository.id()).or_default();
            if best.1.is_empty() || lists > best.0 {
                *best = (lists, name.clone());
            }
        }
        self.repositories
            .retain(|name, repository| kept[&repository.id()].1 == *name);
        let mut owners: BTreeMap<String, Value> = BTreeMap::new();
        for (name, repository) in &self.repositories {
            let account = owners.entry(owner(name).to_owned()).or_default();
            if account["id"].is_null() {
                *account = repository.object["owner"].clone();
            }
        }
        for (login, mut account) in owners {
            if account["id"].is_null() {
                account["id"] = number().into();
            }
            // Recordings of 2012 have no account type.
            if account["type"].is_null() {
                account["type"] = "User".into();
            }
            let mut installed = self.installations.iter().filter(|(_, object)| {
                object["account"]["login"] == login.as_str() && object["suspended_at"].is_null()
            });
            let recorded = installed.next_back().map(|(id, _)| *id);
            let installation = recorded.unwrap_or_else(|| {
                let id = number();
                let object = json!({
                    "id": id, "account": account, "suspended_at": null,
                    "repository_selection": "all", "permissions": { "metadata": "read" },
                });
                self.installations.insert(id, object);
                id
            });
            self.accounts.push(Account {
                login,
                installation,
            });
        }
    }
}

impl Repository {
    /// Adds the pull requests of which only reviews were recorded.
    fn add_missing_pulls(&mut self, number: &mut impl FnMut() -> u64) {
        let reviewed: Vec<(u64, Option<Value>)> = self
            .lists
            .iter()
            .filter_map(|(name, list)| {
                let pull = name.strip_prefix("pulls/")?.strip_suffix("/reviews")?;
                let first = list.rows().map(|row| row["submitted_at"].clone()).next();
                Some((pull.parse().ok()?, first))
            })
            .collect();
        let pulls = self.lists.entry("pulls".to_owned()).or_default();
        for (pull, at) in reviewed {
            if pulls.rows().all(|row| row["number"] != pull) {
                let id = number();
                let row = json!({
                    "id": id, "number": pull, "state": "open", "title": "Generated pull request",
                    "created_at": at, "updated_at": at,
                });
                pulls.rows.insert(id, row);
            }
        }
    }
}

/// Rows of a body: a list, a list in an object, or the object itself.
fn rows(body: &Value) -> Vec<&Value> {
    if let Value::Array(rows) = body {
        return rows.iter().collect();
    }
    let mut found = vec![body];
    for field in ["items", "repositories", "workflow_runs", "installations"] {
        found.extend(body[field].as_array().into_iter().flatten());
    }
    found
}

fn is_repository(row: &Value) -> bool {
    row["id"].is_u64() && row["full_name"].is_string() && row["owner"]["login"].is_string()
}

/// Repository and list of a row.
fn locate(row: &Value) -> Option<(String, String)> {
    let at = |field: &str| split_repository_url(row[field].as_str()?);
    let is_text = |field: &str| row[field].is_string();
    if row["head"].is_object() && row["base"].is_object() && row["number"].is_u64() {
        return at("url").map(|(name, _)| (name, "pulls".to_owned()));
    }
    if is_text("pull_request_url") {
        let (name, pull) = at("pull_request_url")?;
        let is_comment = is_text("diff_hunk");
        let list = if is_comment {
            "pulls/comments".to_owned()
        } else {
            format!("{pull}/reviews")
        };
        return Some((name, list));
    }
    if is_text("issue_url") && row["body"].is_string() {
        return at("issue_url").map(|(name, _)| (name, "issues/comments".to_owned()));
    }
    if is_text("repository_url") && row["number"].is_u64() {
        return at("repository_url").map(|(name, _)| (name, "issues".to_owned()));
    }
    if is_text("tag_name") && is_text("upload_url") {
        return at("url").map(|(name, _)| (name, "releases".to_owned()));
    }
    if row["workflow_id"].is_u64() && row["run_number"].is_u64() {
        return at("url").map(|(name, _)| (name, "actions/runs".to_owned()));
    }
    None
}

/// Splits an API URL into `owner/name` and the rest of the path.
fn split_repository_url(url: &str) -> Option<(String, String)> {
    let (_, rest) = url.split_once("/repos/")?;
    let mut parts = rest.splitn(3, '/');
    let name = format!("{}/{}", parts.next()?, parts.next()?);
    Some((name, parts.next().unwrap_or_default().to_owned()))
}

/// Repository and list of a path.
fn list_of_path(path: &str) -> Option<(String, String)> {
    split_repository_url(path).filter(|(_, list)| !list.is_empty())
}

/// Name of a list without the pull request's number.
pub(super) fn kind_of(list: &str) -> &str {
    if list.ends_with("/reviews") {
        "reviews"
    } else {
        list
    }
}

fn owner(full_name: &str) -> &str {
    full_name.split('/').next().unwrap_or_default()
}
