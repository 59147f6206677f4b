//! Searching issues: by JQL, in pages whose tokens say where the last one ended.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Caller, Fields, refusal};
use crate::simulator::jira::Jira;
use crate::simulator::jira::jql::Jql;
use crate::simulator::jira::world::{Issue, World};

/// How long a page's token is honoured.
const TOKEN_LIFE: i64 = 7 * 24 * 3_600;

/// `search/jql`, by GET or POST.
pub(super) fn jql(
    hub: &Jira,
    world: &mut World,
    site: &str,
    caller: &Caller,
    query: &Fields,
    given: &Value,
) -> Response {
    let text = |name: &str| -> String {
        given[name]
            .as_str()
            .map(str::to_owned)
            .or_else(|| query.get(name).cloned())
            .unwrap_or_default()
    };
    let question = text("jql");
    let parsed = match Jql::parse(&question, &world.people[&caller.person]) {
        Ok(parsed) => parsed,
        Err(why) => return refusal(StatusCode::BAD_REQUEST, &why),
    };
    let now = hub.core.clock.seconds();
    let after = match text("nextPageToken").as_str() {
        "" => None,
        token => match read_token(token, &question, now) {
            Some(after) => Some(after),
            None => return refusal(StatusCode::BAD_REQUEST, "The nextPageToken is invalid."),
        },
    };
    let listed = |name: &str| -> Vec<String> {
        match &given[name] {
            Value::Array(values) => values
                .iter()
                .filter_map(|value| Some(value.as_str()?.to_owned()))
                .collect(),
            _ => text(name)
                .split(',')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    };
    let mut fields = listed("fields");
    if fields.is_empty() {
        fields.push("id".to_owned());
    }
    let reconciled: Vec<u64> = given["reconcileIssues"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect();
    let most = given["maxResults"]
        .as_u64()
        .and_then(|most| usize::try_from(most).ok())
        .or_else(|| query.get("maxResults")?.parse().ok())
        .unwrap_or(50)
        .clamp(1, 100);
    let lag = hub.settings().index_lag_seconds * 1_000;
    let place = &world.sites[site];
    let mut found: Vec<&Issue> = place
        .issues
        .values()
        .filter(|issue| {
            lag == 0 || issue.updated + lag <= now * 1_000 || reconciled.contains(&issue.id)
        })
        .filter(|issue| parsed.accepts(place, issue))
        .collect();
    found.sort_by_key(|issue| (issue.updated, issue.id));
    if parsed.descending {
        found.reverse();
    }
    let start = after.map_or(0, |after: (i64, u64)| {
        let behind = |issue: &&&Issue| {
            let here = (issue.updated, issue.id);
            if parsed.descending {
                here >= after
            } else {
                here <= after
            }
        };
        found.iter().take_while(behind).count()
    });
    let page = &found[start..found.len().min(start + most)];
    let log = text("expand").contains("changelog");
    let mut shown = Vec::new();
    let issues: Vec<Value> = page
        .iter()
        .map(|issue| {
            shown.extend(&issue.facts);
            if log {
                shown.extend(issue.histories.iter().flat_map(|history| &history.facts));
            }
            if fields.iter().any(|field| field == "comment") {
                let comments = issue.comments.values().take(20);
                shown.extend(comments.flat_map(|one| one.fact.iter().chain(&one.edit_fact)));
            }
            world.searched(place, issue, &fields, log)
        })
        .collect();
    hub.core.ledger.mark_polled(shown);
    let last = start + page.len() >= found.len();
    let mut answer = json!({ "issues": issues, "isLast": last });
    if let (false, Some(end)) = (last, page.last()) {
        answer["nextPageToken"] = json!(token(&question, end, now));
    }
    Json(answer).into_response()
}

fn token(question: &str, end: &Issue, now: i64) -> String {
    URL_SAFE_NO_PAD.encode(json!([question, end.updated, end.id, now]).to_string())
}

/// Where a token's page ended, if it is the question's and young enough.
fn read_token(token: &str, question: &str, now: i64) -> Option<(i64, u64)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let parts: (String, i64, u64, i64) = serde_json::from_slice(&bytes).ok()?;
    (parts.0 == question && now - parts.3 < TOKEN_LIFE).then_some((parts.1, parts.2))
}
