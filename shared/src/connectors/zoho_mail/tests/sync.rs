//! Polling: folders as streams, first read, and what is read again.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::folder::{Folder, ages, id, read, read_all, request, row};
use super::{MAILBOX, now, zoho_mail};
use crate::connectors::{Connector, ConnectorError, SyncRequest};
use crate::model::SignalKind;

async fn folders(server: &MockServer, rows: Value) {
    let body = json!({ "status": { "code": 200, "description": "success" }, "data": rows });
    Mock::given(path(format!("/eu/api/accounts/{MAILBOX}/folders")))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .mount(server)
        .await;
}

#[tokio::test]
async fn root_lists_folders_by_type() {
    let (server, mail) = zoho_mail().await;
    let folder = |id: Value, name: &str, kind: &str| json!({ "folderId": id, "folderName": name, "folderType": kind, "path": "/" });
    let rows = json!([
        folder(json!("11"), "Entwürfe", "Drafts"),
        folder(json!("12"), "Vorlagen", "Templates"),
        folder(json!("13"), "Gesendet", "Sent"),
        folder(json!("14"), "Newsletter", "Newsletter"),
        folder(json!(3_881_227_000_000_013_001_u64), "Posteingang", "Inbox"),
        folder(json!("16"), "Spam", "SPAM"),
        folder(json!("17"), "Papierkorb", "Trash"),
        folder(json!("18"), "Postausgang", "Outbox"),
        folder(json!("19"), "Rechnungen", "inbox"),
    ]);
    folders(&server, rows).await;
    let page = mail.sync(request("folders", None)).await.expect("a page");
    let streams: Vec<(&str, bool)> = page
        .streams
        .iter()
        .map(|stream| (stream.key.as_str(), stream.target["is_sent"] == true))
        .collect();
    assert_eq!(
        streams,
        [
            ("folder:3881227000000013001", false),
            ("folder:19", false),
            ("folder:14", false),
            ("folder:13", true),
        ]
    );
    assert!(!page.has_more && !page.is_list_partial);
}

#[tokio::test]
async fn folder_without_type_makes_the_list_partial() {
    let (server, mail) = zoho_mail().await;
    let rows = json!([
        { "folderId": "11", "folderType": "Inbox" },
        { "folderId": "12", "folderName": "Drafts" },
        { "folderType": "Inbox" },
        { "folderId": "Inbox", "folderType": "Inbox" },
    ]);
    folders(&server, rows).await;
    let page = mail.sync(request("folders", None)).await.expect("a page");
    assert_eq!(page.streams.len(), 1);
    assert_eq!(page.unreadable_rows.len(), 3);
    assert!(page.is_list_partial);
}

#[tokio::test]
async fn folder_type_decides_what_was_sent() {
    let (server, mail) = zoho_mail().await;
    Folder::of([60]).serve(&server).await;
    for (is_sent, kind) in [
        (json!(true), SignalKind::EmailSent),
        (json!(false), SignalKind::EmailReceived),
        (Value::Null, SignalKind::EmailReceived),
    ] {
        let mut request = request("folder:7002", None);
        request.stream.target = json!({ "is_sent": is_sent });
        let page = mail.sync(request).await.expect("a page");
        assert_eq!(page.signals[0].kind, kind);
    }
}

#[tokio::test]
async fn first_read_ends_at_the_floor() {
    let (server, mail) = zoho_mail().await;
    let day = 24 * 3_600;
    let folder = Folder {
        cap: Some(3),
        ..Folder::of((0..60).map(|age| age * day))
    };
    folder.serve(&server).await;
    let (found, cursor) = read_all(&mail, None, |_| ()).await;
    assert_eq!(found, (0..=30).map(|age| age * day).collect());
    let mark = &cursor["mark"];
    assert_eq!(mark["id"], id(0));
    assert_eq!(cursor["walk"], Value::Null);
}

#[tokio::test]
async fn next_read_ends_at_the_known_mail() {
    let (server, mail) = zoho_mail().await;
    let folder = Folder::of((1..=500).map(|age| age * 60));
    folder.serve(&server).await;
    let (_, cursor) = read_all(&mail, None, |_| ()).await;
    folder.change(|rows| rows.insert(0, row(30)));
    let before = server.received_requests().await.expect("requests").len();
    let (found, cursor) = read_all(&mail, Some(cursor), |_| ()).await;
    // Ten minutes before the newest known mail.
    let expected = (1..=11).map(|age| age * 60).chain([30]);
    assert_eq!(found, expected.collect());
    let after = server.received_requests().await.expect("requests").len();
    assert_eq!(after - before, 1);
    assert_eq!(cursor["mark"]["id"], id(30));
}

