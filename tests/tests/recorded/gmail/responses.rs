//! Recorded responses of the Gmail API.
//!
//! Messages were recorded with their bodies, as the API returns them with other parameters. They are
//! put into a list of the first read.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde_json::{Value, json};
use shared::connectors::Access;
use shared::model::ExternalAccount;

use super::gmail;
use crate::exchanges::{self, Exchange};
use crate::fixture::{Facts, Fixture, compare};
use crate::folder::{Folder, Recorded};
use crate::report::Tally;
use crate::server::RecordedResponse;

const SUB: &str = "110248495921238986420";
const MAILBOX: &str = "/gmail/v1/users/me";

fn access() -> Access {
    Access {
        account: ExternalAccount {
            settings: json!({ "address": "ada@example.com" }),
            ..ExternalAccount::from_route(SUB)
        },
        token: "token".into(),
        user_token: None,
    }
}

/// Recordings of Gmail.
fn files(folder: &Folder) -> Vec<Recorded> {
    let mut files = folder.files("google", "recorded");
    files.retain(|file| file.name.contains("mail"));
    files
}

/// Collects the messages in a response, also those within threads and drafts.
fn collect_messages(value: &Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            let is_message = value["internalDate"].is_string() || value["payload"].is_object();
            if let Some(id) = value["id"].as_str().filter(|_| is_message) {
                found.insert(id.to_owned(), value.clone());
                return;
            }
            for member in members.values() {
                collect_messages(member, found);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                collect_messages(element, found);
            }
        }
        _ => {}
    }
}

