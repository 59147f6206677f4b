//! Log of deliveries, which the app can list.
//!
//! It keeps entries for three days of the simulated clock, at most 100,000. Payloads of
//! successful deliveries are kept only for the newest entries.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::clock::iso;
use crate::github::world::Id;
use crate::lock::Mutex;

const MAX_ENTRIES: usize = 100_000;
const MAX_PAYLOADS: usize = 5_000;
const RETENTION_SECONDS: i64 = 3 * 24 * 3_600;

/// An attempt to send a delivery.
#[derive(Clone)]
pub(crate) struct LogEntry {
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
    /// Status of the response, 0 without one.
    pub(crate) status_code: u16,
    pub(crate) request_headers: Vec<(&'static str, String)>,
    pub(crate) response_headers: BTreeMap<String, String>,
    pub(crate) response_body: String,
    pub(crate) body: Option<Bytes>,
}

impl LogEntry {
    pub(crate) fn succeeded(&self) -> bool {
        (200..300).contains(&self.status_code)
    }

    /// The entry as a row of the list.
    pub(crate) fn item(&self) -> Value {
        json!({
            "id": self.id, "guid": self.guid, "delivered_at": iso(self.at),
            "redelivery": self.redelivery, "duration": (self.duration * 100.0).round() / 100.0,
            "status": self.status, "status_code": self.status_code, "event": self.event,
            "action": self.action, "installation_id": self.installation,
            "repository_id": self.repository, "throttled_at": null,
        })
    }

    /// The entry with its request and response.
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

/// Page and filter of a list.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Only entries before this id.
    pub(crate) before: Option<u64>,
    pub(crate) limit: usize,
    /// `Some(true)`: successes only, `Some(false)`: failures only.
    pub(crate) succeeded: Option<bool>,
}

struct Entries {
    entries: BTreeMap<u64, LogEntry>,
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

    /// Adds an entry and returns its id.
    pub(super) fn add(&self, mut entry: LogEntry) -> u64 {
        let mut entries = self.entries.lock();
        entries.next += 7;
        let id = entries.next;
        entry.id = id;
        let oldest = entry.at - RETENTION_SECONDS;
        entries.entries.insert(id, entry);
        while let Some(first) = entries.entries.first_entry() {
            let expired = first.get().at < oldest;
            if !expired && entries.entries.len() <= MAX_ENTRIES {
                break;
            }
            entries.entries.pop_first();
        }
        let old = id.saturating_sub(7 * MAX_PAYLOADS as u64);
        if let Some(entry) = entries
            .entries
            .get_mut(&old)
            .filter(|entry| entry.succeeded())
        {
            entry.body = None;
        }
        id
    }

    pub(crate) fn get(&self, id: u64) -> Option<LogEntry> {
        self.entries.lock().entries.get(&id).cloned()
    }

    /// Page of entries, newest first, and the cursor of the next page.
    pub(crate) fn list(&self, listing: &Listing, now: i64) -> (Vec<Value>, Option<u64>) {
        let entries = self.entries.lock();
        let before = listing.before.unwrap_or(u64::MAX);
        let mut matching = entries
            .entries
            .range(..before)
            .rev()
            .map(|(_, entry)| entry)
            .filter(|entry| {
                entry.at >= now - RETENTION_SECONDS
                    && listing
                        .succeeded
                        .is_none_or(|wanted| wanted == entry.succeeded())
            });
        let page: Vec<&LogEntry> = matching.by_ref().take(listing.limit).collect();
        let has_more = matching.next().is_some();
        let next = page.last().filter(|_| has_more).map(|entry| entry.id);
        (page.into_iter().map(LogEntry::item).collect(), next)
    }

    /// Number of entries by outcome.
    pub(crate) fn summary(&self) -> Value {
        let entries = self.entries.lock();
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

    fn entry(status_code: u16, at: i64) -> LogEntry {
        LogEntry {
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
    fn cursor_lists_the_whole_log_newest_first() {
        let log = Log::new();
        for status in [200, 500, 200, 0, 202] {
            log.add(entry(status, 1_000));
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
        assert_eq!(log.list(&failures, 1_001 + RETENTION_SECONDS).0.len(), 0);
    }
}
