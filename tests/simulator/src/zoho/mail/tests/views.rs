//! Tests of folders, views and messages.

use std::collections::BTreeSet;

use super::*;

#[tokio::test]
async fn folders_have_types_and_local_names() {
    let fixture = fixture(|config| config.accounts = 2).await;
    let folders = fixture.get("/folders").await;
    let folders = folders.as_array().expect("folders");
    assert_eq!(folders.len(), 10);
    let types: BTreeSet<&str> = folders
        .iter()
        .map(|folder| folder["folderType"].as_str().expect("a type"))
        .collect();
    assert_eq!(types.len(), 10);
    fixture
        .act("folder.created", json!({ "folder": "Projects" }))
        .await;
    let id = fixture.folder("Projects").await;
    let own = fixture.get(&format!("/folders/{id}")).await;
    assert_eq!(own["folderType"], "Inbox");
    assert_eq!(own["path"], "/Projects");
    let mailboxes = fixture.control_get("zoho_mail/mailboxes").await;
    assert!(mailboxes.to_string().contains("Posteingang"), "of eu");
}

#[tokio::test]
async fn rows_are_strings_with_entities() {
    let fixture = fixture(|_| {}).await;
    let content = json!({
        "from": "paula@x.example", "from_name": "O'Neill \"P\" & Co", "subject": "<It's>",
        "to": [ADMIN], "text": "a > b",
    });
    let id = fixture.act_id("mail.received", content).await;
    let rows = fixture.view("Inbox", "includeto=true").await;
    let row = &rows[0];
    assert_eq!(row["messageId"], id.as_str());
    assert_eq!(row["subject"], "&lt;It&#39;s&gt;");
    assert_eq!(row["sender"], "O&#39;Neill &quot;P&quot; &amp; Co");
    assert_eq!(row["fromAddress"], "paula@x.example");
    assert_eq!(row["toAddress"], format!("&lt;{ADMIN}&gt;"));
    assert_eq!(row["ccAddress"], "Not Provided");
    assert!(row.get("threadId").is_none());
    let fields = row.as_object().expect("a row").iter();
    let others: Vec<_> = fields.filter(|(_, value)| !value.is_string()).collect();
    assert_eq!(others.len(), 1, "{others:?}");
    let plain = fixture.view("Inbox", "").await;
    assert!(plain[0].get("toAddress").is_none());
}

#[tokio::test]
async fn sent_date_is_off_by_mailbox_offset() {
    let fixture = fixture(|_| {}).await;
    fixture.act("mail.received", json!({})).await;
    let number = |row: &Value, name: &str| -> i64 {
        row[name].as_str().expect("a text").parse().expect("digits")
    };
    let row = &fixture.view("Inbox", "").await[0];
    let difference = number(row, "sentDateInGMT") - number(row, "receivedTime");
    assert!((difference - 7 * 3_600_000).abs() < 10_000, "{difference}");
    let id = row["messageId"].as_str().expect("an id");
    let time: i64 = id[..13].parse().expect("digits");
    assert!((time - number(row, "receivedTime")).abs() <= 6_000);
}

#[tokio::test]
async fn view_pages_from_one_and_shifts_with_arrivals() {
    let fixture = fixture(|_| {}).await;
    let mut sent = Vec::new();
    for number in 0..25 {
        let ago = json!({ "seconds_ago": 100 - number });
        sent.push(fixture.act_id("mail.received", ago).await);
    }
    sent.reverse();
    let first = ids(&fixture.view("Inbox", "").await);
    assert_eq!(first, sent[..10], "newest first");
    let second = ids(&fixture.view("Inbox", "start=11&limit=200").await);
    assert_eq!(second, sent[10..]);
    fixture.act("mail.received", json!({})).await;
    let shifted = ids(&fixture.view("Inbox", "start=11").await);
    assert_eq!(shifted[0], sent[9], "the last row of the former page");
    let ascending = ids(&fixture.view("Inbox", "sortorder=true&limit=1").await);
    assert_eq!(ascending, sent[24..]);
    let end = fixture.view("Inbox", "start=27").await;
    assert!(end.is_empty());
    let settings = json!({ "max_page_size": 3 });
    fixture.control("zoho_mail/settings", settings).await;
    let capped = ids(&fixture.view("Inbox", "start=2&limit=200").await);
    assert_eq!(capped, sent[..3]);
}

