//! The part of GitHub that the recordings show: accounts, repositories, and what their lists held.
//!
//! Rows are as they were recorded, of each the newest version. What the product needs and nobody
//! recorded is filled in with the least that is right: an installation, a repository's number,
//! a pull request of which only reviews are known.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::answers::Exchange;

/// Numbers of what is filled in begin here; they are no recorded thing's.
const FILLED_IN: u64 = 990_000_000_000;
/// Headers of a recorded list that mean something to a client.
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
    /// Headers that were recorded with it.
    pub(super) headers: Vec<(String, String)>,
    rows: BTreeMap<u64, Value>,
}

impl List {
    /// Its rows, in no order that means anything.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Value> {
        self.rows.values()
    }
}

/// A repository.
#[derive(Debug, Default)]
pub(super) struct Repository {
    /// As a list of repositories shows it.
    pub(super) object: Value,
    /// By the path below the repository's.
    pub(super) lists: BTreeMap<String, List>,
}

impl Repository {
    /// Its number.
    pub(super) fn id(&self) -> u64 {
        self.object["id"].as_u64().expect("every one has a number")
    }
}

/// An account with an installation of the app.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) login: String,
    /// The number of its installation.
    pub(super) installation: u64,
}

/// What GitHub holds.
#[derive(Debug, Default)]
pub(super) struct World {
    /// By `owner/name`.
    pub(super) repositories: BTreeMap<String, Repository>,
    /// By number.
    pub(super) installations: BTreeMap<u64, Value>,
    /// Recorded tokens of installations, by the installation's number.
    pub(super) tokens: BTreeMap<u64, Value>,
    /// Those that can be connected.
    pub(super) accounts: Vec<Account>,
    /// A person, as the recordings show one.
    pub(super) person: Value,
    /// How many rows were recorded, by list.
    pub(super) recorded: BTreeMap<String, usize>,
}

impl World {
    /// What these answers show.
    pub(super) fn of(exchanges: &[Exchange]) -> Self {
        let mut world = Self::default();
        for exchange in exchanges
            .iter()
            .filter(|one| matches!(one.status, 200 | 201))
        {
            world.take(exchange);
        }
        for repository in world.repositories.values() {
            for (name, list) in &repository.lists {
                let kind = kind_of(name).to_owned();
                *world.recorded.entry(kind).or_default() += list.rows.len();
            }
        }
        world.fill_in();
        world
    }

    /// The repositories of an account.
    pub(super) fn repositories_of<'w>(
        &'w self,
        login: &'w str,
    ) -> impl Iterator<Item = &'w Repository> {
        let own = self
            .repositories
            .iter()
            .filter(move |(name, _)| owner(name) == login);
        own.map(|(_, repository)| repository)
    }

    fn take(&mut self, exchange: &Exchange) {
        let path = exchange.path.as_deref().unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        for row in rows(&exchange.body) {
            self.take_row(row);
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
        if let Some((name, list)) = list_at(path)
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

    fn take_row(&mut self, row: &Value) {
        let Some(id) = row["id"].as_u64() else { return };
        if row["access_tokens_url"].is_string() {
            self.installations.insert(id, row.clone());
        } else if is_repository(row) {
            self.repository_of(row).object = row.clone();
        } else if let Some((name, list)) = place(row) {
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
                .is_none_or(|known| updated(known) <= updated(row))
            {
                rows.insert(id, row.clone());
            }
        }
    }

    fn repository_of(&mut self, object: &Value) -> &mut Repository {
        let name = object["full_name"].as_str().expect("a name");
        self.repositories.entry(name.to_owned()).or_default()
    }

    fn fill_in(&mut self) {
        let mut numbers = FILLED_IN..;
        let mut number = || numbers.next().expect("more numbers");
        for (name, repository) in &mut self.repositories {
            if repository.object.is_null() {
                let login = owner(name);
                repository.object = json!({
                    "id": number(), "full_name": name, "owner": { "login": login, "type": "User" },
                });
            }
            repository.fill_in_pulls(&mut number);
        }
        // One number under several names is one repository; what it held says which.
        let mut kept: BTreeMap<u64, (usize, String)> = BTreeMap::new();
        for (name, repository) in &self.repositories {
            let held = repository.lists.len();
            let known = kept.entry(repository.id()).or_default();
            if known.1.is_empty() || held > known.0 {
                *known = (held, name.clone());
            }
        }
        self.repositories
            .retain(|name, repository| kept[&repository.id()].1 == *name);
        let mut owners: BTreeMap<String, Value> = BTreeMap::new();
        for (name, repository) in &self.repositories {
            let known = owners.entry(owner(name).to_owned()).or_default();
            if known["id"].is_null() {
                *known = repository.object["owner"].clone();
            }
        }
        for (login, mut account) in owners {
            if account["id"].is_null() {
                account["id"] = number().into();
            }
            // Recordings of 2012 do not say what an account is.
            if account["type"].is_null() {
                account["type"] = "User".into();
            }
            let mut installed = self.installations.iter().filter(|(_, one)| {
                one["account"]["login"] == login.as_str() && one["suspended_at"].is_null()
            });
            let known = installed.next_back().map(|(id, _)| *id);
            let installation = known.unwrap_or_else(|| {
                let id = number();
                let one = json!({
                    "id": id, "account": account, "suspended_at": null,
                    "repository_selection": "all", "permissions": { "metadata": "read" },
                });
                self.installations.insert(id, one);
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
    /// Makes sure that every pull request is listed of which reviews were recorded.
    fn fill_in_pulls(&mut self, number: &mut impl FnMut() -> u64) {
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
                    "id": id, "number": pull, "state": "open", "title": "of which nothing is known",
                    "created_at": at, "updated_at": at,
                });
                pulls.rows.insert(id, row);
            }
        }
    }
}

/// The rows of a body: of a list, of a list in an object, or the one that it is.
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

/// The repository and the list that a row belongs to.
fn place(row: &Value) -> Option<(String, String)> {
    let at = |field: &str| below_repository(row[field].as_str()?);
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

/// `owner/name` of an address of the API, and what follows.
fn below_repository(url: &str) -> Option<(String, String)> {
    let (_, rest) = url.split_once("/repos/")?;
    let mut parts = rest.splitn(3, '/');
    let name = format!("{}/{}", parts.next()?, parts.next()?);
    Some((name, parts.next().unwrap_or_default().to_owned()))
}

/// The list that a path leads to.
fn list_at(path: &str) -> Option<(String, String)> {
    below_repository(path).filter(|(_, list)| !list.is_empty())
}

/// A list's name without a pull request's number.
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
