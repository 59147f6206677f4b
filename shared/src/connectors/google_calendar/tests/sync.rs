//! Pages of a calendar: tokens, their parameters, expiry, and what is read again.

use serde_json::{Value, json};

use super::server::{Calendars, Query, STREAM, error, request};
use super::{at, page};
use crate::connectors::{Connector, SyncPage};

/// Parameters that Google rejects beside a sync token.
const FORBIDDEN: &[&str] = &[
    "iCalUID",
    "orderBy",
    "privateExtendedProperty",
    "q",
    "sharedExtendedProperty",
    "timeMin",
    "timeMax",
    "updatedMin",
];

fn rows(name: &str) -> Value {
    let page: Value = serde_json::from_slice(&page(name)).expect("JSON");
    page["items"].clone()
}

fn changes_since(token: &str) -> Value {
    json!({ "floor": at("2026-11-01T00:00:00Z").timestamp_millis(), "size": 500, "sync": token })
}

fn value<'q>(query: &'q Query, name: &str) -> Option<&'q str> {
    query.get(name).map(String::as_str)
}

fn dedupe_keys(page: &SyncPage) -> Vec<&str> {
    let signals = page.signals.iter();
    signals.map(|signal| signal.dedupe_key.as_str()).collect()
}

/// Reads a stream until a run ends; returns its pages.
async fn run(calendars: &Calendars, cursor: Option<Value>) -> Vec<SyncPage> {
    let mut pages: Vec<SyncPage> = Vec::new();
    loop {
        let cursor = pages
            .last()
            .map(|page| page.cursor.clone())
            .or_else(|| cursor.clone());
        let page = calendars.read(STREAM, cursor).await.expect("a page");
        let has_more = page.has_more;
        pages.push(page);
        if !has_more {
            return pages;
        }
    }
}

#[tokio::test]
async fn token_is_requested_before_past_events() {
    let calendars = Calendars::start().await;
    for body in [
        json!({ "nextPageToken": "t2" }),
        json!({ "nextSyncToken": "changes-1" }),
        json!({ "items": rows("edited"), "nextPageToken": "p2" }),
        json!({ "items": [], "nextSyncToken": "of another list" }),
        json!({ "items": rows("cancelled"), "nextPageToken": "c2" }),
        json!({ "items": [], "nextSyncToken": "changes-2" }),
    ] {
        calendars.answer(200, body).await;
    }
    let first = run(&calendars, None).await;
    assert_eq!(first.len(), 4);
    assert!(first[..2].iter().all(|page| page.signals.is_empty()));
    assert!(!first[2].signals.is_empty());
    let end = first[3].cursor.clone();
    assert_eq!(end["sync"], "changes-1");
    let second = run(&calendars, Some(end)).await;
    assert_eq!(second.len(), 2);
    assert_eq!(
        second[1].cursor["sync"], "changes-2",
        "the last page has it"
    );

    let requests = calendars.requests().await;
    let queries: Vec<&Query> = requests.iter().map(|(_, query)| query).collect();
    let seen = |name: &str| -> Vec<Option<&str>> {
        queries.iter().map(|query| value(query, name)).collect()
    };
    let fields = Some("nextPageToken,nextSyncToken");
    assert_eq!(seen("fields"), [fields, fields, None, None, None, None]);
    assert_eq!(
        seen("pageToken"),
        [None, Some("t2"), None, Some("p2"), None, Some("c2")]
    );
    let floor = Some("2026-11-01T00:00:00.000Z");
    assert_eq!(seen("updatedMin"), [None, None, floor, floor, None, None]);
    let token = Some("changes-1");
    assert_eq!(seen("syncToken"), [None, None, None, None, token, token]);
    assert!(
        requests
            .iter()
            .all(|(path, _)| path == "/calendar/v3/calendars/ada@example.com/events")
    );
}

#[tokio::test]
async fn parameters_stay_those_of_token() {
    let calendars = Calendars::start().await;
    for body in [
        json!({ "nextSyncToken": "changes-1" }),
        json!({ "items": [] }),
        json!({ "items": [], "nextSyncToken": "changes-2" }),
    ] {
        calendars.answer(200, body).await;
    }
    let end = run(&calendars, None).await.pop().expect("a page").cursor;
    run(&calendars, Some(end)).await;
    let requests = calendars.requests().await;
    let kept = |query: &Query| {
        let mut query = query.clone();
        for free in ["fields", "syncToken", "updatedMin"] {
            query.remove(free);
        }
        query
    };
    let (first, last) = (&requests[0].1, &requests[2].1);
    assert_eq!(kept(first), kept(last));
    assert_eq!(value(last, "showDeleted"), Some("true"));
    assert_eq!(value(last, "singleEvents"), Some("false"));
    assert!(FORBIDDEN.iter().all(|name| !last.contains_key(*name)));
}

