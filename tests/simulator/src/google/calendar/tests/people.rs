//! Guests, lists of calendars, kinds of events, and channels.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{fixture, grant, ids, kinds, service};

#[tokio::test]
async fn guests_have_copies_with_the_same_ids() {
    let fixture = fixture().await;
    let (guest, guest_login) = fixture.colleague(1);
    let guest_token = grant(service(&fixture.simulator), &guest_login);
    let answer = fixture
        .act("event.created", json!({ "guests": [guest] }))
        .await;
    assert_eq!(kinds(&answer, &guest_login), ["event_created"]);
    let id = answer["object"]["id"].as_str().expect("an id").to_owned();
    let path = format!("calendars/primary/events/{id}");
    let (_, own) = fixture.get(&path, &[]).await;
    let (_, copy) = fixture.get_with(&guest_token, &path, &[]).await;
    for name in ["iCalUID", "created", "summary", "start"] {
        assert_eq!(own[name], copy[name], "{name}");
    }
    assert_eq!(own["organizer"]["self"], true);
    assert_eq!(copy["organizer"], json!({ "email": fixture.address }));

    let token = fixture.token().await;
    let params = json!({ "event": id, "response": "accepted" });
    let answer = fixture.act_as(&guest, "event.responded", params).await;
    assert_eq!(kinds(&answer, &fixture.login), ["event_updated"]);
    let rows = fixture.changes(&token).await;
    assert_ne!(rows[0]["updated"], own["updated"]);
    let guests = rows[0]["attendees"].as_array().expect("guests");
    let response = |address: &str| {
        let guest = guests.iter().find(|guest| guest["email"] == address);
        guest.map(|guest| guest["responseStatus"].clone())
    };
    assert_eq!(response(&guest), Some(json!("accepted")));
    assert_eq!(rows[0]["sequence"], own["sequence"]);

    // A guest who is no longer invited keeps a shell.
    let params = json!({ "event": id, "guests": [fixture.colleague(2).0] });
    let answer = fixture.act("event.edited", params).await;
    assert_eq!(kinds(&answer, &guest_login), ["event_cancelled"]);
    assert_eq!(
        kinds(&answer, &fixture.colleague(2).1),
        ["event_created", "event_updated"]
    );
}

#[tokio::test]
async fn guest_of_one_instance_has_no_series() {
    let fixture = fixture().await;
    let (guest, guest_login) = fixture.colleague(1);
    let guest_token = grant(service(&fixture.simulator), &guest_login);
    let id = fixture.create(json!({ "rule": "weekly" })).await;
    let params = json!({ "event": id, "scope": "this", "guests": [guest] });
    let answer = fixture.act("event.edited", params).await;
    assert_eq!(kinds(&answer, &guest_login), ["event_updated"]);
    let (_, body) = fixture
        .get_with(&guest_token, "calendars/primary/events", &[])
        .await;
    let rows = body["items"].as_array().expect("rows");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["recurringEventId"], json!(id));
}

#[tokio::test]
async fn reminder_moves_no_time_of_change() {
    let fixture = fixture().await;
    let id = fixture.create(json!({})).await;
    let (before, token) = fixture.list(&[]).await;
    let params = json!({ "event": id, "minutes": 5 });
    let answer = fixture.act("event.reminder", params).await;
    assert_eq!(answer["facts"], json!([]));
    let after = fixture.changes(&token).await;
    assert_eq!(after[0]["updated"], before[0]["updated"]);
    assert_eq!(after[0]["etag"], before[0]["etag"]);
    assert_eq!(after[0]["reminders"]["overrides"][0]["minutes"], 5);
}

#[tokio::test]
async fn moved_event_leaves_a_shell() {
    let fixture = fixture().await;
    let id = fixture.create(json!({})).await;
    let token = fixture.token().await;
    let answer = fixture.act("event.moved", json!({ "event": id })).await;
    assert_eq!(
        kinds(&answer, &fixture.login),
        ["event_cancelled", "event_created", "event_updated"]
    );
    let rows = fixture.changes(&token).await;
    assert_eq!((rows.len(), &rows[0]["status"]), (1, &json!("cancelled")));
    assert!(rows[0]["updated"].is_null());
    let calendar = answer["object"]["calendar"].as_str().expect("a calendar");
    let path = format!("calendars/{calendar}/events/{id}");
    let (_, moved) = fixture.get(&path, &[]).await;
    assert_eq!(moved["organizer"]["email"], json!(calendar));
    assert_eq!(moved["organizer"]["self"], true);
    assert_eq!(moved["creator"], json!({ "email": fixture.address }));
}

