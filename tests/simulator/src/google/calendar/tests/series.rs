//! Changes of series: rows of the list, and facts in the ledger.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Fixture, distinct, fixture, ids, kinds};

fn fields(row: &Value) -> BTreeSet<&str> {
    let fields = row.as_object().expect("an object").keys();
    fields.map(String::as_str).collect()
}

async fn series_with_exceptions(fixture: &Fixture) -> String {
    let id = fixture.create(json!({ "rule": "daily" })).await;
    for occurrence in 1..=3 {
        let params = json!({ "event": id, "scope": "this", "occurrence": occurrence });
        fixture.act("event.edited", params).await;
    }
    id
}

#[tokio::test]
async fn series_edit_returns_all_rows_and_one_fact() {
    let fixture = fixture().await;
    let id = series_with_exceptions(&fixture).await;
    for params in [
        json!({ "event": id, "text": "all" }),
        json!({ "event": id, "text": "one", "scope": "this", "occurrence": 2 }),
    ] {
        let token = fixture.token().await;
        let answer = fixture.act("event.edited", params).await;
        assert_eq!(kinds(&answer, &fixture.login), ["event_updated"]);
        let rows = fixture.changes(&token).await;
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[0]["id"], json!(id), "the series comes first");
        assert_eq!(distinct(&rows, "updated").len(), 1);
        assert_eq!(distinct(&rows, "etag").len(), 1);
        assert_eq!(
            distinct(&rows, "recurringEventId"),
            BTreeSet::from([id.as_str()])
        );
        assert_eq!(distinct(&rows, "iCalUID").len(), 1);
    }
    let (rows, _) = fixture.list(&[]).await;
    let key = |row: &&super::Entry| row.kind == "event_updated" && row.poll;
    let ledger = fixture.ledger(&fixture.login);
    let latest: Vec<_> = ledger.iter().filter(key).collect();
    let updated = rows[0]["updated"].as_str().expect("a time");
    assert_eq!(latest.len(), 1, "only the latest change is still shown");
    assert!(
        latest[0]
            .dedupe_key
            .ends_with(&format!("event:{id}:updated:{updated}"))
    );
}

#[tokio::test]
async fn later_part_keeps_creation_and_is_not_created() {
    let fixture = fixture().await;
    let id = series_with_exceptions(&fixture).await;
    let token = fixture.token().await;
    let params = json!({ "event": id, "scope": "following", "occurrence": 2, "text": "later" });
    let answer = fixture.act("event.edited", params).await;
    assert_eq!(kinds(&answer, &fixture.login), ["event_updated"]);
    let rows = fixture.changes(&token).await;
    assert_eq!(rows.len(), 5);
    let part = rows.iter().find(|row| {
        let id = row["id"].as_str().expect("an id");
        id.contains("_R")
    });
    let part = part.expect("a part");
    let part_id = part["id"].as_str().expect("an id");
    assert_eq!(part["summary"], "later");
    assert_eq!(part["created"], rows[0]["created"]);
    assert_eq!(part["updated"], rows[0]["updated"]);
    assert_eq!(part["recurrence"], json!(["RRULE:FREQ=DAILY"]));
    assert_eq!(part["iCalUID"], json!(format!("{part_id}@google.com")));
    let rule = rows[0]["recurrence"][0].as_str().expect("a rule");
    assert!(rule.starts_with("RRULE:FREQ=DAILY;UNTIL="), "{rule}");
    let of_part = rows
        .iter()
        .filter(|row| row["recurringEventId"] == part["id"]);
    assert_eq!(of_part.count(), 2, "later exceptions belong to the part");
    // A change of all is one of every part.
    let token = fixture.token().await;
    fixture
        .act("event.edited", json!({ "event": id, "text": "all" }))
        .await;
    let rows = fixture.changes(&token).await;
    assert_eq!((rows.len(), distinct(&rows, "updated").len()), (5, 1));
}

#[tokio::test]
async fn new_rule_makes_event_with_old_creation() {
    let fixture = fixture().await;
    let id = fixture.create(json!({ "rule": "daily" })).await;
    let token = fixture.token().await;
    let params = json!({ "event": id, "scope": "following", "rule": "weekly" });
    let answer = fixture.act("event.edited", params).await;
    assert_eq!(
        kinds(&answer, &fixture.login),
        ["event_created", "event_updated", "event_updated"]
    );
    let rows = fixture.changes(&token).await;
    assert_eq!(rows.len(), 2);
    assert_eq!(distinct(&rows, "created").len(), 1);
    assert!(!rows[1]["id"].as_str().expect("an id").starts_with(&id));
}

