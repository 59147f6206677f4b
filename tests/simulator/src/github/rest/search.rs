//! `GET /search/issues`: issues and pull requests across repositories.
//!
//! It supports the qualifiers `org:`, `user:`, `repo:`, `is:`, `state:`, `updated:` and
//! `created:`, words of the title, both orders, and at most 1,000 results in repositories that
//! the caller can see. A query matches issues or pull requests, never both. The index may lag,
//! and a search may time out (`search_lag_seconds`, `searches_time_out`).
//!
//! Source: "Search" at docs.github.com.

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use bytes::Bytes;
use serde_json::json;

use super::{Paging, Service, require_data_access, suspended};
use crate::clock::parse_iso;
use crate::github::caller::Caller;
use crate::github::render;
use crate::github::reply::Reply;
use crate::github::world::{Issue, Order, Repository, Sort, World};

/// Maximum number of results of a search.
const MAX_RESULTS: usize = 1_000;
const DAY: i64 = 24 * 3_600;

/// Inclusive time range, epoch seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    from: i64,
    to: i64,
}

impl Range {
    const ALL: Self = Self {
        from: i64::MIN,
        to: i64::MAX,
    };

    /// Parses `>=2026-11-23T10:00:00Z`, `2026-11-01..2026-11-23` and similar.
    fn parse(text: &str) -> Option<Self> {
        // A date without a time means its whole day.
        let bounds = |text: &str| {
            let first = parse_iso(text)?;
            let length = if text.len() == 10 { DAY } else { 1 };
            Some((first, first + length - 1))
        };
        if let Some((from, to)) = text.split_once("..") {
            let from = if from == "*" {
                i64::MIN
            } else {
                bounds(from)?.0
            };
            let to = if to == "*" { i64::MAX } else { bounds(to)?.1 };
            return Some(Self { from, to });
        }
        let range = |from, to| Some(Self { from, to });
        if let Some(text) = text.strip_prefix(">=") {
            range(bounds(text)?.0, i64::MAX)
        } else if let Some(text) = text.strip_prefix('>') {
            range(bounds(text)?.1 + 1, i64::MAX)
        } else if let Some(text) = text.strip_prefix("<=") {
            range(i64::MIN, bounds(text)?.1)
        } else if let Some(text) = text.strip_prefix('<') {
            range(i64::MIN, bounds(text)?.0 - 1)
        } else {
            let (from, to) = bounds(text)?;
            range(from, to)
        }
    }

    fn contains(self, at: i64) -> bool {
        (self.from..=self.to).contains(&at)
    }
}

/// A parsed query.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    /// Accounts and `owner/name`s in lower case; all repositories if empty.
    scopes: Vec<String>,
    issues: bool,
    pulls: bool,
    state: Option<&'static str>,
    updated: Range,
    created: Range,
    /// Words of the title, in lower case.
    words: Vec<String>,
}

impl Query {
    /// `None` if a qualifier or its value is invalid.
    fn parse(text: &str) -> Option<Self> {
        let mut query = Self {
            scopes: Vec::new(),
            issues: false,
            pulls: false,
            state: None,
            updated: Range::ALL,
            created: Range::ALL,
            words: Vec::new(),
        };
        for part in text.split_whitespace() {
            let (name, value) = part.split_once(':').unwrap_or(("", part));
            let value = value.trim_matches('"');
            match (name, value) {
                ("org" | "user" | "repo", _) => query.scopes.push(value.to_lowercase()),
                ("is" | "type", "issue") => query.issues = true,
                ("is" | "type", "pull-request" | "pr") => query.pulls = true,
                ("is" | "state", "open") => query.state = Some("open"),
                ("is" | "state", "closed") => query.state = Some("closed"),
                ("updated", _) => query.updated = Range::parse(value)?,
                ("created", _) => query.created = Range::parse(value)?,
                ("", _) => query.words.push(value.to_lowercase()),
                _ => return None,
            }
        }
        Some(query)
    }

    /// Whether the query searches a repository.
    fn covers(&self, world: &World, repository: &Repository) -> bool {
        let owner = world.login(repository.owner).to_lowercase();
        let name = world.full_name(repository).to_lowercase();
        self.scopes.is_empty()
            || self
                .scopes
                .iter()
                .any(|scope| *scope == owner || *scope == name)
    }

    fn matches(&self, issue: &Issue) -> bool {
        let is_pull = issue.pull.is_some();
        // No object is both.
        let matches_type = !(self.issues && self.pulls) && is_pull == self.pulls;
        let title = || issue.title.to_lowercase();
        matches_type
            && self.state.is_none_or(|state| state == issue.state())
            && self.updated.contains(issue.updated_at)
            && self.created.contains(issue.created_at)
            && self.words.iter().all(|word| title().contains(word))
    }
}

fn invalid(code: &str, message: &str) -> Reply {
    let body = json!({
        "message": "Validation Failed",
        "errors": [{"message": message, "resource": "Search", "field": "q", "code": code}],
        "documentation_url": "https://docs.github.com/v3/search/",
        "status": "422",
    });
    Reply::json(StatusCode::UNPROCESSABLE_ENTITY, &body)
}

