//! Polling against a mock server: tokens, lists, denials, and channels.

use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::{path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{access, drive, now, request, settings};
use crate::connectors::google_drive::{AppSettings, GoogleDrive};
use crate::connectors::testing::{authorize_request, build};
use crate::connectors::{
    Connector, ConnectorError, Renewal, SubscribeRequest, SyncPage, SyncRequest,
};
use crate::model::{Subscription, SubscriptionSpec};

const CHANGES: &str = "/drive/v3/changes";
const FILES: &str = "/drive/v3/files";
const DRIVES: &str = "/drive/v3/drives";
const START: &str = "/drive/v3/changes/startPageToken";

async fn mock(server: &MockServer, at: &str, status: u16, response: Value) {
    Mock::given(path(at))
        .respond_with(ResponseTemplate::new(status).set_body_json(response))
        .mount(server)
        .await;
}

/// Mounts a response for the page with this token, or the first page.
async fn mock_page(server: &MockServer, at: &str, token: Option<&str>, response: Value) {
    let template = ResponseTemplate::new(200).set_body_json(response);
    let mock = Mock::given(path(at));
    let mock = match token {
        Some(token) => mock.and(query_param("pageToken", token)),
        None => mock.and(query_param_is_missing("pageToken")),
    };
    mock.respond_with(template).mount(server).await;
}

fn file(id: &str, modified: &str, shared: Option<&str>) -> Value {
    json!({ "id": id, "mimeType": "text/plain", "createdTime": modified, "modifiedTime": modified,
            "sharedWithMeTime": shared })
}

fn change(id: &str) -> Value {
    let time = "2026-11-20T12:00:00.000Z";
    json!({ "changeType": "file", "fileId": id, "time": time, "removed": false,
            "file": file(id, time, None) })
}

fn error(status: u16, reason: &str) -> Value {
    json!({ "error": { "code": status, "errors": [{ "reason": reason }] } })
}

/// Reads pages from a cursor to the end of the run.
async fn read_all(drive: &GoogleDrive, mut next: SyncRequest) -> Vec<SyncPage> {
    let mut pages = Vec::new();
    loop {
        let page = drive.sync(next.clone()).await.expect("a page");
        next.cursor = Some(page.cursor.clone());
        let has_more = page.has_more;
        pages.push(page);
        if !has_more {
            return pages;
        }
    }
}

fn keys(pages: &[SyncPage]) -> Vec<&str> {
    let signals = pages.iter().flat_map(|page| &page.signals);
    signals.map(|signal| signal.dedupe_key.as_str()).collect()
}

/// Paths of all requests, with their page tokens.
async fn requests(server: &MockServer) -> Vec<(String, Option<String>)> {
    let received = server.received_requests().await.expect("requests");
    let token = |url: &Url| {
        let mut query = url.query_pairs();
        let found = query.find(|(name, _)| name == "pageToken");
        found.map(|(_, token)| token.into_owned())
    };
    let received = received.iter();
    received
        .map(|request| (request.url.path().to_owned(), token(&request.url)))
        .collect()
}

#[tokio::test]
async fn backfill_begins_with_token_and_ends_with_log() {
    let (server, drive, limits) = drive().await;
    mock(&server, START, 200, json!({ "startPageToken": "7" })).await;
    let recent = "2026-11-20T10:00:00.000Z";
    for (condition, first) in [("modifiedTime", "recent"), ("sharedWithMe", "theirs")] {
        let shared = (first == "theirs").then_some(recent);
        let page = json!({ "files": [file(first, recent, shared)] });
        Mock::given(path(FILES))
            .and(move |request: &wiremock::Request| {
                let mut query = request.url.query_pairs();
                query.any(|(name, value)| name == "q" && value.starts_with(condition))
            })
            .respond_with(ResponseTemplate::new(200).set_body_json(page))
            .mount(&server)
            .await;
    }
    let next = json!({ "changes": [change("a")], "nextPageToken": "8" });
    mock_page(&server, CHANGES, Some("7"), next).await;
    let last = json!({ "changes": [change("b")], "newStartPageToken": "9" });
    mock_page(&server, CHANGES, Some("8"), last).await;
    let pages = read_all(&drive, request("files", None)).await;
    let created = |id: &str| format!("google_drive:file:{id}:created");
    let shared = "google_drive:file:theirs:shared:07001:2026-11-20T10:00:00.000Z".to_owned();
    assert_eq!(
        keys(&pages),
        [
            created("recent"),
            created("theirs"),
            shared,
            created("a"),
            created("b")
        ]
    );
    let paths: Vec<String> = requests(&server)
        .await
        .into_iter()
        .map(|one| one.0)
        .collect();
    assert_eq!(paths, [START, FILES, FILES, CHANGES, CHANGES]);
    assert_eq!(pages[2].cursor["token"], "8", "kept at every page");
    assert_eq!(pages[3].cursor["token"], "9");
    let spent: u32 = limits.seen().iter().map(|(_, _, seen)| seen.spent).sum();
    assert_eq!(spent, 5 + 4 * 100, "units of Google's quota");
}

#[tokio::test]
async fn shared_list_ends_at_floor() {
    let (server, drive, _) = drive().await;
    let rows = json!({ "nextPageToken": "more", "files": [
        file("new", "2020-01-01T00:00:00Z", Some("2026-11-20T10:00:00.000Z")),
        file("old", "2020-01-01T00:00:00Z", Some("2026-10-20T10:00:00.000Z")),
    ] });
    mock_page(&server, FILES, None, rows).await;
    mock(
        &server,
        CHANGES,
        200,
        json!({ "changes": [], "newStartPageToken": "8" }),
    )
    .await;
    let list = json!({ "kind": "shared_with_me", "page": null });
    let cursor = json!({ "floor": super::floor(), "token": "7", "list": list });
    let pages = read_all(&drive, request("files", Some(cursor))).await;
    let shared = "google_drive:file:new:shared:07001:2026-11-20T10:00:00.000Z";
    assert_eq!(keys(&pages), [shared]);
    assert_eq!(pages.len(), 2);
}

#[tokio::test]
async fn floor_of_cursor_outlives_later_requests() {
    let (server, drive, _) = drive().await;
    let row = change("a");
    mock(
        &server,
        CHANGES,
        200,
        json!({ "changes": [row], "newStartPageToken": "8" }),
    )
    .await;
    let cursor = json!({ "floor": "2026-11-21T00:00:00Z", "token": "7" });
    let pages = read_all(&drive, request("files", Some(cursor.clone()))).await;
    assert_eq!(keys(&pages), [""; 0], "before the stream's floor");
    assert_eq!(pages[0].cursor["floor"], cursor["floor"]);
}

#[tokio::test]
async fn reconciliation_reads_lists_only() {
    let (server, drive, _) = drive().await;
    mock(&server, FILES, 200, json!({ "files": [] })).await;
    let reconciliation = SyncRequest {
        reconcile_from: Some(now()),
        ..request("drive:0ADrive", None)
    };
    let pages = read_all(&drive, reconciliation).await;
    assert_eq!(pages.len(), 1);
    let paths = requests(&server).await;
    assert_eq!(paths, [(FILES.to_owned(), None)]);
    let received = server.received_requests().await.expect("requests");
    let query: Vec<_> = received[0].url.query_pairs().into_owned().collect();
    for (name, value) in [("driveId", "0ADrive"), ("corpora", "drive")] {
        assert!(
            query.contains(&(name.to_owned(), value.to_owned())),
            "{name}"
        );
    }
}

#[tokio::test]
async fn expired_token_has_three_forms() {
    let log = json!({ "floor": now(), "token": "7" });
    let list = json!({ "kind": "recent", "page": "p" });
    let list = json!({ "floor": now(), "token": "7", "list": list });
    for (status, reason, code) in [
        (400, "invalid", "cursor_expired"),
        (404, "notFound", "cursor_expired"),
        (410, "gone", "cursor_expired"),
        (400, "badRequest", "permanent"),
        (403, "rateLimitExceeded", "rate_limited"),
        (404, "rateLimitExceeded", "rate_limited"),
        (500, "backendError", "transient"),
    ] {
        for cursor in [&log, &list] {
            let (server, drive, _) = drive().await;
            for at in [CHANGES, FILES] {
                mock(&server, at, status, error(status, reason)).await;
            }
            let result = drive.sync(request("files", Some(cursor.clone()))).await;
            assert_eq!(
                result.expect_err("an error").code(),
                code,
                "{status} {reason}"
            );
        }
    }
}

#[tokio::test]
async fn left_drive_is_denied_and_not_expired() {
    let (server, drive, _) = drive().await;
    mock(&server, START, 404, error(404, "notFound")).await;
    let result = drive.sync(request("drive:0ALeft", None)).await;
    assert_eq!(result.expect_err("an error").code(), "permission");
}

#[tokio::test]
async fn change_of_drive_reads_the_list_again() {
    for (rows, expected) in [
        (json!([change("a")]), false),
        (
            json!([change("a"), { "changeType": "drive", "driveId": "D1" }]),
            true,
        ),
    ] {
        let (server, drive, _) = drive().await;
        let page = json!({ "changes": rows, "newStartPageToken": "8" });
        mock(&server, CHANGES, 200, page).await;
        let cursor = json!({ "floor": super::floor(), "token": "7" });
        let pages = read_all(&drive, request("files", Some(cursor))).await;
        assert_eq!(keys(&pages), ["google_drive:file:a:created"]);
        assert_eq!(pages[0].has_list_changed, expected);
        assert!(pages[0].unreadable_rows.is_empty());
    }
}

#[tokio::test]
async fn page_without_token_is_an_error() {
    let (server, drive, _) = drive().await;
    mock(&server, CHANGES, 200, json!({ "changes": [] })).await;
    let cursor = json!({ "floor": now(), "token": "7" });
    let result = drive.sync(request("files", Some(cursor))).await;
    assert_eq!(result.expect_err("an error").code(), "permanent");
}

#[tokio::test]
async fn unreadable_row_costs_that_row_only() {
    let (server, drive, _) = drive().await;
    let rows = json!([{ "changeType": "file", "fileId": "x", "time": "2026-11-20T12:00:00Z" },
                      change("a"), 7]);
    mock(
        &server,
        CHANGES,
        200,
        json!({ "changes": rows, "newStartPageToken": "8" }),
    )
    .await;
    let cursor = json!({ "floor": super::floor(), "token": "7" });
    let pages = read_all(&drive, request("files", Some(cursor))).await;
    assert_eq!(keys(&pages), ["google_drive:file:a:created"]);
    assert_eq!(pages[0].unreadable_rows.len(), 2);
}

fn streams(pages: &[SyncPage]) -> Vec<&str> {
    let streams = pages.iter().flat_map(|page| &page.streams);
    streams.map(|stream| stream.key.as_str()).collect()
}

fn resources(pages: &[SyncPage]) -> Vec<&str> {
    let specs = pages.iter().flat_map(|page| &page.subscriptions);
    specs.map(|spec| spec.resource.as_str()).collect()
}

#[tokio::test]
async fn root_lists_a_stream_and_channel_per_drive() {
    let (server, drive, _) = drive().await;
    let first = json!({ "drives": [{ "id": "D1", "name": "Sales" }], "nextPageToken": "p" });
    mock_page(&server, DRIVES, None, first).await;
    let second = json!({ "drives": [{ "id": "D2", "name": "Ops" }] });
    mock_page(&server, DRIVES, Some("p"), second).await;
    let pages = read_all(&drive, request("drives", None)).await;
    let all = ["files", "drive:D1", "drive:D2"];
    assert_eq!(streams(&pages), all);
    assert_eq!(resources(&pages), all);
    assert!(!pages[1].is_list_partial);
    let names: Vec<_> = pages
        .iter()
        .flat_map(|page| &page.directory_updates)
        .collect();
    assert_eq!(names[1].name.as_deref(), Some("Ops"));

    server.reset().await;
    let unreadable = json!({ "drives": [{ "id": "D1" }, { "id": {} }] });
    mock_page(&server, DRIVES, None, unreadable).await;
    let next = request("drives", Some(pages[1].cursor.clone()));
    let pages = read_all(&drive, next).await;
    assert!(pages[0].is_list_partial, "no stream is retired");
}

#[tokio::test]
async fn metadata_scope_asks_for_no_shared_drive() {
    let server = MockServer::start().await;
    let mut settings = settings(&server.uri());
    settings.push(("GOOGLE_DRIVE_SCOPE", "metadata".to_owned()));
    let (drive, _) = build::<AppSettings, _>(&settings, now(), GoogleDrive::new);
    let asked = drive.authorize(&authorize_request(None)).expect("a URL");
    assert!(!asked.as_str().contains("drive.readonly"), "{asked}");
    assert!(
        asked.as_str().contains("drive.metadata.readonly"),
        "{asked}"
    );
    let pages = read_all(&drive, request("drives", None)).await;
    assert_eq!(streams(&pages), ["files"]);
    assert_eq!(resources(&pages), ["files"]);
    assert!(pages.iter().all(|page| !page.is_list_partial));
    let calls = server.received_requests().await.expect("requests");
    assert!(calls.is_empty(), "no list is read");
    assert!(drive.descriptor().stream_scopes.is_empty());
}

#[tokio::test]
async fn withheld_scope_retires_no_drive() {
    let (server, drive, _) = drive().await;
    mock(&server, DRIVES, 403, error(403, "insufficientPermissions")).await;
    // A full sync begins without a cursor.
    let pages = read_all(&drive, request("drives", None)).await;
    assert_eq!(streams(&pages), ["files", "shared_drives"]);
    assert_eq!(resources(&pages), ["files"]);
    assert!(pages[0].is_list_partial, "known drives stay");
    let denied = drive.sync(request("shared_drives", None)).await;
    match denied.expect_err("a denial") {
        ConnectorError::Denied { source, .. } => {
            assert!(source.to_string().contains("drive.readonly"), "{source}");
        }
        other => panic!("{other:?}"),
    }
    let descriptor = drive.descriptor();
    let granted = ["https://www.googleapis.com/auth/drive.metadata.readonly".to_owned()];
    assert!(
        descriptor
            .verify_stream_scope("shared_drives", &granted)
            .is_err()
    );
    assert!(descriptor.verify_stream_scope("drive:D1", &granted).is_ok());

    server.reset().await;
    mock(&server, DRIVES, 403, error(403, "domainPolicy")).await;
    let result = drive.sync(request("drives", None)).await;
    assert_eq!(result.expect_err("an error").code(), "permission");
}

#[tokio::test]
async fn expired_page_of_drives_begins_the_list_again() {
    let (server, drive, _) = drive().await;
    mock(&server, DRIVES, 400, error(400, "invalid")).await;
    for (cursor, code) in [
        (json!({ "page": "p" }), "cursor_expired"),
        (json!({}), "permanent"),
    ] {
        let result = drive.sync(request("drives", Some(cursor))).await;
        assert_eq!(result.expect_err("an error").code(), code);
    }
}

#[tokio::test]
async fn channel_watches_the_log_of_its_stream() {
    let (server, drive, _) = drive().await;
    mock(&server, START, 200, json!({ "startPageToken": "7" })).await;
    mock(
        &server,
        "/drive/v3/changes/watch",
        200,
        json!({ "resourceId": "r-1" }),
    )
    .await;
    mock(&server, "/drive/v3/channels/stop", 204, json!(null)).await;
    let request = SubscribeRequest {
        spec: SubscriptionSpec {
            resource: "drive:D1".to_owned(),
            target: Value::Null,
        },
        planned_id: Some("channel-1".to_owned()),
        webhook_url: Url::parse("https://hooks.example/webhooks/google_drive").expect("a URL"),
    };
    let held = drive
        .subscribe(&access(), &request)
        .await
        .expect("a channel");
    assert_eq!(held.state, json!({ "resource_id": "r-1" }));
    let received = server.received_requests().await.expect("requests");
    for request in &received[..2] {
        let query: Vec<_> = request.url.query_pairs().into_owned().collect();
        assert!(query.contains(&("driveId".to_owned(), "D1".to_owned())));
    }
    let renewal = drive
        .renew(&access(), &held, &request)
        .await
        .expect("a renewal");
    assert!(matches!(renewal, Renewal::Replaced(_)), "{renewal:?}");
    let replaced = Subscription {
        resource: Subscription::replaced(&held.resource, &held.external_id),
        ..held
    };
    drive
        .unsubscribe(&access(), &replaced)
        .await
        .expect("ended");
}