#[tokio::test]
async fn page_size_is_kept_with_token() {
    let calendars = Calendars::start().await;
    calendars
        .answer(200, json!({ "items": [], "nextSyncToken": "b" }))
        .await;
    let mut cursor = changes_since("a");
    cursor["size"] = json!(70);
    let page = calendars.read(STREAM, Some(cursor)).await.expect("a page");
    assert_eq!(
        value(&calendars.last_query().await, "maxResults"),
        Some("70")
    );
    assert_eq!(page.cursor["size"], 70);

    // After failures, a smaller page is worth a full read.
    calendars
        .answer(200, json!({ "items": [], "nextSyncToken": "c" }))
        .await;
    let mut smaller = request(STREAM, Some(page.cursor));
    smaller.failures = 2;
    calendars.connector.sync(smaller).await.expect("a page");
    assert_eq!(
        value(&calendars.last_query().await, "maxResults"),
        Some("35")
    );
}

#[tokio::test]
async fn gone_at_any_page_restarts_stream() {
    let calendars = Calendars::start().await;
    let mut second_page = changes_since("a");
    second_page["walk"] = json!({ "list": "changes", "page": "p2" });
    let mut past = changes_since("a");
    past["walk"] = json!({ "list": "past", "page": "p2" });
    for cursor in [changes_since("a"), second_page, past] {
        for body in [
            error(410, "fullSyncRequired"),
            error(410, "deleted"),
            json!({}),
        ] {
            calendars.answer(410, body).await;
            let result = calendars.read(STREAM, Some(cursor.clone())).await;
            assert_eq!(result.expect_err("gone").code(), "cursor_expired");
        }
    }
}

#[tokio::test]
async fn restart_after_gone_reports_cancellations() {
    let calendars = Calendars::start().await;
    calendars.answer(410, error(410, "fullSyncRequired")).await;
    let gone = calendars.read(STREAM, Some(changes_since("a"))).await;
    assert_eq!(gone.expect_err("gone").code(), "cursor_expired");
    calendars.answer(200, json!({ "nextSyncToken": "b" })).await;
    calendars
        .answer(200, json!({ "items": rows("cancelled") }))
        .await;
    let pages = run(&calendars, None).await;
    let cancelled = "google_calendar:ada@example.com:event:0a1b2c3d4e5f6g7h:cancelled";
    assert!(dedupe_keys(&pages[1]).contains(&cancelled));
    let query = calendars.last_query().await;
    assert_eq!(value(&query, "showDeleted"), Some("true"));
}

#[tokio::test]
async fn resync_keeps_floor() {
    let calendars = Calendars::start().await;
    calendars.answer(200, json!({ "nextSyncToken": "b" })).await;
    let mut restart = request(STREAM, None);
    restart.resync_from = Some(at("2026-11-20T00:00:00Z"));
    let page = calendars.connector.sync(restart).await.expect("a page");
    calendars
        .answer(200, json!({ "items": rows("edited") }))
        .await;
    let pages = run(&calendars, Some(page.cursor)).await;
    let query = calendars.last_query().await;
    let updated_min = value(&query, "updatedMin");
    assert_eq!(updated_min, Some("2026-11-20T00:00:00.000Z"));
    let floor = at("2026-11-01T00:00:00Z");
    assert_eq!(pages[0].cursor["floor"], floor.timestamp_millis());
    let first_read = {
        let calendars = Calendars::start().await;
        calendars.answer(200, json!({ "nextSyncToken": "b" })).await;
        calendars
            .answer(200, json!({ "items": rows("edited") }))
            .await;
        run(&calendars, None).await.pop().expect("a page")
    };
    assert!(!first_read.signals.is_empty());
    assert_eq!(dedupe_keys(&pages[0]), dedupe_keys(&first_read));
}

