//! Recorded responses of Jira's REST API, of endpoints that the connector calls.
//!
//! Many recordings are single objects of other endpoints. Objects that Jira also returns in
//! a list are put into that list.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::requests::{check_page, sync_error};
use super::statuses;
use super::table::Statuses;
use crate::exchanges::{self, Exchange};
use crate::folder::{Folder, Recorded};
use crate::report::Tally;

/// Kind of the objects in a response.
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

/// A response of the local server.
pub(super) struct Page {
    /// Recording that it is from.
    pub(super) source: String,
    /// Kind of its objects.
    pub(super) kind: Kind,
    /// Body of the response.
    pub(super) body: Value,
    /// Objects in the body.
    pub(super) rows: Vec<Value>,
}

/// Detects the kind of an object by its fields.
fn detect_kind(object: &Value) -> Option<Kind> {
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

/// Puts objects into the list in which Jira returns them.
fn wrap_in_list(kind: Kind, rows: &[Value]) -> Value {
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

/// A recorded list, if it has the format of an endpoint that the connector calls.
fn recorded_list(exchange: &Exchange) -> Option<Page> {
    let body = &exchange.body;
    let list_fields = [
        ("issues", Some(Kind::Issues)),
        ("comments", Some(Kind::Comments)),
        ("values", None),
    ];
    let found = list_fields.into_iter().find_map(|(name, kind)| {
        let rows = body[name].as_array()?;
        Some((rows, kind.or_else(|| detect_kind(rows.first()?))?))
    });
    let (rows, kind) = found.or_else(|| {
        let rows = body.as_array()?;
        Some((rows, detect_kind(rows.first()?)?))
    })?;
    Some(Page {
        source: exchange.source.clone(),
        kind,
        body: body.clone(),
        rows: rows.clone(),
    })
}

/// Pages and error responses of a file.
fn pages(file: &Recorded, tally: &mut Tally) -> (Vec<Page>, Vec<Exchange>) {
    let (mut pages, mut error_responses) = (Vec::new(), Vec::new());
    let mut single: BTreeMap<Kind, Vec<Value>> = BTreeMap::new();
    for exchange in exchanges::read(file) {
        let body = &exchange.body;
        if let Some(status) = error_status(file, &exchange) {
            error_responses.push(Exchange { status, ..exchange });
        } else if let Some(page) = recorded_list(&exchange) {
            pages.push(page);
        } else if let Some(rows) = body["worklogs"].as_array() {
            single
                .entry(Kind::Worklogs)
                .or_default()
                .extend(rows.iter().cloned());
        } else if let Some(kind) = detect_kind(body) {
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
                "{} is never requested",
                endpoint_name(file, &exchange)
            ));
        }
    }
    single.retain(|_, rows| !rows.is_empty());
    for (kind, rows) in single {
        let chunks: Vec<&[Value]> = match kind {
            Kind::Person => rows.chunks(1).collect(),
            _ => vec![rows.as_slice()],
        };
        pages.extend(chunks.into_iter().map(|rows| Page {
            source: file.name.clone(),
            kind,
            body: wrap_in_list(kind, rows),
            rows: rows.to_vec(),
        }));
    }
    (pages, error_responses)
}

/// Status of an error response. If it was not recorded, the body determines it.
fn error_status(file: &Recorded, exchange: &Exchange) -> Option<u16> {
    let body = &exchange.body;
    let is_error_body =
        body["errorMessages"].is_array() || (body["status"].is_u64() && body["error"].is_string());
    if exchange.status >= 400 {
        return Some(exchange.status);
    }
    if !is_error_body {
        return None;
    }
    let stated = body["status"]
        .as_u64()
        .and_then(|status| status.try_into().ok());
    let is_not_found =
        body.to_string().contains("not exist") || body.to_string().contains("not found");
    stated.or(Some(if is_not_found || file.name.contains("not-found") {
        404
    } else {
        400
    }))
}

/// End of the request's path, or of the file's name.
fn endpoint_name(file: &Recorded, exchange: &Exchange) -> String {
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

/// Error code of the connector for a status.
fn expected_code(status: u16, body: &Value) -> &'static str {
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
        let (pages, error_responses) = pages(&file, &mut tally);
        for page in pages {
            tally.count(
                &format!("{:?}", page.kind),
                &check_page(&page, statuses).await,
            );
        }
        for exchange in error_responses {
            let error = sync_error(&exchange).await;
            let expected = expected_code(exchange.status, &exchange.body);
            if error.code() != expected {
                tally.fail(format!(
                    "{}: {error:?} instead of {expected}",
                    exchange.source
                ));
            }
            tally.count(&format!("status {}", exchange.status), error.code());
        }
    }
    tally
}

#[tokio::test]
async fn recorded_responses_yield_their_facts() {
    let Some(folder) = Folder::open() else { return };
    let statuses = statuses(&folder);
    let tally = run(&folder, &statuses).await;
    tally.finish("recorded Jira responses, by kind");
}