fn parse_query(paging: &Paging) -> Result<Query, Reply> {
    let text = paging.field("q").unwrap_or_default();
    if text.is_empty() {
        return Err(invalid("missing", "The search needs a query."));
    }
    let query = Query::parse(text)
        .ok_or_else(|| invalid("invalid", "The search contains an invalid qualifier."))?;
    if !query.issues && !query.pulls {
        let message = "Query must include 'is:issue' or 'is:pull-request'";
        return Err(Reply::unprocessable(message));
    }
    if paging.offset() >= MAX_RESULTS {
        let message = "Only the first 1000 search results are available";
        return Err(Reply::unprocessable(message));
    }
    Ok(query)
}

/// Order in the request; newest first by default.
fn order(paging: &Paging) -> Order {
    Order {
        by: match paging.field("sort") {
            Some("updated") => Sort::Updated,
            _ => Sort::Created,
        },
        ascending: paging.field("order") == Some("asc"),
    }
}

pub(super) async fn issues(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Reply, Reply> {
    require_data_access(&caller)?;
    let paging = Paging::new(&service.urls.api, "/search/issues", &uri);
    let query = parse_query(&paging)?;
    let (lag, times_out) = {
        let settings = service.settings();
        (settings.search_lag_seconds, settings.searches_time_out)
    };
    let indexed = service.core.clock.seconds() - lag;
    let world = service.world();
    if suspended(&caller, &world) {
        return Err(Reply::suspended());
    }
    let permission = if query.pulls {
        "pull_requests"
    } else {
        "issues"
    };
    let searched: Vec<&Repository> = world
        .repositories
        .values()
        .filter(|found| caller.can_see(&world, found) && query.covers(&world, found))
        .filter(|_| caller.has_permission(&world, permission))
        .collect();
    if searched.is_empty() && !query.scopes.is_empty() {
        let message = "The listed users and repositories cannot be searched either because the resources do not exist or you do not have permission to view them.";
        return Err(invalid("invalid", message));
    }
    // A search that times out has covered only some of the repositories.
    let covered = if times_out {
        searched.len() / 2
    } else {
        searched.len()
    };
    let order = order(&paging);
    let needed = (paging.offset() + paging.per_page).min(MAX_RESULTS);
    let mut total = 0;
    let mut rows: Vec<(&Repository, &Issue)> = Vec::new();
    for repository in &searched[..covered] {
        let matches = |issue: &Issue| issue.updated_at <= indexed && query.matches(issue);
        let since = Some(query.updated.from);
        let (own, count) = repository.issues.page(order, since, matches, 0, needed);
        total += count;
        rows.extend(own.into_iter().map(|issue| (*repository, issue)));
    }
    rows.sort_by_key(|(_, issue)| match order.by {
        Sort::Updated => (issue.updated_at, issue.id),
        Sort::Created => (issue.created_at, issue.id),
    });
    if !order.ascending {
        rows.reverse();
    }
    rows.truncate(needed);
    let page: Vec<_> = rows.into_iter().skip(paging.offset()).collect();
    let shown = page
        .iter()
        .filter(|(_, issue)| issue.pull.is_none())
        .flat_map(|(_, issue)| issue.facts.iter().copied());
    service.core.ledger.mark_polled(shown);
    let items: Vec<Bytes> = page
        .into_iter()
        .map(|(repository, issue)| with_score(&render::issue_row(&world, repository, issue)))
        .collect();
    let reply = Reply::search_results(&items, total, times_out);
    Ok(paging.link(reply, total.min(MAX_RESULTS)))
}

/// Adds the score of search results to a row.
fn with_score(row: &[u8]) -> Bytes {
    let open = row.strip_suffix(b"}").unwrap_or(row);
    [open, b",\"score\":1.0}"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_inclusive_and_dates_are_whole_days() {
        let at = |text: &str| parse_iso(text).expect("a time");
        let range = |text: &str| Range::parse(text).expect("a range");
        let ten = "2026-11-23T10:00:00Z";
        assert_eq!(range(&format!(">={ten}")).from, at(ten));
        assert_eq!(range(&format!(">{ten}")).from, at(ten) + 1);
        assert_eq!(range("<=2026-11-23").to, at("2026-11-24") - 1);
        assert_eq!(range("<2026-11-23").to, at("2026-11-23") - 1);
        assert_eq!(range("2026-11-23..*").from, at("2026-11-23"));
        let day = range("2026-11-23");
        assert!(day.contains(at(ten)) && !day.contains(at("2026-11-24")));
        assert_eq!(Range::parse("yesterday"), None);
    }

    #[test]
    fn qualifiers_are_parsed_and_unknown_ones_rejected() {
        let query = Query::parse("org:Acme is:pr is:open parser").expect("a query");
        assert_eq!(query.scopes, ["acme"]);
        assert!(query.pulls && !query.issues);
        assert_eq!(query.state, Some("open"));
        assert_eq!(query.words, ["parser"]);
        assert_eq!(Query::parse("is:issue size:10"), None);
    }
}
