//! Payloads of extensions and of Deluge handlers, sent with the connection's secret.

use bytes::Bytes;
use chrono::DateTime;
use serde_json::Value;
use shared::connectors::{AccountChange, Directory, VerifyError};
use shared::model::ConnectionId;

use super::{account, cliq};
use crate::folder::Folder;
use crate::provider::{SECRET, handle, headers, keys, kinds, try_verify};
use crate::report::Tally;

/// A time in milliseconds: a number, or its digits.
fn milliseconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Expected outcome of a payload, by the Signal catalogue.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    /// A message of a chat, with its time.
    Message(String),
    /// A message that the payload does not identify.
    Unidentified,
    /// The list of streams may have changed.
    StreamsChanged,
    /// No kind.
    Nothing,
}

fn expected(payload: &Value) -> Expected {
    let handler = payload["handler"]["type"].as_str();
    let handler = handler.or(payload["handler"].as_str()).unwrap_or_default();
    let params = if payload["params"].is_object() {
        &payload["params"]
    } else {
        payload
    };
    let time = match handler.trim_end_matches("_handler") {
        "participation" => match params["operation"].as_str() {
            Some("added" | "removed") => return Expected::StreamsChanged,
            Some("message_sent") => milliseconds(&params["data"]["time"]),
            _ => return Expected::Nothing,
        },
        "mention" | "message" => milliseconds(&params["message"]["time"])
            .or_else(|| milliseconds(&params["message_details"]["time"])),
        _ => return Expected::Nothing,
    };
    match (time, params["chat"]["id"].as_str()) {
        (Some(time), Some(chat)) => Expected::Message(format!("zoho_cliq:message:{chat}:{time}")),
        _ => Expected::Unidentified,
    }
}

#[test]
fn recorded_deliveries_become_facts() {
    let Some(folder) = Folder::open() else { return };
    let mut tally = Tally::default();
    let connection = ConnectionId::generate();
    for file in folder.files("zoho", "webhook") {
        if file.event.starts_with("mail.") || file.extension() != "json" {
            continue;
        }
        let payload = file.json();
        let sent = milliseconds(&payload["timestamp"]).unwrap_or(1_800_000_000_000);
        let now = DateTime::from_timestamp_millis(sent).expect("a time");
        let connector = cliq("http://localhost:1", now);
        let headers = headers([("x-connector-token", SECRET)]);
        let body = Bytes::from(payload.to_string());
        let receipt = try_verify(&*connector, &headers, &body, Some(connection));
        let receipt = receipt.expect("a genuine delivery");
        assert_eq!(&receipt.acknowledgement.body[..], b"{}", "{}", file.name);
        let at_the_app = try_verify(&*connector, &headers, &body, None);
        assert_eq!(at_the_app.err(), Some(VerifyError::NotConfigured));

        let directory = Directory::default();
        let outcome = handle(&*connector, &headers, &body, &account(), &directory);
        let expected = expected(&payload);
        let actual = match (&keys(&outcome)[..], &outcome.refused, &outcome.changes[..]) {
            ([key], None, []) => Expected::Message((*key).to_owned()),
            ([], Some(_), []) => Expected::Unidentified,
            ([], None, [AccountChange::StreamsChanged { .. }]) => Expected::StreamsChanged,
            ([], None, []) => Expected::Nothing,
            other => panic!("{}: {other:?}", file.name),
        };
        if actual != expected {
            tally.fail(format!("{}: {actual:?} instead of {expected:?}", file.name));
        }
        let result = match &expected {
            Expected::Message(_) => kinds(&outcome).join(", "),
            other => format!("{other:?}"),
        };
        tally.count(&receipt.event, &result);
    }
    tally.finish("recorded deliveries of Cliq");
}
