//! Redelivery of failed webhooks.
//!
//! GitHub does not retry a failed delivery; it keeps a log of deliveries and redelivers on request
//! (<https://docs.github.com/webhooks/using-webhooks/handling-failed-webhook-deliveries>).

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use http::{Method, StatusCode};
use serde_json::value::RawValue;

use super::GitHub;
use super::auth::app_error;
use super::client::{Call, PER_PAGE, own_message};
use super::page_size::Pages;
use super::wire::{AppDelivery, read};
use crate::connectors::ConnectorError;
use crate::connectors::rows::UnreadableRows;
use crate::connectors::settings::APP_ACCOUNT;

/// Maximum number of pages of the log per run.
///
/// They hold a hundred thousand deliveries, which are an hour at twenty-eight per second.
const MAX_PAGES: usize = 1000;

/// Requests redelivery of all deliveries since a time that failed, and returns their number.
pub(super) async fn redeliver(
    github: &GitHub,
    since: DateTime<Utc>,
) -> Result<u64, ConnectorError> {
    let mut requested = 0;
    for id in failed(list_deliveries(github, since).await?) {
        let id = id.to_string();
        let path = ["app", "hook", "deliveries", &id, "attempts"];
        match github
            .as_app(Method::POST, &path, "redeliver_webhook")
            .await
        {
            Ok(_) => requested += 1,
            // GitHub deletes deliveries after some days.
            Err(error)
                if (error.is(StatusCode::NOT_FOUND)
                    || error.is(StatusCode::UNPROCESSABLE_ENTITY))
                    && own_message(&error).is_some() => {}
            Err(error) => return Err(error.cause),
        }
    }
    Ok(requested)
}

/// Lists the deliveries since a time, newest first.
async fn list_deliveries(
    github: &GitHub,
    since: DateTime<Utc>,
) -> Result<Vec<AppDelivery>, ConnectorError> {
    let mut url = github.client.api(&["app", "hook", "deliveries"]);
    url.query_pairs_mut().append_pair("per_page", PER_PAGE);
    let (mut found, mut pages) = (Vec::new(), Pages::default());
    for _ in 0..MAX_PAGES {
        let token = github.app_token()?;
        let call = || Call::new(APP_ACCOUNT, "list_webhook_deliveries", &token);
        let response = pages
            .get(&url, |url| github.client.get(url, call()))
            .await
            .map_err(app_error)?;
        let rows: Vec<&RawValue> = response.json()?;
        let is_last = rows.is_empty();
        let mut unreadable = UnreadableRows::default();
        let page: Vec<AppDelivery> = unreadable
            .read_all(rows, |row| read("delivery", row))
            .into_iter()
            .map(|(entry, _)| entry)
            .collect();
        warn_of(unreadable);
        let older = |entry: &AppDelivery| entry.delivered_at.is_some_and(|at| at.0 < since);
        let ended = is_last || page.iter().any(older);
        found.extend(page.into_iter().filter(|entry| !older(entry)));
        match response.links().next {
            Some(next) if !ended => url = next,
            _ => return Ok(found),
        }
    }
    tracing::warn!(
        pages = MAX_PAGES,
        "webhook delivery log exceeds the page limit, ignoring older deliveries"
    );
    Ok(found)
}

/// Logs the entries of the log that are not readable: their deliveries are not requested again.
fn warn_of(unreadable: UnreadableRows) {
    for row in unreadable.into_rows() {
        tracing::warn!(
            row.id = row.id,
            reason = row.reason,
            "failed to read an entry of the webhook delivery log"
        );
    }
}

/// Returns the latest attempt of every delivery without a successful one, oldest first.
fn failed(log: Vec<AppDelivery>) -> Vec<u64> {
    let not_failed: HashSet<String> = log
        .iter()
        .filter(|entry| is_delivered(entry) || is_pending(entry))
        .map(|entry| entry.guid.clone())
        .collect();
    let mut latest: HashMap<String, u64> = HashMap::new();
    for entry in log {
        if !not_failed.contains(&entry.guid) {
            let id = latest.entry(entry.guid).or_insert(entry.id);
            *id = entry.id.max(*id);
        }
    }
    let mut ids: Vec<u64> = latest.into_values().collect();
    ids.sort_unstable();
    ids
}

fn is_delivered(entry: &AppDelivery) -> bool {
    entry
        .status_code
        .is_some_and(|code| (200..300).contains(&code))
}

/// Returns whether GitHub has not made the attempt yet.
fn is_pending(entry: &AppDelivery) -> bool {
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
    fn only_deliveries_without_successful_attempt_are_redelivered() {
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
