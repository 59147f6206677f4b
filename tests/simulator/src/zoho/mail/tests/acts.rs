//! Tests of actions and their facts.

use super::*;

#[tokio::test]
async fn rows_of_folders_decide_about_facts() {
    let fixture = fixture(|_| {}).await;
    for folder in ["Inbox", "Newsletter", "Notification", "Snoozed", "Projects"] {
        let id = fixture
            .act_id("mail.received", json!({ "folder": folder }))
            .await;
        let row = fixture.row(&id).expect("a row");
        assert_eq!((row.kind.as_str(), row.poll), ("email_received", true));
        assert!(!row.webhook && !row.polled, "{folder}");
    }
    for folder in ["Spam", "Trash"] {
        let id = fixture
            .act_id("mail.received", json!({ "folder": folder }))
            .await;
        assert_eq!(fixture.row(&id), None, "{folder}");
    }
    for folder in ["Drafts", "Templates", "Outbox"] {
        let id = fixture
            .act_id("mail.draft", json!({ "folder": folder }))
            .await;
        assert_eq!(fixture.row(&id), None, "{folder}");
    }
    let sent = fixture.act_id("mail.sent", json!({})).await;
    assert_eq!(fixture.row(&sent).expect("a row").kind, "email_sent");
}

#[tokio::test]
async fn facts_need_a_grant_with_the_scope() {
    let fixture = fixture(|_| {}).await;
    let id = fixture.act_id("mail.received", json!({})).await;
    assert!(fixture.is_shown(&id));
    let person = json!({ "revoke": ADMIN });
    let url = format!("{}/_sim/zoho/tokens", fixture.simulator.base_url());
    let response = fixture.client.post(url).json(&person).send().await;
    assert!(response.expect("a response").status().is_success());
    assert!(!fixture.is_shown(&id));
    grant(&fixture.simulator, &fixture.login, &SCOPES[..2]);
    assert!(!fixture.is_shown(&id));
    grant(&fixture.simulator, &fixture.login, &SCOPES);
    assert!(fixture.is_shown(&id));
}

#[tokio::test]
async fn view_marks_facts_as_polled() {
    let fixture = fixture(|_| {}).await;
    let id = fixture.act_id("mail.received", json!({})).await;
    let trashed = fixture.act_id("mail.received", json!({})).await;
    fixture
        .act("mail.trashed", json!({ "message": trashed }))
        .await;
    fixture.view("Trash", "").await;
    fixture.view("Inbox", "").await;
    assert!(fixture.row(&id).expect("a row").polled);
    let row = fixture.row(&trashed).expect("a row");
    assert!(!row.poll && !row.polled, "a row of the trash is no fact");
}

#[tokio::test]
async fn moved_message_keeps_its_id_and_row() {
    let fixture = fixture(|_| {}).await;
    let id = fixture.act_id("mail.received", json!({})).await;
    let moved = fixture
        .act("mail.moved", json!({ "message": id, "folder": "Projects" }))
        .await;
    assert_eq!(moved["object"]["id"], id.as_str());
    assert_eq!(fixture.ledger().len(), 1);
    let key = fixture.row(&id).expect("a row").dedupe_key;
    assert!(fixture.simulator.is_listed("email_received", &key));
    assert_eq!(ids(&fixture.view("Projects", "").await), [id.as_str()]);
    fixture.act("mail.deleted", json!({ "message": id })).await;
    assert!(!fixture.is_shown(&id));
}

#[tokio::test]
async fn message_out_of_the_spam_is_listed_late() {
    let fixture = fixture(|_| {}).await;
    let id = fixture
        .act_id("mail.received", json!({ "folder": "Spam" }))
        .await;
    assert_eq!(fixture.row(&id), None);
    fixture
        .act("mail.moved", json!({ "message": id, "folder": "Inbox" }))
        .await;
    let row = fixture.row(&id).expect("a row");
    assert!(row.poll);
    assert!(
        !fixture
            .simulator
            .is_listed("email_received", &row.dedupe_key)
    );
}

#[tokio::test]
async fn sent_mail_reaches_people_of_the_simulator() {
    let fixture = fixture(|config| config.accounts = 2).await;
    let to = [
        "dev-1@team-1.example",
        "admin@team-2.example",
        "x@x.example",
    ];
    let result = fixture
        .act("mail.sent", json!({ "to": to, "subject": "Minutes" }))
        .await;
    let facts = result["facts"].as_array().expect("facts");
    let kinds: Vec<_> = facts.iter().map(|fact| fact["kind"].as_str()).collect();
    let received = Some("email_received");
    assert_eq!(kinds, [Some("email_sent"), received, received]);
    let keys: std::collections::BTreeSet<_> = facts
        .iter()
        .map(|fact| fact["dedupe_key"].to_string())
        .collect();
    assert_eq!(keys.len(), 3, "each copy has its own account and id");
    let accounts: Vec<_> = facts.iter().map(|fact| fact["account"].as_str()).collect();
    assert!(accounts[2].is_some_and(|login| login.starts_with("eu:")));
}

#[tokio::test]
async fn generated_activity_is_in_the_ledger() {
    let fixture = fixture(|config| config.people = 0).await;
    let body = json!({ "count": 120, "account": ADMIN });
    let generated = fixture.control("zoho_mail/generate", body).await;
    let facts = generated["facts"].as_u64().expect("a number");
    assert!((60..=120).contains(&facts), "{facts}");
    let shown = fixture.ledger().into_iter().filter(|row| row.poll).count();
    assert!(shown > 40, "{shown}");
}
