//! Messages of chats: windows, times, contents and the ledger.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Fixture, fixture, fixture_with, ids, rows, text, time_of};
use crate::Config;

#[tokio::test]
async fn window_has_oldest_rows_and_both_ends() {
    let fixture = fixture().await;
    let (chat, _) = fixture.channel("organization").await;
    let answer = fixture
        .act("message.posted", json!({ "chat": chat, "count": 5 }))
        .await;
    let all: Vec<String> = rows(&answer["object"], "ids")
        .iter()
        .map(|id| id.as_str().expect("an id").to_owned())
        .collect();
    let window = [
        ("fromtime", time_of(&all[1])),
        ("totime", time_of(&all[4])),
        ("limit", "3"),
    ];
    let listed = ids(&fixture.messages(&chat, &window).await, "id");
    assert_eq!(listed, all[1..4]);
    let listed = ids(&fixture.messages(&chat, &[("limit", "2")]).await, "id");
    assert_eq!(listed, all[3..], "without a beginning, the newest ones");
    fixture.settings(|settings| settings.newest_of_window = true);
    let listed = ids(&fixture.messages(&chat, &window).await, "id");
    assert_eq!(listed, all[2..]);
    let path = format!("chats/{chat}/messages");
    let (status, body) = fixture
        .get(&path, &[("fromtime", "2"), ("totime", "1")])
        .await;
    assert_eq!(status, 400, "{body}");
    let count = fixture
        .act("message.posted", json!({ "chat": chat, "count": 120 }))
        .await;
    assert_eq!(rows(&count["object"], "ids").len(), 120);
    let listed = fixture.messages(&chat, &[("limit", "500")]).await;
    assert_eq!(listed.len(), 100);
}

#[tokio::test]
async fn messages_of_one_millisecond_have_numbered_keys() {
    let fixture = fixture().await;
    let (chat, _) = fixture.channel("organization").await;
    let params = json!({ "chat": chat, "count": 3, "same_time": true });
    let answer = fixture.act("message.posted", params).await;
    let posted = rows(&answer["object"], "ids");
    let [first, second, third] = [0, 1, 2].map(|at| posted[at].as_str().expect("an id").to_owned());
    let time = time_of(&first).to_owned();
    assert_eq!((time_of(&second), time_of(&third)), (&*time, &*time));
    let shown = |number: usize| {
        let suffix = match number {
            1 => String::new(),
            _ => format!(":{number}"),
        };
        let row = fixture.row(&format!("message:{chat}:{time}{suffix}"));
        row.map(|row| (row.poll, row.polled, row.webhook))
    };
    for number in 1..=3 {
        assert_eq!(shown(number), Some((true, false, false)), "{number}");
    }
    assert_eq!(shown(4), None);
    let listed = fixture
        .messages(&chat, &[("fromtime", &time), ("limit", "2")])
        .await;
    assert_eq!(listed.len(), 2);
    assert_eq!(shown(2), Some((true, true, false)));
    assert_eq!(shown(3), Some((true, false, false)), "no page had it");
    fixture
        .act("message.deleted", json!({ "chat": chat, "message": first }))
        .await;
    assert_eq!(shown(1), Some((true, true, false)));
    assert_eq!(shown(3), Some((false, false, false)), "two are left");
}

#[tokio::test]
async fn content_is_object_or_text() {
    let fixture = fixture().await;
    let (chat, _) = fixture.channel("organization").await;
    let (address, _) = fixture.colleague(0);
    let first = fixture.post(&chat, json!({ "text": "Hello <&>" })).await;
    let params = json!({ "file": "plan.pdf", "text": "See it", "reply_to": first });
    fixture.post(&chat, params).await;
    fixture
        .post(&chat, json!({ "text": "?", "mentions": [address] }))
        .await;
    fixture
        .act("message.info", json!({ "chat": chat, "text": "renamed" }))
        .await;
    let listed = fixture.messages(&chat, &[]).await;
    let kinds: Vec<&Value> = listed.iter().map(|row| &row["type"]).collect();
    assert_eq!(kinds, ["text", "file", "text", "info"]);
    assert_eq!(listed[0]["content"], json!({ "text": "Hello <&>" }));
    let file = &listed[1]["content"];
    assert_eq!(
        (&file["comment"], &file["file"]["name"]),
        (&json!("See it"), &json!("plan.pdf"))
    );
    assert_eq!(listed[1]["replied_message"]["id"], json!(first));
    let mention = &listed[2]["mentions"][0];
    let named = format!("@{} ?", text(mention, "name"));
    assert_eq!(listed[2]["content"]["text"], named);
    fixture.settings(|settings| settings.content_as_text = true);
    let listed = fixture.messages(&chat, &[]).await;
    assert_eq!(listed[0]["content"], "Hello <&>");
    assert!(listed[1]["content"].is_object(), "a file has an object");
}

#[tokio::test]
async fn single_message_is_read_by_both_paths() {
    let fixture = fixture().await;
    let (chat, _) = fixture.channel("organization").await;
    let id = fixture.post(&chat, json!({})).await;
    let listed = fixture.messages(&chat, &[]).await;
    for spelled in [id.clone(), id.replace('_', "%20"), id.replace('_', "%2520")] {
        for end in ["", "/messages"] {
            let path = format!("chats/{chat}/messages/{spelled}{end}");
            assert_eq!(fixture.read(&path, &[]).await, listed[0], "{path}");
        }
    }
    let (status, body) = fixture
        .get(&format!("chats/{chat}/messages/1_2"), &[])
        .await;
    assert_eq!((status, &body["code"]), (404, &json!("message_not_found")));
}