#[tokio::test]
async fn mail_that_is_listed_late_is_found() {
    let (server, mail) = zoho_mail().await;
    let folder = Folder::of([60, 900]);
    folder.serve(&server).await;
    let (_, cursor) = read_all(&mail, None, |_| ()).await;
    folder.change(|rows| rows.insert(1, row(600)));
    let (found, _) = read_all(&mail, Some(cursor), |_| ()).await;
    assert!(found.contains(&600), "{found:?}");
}

#[tokio::test]
async fn time_in_the_future_hides_no_later_mail() {
    let (server, mail) = zoho_mail().await;
    let folder = Folder::of([-3_600, 60]);
    folder.serve(&server).await;
    let (_, cursor) = read_all(&mail, None, |_| ()).await;
    let mark: DateTime<Utc> = cursor["mark"]["received_at"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a time");
    assert_eq!(mark, now());
    folder.change(|rows| rows.insert(1, row(30)));
    let (found, _) = read_all(&mail, Some(cursor), |_| ()).await;
    assert!(found.contains(&30), "{found:?}");
}

#[tokio::test]
async fn future_time_hides_no_mail_of_long_read() {
    let (server, mail) = zoho_mail().await;
    let folder = Folder {
        cap: Some(2),
        ..Folder::of([-3_600, 60, 120, 180])
    };
    folder.serve(&server).await;
    let first = read(&mail, None).await;
    let second = read(&mail, Some(first.cursor)).await;
    assert!(second.has_more);
    // Above the next page. The read ends in a run two hours later.
    folder.change(|rows| rows.insert(1, row(-60)));
    let mut cursor = second.cursor;
    loop {
        let later = SyncRequest {
            upper_bound: now() + TimeDelta::hours(2),
            ..request("folder:7002", Some(cursor))
        };
        let page = mail.sync(later).await.expect("a page");
        assert!(!ages(&page).contains(&-60), "not in this read");
        cursor = page.cursor;
        if !page.has_more {
            break;
        }
    }
    let (found, _) = read_all(&mail, Some(cursor), |_| ()).await;
    assert!(found.contains(&-60), "{found:?}");
}

#[tokio::test]
async fn empty_folder_has_no_mark() {
    let (server, mail) = zoho_mail().await;
    let folder = Folder::default();
    folder.serve(&server).await;
    let (found, cursor) = read_all(&mail, None, |_| ()).await;
    assert!(found.is_empty());
    assert_eq!(cursor["mark"], Value::Null);
    folder.change(|rows| rows.push(row(1)));
    let (found, _) = read_all(&mail, Some(cursor), |_| ()).await;
    assert_eq!(found, [1].into());
}

#[tokio::test]
async fn reconciliation_reads_its_window_again() {
    let (server, mail) = zoho_mail().await;
    Folder::of([60, 3_600, 90_000]).serve(&server).await;
    let request = SyncRequest {
        reconcile_from: Some(now() - TimeDelta::days(1)),
        ..request("folder:7002", None)
    };
    let page = mail.sync(request).await.expect("a page");
    assert_eq!(ages(&page), [60, 3_600].into());
}

#[tokio::test]
async fn unreadable_rows_cost_only_themselves() {
    let (server, mail) = zoho_mail().await;
    let folder = Folder {
        cap: Some(3),
        ..Folder::of([60, 120, 180])
    };
    folder.change(|rows| {
        rows.insert(1, json!({ "messageId": "12", "summary": "Dear Ada" }));
        rows.insert(2, json!("a text"));
        rows.push(json!({ "receivedTime": "1700000000000", "subject": "no id" }));
    });
    folder.serve(&server).await;
    let (mut found, mut unreadable, mut cursor) = (Vec::new(), Vec::new(), None);
    loop {
        let page = read(&mail, cursor.take()).await;
        found.extend(ages(&page));
        unreadable.extend(page.unreadable_rows);
        if !page.has_more {
            break;
        }
        cursor = Some(page.cursor);
    }
    found.dedup();
    assert_eq!(found, [60, 120, 180]);
    assert!(unreadable.iter().any(|row| row.row.contains("no id")));
    assert!(!unreadable.iter().any(|row| row.row.contains("Dear")));
}

#[tokio::test]
async fn content_of_mail_is_not_kept() {
    let (server, mail) = zoho_mail().await;
    Folder::of([60]).serve(&server).await;
    let page = read(&mail, None).await;
    let raw = page.signals[0].raw.get();
    assert!(!raw.contains("Dear") && raw.contains("Grace"), "{raw}");
}

#[tokio::test]
async fn cursor_of_another_form_restarts_the_stream() {
    let (_server, mail) = zoho_mail().await;
    let result = mail.sync(request("folder:7002", Some(json!([1])))).await;
    assert!(
        matches!(result, Err(ConnectorError::CursorExpired(_))),
        "{result:?}"
    );
}
