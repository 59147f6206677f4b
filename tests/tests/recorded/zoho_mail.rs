//! Recordings of Zoho Mail: deliveries of the outgoing webhook, and responses of the API.
//!
//! The expected keys follow the tables of the Signal catalogue, from the JSON of the payloads.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use shared::connectors::{Access, Connector, Directory};
use shared::model::{ConnectionId, ExternalAccount};

use crate::exchanges::{self, Exchange};
use crate::fixture::{Facts, Fixture, compare};
use crate::folder::{Folder, Recorded};
use crate::provider::{SECRET, connector_at, handle, headers, hmac_hex, try_verify};
use crate::report::Tally;
use crate::server::RecordedResponse;

const MAILBOX: &str = "4845214000000008002";

/// A connector with a base URL of Zoho.
fn zoho_mail(base: &str, now: DateTime<Utc>) -> Arc<dyn Connector> {
    let settings = [
        ("POBLYSH_ZOHO_CLIENT_ID", "client"),
        (
            "POBLYSH_ZOHO_CLIENT_SECRET",
            "the client secret of these tests",
        ),
        ("POBLYSH_ZOHO_BASE_URL", base),
    ];
    connector_at("zoho_mail", &settings, now)
}

/// The account of a person, by number.
fn account(zuid: &str) -> ExternalAccount {
    ExternalAccount {
        settings: json!({
            "data_center": "us", "zuid": zuid, "account_id": MAILBOX, "address": "ada@example.com",
        }),
        ..ExternalAccount::from_route(&format!("us:{zuid}"))
    }
}

fn access() -> Access {
    Access {
        account: account("1"),
        token: "token".into(),
        user_token: None,
    }
}

/// Recordings of Zoho Mail.
fn files(folder: &Folder, kind: &str) -> Vec<Recorded> {
    let mut files = folder.files("zoho", kind);
    files.retain(|file| file.name.contains("mail"));
    files
}

/// The digits of a number or a text. Numbers of these recordings fit into 64 bits.
fn digits(value: &Value) -> Option<String> {
    let text = match value {
        Value::Number(number) => number.as_u64()?.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(text)
}

/// The key of a mail; the exact id comes first.
fn expected_key(mail: &Value) -> Option<String> {
    let id = digits(&mail["messageIdString"]).or_else(|| digits(&mail["messageId"]))?;
    Some(format!("zoho_mail:{MAILBOX}:message:{id}"))
}

#[test]
fn recorded_deliveries_yield_their_facts() {
    let Some(folder) = Folder::open() else { return };
    let connector = zoho_mail("http://localhost:1", SystemClock.now());
    let connection = ConnectionId::generate();
    let mut tally = Tally::default();
    for file in files(&folder, "webhook") {
        if file.extension() != "json" {
            continue;
        }
        let (body, mail) = (file.bytes(), file.json());
        let signature = hex::decode(hmac_hex(SECRET, &[&body])).expect("hex digits");
        let signature = STANDARD.encode(signature);
        let headers = headers([("x-hook-signature", signature.as_str())]);
        let receipt = try_verify(&*connector, &headers, &body, Some(connection));
        let receipt = receipt.expect("a genuine delivery");
        let stored = receipt.stored_body.expect("a body");
        let text = String::from_utf8(stored.to_vec()).expect("text");
        assert!(
            !text.contains("\"html\"") && !text.contains("\"summary\""),
            "{text}"
        );
        let zuid = digits(&mail["zuid"]).expect("a person");
        let directory = Directory::default();
        let outcome = handle(&*connector, &headers, &stored, &account(&zuid), &directory);
        let [signal] = &outcome.signals[..] else {
            tally.fail(format!("{}: {outcome:?}", file.name));
            continue;
        };
        assert_eq!(
            Some(&signal.dedupe_key),
            expected_key(&mail).as_ref(),
            "{}",
            file.name
        );
        assert_eq!(signal.kind.as_str(), "email_received");
        let received = mail["receivedTime"].as_i64();
        assert_eq!(Some(signal.timestamp.timestamp_millis()), received);
        let folder = digits(&mail["folderId"]);
        assert_eq!(signal.normalized["folder"].as_str(), folder.as_deref());
        let sender = mail["fromAddress"].as_str();
        assert_eq!(signal.actor.id.as_deref(), sender, "{}", file.name);
        let other = handle(&*connector, &headers, &stored, &account("7"), &directory);
        assert!(other.signals.is_empty() && other.refused.is_some());
        tally.count("delivery", signal.kind.as_str());
    }
    tally.finish("recorded deliveries of Zoho Mail");
}

/// The mails in a response.
fn collect_mails(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(_) if value["receivedTime"].is_string() => found.push(value.clone()),
        Value::Object(members) => members.values().for_each(|one| collect_mails(one, found)),
        Value::Array(elements) => elements.iter().for_each(|one| collect_mails(one, found)),
        _ => {}
    }
}

