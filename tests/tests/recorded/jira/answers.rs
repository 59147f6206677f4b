//! Jira's REST API: recorded answers of the endpoints that are called.
//!
//! Much of what was recorded is a single object, from an endpoint of its own. Where Jira gives
//! the same object in a list that is asked for, it is put into such a list.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::asks::{ask, refused};
use super::statuses;
use super::table::Statuses;
use crate::answers::{self, Exchange};
use crate::folder::{Folder, Recorded};
use crate::report::Tally;

/// What answers hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Boards,
    Comments,
    Issues,
    Person,
    Projects,
    Sites,
    Sprints,
    Statuses,
    Versions,
    Worklogs,
}

/// An answer to give.
pub(super) struct Page {
    /// Where it is from.
    pub(super) place: String,
    /// What it holds.
    pub(super) kind: Kind,
    /// The answer.
    pub(super) body: Value,
    /// What is in it.
    pub(super) rows: Vec<Value>,
}

/// What an object is.
fn kind_of(object: &Value) -> Option<Kind> {
    let has = |names: &[&str]| names.iter().all(|name| !object[name].is_null());
    Some(if has(&["id", "key", "fields"]) {
        Kind::Issues
    } else if has(&["id", "url", "scopes"]) {
        Kind::Sites
    } else if has(&["id", "name", "statusCategory"]) {
        Kind::Statuses
    } else if has(&["id", "author", "timeSpent"]) {
        Kind::Worklogs
    } else if has(&["id", "body", "author"]) {
        Kind::Comments
    } else if has(&["id", "name", "archived", "released"]) {
        Kind::Versions
    } else if has(&["id", "key", "name"]) && (has(&["lead"]) || has(&["projectTypeKey"])) {
        Kind::Projects
    } else if has(&["id", "state", "name"]) {
        Kind::Sprints
    } else if has(&["id", "name"])
        && matches!(object["type"].as_str(), Some("scrum" | "kanban" | "simple"))
        && !has(&["columnConfig"])
    {
        Kind::Boards
    } else if has(&["accountId", "displayName"]) {
        Kind::Person
    } else {
        return None;
    })
}

/// Puts objects into the list that Jira gives them in.
fn wrapped(kind: Kind, rows: &[Value]) -> Value {
    let total = rows.len();
    match kind {
        Kind::Issues => json!({ "issues": rows }),
        Kind::Comments => json!({ "comments": rows, "startAt": 0, "total": total }),
        Kind::Sites | Kind::Statuses | Kind::Worklogs => json!(rows),
        Kind::Person => rows.first().cloned().unwrap_or_default(),
        Kind::Boards | Kind::Projects | Kind::Sprints | Kind::Versions => {
            json!({ "values": rows, "startAt": 0, "isLast": true })
        }
    }
}

/// A list as it was recorded, if an endpoint that is called gives it so.
fn list(exchange: &Exchange) -> Option<Page> {
    let body = &exchange.body;
    let named = [
        ("issues", Some(Kind::Issues)),
        ("comments", Some(Kind::Comments)),
        ("values", None),
    ];
    let found = named.into_iter().find_map(|(name, kind)| {
        let rows = body[name].as_array()?;
        Some((rows, kind.or_else(|| kind_of(rows.first()?))?))
    });
    let (rows, kind) = found.or_else(|| {
        let rows = body.as_array()?;
        Some((rows, kind_of(rows.first()?)?))
    })?;
    Some(Page {
        place: exchange.place.clone(),
        kind,
        body: body.clone(),
        rows: rows.clone(),
    })
}

/// What a file holds that can be asked for.
fn pages(file: &Recorded, tally: &mut Tally) -> (Vec<Page>, Vec<Exchange>) {
    let (mut pages, mut refusals) = (Vec::new(), Vec::new());
    let mut single: BTreeMap<Kind, Vec<Value>> = BTreeMap::new();
    for exchange in answers::of(file) {
        let body = &exchange.body;
        if let Some(status) = refusal(file, &exchange) {
            refusals.push(Exchange { status, ..exchange });
        } else if let Some(page) = list(&exchange) {
            pages.push(page);
        } else if let Some(rows) = body["worklogs"].as_array() {
            single
                .entry(Kind::Worklogs)
                .or_default()
                .extend(rows.iter().cloned());
        } else if let Some(kind) = kind_of(body) {
            if kind == Kind::Projects {
                let versions = body["versions"].as_array().into_iter().flatten();
                single
                    .entry(Kind::Versions)
                    .or_default()
                    .extend(versions.cloned());
            }
            single.entry(kind).or_default().push(body.clone());
        } else {
            tally.skip(&format!(
                "{} is never asked for",
                described(file, &exchange)
            ));
        }
    }
    single.retain(|_, rows| !rows.is_empty());
    for (kind, rows) in single {
        let each: Vec<&[Value]> = match kind {
            Kind::Person => rows.chunks(1).collect(),
            _ => vec![rows.as_slice()],
        };
        pages.extend(each.into_iter().map(|rows| Page {
            place: file.name.clone(),
            kind,
            body: wrapped(kind, rows),
            rows: rows.to_vec(),
        }));
    }
    (pages, refusals)
}

/// The status of an answer that refuses; where it was not recorded, the one that goes with
/// such words.
fn refusal(file: &Recorded, exchange: &Exchange) -> Option<u16> {
    let body = &exchange.body;
    let spoken =
        body["errorMessages"].is_array() || (body["status"].is_u64() && body["error"].is_string());
    if exchange.status >= 400 {
        return Some(exchange.status);
    }
    if !spoken {
        return None;
    }
    let stated = body["status"]
        .as_u64()
        .and_then(|status| status.try_into().ok());
    let missing = body.to_string().contains("not exist") || body.to_string().contains("not found");
    stated.or(Some(if missing || file.name.contains("not-found") {
        404
    } else {
        400
    }))
}

/// What was asked for: the path's end, or the file's name.
fn described(file: &Recorded, exchange: &Exchange) -> String {
    let path = exchange.path.as_deref().unwrap_or(&file.name);
    let end: Vec<&str> = path
        .split('?')
        .next()
        .unwrap_or_default()
        .rsplit('/')
        .take(2)
        .collect();
    end.into_iter().rev().collect::<Vec<_>>().join("/")
}

/// What a status means.
fn meaning(status: u16, body: &Value) -> &'static str {
    match status {
        401 if body.to_string().contains("scope does not match") => "permission",
        401 => "unauthorized",
        403 | 404 => "permission",
        429 => "rate_limited",
        408 | 500.. => "transient",
        _ => "permanent",
    }
}

async fn run(folder: &Folder, statuses: &Statuses) -> Tally {
    let mut tally = Tally::default();
    for file in folder.files("jira", "recorded") {
        let (pages, refusals) = pages(&file, &mut tally);
        for page in pages {
            tally.count(&format!("{:?}", page.kind), &ask(&page, statuses).await);
        }
        for exchange in refusals {
            let error = refused(&exchange).await;
            let must = meaning(exchange.status, &exchange.body);
            if error.code() != must {
                tally.wrong(format!("{}: {error:?} instead of {must}", exchange.place));
            }
            tally.count(&format!("refusal {}", exchange.status), error.code());
        }
    }
    tally
}

#[tokio::test]
async fn every_recorded_answer_gives_what_it_says() {
    let Some(folder) = Folder::open() else { return };
    let statuses = statuses(&folder);
    let tally = run(&folder, &statuses).await;
    tally.finish("recorded Jira answers, by what they hold");
}