#[tokio::test]
async fn cancelled_instance_is_a_shell_on_another_page() {
    let fixture = fixture().await;
    let id = fixture.create(json!({ "rule": "daily" })).await;
    let token = fixture.token().await;
    let answer = fixture
        .act("event.cancelled", json!({ "event": id, "scope": "this" }))
        .await;
    assert_eq!(
        kinds(&answer, &fixture.login),
        ["event_cancelled", "event_updated"]
    );
    fixture.settings(|settings| settings.max_page_size = 1);
    let rows = fixture.changes(&token).await;
    let shell = BTreeSet::from([
        "kind",
        "etag",
        "id",
        "status",
        "recurringEventId",
        "originalStartTime",
    ]);
    assert_eq!(fields(&rows[1]), shell);
    assert_eq!(rows[0]["etag"], rows[1]["etag"]);
    let key = format!("event:{}:cancelled", rows[1]["id"].as_str().expect("an id"));
    assert!(fixture.row(&key).polled);
    // A list without deleted events has cancelled instances, unless series are expanded.
    assert_eq!(fixture.list(&[]).await.0.len(), 2);
    let (rows, token) = fixture.list(&[("singleEvents", "true")]).await;
    assert!(rows.iter().all(|row| row["status"] == "confirmed"));
    assert_eq!(token, "", "expanded series have no sync token");
}

#[tokio::test]
async fn end_of_series_leaves_bare_shells() {
    let fixture = fixture().await;
    let id = series_with_exceptions(&fixture).await;
    let token = fixture.token().await;
    let params = json!({ "event": id, "scope": "following", "occurrence": 2 });
    let answer = fixture.act("event.cancelled", params).await;
    assert_eq!(
        kinds(&answer, &fixture.login),
        ["event_cancelled", "event_cancelled", "event_updated"]
    );
    let rows = fixture.changes(&token).await;
    let bare = BTreeSet::from(["kind", "etag", "id", "status"]);
    let shells: Vec<&Value> = rows
        .iter()
        .filter(|row| row["status"] == "cancelled")
        .collect();
    assert_eq!(shells.len(), 2);
    assert!(shells.iter().all(|row| fields(row) == bare));
    assert_eq!(distinct(&rows, "etag").len(), 1);
}

#[tokio::test]
async fn restored_series_is_shown_again() {
    let fixture = fixture().await;
    let id = series_with_exceptions(&fixture).await;
    let params = json!({ "event": id, "scope": "this", "occurrence": 5 });
    fixture.act("event.cancelled", params).await;
    let created = format!("event:{id}:created");
    assert!(fixture.row(&created).poll);
    fixture.act("event.cancelled", json!({ "event": id })).await;
    assert!(
        !fixture.row(&created).poll,
        "a shell does not show the creation"
    );
    assert!(fixture.row(&format!("event:{id}:cancelled")).poll);
    assert!(fixture.list(&[]).await.0.is_empty());
    assert_eq!(fixture.list(&[("showDeleted", "true")]).await.0.len(), 5);
    fixture.act("event.restored", json!({ "event": id })).await;
    assert!(fixture.row(&created).poll);
    assert!(!fixture.row(&format!("event:{id}:cancelled")).poll);
    let (rows, _) = fixture.list(&[]).await;
    let cancelled = rows.iter().filter(|row| row["status"] == "cancelled");
    assert_eq!(cancelled.count(), 1, "the instance stays cancelled");
}

#[tokio::test]
async fn quick_change_belongs_to_the_creation() {
    let fixture = fixture().await;
    let answer = fixture
        .act(
            "event.created",
            json!({ "imported": true, "all_day": true, "rule": "weekly" }),
        )
        .await;
    let id = answer["object"]["id"].as_str().expect("an id");
    assert!(id.starts_with('_'));
    let body = json!({ "account": fixture.address, "action": "event.edited", "event": id });
    let (_, answer) = fixture.post("_sim/google_calendar/act", body).await;
    assert_eq!(answer["facts"], json!([]));
    let (rows, _) = fixture.list(&[]).await;
    assert_eq!(ids(&rows), [id]);
    assert!(rows[0]["start"]["date"].is_string());
    assert_eq!(rows[0]["transparency"], "transparent");
}