#[tokio::test]
async fn threads_have_chats_of_their_own() {
    let fixture = fixture().await;
    let (chat, channel) = fixture.channel("organization").await;
    let main = fixture.post(&chat, json!({ "text": "Which valve?" })).await;
    let params = json!({ "chat": chat, "message": main, "title": "Valve", "text": "The second" });
    let answer = fixture.act("thread.started", params).await;
    let thread = text(&answer["object"], "chat");
    assert!(thread.starts_with(&format!("{chat}-T-")), "{thread}");
    let reply = fixture.post(&thread, json!({})).await;
    let listed = fixture.messages(&thread, &[]).await;
    assert_eq!(listed.len(), 2, "the main message is in the channel");
    let row = fixture.row(&format!("message:{thread}:{}", time_of(&reply)));
    let row = row.expect("a row");
    assert_eq!(
        (row.kind.as_str(), row.poll, row.polled),
        ("thread_replied", true, true)
    );

    let list = format!("channels/{channel}/threads");
    let body = fixture.read(&list, &[("state", "all")]).await;
    let entry = &rows(&body, "data")[0];
    assert_eq!(text(entry, "chat_id"), thread);
    assert_eq!(text(entry, "thread_message_id"), main.replace('_', "%20"));
    assert_eq!(
        fixture.read(&list, &[("state", "not_followed")]).await["data"],
        json!([])
    );
    let path = format!("threads/{thread}/messages/main");
    assert_eq!(fixture.read(&path, &[]).await["id"], json!(main));
    fixture
        .act("thread.closed", json!({ "chat": thread }))
        .await;
    assert_eq!(
        rows(&fixture.read(&list, &[("type", "closed")]).await, "data").len(),
        1
    );
    let (status, _) = fixture
        .try_act("thread.replied", json!({ "chat": thread }))
        .await;
    assert_eq!(status, 409, "nobody replies in a closed thread");
}

#[tokio::test]
async fn replies_touch_their_channel_only_by_setting() {
    let fixture = fixture().await;
    let (chat, channel) = fixture.channel("organization").await;
    let main = fixture.post(&chat, json!({})).await;
    let active = async || {
        let body = fixture.read(&format!("channels/{channel}"), &[]).await;
        text(&body, "last_modified_time")
    };
    let before = active().await;
    super::service(&fixture.simulator)
        .zoho
        .core
        .clock
        .advance(60);
    let params = json!({ "chat": chat, "message": main });
    fixture.act("thread.started", params.clone()).await;
    assert_eq!(active().await, before);
    fixture.settings(|settings| settings.replies_touch_channel = true);
    fixture.act("thread.started", params).await;
    assert_ne!(active().await, before);
}

/// Keys of the facts that the lists of messages show the administrator.
async fn listed_keys(fixture: &Fixture) -> BTreeMap<String, &'static str> {
    let mut chats = Vec::new();
    let channels = rows(
        &fixture.read("channels", &[("joined", "true")]).await,
        "channels",
    );
    for channel in &channels {
        chats.push(text(channel, "chat_id"));
        let path = format!("channels/{}/threads", text(channel, "channel_id"));
        chats.extend(ids(
            &rows(&fixture.read(&path, &[]).await, "data"),
            "chat_id",
        ));
    }
    let direct = rows(&fixture.read("chats", &[]).await, "chats");
    chats.extend(ids(&direct, "chat_id"));
    let mut keys = BTreeMap::new();
    for chat in chats {
        let (mut from, mut seen) = (0_i64, Vec::new());
        loop {
            let bound = from.to_string();
            let page = fixture.messages(&chat, &[("fromtime", &bound)]).await;
            let new = page.iter().filter(|row| !seen.contains(*row)).cloned();
            let new: Vec<Value> = new.collect();
            seen.extend(new);
            if page.len() < 100 {
                break;
            }
            from = page[99]["time"].as_i64().expect("a time");
        }
        let kind = if chat.contains("-T-") {
            "thread_replied"
        } else {
            "message_posted"
        };
        let mut numbers: BTreeMap<i64, usize> = BTreeMap::new();
        for row in seen.iter().filter(|row| row["type"] != "info") {
            let time = row["time"].as_i64().expect("a time");
            let number = numbers.entry(time).or_default();
            *number += 1;
            let mut key = format!("zoho_cliq:message:{chat}:{time}");
            if *number > 1 {
                key = format!("{key}:{number}");
            }
            keys.insert(key, kind);
        }
    }
    keys
}

#[tokio::test]
async fn ledger_has_what_lists_show() {
    let fixture = fixture_with(Config {
        enforces_limits: false,
        history: 150,
        ..Config::default()
    })
    .await;
    let (status, _) = fixture
        .control("zoho_cliq/generate", &json!({ "count": 300 }))
        .await;
    assert_eq!(status, 200);
    let listed = listed_keys(&fixture).await;
    let ledger = fixture.ledger(&fixture.login);
    let messages = ledger
        .iter()
        .filter(|row| row.poll && row.kind != "channel_created");
    let expected: BTreeMap<String, &str> = messages
        .map(|row| (row.dedupe_key.clone(), row.kind.as_str()))
        .collect();
    assert!(expected.len() > 500, "{}", expected.len());
    assert!(
        expected.keys().any(|key| key.ends_with(":2")),
        "one millisecond"
    );
    let listed: BTreeMap<String, &str> = listed.into_iter().collect();
    assert_eq!(listed, expected);
    let unread = ledger.iter().filter(|row| row.poll && !row.polled);
    assert_eq!(unread.count(), 0, "each listed row counts as polled");
}
