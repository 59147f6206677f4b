//! Recordings of Google Calendar: pages of events, answers about series, and errors.
//!
//! The expected keys follow the tables of the Signal catalogue, from the JSON of the rows.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use shared::connectors::{Access, ConnectorError, SyncPage};
use shared::model::ExternalAccount;

use crate::exchanges::{self, Exchange};
use crate::fixture::{Facts, Fixture, compare};
use crate::folder::Folder;
use crate::provider::connector_at;
use crate::report::{Tally, print};
use crate::server::RecordedResponse;

const CALENDAR: &str = "recorded@example.com";
const STREAM: &str = "events:recorded@example.com";

/// A connector whose provider sends this response to every request.
async fn fixture(response: RecordedResponse) -> Fixture {
    let access = Access {
        account: ExternalAccount::from_route("117"),
        token: "a-token".into(),
        user_token: None,
    };
    Fixture::start(BTreeMap::new(), response, access, |base, now| {
        let settings = [
            ("POBLYSH_GOOGLE_CLIENT_ID", "client"),
            ("POBLYSH_GOOGLE_CLIENT_SECRET", "client-secret-of-tests"),
            ("POBLYSH_GOOGLE_API_BASE_URL", base),
        ];
        connector_at("google_calendar", &settings, now)
    })
    .await
}

/// The cursor of a stream with a token, whose first read began at `floor`.
fn cursor(floor: DateTime<Utc>) -> Value {
    json!({ "floor": floor.timestamp_millis(), "size": 500, "sync": "a-token" })
}

/// Reads an answer as the last page of the changes since a token.
async fn read(answer: &Value, floor: DateTime<Utc>) -> SyncPage {
    let mut answer = answer.clone();
    if answer["nextPageToken"].is_null() && answer["nextSyncToken"].is_null() {
        answer["nextSyncToken"] = json!("another-token");
    }
    let fixture = fixture(RecordedResponse::of(&answer)).await;
    let page = fixture.page(STREAM, Some(cursor(floor))).await;
    page.expect("a page")
}

/// A recorded page of events, from any depth of a file.
fn answers(exchange: &Exchange) -> Vec<&Value> {
    fn collect<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
        if value["kind"] == "calendar#events" && value["items"].is_array() {
            found.push(value);
            return;
        }
        let members = value
            .as_object()
            .into_iter()
            .flat_map(|object| object.values());
        let elements = value.as_array().into_iter().flatten();
        members
            .chain(elements)
            .for_each(|part| collect(part, found));
    }
    let mut found = Vec::new();
    collect(&exchange.body, &mut found);
    found
}

fn text<'v>(row: &'v Value, name: &str) -> Option<&'v str> {
    row[name].as_str().filter(|text| !text.is_empty())
}

fn time(row: &Value, name: &str) -> Option<DateTime<Utc>> {
    text(row, name)?.parse().ok()
}

/// `updated`, or half of the etag in microseconds.
fn changed_at(row: &Value) -> Option<DateTime<Utc>> {
    time(row, "updated").or_else(|| {
        let etag: i64 = text(row, "etag")?.replace('"', "").parse().ok()?;
        DateTime::from_timestamp_micros(etag / 2)
    })
}

/// Splits the suffix of an instance or part from an id.
fn split(id: &str) -> (&str, &str) {
    let is_suffix = |text: &str| {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let rest: String = text.chars().filter(|one| !one.is_ascii_digit()).collect();
        matches!(
            (digits.len(), rest.as_str()),
            (8, "" | "R") | (14, "T" | "TZ" | "RT" | "RTZ")
        )
    };
    match id.rsplit_once('_') {
        Some((base, suffix)) if !base.is_empty() && is_suffix(suffix) => (base, suffix),
        _ => (id, ""),
    }
}

/// The facts of a row since the floor; `None` if the row does not identify them.
fn facts_of(row: &Value, floor: DateTime<Utc>) -> Option<Vec<(&'static str, String)>> {
    let id = text(row, "id")?;
    if let Some("birthday" | "workingLocation" | "focusTime") = text(row, "eventType") {
        return Some(Vec::new());
    }
    let changed = changed_at(row);
    let mut facts = Vec::new();
    if row["status"] == "cancelled" {
        if changed.is_none_or(|at| at >= floor) {
            facts.push(("event_cancelled", format!("event:{id}:cancelled")));
        }
        return Some(facts);
    }
    let created = time(row, "created")?;
    let (base, suffix) = split(id);
    let is_own = row["recurringEventId"].is_null() && !suffix.starts_with('R');
    if is_own && created >= floor {
        facts.push(("event_created", format!("event:{id}:created")));
    }
    match changed {
        Some(changed) if changed >= floor && changed - created > TimeDelta::seconds(5) => {
            let at = changed.format("%Y-%m-%dT%H:%M:%S%.3fZ");
            facts.push(("event_updated", format!("event:{base}:updated:{at}")));
        }
        None if facts.is_empty() => return None,
        _ => {}
    }
    Some(facts)
}

