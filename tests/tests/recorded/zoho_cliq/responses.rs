//! Documented responses of Cliq's lists, and recorded errors.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::{Value, json};
use shared::connectors::{Access, ConnectorError, MissingScope, SyncPage};

use super::{account, cliq};
use crate::fixture::{Facts, Fixture, compare};
use crate::folder::Folder;
use crate::report::Tally;
use crate::server::RecordedResponse;

const API: &str = "/us/api/v2";

async fn fixture(responses: &[(&str, &Value)]) -> Fixture {
    let responses: BTreeMap<String, RecordedResponse> = responses
        .iter()
        .map(|(at, body)| (format!("{API}/{at}"), RecordedResponse::of(body)))
        .collect();
    let access = Access {
        account: account(),
        token: "token".into(),
        user_token: None,
    };
    let missing = RecordedResponse {
        status: 404,
        ..RecordedResponse::of(&json!({ "code": "not_found" }))
    };
    Fixture::start(responses, missing, access, cliq).await
}

/// The streams of the root, whose lists have these rows.
async fn list(channels: &Value, chats: &Value) -> Vec<SyncPage> {
    let fixture = fixture(&[("channels", channels), ("chats", chats)]).await;
    let first = fixture.page("chats", None).await.expect("a page");
    let second = fixture.page("chats", Some(first.cursor.clone())).await;
    vec![first, second.expect("a page")]
}

fn has_stream(pages: &[SyncPage], key: &str) -> bool {
    let mut streams = pages.iter().flat_map(|page| &page.streams);
    streams.any(|stream| stream.key == key)
}

async fn check_messages(name: &str, body: &Value, tally: &mut Tally) {
    let fixture = fixture(&[("chats/CT_1/messages", body)]).await;
    let page = fixture.page("chat:CT_1", None).await.expect("a page");
    assert!(page.unreadable_rows.is_empty(), "{name}");
    // Rows of one time are numbered; a repeated id is one message.
    let mut rows: Vec<(i64, &str)> = Vec::new();
    for row in body["data"].as_array().expect("rows") {
        let (time, id) = (row["time"].as_i64(), row["id"].as_str());
        let row = (time.expect("a time"), id.expect("an id"));
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    let mut facts = Facts::new();
    for (number, (time, _)) in rows.iter().enumerate() {
        let before = rows[..number].iter().filter(|row| row.0 == *time).count();
        let suffix = if before == 0 {
            String::new()
        } else {
            format!(":{}", before + 1)
        };
        let key = format!("zoho_cliq:message:CT_1:{time}{suffix}");
        facts.insert(("message_posted".to_owned(), key));
    }
    tally.count("messages", &compare(name, &page, &facts));
    for signal in &page.signals {
        assert!(signal.normalized["text"].is_string(), "{name}");
        assert!(signal.actor.name.is_some(), "{name}");
    }
}

async fn check_channel(name: &str, body: &Value, tally: &mut Tally) {
    let listed = json!({ "channels": [body], "has_more": false });
    let fixture = fixture(&[("channels", &listed)]).await;
    let page = fixture.page("channels", None).await.expect("a page");
    let id = body["channel_id"].as_str().expect("an id");
    let key = format!("zoho_cliq:channel:{id}:created");
    let facts = Facts::from([("channel_created".to_owned(), key)]);
    tally.count("channel", &compare(name, &page, &facts));
    let created = body["creation_time"].as_str().expect("a time");
    let created = DateTime::parse_from_rfc3339(created).expect("a time");
    assert_eq!(page.signals[0].timestamp, created, "{name}");
    let pages = list(&listed, &json!({ "chats": [] })).await;
    let chat = body["chat_id"].as_str().expect("an id");
    assert!(has_stream(&pages, &format!("chat:{chat}")), "{name}");
    assert!(has_stream(&pages, &format!("threads:{id}")), "{name}");
}

async fn check_chats(name: &str, body: &Value, tally: &mut Tally) {
    let pages = list(&json!({ "channels": [] }), body).await;
    for chat in body["chats"].as_array().expect("rows") {
        let key = format!("chat:{}", chat["chat_id"].as_str().expect("an id"));
        assert!(has_stream(&pages, &key), "{name}: {key}");
    }
    tally.count("chats", "listed");
}

/// Checks what an error of the list of channels means.
async fn check_error(name: &str, recorded: &Value, tally: &mut Tally) {
    let status = recorded["status"].as_u64().expect("a status");
    let response = RecordedResponse {
        status: status.try_into().expect("a status"),
        ..RecordedResponse::of(&recorded["body"])
    };
    let access = Access {
        account: account(),
        token: "token".into(),
        user_token: None,
    };
    let fixture = Fixture::start(BTreeMap::new(), response, access, cliq).await;
    let error = fixture.page("chat:CT_1", None).await.expect_err("an error");
    let code = recorded["body"]["code"].as_str().unwrap_or_default();
    let expected = match code {
        "oauthtoken_scope_invalid" | "request_url_invalid" => "permission",
        "request_limit_exceeded" => "rate_limited",
        "oauthtoken_invalid" => "unauthorized",
        _ => "permanent",
    };
    if error.code() != expected {
        tally.fail(format!("{name}: {error:?} instead of {expected}"));
    }
    if let (ConnectorError::Denied { source, .. }, "oauthtoken_scope_invalid") = (&error, code) {
        let missing = source.downcast_ref::<MissingScope>();
        assert_eq!(missing, Some(&MissingScope("ZohoCliq.Messages.READ")));
    }
    tally.count(code, error.code());
}

#[tokio::test]
async fn recorded_responses_yield_their_facts() {
    let Some(folder) = Folder::open() else { return };
    let mut tally = Tally::default();
    let shapes = folder.files("zoho", "shape").into_iter();
    for file in shapes.chain(folder.files("zoho", "recorded")) {
        if !file.name.contains("cliq") {
            continue;
        }
        let (name, body) = (&file.name, file.json());
        if file.event == "error" {
            check_error(name, &body, &mut tally).await;
        } else if body["chats"].is_array() {
            check_chats(name, &body, &mut tally).await;
        } else if name.ends_with("chats-CHAT_ID-messages.json") {
            check_messages(name, &body, &mut tally).await;
        } else if body["channel_id"].is_string() {
            check_channel(name, &body, &mut tally).await;
        } else {
            tally.skip("no response to a call of the connector");
        }
    }
    tally.finish("documented and recorded responses of Cliq");
}