#[tokio::test]
async fn unknown_token_restarts_stream() {
    let calendars = Calendars::start().await;
    let mut past = changes_since("a");
    past["walk"] = json!({ "list": "past", "page": "p2" });
    for (cursor, reason, code) in [
        (Some(changes_since("a")), "invalid", "cursor_expired"),
        (Some(past), "invalid", "cursor_expired"),
        (Some(changes_since("a")), "badRequest", "permanent"),
        (None, "invalid", "permanent"),
    ] {
        calendars.answer(400, error(400, reason)).await;
        let result = calendars.read(STREAM, cursor).await;
        assert_eq!(result.expect_err("rejected").code(), code, "{reason}");
    }
}

#[tokio::test]
async fn old_floor_without_reason_reads_whole_calendar() {
    let calendars = Calendars::start().await;
    let mut past = changes_since("a");
    past["walk"] = json!({ "list": "past" });
    calendars.answer(410, json!({})).await;
    let page = calendars.read(STREAM, Some(past)).await.expect("a page");
    assert!(page.has_more);
    assert_eq!(page.cursor["walk"]["list"], "everything");
    assert_eq!(page.cursor["sync"], "a");
}

#[tokio::test]
async fn old_floor_reads_whole_calendar() {
    let calendars = Calendars::start().await;
    calendars
        .answer(200, json!({ "nextSyncToken": "changes-1" }))
        .await;
    calendars
        .answer(410, error(410, "updatedMinTooLongAgo"))
        .await;
    calendars
        .answer(
            200,
            json!({ "items": rows("edited"), "nextPageToken": "p2" }),
        )
        .await;
    calendars
        .answer(
            200,
            json!({ "items": rows("created"), "nextSyncToken": "other" }),
        )
        .await;
    let pages = run(&calendars, None).await;
    assert_eq!(pages.len(), 4);
    assert_eq!(pages[3].cursor["sync"], "changes-1");
    let query = calendars.last_query().await;
    assert_eq!(value(&query, "updatedMin"), None);
    assert_eq!(value(&query, "pageToken"), Some("p2"));
    let floor = at("2026-11-01T00:00:00Z");
    let signals = pages.iter().flat_map(|page| &page.signals);
    assert!(signals.clone().count() > 5);
    assert!(signals.into_iter().all(|signal| signal.timestamp >= floor));
}

#[tokio::test]
async fn reconciliation_reads_past_without_token() {
    let calendars = Calendars::start().await;
    calendars
        .answer(200, json!({ "items": rows("edited") }))
        .await;
    let mut pass = request(STREAM, None);
    pass.reconcile_from = Some(at("2026-11-16T00:00:00Z"));
    let page = calendars.connector.sync(pass).await.expect("a page");
    assert!(!page.has_more);
    let query = calendars.last_query().await;
    assert_eq!(
        value(&query, "updatedMin"),
        Some("2026-11-16T00:00:00.000Z")
    );
    assert_eq!(value(&query, "syncToken"), None);
    assert!(
        page.signals
            .iter()
            .all(|signal| signal.timestamp >= at("2026-11-16T00:00:00Z"))
    );
}

#[tokio::test]
async fn incomplete_responses_move_no_cursor() {
    let calendars = Calendars::start().await;
    for (cursor, body) in [
        (Some(changes_since("a")), json!({ "items": [] })),
        (Some(changes_since("a")), json!({ "nextSyncToken": "b" })),
        (None, json!({})),
        (None, json!([])),
    ] {
        calendars.answer(200, body.clone()).await;
        let result = calendars.read(STREAM, cursor).await;
        assert_eq!(
            result.expect_err("incomplete").code(),
            "permanent",
            "{body}"
        );
    }
}

#[tokio::test]
async fn cursor_of_extreme_numbers_does_not_panic() {
    let calendars = Calendars::start().await;
    for floor in [i64::MIN, i64::MAX] {
        calendars
            .answer(200, json!({ "items": rows("created") }))
            .await;
        let cursor = json!({ "floor": floor, "size": u32::MAX, "walk": { "list": "past" } });
        calendars.read(STREAM, Some(cursor)).await.expect("a page");
    }
    let foreign = calendars
        .read(STREAM, Some(json!({ "of": "another version" })))
        .await;
    assert_eq!(foreign.expect_err("unreadable").code(), "cursor_expired");
}

#[tokio::test]
async fn unknown_stream_is_permanent() {
    let calendars = Calendars::start().await;
    let result = calendars.read("tasks:1", None).await;
    assert_eq!(result.expect_err("unknown").code(), "permanent");
}
