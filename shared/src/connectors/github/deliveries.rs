//! The redelivery sweep: GitHub never sends a failed delivery again by itself, but keeps a
//! log of them and sends again when asked
//! (<https://docs.github.com/webhooks/using-webhooks/handling-failed-webhook-deliveries>).

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use http::{Method, StatusCode};

use super::GitHub;
use super::auth::app_refused;
use super::client::{APP_ACCOUNT, Call, PER_PAGE};
use super::wire::AppDelivery;
use crate::connectors::ConnectorError;

/// Pages of the log that one sweep reads: a hundred thousand deliveries, which are an hour of
/// twenty-eight a second.
const MOST_PAGES: usize = 1000;

/// Asks for every delivery since a moment that failed and has not been redelivered well.
/// Answers how many were asked for.
pub(super) async fn recover(github: &GitHub, since: DateTime<Utc>) -> Result<u64, ConnectorError> {
    let mut asked = 0;
    for id in failed(log(github, since).await?) {
        let id = id.to_string();
        let path = ["app", "hook", "deliveries", &id, "attempts"];
        match github
            .as_app(Method::POST, &path, "redeliver_webhook")
            .await
        {
            Ok(_) => asked += 1,
            // GitHub forgets deliveries after some days.
            Err(refusal)
                if refusal.is(StatusCode::NOT_FOUND)
                    || refusal.is(StatusCode::UNPROCESSABLE_ENTITY) => {}
            Err(refusal) => return Err(refusal.error),
        }
    }
    Ok(asked)
}

/// The log since a moment, newest first.
async fn log(github: &GitHub, since: DateTime<Utc>) -> Result<Vec<AppDelivery>, ConnectorError> {
    let mut url = github.client.api(&["app", "hook", "deliveries"]);
    url.query_pairs_mut().append_pair("per_page", PER_PAGE);
    let mut found = Vec::new();
    for _ in 0..MOST_PAGES {
        let token = github.app_token()?;
        let call = Call::new(APP_ACCOUNT, "list_webhook_deliveries", &token);
        let answer = github.client.get(url, call).await.map_err(app_refused)?;
        let page: Vec<AppDelivery> = answer.json()?;
        let older = |entry: &AppDelivery| entry.delivered_at.is_some_and(|at| at.0 < since);
        let ended = page.is_empty() || page.iter().any(older);
        found.extend(page.into_iter().filter(|entry| !older(entry)));
        match answer.links().next {
            Some(next) if !ended => url = next,
            _ => return Ok(found),
        }
    }
    tracing::warn!(
        pages = MOST_PAGES,
        "the log of deliveries is longer than one sweep reads"
    );
    Ok(found)
}

/// The latest attempt of every delivery that no attempt brought through, oldest first.
fn failed(log: Vec<AppDelivery>) -> Vec<u64> {
    let settled: HashSet<String> = log
        .iter()
        .filter(|entry| delivered(entry) || pending(entry))
        .map(|entry| entry.guid.clone())
        .collect();
    let mut latest: HashMap<String, u64> = HashMap::new();
    for entry in log {
        if !settled.contains(&entry.guid) {
            let id = latest.entry(entry.guid).or_insert(entry.id);
            *id = entry.id.max(*id);
        }
    }
    let mut ids: Vec<u64> = latest.into_values().collect();
    ids.sort_unstable();
    ids
}

fn delivered(entry: &AppDelivery) -> bool {
    entry
        .status_code
        .is_some_and(|code| (200..300).contains(&code))
}

/// Whether GitHub has not tried yet.
fn pending(entry: &AppDelivery) -> bool {
    entry
        .status
        .as_deref()
        .is_some_and(|status| status.eq_ignore_ascii_case("pending"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64, guid: &str, code: Option<i64>, status: &str) -> AppDelivery {
        AppDelivery {
            id,
            guid: guid.to_owned(),
            delivered_at: None,
            status: Some(status.to_owned()),
            status_code: code,
        }
    }

    #[test]
    fn only_deliveries_that_no_attempt_brought_through_are_asked_for_once() {
        let log = vec![
            entry(9, "redelivered", Some(200), "OK"),
            entry(8, "failed-twice", Some(503), "Service Unavailable"),
            entry(7, "timed-out", Some(0), "timed out"),
            entry(6, "never-answered", None, "failed to connect to host"),
            entry(5, "on-its-way", None, "pending"),
            entry(4, "fine", Some(202), "Accepted"),
            entry(3, "redelivered", Some(502), "Bad Gateway"),
            entry(2, "failed-twice", Some(500), "Internal Server Error"),
        ];
        assert_eq!(failed(log), [6, 7, 8]);
    }
}