/// Starts a mailbox that sends this response to a call.
async fn mailbox(path: &str, response: RecordedResponse) -> Fixture {
    let responses = BTreeMap::from([(format!("/us/api/accounts/{path}"), response)]);
    let not_found = json!({ "status": { "code": 404, "description": "Invalid Input" } });
    let not_found = RecordedResponse {
        status: 404,
        ..RecordedResponse::of(&not_found)
    };
    Fixture::start(responses, not_found, access(), zoho_mail).await
}

/// Reads recorded mails as the last page of a folder.
async fn check_mails(file: &Recorded, mails: &[Value], tally: &mut Tally) {
    let list = json!({ "status": { "code": 200, "description": "success" }, "data": mails });
    let path = format!("{MAILBOX}/messages/view");
    let fixture = mailbox(&path, RecordedResponse::of(&list)).await;
    let page = fixture.page("folder:7", None).await.expect("a page");
    let facts: Facts = mails
        .iter()
        .filter_map(expected_key)
        .map(|key| ("email_received".to_owned(), key))
        .collect();
    assert!(
        page.unreadable_rows.is_empty(),
        "{:?}",
        page.unreadable_rows
    );
    tally.count("mails", &compare(&file.name, &page, &facts));
    for signal in &page.signals {
        assert!(!signal.raw.get().contains("\"summary\""), "{}", file.name);
        let cc = signal.normalized["cc"].as_array().expect("a list");
        assert!(cc.iter().all(|address| address != "Not Provided"));
        let to = signal.normalized["to"].as_array().expect("a list");
        let is_address = |one: &Value| {
            one.as_str()
                .is_some_and(|text| text.contains('@') && !text.contains('&'))
        };
        assert!(to.iter().all(is_address), "{to:?}");
    }
}

/// Reads a recorded folder as the only one.
async fn check_folder(exchange: &Exchange, folder: &Value, tally: &mut Tally) {
    let list = json!({ "status": { "code": 200, "description": "success" }, "data": [folder] });
    let path = format!("{MAILBOX}/folders");
    let fixture = mailbox(&path, RecordedResponse::of(&list)).await;
    let page = fixture.page("folders", None).await.expect("a page");
    let id = digits(&folder["folderId"]).expect("an id");
    assert_eq!(
        page.streams[0].key,
        format!("folder:{id}"),
        "{}",
        exchange.source
    );
    tally.count("folders", "read");
}

#[tokio::test]
async fn recorded_responses_yield_their_facts() {
    let Some(folder) = Folder::open() else { return };
    let mut tally = Tally::default();
    for file in files(&folder, "recorded") {
        let mut mails = Vec::new();
        let mut is_read = false;
        for exchange in exchanges::read(&file) {
            let data = &exchange.body["data"];
            if data["folderType"].is_string() {
                check_folder(&exchange, data, &mut tally).await;
                is_read = true;
            }
            collect_mails(data, &mut mails);
        }
        if !mails.is_empty() {
            check_mails(&file, &mails, &mut tally).await;
        } else if !is_read {
            tally.skip("no response to a call of the connector");
        }
    }
    tally.finish("recorded Zoho Mail responses, by kind");
}
