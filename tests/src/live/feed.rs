//! Reader of the feed, and comparison of its Signals by dedupe key.

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde::Deserialize;

use crate::api::Api;

/// Two facts of one subject that are further apart are different facts.
const SAME_TIME: TimeDelta = TimeDelta::seconds(10);

/// The parts of a Signal that identify its fact.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Signal {
    dedupe_key: String,
    kind: String,
    timestamp: DateTime<Utc>,
    subject: Subject,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Subject {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

/// Reader with its position.
#[derive(Default)]
pub(super) struct Feed {
    cursor: Option<String>,
}

impl Feed {
    /// Reads the Signals since the last call.
    pub(super) async fn read(&mut self, api: &Api, key: &str) -> anyhow::Result<Vec<Signal>> {
        let mut signals = Vec::new();
        loop {
            let after = self.cursor.as_ref();
            let after = after.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let path = format!("/v1/signals?limit=200{after}");
            let mut page = api.send(Method::GET, &path, key, None).await?;
            let read: Vec<Signal> = serde_json::from_value(page["signals"].take())?;
            signals.extend(read);
            let next = page["next_cursor"].as_str().context("no next cursor")?;
            self.cursor = Some(next.to_owned());
            if page["has_more"] == false {
                return Ok(signals);
            }
        }
    }
}

/// The dedupe keys of Signals.
pub(super) fn keys(signals: &[Signal]) -> Vec<String> {
    let keys = signals.iter().map(|signal| signal.dedupe_key.clone());
    keys.collect()
}

/// Pairs of dedupe keys of one fact: the same kind, subject and time.
pub(super) fn reported_twice(reported: &[Signal], found: &[Signal]) -> Vec<(String, String)> {
    let is_same = |one: &Signal, other: &Signal| {
        one.kind == other.kind
            && one.subject == other.subject
            && (one.timestamp - other.timestamp).abs() <= SAME_TIME
    };
    let pairs = reported.iter().flat_map(|one| {
        let same = found.iter().filter(move |other| is_same(one, other));
        same.map(|other| (one.dedupe_key.clone(), other.dedupe_key.clone()))
    });
    pairs.collect()
}