#[tokio::test]
async fn view_selects_by_status_and_thread() {
    let fixture = fixture(|_| {}).await;
    let question = fixture.act_id("mail.received", json!({})).await;
    let answer = json!({ "answers": question, "to": ["x@x.example"] });
    let answer = fixture.act_id("mail.sent", answer).await;
    let other = fixture.act_id("mail.received", json!({})).await;
    fixture.act("mail.read", json!({ "message": other })).await;
    let unread = ids(&fixture.view("Inbox", "status=unread").await);
    assert_eq!(unread, [question.as_str()]);
    let with_sent = fixture.view("Inbox", "includesent=true").await;
    assert_eq!(with_sent.len(), 3);
    let row = &fixture.view("Sent", "").await[0];
    assert_eq!(row["messageId"], answer.as_str());
    assert_eq!(row["threadCount"], "2");
    let thread = row["threadId"].as_str().expect("a thread");
    let rows = fixture
        .get(&format!("/messages/view?threadId={thread}"))
        .await;
    let found: BTreeSet<String> = ids(rows.as_array().expect("rows")).into_iter().collect();
    assert_eq!(found, BTreeSet::from([question, answer]));
}

#[tokio::test]
async fn message_is_found_in_its_folder_only() {
    let fixture = fixture(|_| {}).await;
    let id = fixture
        .act_id(
            "mail.received",
            json!({ "text": "a < b", "cc": ["c@x.example"] }),
        )
        .await;
    let (inbox, trash) = (fixture.folder("Inbox").await, fixture.folder("Trash").await);
    let part = |folder: &str, part: &str| format!("/folders/{folder}/messages/{id}/{part}");
    let content = fixture.get(&part(&inbox, "content")).await;
    assert_eq!(content["content"], "<div>a &lt; b</div>");
    let details = fixture.get(&part(&inbox, "details")).await;
    assert_eq!(details["ccAddress"], "&lt;c@x.example&gt;");
    let header = fixture.get(&part(&inbox, "header")).await;
    assert_eq!(header["headerContent"]["Cc"][0], "<c@x.example>");
    let elsewhere = fixture.error(&part(&trash, "content")).await;
    assert_eq!(elsewhere.0, 404);
    fixture.act("mail.deleted", json!({ "message": id })).await;
    assert_eq!(fixture.error(&part(&inbox, "details")).await.0, 404);
}

#[tokio::test]
async fn deleted_folder_is_unknown_to_views() {
    let fixture = fixture(|_| {}).await;
    let content = json!({ "folder": "Projects" });
    let id = fixture.act_id("mail.received", content.clone()).await;
    let folder = fixture.folder("Projects").await;
    fixture.act("folder.deleted", content).await;
    let view = format!("/messages/view?folderId={folder}");
    assert_eq!(fixture.error(&view).await.0, 404);
    assert_eq!(ids(&fixture.view("Trash", "").await), [id]);
}

#[tokio::test]
async fn mailbox_of_100_000_messages_is_paged_quickly() {
    let fixture = fixture(|config| {
        config.history = 40;
        config.providers.zoho_mail.old_zoho_mails = 100_000;
        config.enforces_limits = false;
    })
    .await;
    let ledger = fixture.ledger();
    assert_eq!(ledger.len(), 40, "old mails are no facts");
    let kinds: BTreeSet<&str> = ledger.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    assert!(ledger.iter().all(|row| row.poll && !row.webhook));
    let page = fixture.view("Inbox", "start=60001&limit=200").await;
    assert_eq!(page.len(), 200);
    let next = fixture.view("Inbox", "start=60201&limit=200").await;
    assert!(ids(&next).iter().all(|id| !ids(&page).contains(id)));
}
