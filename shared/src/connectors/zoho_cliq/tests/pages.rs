//! Snapshot tests of lists: the Signals of each page are in the `.snap` file beside it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use wiremock::matchers::path_regex;
use wiremock::{Mock, ResponseTemplate};

use super::golden::directory;
use super::{CHANNEL, TIME, cliq, request};
use crate::connectors::testing::kinds;
use crate::connectors::zoho_cliq::normalize::KINDS;
use crate::connectors::{Connector, SyncPage, SyncRequest};

fn body(name: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/src/connectors/zoho_cliq/fixtures/pages/{name}.json");
    std::fs::read_to_string(path).expect("a page")
}

/// The pages, each with its stream and the stream's target.
fn pages() -> [(&'static str, String, Value); 5] {
    let chat = |id: &str| format!("chat:{id}");
    let channel = json!({ "title": "#general", "is_channel": true });
    [
        ("messages", chat(CHANNEL), channel.clone()),
        ("same_millisecond", chat(CHANNEL), channel.clone()),
        (
            "unreadable",
            chat("CT_7"),
            json!({ "title": "Grace Hopper" }),
        ),
        ("thread", chat(&format!("{CHANNEL}-T-9")), channel),
        ("channels", "channels".to_owned(), Value::Null),
    ]
}

async fn read(name: &str, stream: &str, target: Value) -> SyncPage {
    let (server, cliq) = cliq().await;
    let response = ResponseTemplate::new(200).set_body_raw(body(name), "application/json");
    Mock::given(path_regex("/api/v2/c.*"))
        .respond_with(response)
        .mount(&server)
        .await;
    let users = json!({ "data": { "id": "64800203", "name": "Lin Clark" } });
    Mock::given(path_regex("/api/v2/users/64800203"))
        .respond_with(ResponseTemplate::new(200).set_body_json(users))
        .mount(&server)
        .await;
    let request = SyncRequest {
        directory: Arc::new(directory()),
        ..request(stream, target, None)
    };
    cliq.sync(request).await.expect("a page")
}

fn snapshot(page: &SyncPage, body: &str) -> Value {
    let signals = page.signals.iter().map(|signal| {
        assert!(body.contains(signal.raw.get()), "raw is Cliq's own bytes");
        let mut value = serde_json::to_value(signal).expect("a Signal is JSON");
        let raw = value["raw"].take();
        value["raw"] = json!({ "fields": raw.as_object().map(serde_json::Map::len) });
        value
    });
    let unreadable = page.unreadable_rows.iter();
    let names = page.directory_updates.iter();
    json!({
        "signals": signals.collect::<Vec<_>>(),
        "unreadable": unreadable.map(|row| json!([row.id, row.reason])).collect::<Vec<_>>(),
        "names": names.map(|entry| json!([entry.key.id, entry.name])).collect::<Vec<_>>(),
    })
}

#[tokio::test]
async fn pages_match_their_snapshots() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../fixtures/pages");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (name, stream, target) in pages() {
        let page = read(name, &stream, target).await;
        settings.bind(|| insta::assert_json_snapshot!(name, snapshot(&page, &body(name))));
    }
}

#[tokio::test]
async fn every_emitted_kind_has_a_payload() {
    let mut covered = kinds("zoho_cliq", |_, body| {
        super::golden::handle(body).expect("an outcome")
    });
    for (name, stream, target) in pages() {
        let page = read(name, &stream, target).await;
        covered.extend(page.signals.iter().map(|signal| signal.kind.as_str()));
    }
    let emitted: BTreeSet<&str> = KINDS.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(covered, emitted);
}

#[tokio::test]
async fn messages_of_one_millisecond_are_numbered_by_id() {
    let (_, stream, target) = pages()[1].clone();
    let page = read("same_millisecond", &stream, target).await;
    let facts = page.signals.iter();
    let facts: Vec<(String, &str)> = facts
        .map(|signal| {
            let key = signal
                .dedupe_key
                .replace(&format!("zoho_cliq:message:{CHANNEL}:"), "");
            (key, signal.normalized["text"].as_str().expect("a text"))
        })
        .collect();
    let time = |suffix: &str| format!("{TIME}{suffix}");
    assert_eq!(
        facts,
        [
            (time(""), "first"),
            (time(":2"), "second"),
            (time(":3"), "third"),
            ((TIME + 1).to_string(), "later"),
        ]
    );
}
