//! Tests of actions: messages, history and facts.

use super::*;
use crate::google::gmail::id::hex;
use crate::google::gmail::mailbox::ChangeKind;

/// Types of the changes after a history id, in order.
async fn changes(fixture: &Fixture, start: &str) -> Vec<String> {
    let page = fixture
        .get(&format!("history?startHistoryId={start}"))
        .await;
    let rows = page["history"].as_array().cloned().unwrap_or_default();
    let fields = rows.iter().flat_map(|row| {
        let row = row.as_object().expect("a record");
        row.keys().cloned().collect::<Vec<_>>()
    });
    fields
        .filter(|field| field != "id" && field != "messages")
        .collect()
}

async fn current(fixture: &Fixture) -> String {
    let profile = fixture.get("profile").await;
    profile["historyId"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn received_mail_is_a_fact_once() {
    let fixture = fixture(|_| {}).await;
    let start = current(&fixture).await;
    let result = fixture
        .act(
            "mail.received",
            json!({ "archived": true, "list": "a.example" }),
        )
        .await;
    assert_eq!(result["facts"][0]["kind"], "email_received");
    let id = result["object"]["id"].as_str().expect("an id");
    let row = fixture.row(id).expect("a row");
    assert!(row.poll && !row.webhook && !row.polled);
    assert_eq!(row.account, fixture.sub);
    assert_eq!(changes(&fixture, &start).await, ["messagesAdded"]);
    let message = fixture.get(&format!("messages/{id}?format=metadata")).await;
    assert!(fixture.row(id).expect("a row").polled);
    let labels = message["labelIds"].as_array().expect("labels");
    assert!(!labels.contains(&json!("INBOX")));
    let headers = message["payload"]["headers"].as_array().expect("headers");
    let list = headers.iter().find(|header| {
        let name = header["name"].as_str().expect("a name");
        name.eq_ignore_ascii_case("list-id")
    });
    assert_eq!(list.expect("a header")["value"], "<a.example>");
    let seconds = message["internalDate"].as_str().expect("a date");
    let seconds = seconds.strip_suffix("000").expect("whole seconds");
    let seconds: i64 = seconds.parse().expect("a number");
    assert_eq!(crate::clock::iso(seconds), row.time);
}

#[tokio::test]
async fn many_mails_share_their_second() {
    let fixture = fixture(|_| {}).await;
    let params = json!({ "count": 15, "date_offset_seconds": 46_800 });
    let result = fixture.act("mail.received", params).await;
    assert_eq!(result["facts"].as_array().map(Vec::len), Some(15));
    let ids = result["object"]["ids"].as_array().expect("ids").clone();
    let mut dates = Vec::new();
    for id in &ids {
        let id = id.as_str().expect("an id");
        let message = fixture.get(&format!("messages/{id}?format=minimal")).await;
        dates.push(message["internalDate"].clone());
    }
    dates.dedup();
    assert_eq!(dates.len(), 1);
    assert_eq!(super::ids(&fixture.get("messages").await).len(), 15);
}

#[tokio::test]
async fn sent_mail_reaches_simulated_recipients() {
    let fixture = fixture(|_| {}).await;
    let to = json!({ "to": ["dev-1@team-1.example", "x@customer.example"], "subject": "A" });
    let result = fixture.act("mail.sent", to).await;
    let facts = result["facts"].as_array().expect("facts");
    let kinds: Vec<&Value> = facts.iter().map(|fact| &fact["kind"]).collect();
    assert_eq!(kinds, ["email_sent", "email_received"]);
    assert_ne!(facts[0]["account"], facts[1]["account"]);
    let own = fixture.act_id("mail.to_self", json!({})).await;
    let row = fixture.row(&own).expect("a row");
    assert_eq!(row.kind, "email_sent");
    let message = fixture.get(&format!("messages/{own}")).await;
    assert_eq!(message["labelIds"], json!(["SENT", "INBOX", "UNREAD"]));
}

#[tokio::test]
async fn draft_is_a_fact_when_sent() {
    let fixture = fixture(|_| {}).await;
    let start = current(&fixture).await;
    let mut draft = fixture
        .act_id("mail.draft", json!({ "subject": "Plan" }))
        .await;
    let thread = fixture.get(&format!("messages/{draft}")).await["threadId"].clone();
    for _ in 0..4 {
        let saved = fixture
            .act_id("mail.draft", json!({ "message": draft }))
            .await;
        assert_ne!(saved, draft);
        draft = saved;
    }
    assert!(fixture.ledger().is_empty());
    let sent = fixture
        .act_id("mail.draft_sent", json!({ "message": draft }))
        .await;
    assert_eq!(fixture.ledger().len(), 1);
    assert_eq!(fixture.row(&sent).expect("a row").kind, "email_sent");
    let path = format!("messages/{draft}");
    assert_eq!(fixture.status(&path).await, StatusCode::NOT_FOUND);
    let message = fixture.get(&format!("messages/{sent}")).await;
    assert_eq!(message["threadId"], thread);
    let changes = changes(&fixture, &start).await;
    assert_eq!(
        changes
            .iter()
            .filter(|name| *name == "messagesDeleted")
            .count(),
        5
    );
    let second = fixture.act_id("mail.draft", json!({})).await;
    let params = json!({ "message": second, "in_place": true });
    assert_eq!(fixture.act_id("mail.draft_sent", params).await, second);
    assert!(fixture.is_shown(&second));
}

#[tokio::test]
async fn spam_drafts_and_chats_are_no_facts() {
    let fixture = fixture(|_| {}).await;
    let spam = fixture
        .act_id("mail.received", json!({ "spam": true }))
        .await;
    fixture.act("mail.draft", json!({})).await;
    fixture.act("chat.received", json!({})).await;
    assert!(fixture.ledger().is_empty());
    let not_spam = json!({ "message": spam, "label": "INBOX", "remove_label": "SPAM" });
    fixture.act("mail.labelled", not_spam).await;
    let row = fixture.row(&spam).expect("a row");
    assert!(row.poll);
    assert!(!fixture.simulator.is_listed(&row.kind, &row.dedupe_key));
    fixture
        .act("mail.reported", json!({ "message": spam }))
        .await;
    assert!(!fixture.is_shown(&spam));
}

#[tokio::test]
async fn trashed_mail_is_shown_while_history_has_it() {
    let fixture = fixture(|_| {}).await;
    let id = fixture.act_id("mail.received", json!({})).await;
    fixture.act("mail.trashed", json!({ "message": id })).await;
    assert!(fixture.is_shown(&id));
    assert!(ids(&fixture.get("messages").await).is_empty());
    fixture.act("history.expired", json!({})).await;
    assert!(!fixture.is_shown(&id));
    fixture
        .act("mail.untrashed", json!({ "message": id }))
        .await;
    assert!(fixture.is_shown(&id));
}

#[tokio::test]
async fn deleted_mail_is_not_found() {
    let fixture = fixture(|_| {}).await;
    let start = current(&fixture).await;
    let id = fixture.act_id("mail.received", json!({})).await;
    fixture.act("mail.deleted", json!({ "message": id })).await;
    assert!(!fixture.is_shown(&id));
    let path = format!("messages/{id}");
    assert_eq!(fixture.status(&path).await, StatusCode::NOT_FOUND);
    let path = format!("threads/{id}");
    assert_eq!(fixture.status(&path).await, StatusCode::NOT_FOUND);
    let names = changes(&fixture, &start).await;
    assert_eq!(names, ["messagesAdded", "messagesDeleted"]);
}

#[tokio::test]
async fn imported_mail_has_its_own_date() {
    let fixture = fixture(|_| {}).await;
    let new = fixture.act_id("mail.received", json!({})).await;
    let params = json!({ "date": "2019-05-01T08:00:00Z", "label": "Archive" });
    let old = fixture.act_id("mail.imported", params).await;
    assert_eq!(
        fixture.row(&old).expect("a row").time,
        "2019-05-01T08:00:00Z"
    );
    assert_eq!(ids(&fixture.get("messages").await), [new, old.clone()]);
    assert_eq!(ids(&fixture.get("messages?labelIds=Label_1").await), [old]);
}

#[tokio::test]
async fn quiet_mailbox_syncs_again_after_expiry() {
    let fixture = fixture(|_| {}).await;
    let id = fixture.act_id("mail.received", json!({})).await;
    let start = current(&fixture).await;
    fixture
        .control("clock", json!({ "advance_seconds": 30 * 24 * 3_600 }))
        .await;
    fixture.get("messages").await;
    let path = |id: &str| format!("history?startHistoryId={id}");
    assert_eq!(fixture.status(&path(&start)).await, StatusCode::NOT_FOUND);
    let message = fixture.get(&format!("messages/{id}?format=minimal")).await;
    let own = message["historyId"].as_str().expect("an id");
    assert_eq!(fixture.status(&path(own)).await, StatusCode::NOT_FOUND);
    let current = current(&fixture).await;
    assert_eq!(fixture.status(&path(&current)).await, StatusCode::OK);
}

#[tokio::test]
async fn action_on_unknown_message_changes_nothing() {
    let fixture = fixture(|_| {}).await;
    let before = current(&fixture).await;
    for (action, params) in [
        ("mail.deleted", json!({ "message": "1" })),
        ("mail.received", json!({ "answers": "1" })),
        ("mail.trashed", json!({})),
        ("mail.unknown", json!({})),
    ] {
        let mut body = json!({ "account": ADMIN, "action": action });
        let fields = body.as_object_mut().expect("an object");
        fields.extend(params.as_object().cloned().unwrap_or_default());
        let url = format!("{}/_sim/gmail/act", fixture.simulator.base_url());
        let response = fixture.client.post(url).json(&body).send().await;
        let status = response.expect("a response").status();
        assert_eq!(status, StatusCode::CONFLICT, "{action}");
    }
    assert_eq!(current(&fixture).await, before);
}

#[tokio::test]
async fn generated_activity_agrees_with_the_api() {
    let fixture = fixture(|config| config.history = 100).await;
    gmail(&fixture.simulator)
        .google
        .change_settings(|settings| settings.quotas.clear());
    let past = fixture.ledger().len();
    assert!(past > 90, "{past}");
    fixture
        .control("gmail/generate", json!({ "count": 300, "account": ADMIN }))
        .await;
    let mut shown = ids(&fixture.get("messages?maxResults=500").await);
    {
        let world = gmail(&fixture.simulator).world();
        let changes = world.mailboxes[&fixture.sub].changes();
        let added = changes.filter(|change| change.kind == ChangeKind::MessageAdded);
        shown.extend(added.map(|change| hex(change.message)));
    }
    shown.sort();
    shown.dedup();
    let mut expected = 0;
    for id in &shown {
        let (status, body) = fixture
            .call("GET", &format!("/gmail/v1/users/me/messages/{id}"), None)
            .await;
        let labels = body["labelIds"].as_array().cloned().unwrap_or_default();
        let is_fact = status == StatusCode::OK
            && !["DRAFT", "SPAM", "CHAT"]
                .iter()
                .any(|label| labels.contains(&json!(label)));
        assert_eq!(fixture.is_shown(id), is_fact, "{id} {labels:?}");
        expected += usize::from(is_fact);
    }
    let rows = fixture.ledger().into_iter().filter(|row| row.poll);
    assert_eq!(rows.count(), expected);
}
