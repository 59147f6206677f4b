//! The rules for odd rows of real drives.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::golden::normalize;
use super::{account, floor};
use crate::connectors::Directory;
use crate::connectors::google_drive::normalize::NormalizeContext;
use crate::model::{ActorKind, DirectoryKey, DirectoryKind, SignalDraft};

fn signals(name: &str, row: &Value) -> Vec<SignalDraft> {
    let row = row.to_string();
    normalize(name, row.as_bytes(), &Directory::default()).expect("a readable row")
}

fn keys(name: &str, row: &Value) -> Vec<String> {
    let all = signals(name, row).into_iter();
    all.map(|signal| signal.dedupe_key.replace("google_drive:file:", ""))
        .collect()
}

fn file(created: &str, modified: &str) -> Value {
    json!({ "id": "f", "mimeType": "text/plain", "createdTime": created, "modifiedTime": modified })
}

fn change(file: &Value) -> Value {
    json!({ "changeType": "file", "fileId": "f", "time": "2026-11-20T12:00:00.000Z", "file": file })
}

#[test]
fn changes_within_a_minute_belong_to_creation() {
    let created = "2026-11-20T10:00:00.000Z";
    for (modified, expected) in [
        ("2026-11-20T10:01:00.000Z", &["f:created"][..]),
        (
            "2026-11-20T10:01:00.001Z",
            &["f:created", "f:modified:2026-11-20T10:01:00.001Z"],
        ),
    ] {
        assert_eq!(keys("change", &change(&file(created, modified))), expected);
    }
}

#[test]
fn floor_is_inclusive() {
    for (created, expected) in [
        ("2026-11-01T00:00:00.000Z", 1),
        ("2026-10-31T23:59:59.999Z", 0),
    ] {
        let found = keys("file", &file(created, created));
        assert_eq!(found.len(), expected, "{created}");
    }
}

#[test]
fn uploaders_time_is_never_later_than_the_change() {
    let row = change(&file(
        "2030-01-01T00:00:00.000Z",
        "2031-01-01T00:00:00.000Z",
    ));
    let found = signals("change", &row);
    assert_eq!(found.len(), 2, "keys keep the stated times");
    assert!(found[1].dedupe_key.ends_with("2031-01-01T00:00:00.000Z"));
    let time: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().expect("a time");
    assert!(found.iter().all(|signal| signal.timestamp == time));
}

#[test]
fn programs_are_apps_and_hidden_addresses_users() {
    let row = |user: Value| {
        let mut row = file("2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z");
        row["lastModifyingUser"] = user;
        signals("file", &row).remove(0).actor.kind
    };
    for (user, kind) in [
        (
            json!({ "permissionId": "7", "emailAddress": "a@b.iam.gserviceaccount.com" }),
            ActorKind::App,
        ),
        (
            json!({ "permissionId": "7", "emailAddress": "a@gserviceaccount.com.example" }),
            ActorKind::User,
        ),
        (json!({ "displayName": "Ada" }), ActorKind::User),
        (
            json!({ "emailAddress": "ada@acme.example" }),
            ActorKind::Unknown,
        ),
        (json!({}), ActorKind::Unknown),
        (json!(null), ActorKind::Unknown),
    ] {
        assert_eq!(row(user.clone()), kind, "{user}");
    }
}

#[test]
fn unknown_drive_is_requested_and_lends_its_id() {
    let mut row = file("2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z");
    row["driveId"] = json!("0AOther");
    let names = Directory::default();
    let found = normalize("file", row.to_string().as_bytes(), &names).expect("a row");
    assert_eq!(found[0].context.id, "0AOther");
    assert_eq!(found[0].context.name, None);
    let wanted = DirectoryKey::new(DirectoryKind::Drive, "0AOther");
    assert_eq!(names.take_missing(), [wanted]);
}

#[test]
fn removal_belongs_to_the_drive_of_its_log() {
    let row = json!({ "changeType": "file", "fileId": "f", "time": "2026-11-20T12:00:00.000Z",
                      "removed": true });
    let text = row.to_string();
    let (account, names) = (account(), Directory::default());
    let context = NormalizeContext::new(&account, &names, floor()).expect("a context");
    let context = context.in_drive(Some("0AOther"));
    let change = serde_json::from_str(&text).expect("a change");
    let raw: &RawValue = serde_json::from_str(&text).expect("JSON");
    let found = context.change(&change, raw).expect("a removal");
    assert_eq!(found[0].context.id, "0AOther");
    assert_eq!(found[0].normalized, json!({ "drive_id": "0AOther" }));
}

#[test]
fn account_without_permission_id_is_an_error() {
    let mut account = account();
    account.settings = json!({ "permission_id": "" });
    let names = Directory::default();
    assert!(NormalizeContext::new(&account, &names, floor()).is_err());
}