/// The facts of a page, and the number of rows that identify none.
fn expected(answer: &Value, floor: DateTime<Utc>) -> (Facts, usize) {
    let rows = answer["items"].as_array().expect("rows");
    let all: Vec<_> = rows.iter().map(|row| facts_of(row, floor)).collect();
    let unreadable = all.iter().filter(|facts| facts.is_none()).count();
    let facts = all.into_iter().flatten().flatten();
    let named = facts.map(|(kind, key)| {
        let key = format!("google_calendar:{CALENDAR}:{key}");
        (kind.to_owned(), key)
    });
    (named.collect(), unreadable)
}

#[tokio::test]
async fn recorded_pages_yield_the_cataloged_signals() {
    let Some(folder) = Folder::open() else { return };
    let mut tally = Tally::default();
    for file in folder.files("google", "recorded") {
        for exchange in exchanges::read(&file) {
            for answer in answers(&exchange) {
                let floor = DateTime::UNIX_EPOCH;
                let page = read(answer, floor).await;
                let (facts, unreadable) = expected(answer, floor);
                let summary = compare(&exchange.source, &page, &facts);
                if page.unreadable_rows.len() != unreadable {
                    tally.fail(format!("{}: {:?}", exchange.source, page.unreadable_rows));
                }
                let rows = answer["items"].as_array().map_or(0, Vec::len);
                tally.count(&format!("{rows} rows"), &summary);
            }
        }
    }
    tally.finish("recorded pages of events, by size");
}

/// Numbers of changes and cancellations that a person made, by the name of the recording.
fn changes_of(name: &str) -> Option<(usize, usize)> {
    let name = name.rsplit('/').next()?.strip_prefix("sync-")?;
    Some(if name.starts_with("delete-all") {
        (0, 1)
    } else if name.starts_with("delete-") {
        // The series has one instance less.
        (1, 1)
    } else {
        (1, 0)
    })
}

#[tokio::test]
async fn series_has_one_signal_per_change() {
    let Some(folder) = Folder::open() else { return };
    let (mut answered, mut rows, mut changed_rows, mut signals) = (0, 0, 0, 0);
    for file in folder.files("google", "recorded") {
        let Some((changes, cancellations)) = changes_of(&file.name) else {
            continue;
        };
        let answer = file.json();
        // The event's own time is that of the change.
        let floor = time(&answer, "updated").expect("a time") - TimeDelta::seconds(1);
        let page = read(&answer, floor).await;
        let keys: BTreeSet<&str> = page
            .signals
            .iter()
            .map(|signal| signal.dedupe_key.as_str())
            .collect();
        let cancelled = keys
            .iter()
            .filter(|key| key.ends_with(":cancelled"))
            .count();
        assert_eq!(
            (page.signals.len() - cancelled, cancelled),
            (changes, cancellations),
            "{}: {keys:?}",
            file.name
        );
        assert_eq!(keys.len(), page.signals.len(), "{}", file.name);
        let listed = answer["items"].as_array().expect("rows");
        answered += 1;
        rows += listed.len();
        changed_rows += listed
            .iter()
            .filter(|row| row["status"] != "cancelled")
            .count();
        signals += page.signals.len();
    }
    assert!(answered > 0, "the folder has answers about series");
    print(&format!(
        "{answered} answers about series: {rows} rows ({changed_rows} not cancelled), {signals} Signals"
    ));
}

#[tokio::test]
async fn recorded_errors_map_to_documented_meaning() {
    let Some(folder) = Folder::open() else { return };
    let mut tally = Tally::default();
    for file in folder.files("google", "recorded") {
        if !file.name.contains("/calendar/") {
            continue;
        }
        let content = file.json();
        let body = if content["body"].is_object() {
            &content["body"]
        } else {
            &content
        };
        let Some(code) = body["error"]["code"].as_u64() else {
            continue;
        };
        let reason = body["error"]["errors"][0]["reason"]
            .as_str()
            .unwrap_or_default();
        let expected = match (code, reason) {
            (410, _) | (400, "invalid") => "cursor_expired",
            (403, "rateLimitExceeded") => "rate_limited",
            (403 | 404, _) => "permission",
            _ => "permanent",
        };
        let response = RecordedResponse {
            status: u16::try_from(code).expect("a status"),
            ..RecordedResponse::of(body)
        };
        let fixture = fixture(response).await;
        let result = fixture
            .page(STREAM, Some(cursor(DateTime::UNIX_EPOCH)))
            .await;
        let error: ConnectorError = result.expect_err("an error response");
        if error.code() != expected {
            tally.fail(format!("{}: {error:?}, not {expected}", file.name));
        }
        tally.count(&format!("{code} {reason}"), error.code());
    }
    tally.finish("recorded errors of Calendar, by reason");
}
