//! The log of deliveries, as the app may list it.
//!
//! Keeps three days of the simulated clock, at most a hundred thousand entries;
//! payloads of successes only as long as they are among the newest.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::simulator::clock::iso;
use crate::simulator::github::world::Id;

const KEPT: usize = 100_000;
const KEPT_PAYLOADS: usize = 5_000;
const KEPT_SECONDS: i64 = 3 * 24 * 3_600;

/// One attempt to deliver.
#[derive(Clone)]
pub(crate) struct Delivered {
    pub(crate) id: u64,
    pub(crate) guid: String,
    pub(crate) event: &'static str,
    pub(crate) action: Option<&'static str>,
    pub(crate) account: String,
    pub(crate) installation: Option<Id>,
    pub(crate) repository: Option<Id>,
    pub(crate) redelivery: bool,
    pub(crate) at: i64,
    pub(crate) duration: f64,
    pub(crate) status: String,
    /// 0 when there was no answer.
    pub(crate) status_code: u16,
    pub(crate) request_headers: Vec<(&'static str, String)>,
    pub(crate) response_headers: BTreeMap<String, String>,
    pub(crate) response_body: String,
    pub(crate) body: Option<Bytes>,
}

impl Delivered {
    pub(crate) fn succeeded(&self) -> bool {
        (200..300).contains(&self.status_code)
    }

    /// The entry as the list shows it.
    pub(crate) fn item(&self) -> Value {
        json!({
            "id": self.id, "guid": self.guid, "delivered_at": iso(self.at),
            "redelivery": self.redelivery, "duration": (self.duration * 100.0).round() / 100.0,
            "status": self.status, "status_code": self.status_code, "event": self.event,
            "action": self.action, "installation_id": self.installation,
            "repository_id": self.repository, "throttled_at": null,
        })
    }

    /// The entry with request and response.
    pub(crate) fn detail(&self) -> Value {
        let mut object = self.item();
        let headers: BTreeMap<_, _> = self.request_headers.iter().cloned().collect();
        let payload: Value = self
            .body
            .as_ref()
            .and_then(|body| serde_json::from_slice(body).ok())
            .unwrap_or(json!({}));
        object["url"] = json!("");
        object["request"] = json!({"headers": headers, "payload": payload});
        object["response"] =
            json!({"headers": self.response_headers, "payload": self.response_body});
        object
    }
}

/// What a list asks for.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Only entries older than this.
    pub(crate) before: Option<u64>,
    pub(crate) limit: usize,
    /// `Some(true)`: successes only, `Some(false)`: failures only.
    pub(crate) succeeded: Option<bool>,
}

struct Entries {
    entries: BTreeMap<u64, Delivered>,
    next: u64,
}

pub(crate) struct Log {
    entries: Mutex<Entries>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            entries: Mutex::new(Entries {
                entries: BTreeMap::new(),
                next: 12_345_678_000,
            }),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an attempt down and answers its id.
    pub(super) fn add(&self, mut delivered: Delivered) -> u64 {
        let mut entries = self.entries();
        entries.next += 7;
        let id = entries.next;
        delivered.id = id;
        let oldest = delivered.at - KEPT_SECONDS;
        entries.entries.insert(id, delivered);
        while let Some(first) = entries.entries.first_entry() {
            let stale = first.get().at < oldest;
            if !stale && entries.entries.len() <= KEPT {
                break;
            }
            entries.entries.pop_first();
        }
        let old = id.saturating_sub(7 * KEPT_PAYLOADS as u64);
        if let Some(entry) = entries
            .entries
            .get_mut(&old)
            .filter(|entry| entry.succeeded())
        {
            entry.body = None;
        }
        id
    }

    pub(crate) fn get(&self, id: u64) -> Option<Delivered> {
        self.entries().entries.get(&id).cloned()
    }

    /// A page of entries, newest first, and whether older ones remain.
    pub(crate) fn list(&self, listing: &Listing, now: i64) -> (Vec<Value>, Option<u64>) {
        let entries = self.entries();
        let before = listing.before.unwrap_or(u64::MAX);
        let mut fitting = entries
            .entries
            .range(..before)
            .rev()
            .map(|(_, entry)| entry)
            .filter(|entry| {
                entry.at >= now - KEPT_SECONDS
                    && listing
                        .succeeded
                        .is_none_or(|wanted| wanted == entry.succeeded())
            });
        let page: Vec<&Delivered> = fitting.by_ref().take(listing.limit).collect();
        let more = fitting.next().is_some();
        let next = page.last().filter(|_| more).map(|entry| entry.id);
        (page.into_iter().map(Delivered::item).collect(), next)
    }

    /// Attempts by outcome.
    pub(crate) fn summary(&self) -> Value {
        let entries = self.entries();
        let succeeded = entries
            .entries
            .values()
            .filter(|entry| entry.succeeded())
            .count();
        json!({"logged": entries.entries.len(), "succeeded": succeeded, "failed": entries.entries.len() - succeeded})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(status_code: u16, at: i64) -> Delivered {
        Delivered {
            id: 0,
            guid: String::new(),
            event: "push",
            action: None,
            account: String::new(),
            installation: None,
            repository: None,
            redelivery: false,
            at,
            duration: 0.0,
            status: String::new(),
            status_code,
            request_headers: Vec::new(),
            response_headers: BTreeMap::new(),
            response_body: String::new(),
            body: None,
        }
    }

    #[test]
    fn a_cursor_leads_through_the_whole_log_newest_first() {
        let log = Log::new();
        for status in [200, 500, 200, 0, 202] {
            log.add(delivered(status, 1_000));
        }
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let (page, next) = log.list(
                &Listing {
                    before,
                    limit: 2,
                    succeeded: None,
                },
                1_000,
            );
            seen.extend(
                page.iter()
                    .map(|entry| entry["status_code"].as_u64().expect("a status")),
            );
            before = next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(seen, [202, 0, 200, 500, 200]);
        let failures = Listing {
            before: None,
            limit: 9,
            succeeded: Some(false),
        };
        assert_eq!(log.list(&failures, 1_000).0.len(), 2);
        assert_eq!(log.list(&failures, 1_001 + KEPT_SECONDS).0.len(), 0);
    }
}