/// The Signal of a message, by the Signal catalogue.
fn expected_fact(id: &str, message: &Value) -> Option<(String, String)> {
    let labels: Vec<&str> = message["labelIds"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let milliseconds: i64 = message["internalDate"].as_str()?.parse().ok()?;
    DateTime::from_timestamp_millis(milliseconds)?;
    if labels
        .iter()
        .any(|label| ["DRAFT", "SPAM", "CHAT"].contains(label))
    {
        return None;
    }
    let kind = if labels.contains(&"SENT") {
        "email_sent"
    } else {
        "email_received"
    };
    Some((kind.to_owned(), format!("gmail:{SUB}:message:{id}")))
}

/// Starts a mailbox whose list has these messages.
async fn mailbox(messages: &BTreeMap<String, Value>, list: Value) -> Fixture {
    let mut responses: BTreeMap<String, RecordedResponse> = messages
        .iter()
        .map(|(id, message)| {
            (
                format!("{MAILBOX}/messages/{id}"),
                RecordedResponse::of(message),
            )
        })
        .collect();
    let profile = json!({ "emailAddress": "ada@example.com", "historyId": "1" });
    responses.insert(format!("{MAILBOX}/profile"), RecordedResponse::of(&profile));
    responses.insert(format!("{MAILBOX}/messages"), RecordedResponse::of(&list));
    let gone = json!({ "error": { "code": 404, "errors": [{ "reason": "notFound" }] } });
    let gone = RecordedResponse {
        status: 404,
        ..RecordedResponse::of(&gone)
    };
    Fixture::start(responses, gone, access(), gmail).await
}

async fn check_messages(file: &Recorded, messages: &BTreeMap<String, Value>, tally: &mut Tally) {
    let ids = messages
        .keys()
        .map(|id| json!({ "id": id, "threadId": id }));
    let list = json!({ "messages": ids.collect::<Vec<_>>() });
    let fixture = mailbox(messages, list).await;
    let page = fixture.page("messages", None).await.expect("a page");
    let facts: Facts = messages
        .iter()
        .filter_map(|(id, message)| expected_fact(id, message))
        .collect();
    let undated = messages
        .values()
        .filter(|message| message["internalDate"].is_null())
        .count();
    assert_eq!(page.unreadable_rows.len(), undated, "{}", file.name);
    tally.count("messages", &compare(&file.name, &page, &facts));
    for signal in &page.signals {
        let message = &messages[&signal.subject.id];
        let header = |name: &str| {
            let headers = message["payload"]["headers"].as_array()?;
            let mut named = headers.iter().filter(|header| {
                header["name"]
                    .as_str()
                    .is_some_and(|other| other.eq_ignore_ascii_case(name))
            });
            named.find_map(|header| header["value"].as_str().filter(|value| !value.is_empty()))
        };
        let sender = header("From");
        assert_eq!(sender.is_some(), signal.actor.id.is_some(), "{}", file.name);
        if let (Some(sender), Some(id)) = (sender, &signal.actor.id) {
            assert!(sender.to_lowercase().contains(id), "{}: {id}", file.name);
        }
        assert_eq!(
            header("Subject").is_some(),
            signal.subject.title.is_some(),
            "{}",
            file.name
        );
        let normalized = signal.normalized.to_string();
        for text in [normalized.as_str(), signal.raw.get()] {
            let fields = ["\"snippet\":", "\"body\":", "\"parts\":", "\"raw\":"];
            assert!(!fields.iter().any(|field| text.contains(field)), "{text}");
        }
    }
}

/// Reads the first page of a recorded list whose messages have been deleted since.
async fn check_list(exchange: &Exchange, tally: &mut Tally) {
    let fixture = mailbox(&BTreeMap::new(), exchange.body.clone()).await;
    let page = fixture.page("messages", None).await.expect("a page");
    assert!(page.signals.is_empty(), "{}", exchange.source);
    assert_eq!(
        page.has_more,
        exchange.body["nextPageToken"].is_string(),
        "{}",
        exchange.source
    );
    tally.count("lists", "read");
}

/// The status of an error response. If it was not recorded, the body states it.
fn error_status(exchange: &Exchange) -> Option<u16> {
    if exchange.status >= 400 {
        return Some(exchange.status);
    }
    if exchange
        .body
        .as_str()
        .is_some_and(|text| text.contains("<b>404.</b>"))
    {
        return Some(404);
    }
    let stated = exchange.body["error"]["code"].as_u64()?;
    stated.try_into().ok()
}

/// Checks what an error means for a read of the history.
async fn check_error(exchange: &Exchange, status: u16, tally: &mut Tally) {
    let response = RecordedResponse {
        status,
        ..exchange.response()
    };
    let fixture = Fixture::start(BTreeMap::new(), response, access(), gmail).await;
    let cursor = json!({ "floor": "2026-01-01T00:00:00Z", "history": "7" });
    let error = fixture
        .page("messages", Some(cursor))
        .await
        .expect_err("an error");
    let expected = match status {
        404 if exchange.body["error"].is_object() => "cursor_expired",
        401 => "unauthorized",
        403 | 404 => "permission",
        429 => "rate_limited",
        500.. => "transient",
        _ => "permanent",
    };
    if error.code() != expected {
        tally.fail(format!(
            "{}: {error:?} instead of {expected}",
            exchange.source
        ));
    }
    tally.count(&format!("status {status}"), error.code());
}

#[tokio::test]
async fn recorded_responses_yield_their_facts() {
    let Some(folder) = Folder::open() else { return };
    let mut tally = Tally::default();
    let mut known = BTreeSet::new();
    for file in files(&folder) {
        let mut messages = BTreeMap::new();
        for exchange in exchanges::read(&file) {
            // A file of an error may have its status beside the body.
            let inner = &exchange.body["body"];
            let exchange = Exchange {
                status: exchange.body["status"]
                    .as_u64()
                    .map_or(exchange.status, |status| {
                        status.try_into().expect("a status")
                    }),
                body: if inner.is_object() {
                    inner.clone()
                } else {
                    exchange.body.clone()
                },
                ..exchange
            };
            if let Some(status) = error_status(&exchange) {
                check_error(&exchange, status, &mut tally).await;
            } else if exchange.body["messages"][0]["threadId"].is_string()
                && exchange.body["messages"][0]["payload"].is_null()
            {
                check_list(&exchange, &mut tally).await;
            } else {
                collect_messages(&exchange.body, &mut messages);
            }
        }
        if messages.is_empty() {
            tally.skip("no response to a call of the connector");
            continue;
        }
        known.extend(messages.keys().cloned());
        check_messages(&file, &messages, &mut tally).await;
    }
    assert!(known.len() > 10, "{known:?}");
    tally.finish("recorded Gmail responses, by kind");
}