#[tokio::test]
async fn removed_and_hidden_calendars_show_no_facts() {
    let fixture = fixture().await;
    let path = "users/me/calendarList";
    let added = fixture.act("calendar.added", json!({})).await;
    let calendar = added["object"]["calendar"]
        .as_str()
        .expect("an id")
        .to_owned();
    let id = fixture.create(json!({ "calendar": calendar })).await;
    let key = format!("{calendar}:event:{id}:created");
    assert!(fixture.row(&key).poll);
    let (_, body) = fixture.get(path, &[]).await;
    let count = body["items"].as_array().map(Vec::len);
    let token = body["nextSyncToken"].as_str().expect("a token").to_owned();
    for (action, field) in [
        ("calendar.hidden", "hidden"),
        ("calendar.removed", "deleted"),
    ] {
        fixture.act(action, json!({ "calendar": calendar })).await;
        assert!(!fixture.row(&key).poll, "{action}");
        let (_, body) = fixture.get(path, &[]).await;
        assert_eq!(
            body["items"].as_array().map(Vec::len),
            count.map(|count| count - 1)
        );
        let (_, body) = fixture.get(path, &[("syncToken", &token)]).await;
        assert_eq!(body["items"][0][field], true);
    }
    let events = format!("calendars/{calendar}/events");
    assert_eq!(fixture.get(&events, &[]).await.0, 404);
    fixture
        .act("calendar.added", json!({ "calendar": calendar }))
        .await;
    assert!(fixture.row(&key).poll);
    // A reader's list has the events, but no facts, and a free-busy reader sees no titles.
    let (reader, reader_login) = fixture.colleague(1);
    let reader_token = grant(service(&fixture.simulator), &reader_login);
    let params = json!({ "calendar": calendar, "role": "freeBusyReader" });
    fixture.act_as(&reader, "calendar.added", params).await;
    let (_, body) = fixture.get_with(&reader_token, &events, &[]).await;
    assert_eq!(body["accessRole"], "freeBusyReader");
    assert!(body["items"][0]["summary"].is_null());
    assert!(fixture.ledger(&reader_login).is_empty());
}

#[tokio::test]
async fn working_locations_are_no_facts() {
    let fixture = fixture().await;
    for (event_type, expected) in [
        ("workingLocation", 0),
        ("focusTime", 0),
        ("birthday", 0),
        ("outOfOffice", 1),
    ] {
        let params = json!({ "event_type": event_type });
        let answer = fixture.act("event.created", params).await;
        assert_eq!(
            kinds(&answer, &fixture.login).len(),
            expected,
            "{event_type}"
        );
        let id = &answer["object"]["id"];
        let (rows, _) = fixture.list(&[("eventTypes", event_type)]).await;
        assert_eq!(ids(&rows), [id.as_str().expect("an id")]);
        assert!(rows[0][format!("{event_type}Properties")].is_object());
    }
}

#[tokio::test]
async fn private_event_is_hidden_from_readers() {
    let fixture = fixture().await;
    let (reader, reader_login) = fixture.colleague(1);
    let reader_token = grant(service(&fixture.simulator), &reader_login);
    let params = json!({ "calendar": fixture.address, "role": "reader" });
    fixture.act_as(&reader, "calendar.added", params).await;
    let id = fixture
        .create(json!({ "private": true, "text": "secret" }))
        .await;
    let path = format!("calendars/{}/events/{id}", fixture.address);
    assert_eq!(fixture.get(&path, &[]).await.1["summary"], "secret");
    let (_, row) = fixture.get_with(&reader_token, &path, &[]).await;
    assert_eq!(
        (&row["summary"], &row["visibility"]),
        (&Value::Null, &json!("private"))
    );
}

#[tokio::test]
async fn channels_report_changes_of_their_calendar() {
    let fixture = fixture().await;
    let messages = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&messages);
    let receiver = Router::new().route(
        "/push",
        post(move |headers: HeaderMap| {
            let text = |name: &str| {
                let value = headers.get(name).and_then(|value| value.to_str().ok());
                value.unwrap_or_default().to_owned()
            };
            let message = (text("x-goog-channel-id"), text("x-goog-resource-state"));
            seen.lock().expect("the list of messages").push(message);
            async {}
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}/push", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    let channel = |id: &str| json!({ "id": id, "type": "web_hook", "address": address });
    let api = "google/calendar/v3";
    let events = format!("{api}/calendars/primary/events/watch");
    let (status, body) = fixture.post(&events, channel("events")).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["kind"], "api#channel");
    let list = format!("{api}/users/me/calendarList/watch");
    assert_eq!(fixture.post(&list, channel("list")).await.0, 200);
    let holidays =
        format!("{api}/calendars/en.usa%23holiday@group.v.calendar.google.com/events/watch");
    let (status, body) = fixture.post(&holidays, channel("holidays")).await;
    let reason = body["error"]["errors"][0]["reason"].as_str();
    assert_eq!(
        (status, reason),
        (400, Some("pushNotSupportedForRequestedResource"))
    );
    let (status, _) = fixture
        .post(&format!("{events}?syncToken=x"), channel("bad"))
        .await;
    assert_eq!(status, 400);
    fixture.create(json!({})).await;
    fixture.act("calendar.added", json!({})).await;
    fixture.post("_sim/quiesce", json!({})).await;
    let mut messages = messages.lock().expect("the list of messages").clone();
    messages.sort();
    let expected = [
        ("events", "exists"),
        ("events", "sync"),
        ("list", "exists"),
        ("list", "sync"),
    ];
    assert_eq!(
        messages,
        expected.map(|(id, state)| (id.to_owned(), state.to_owned()))
    );
}
