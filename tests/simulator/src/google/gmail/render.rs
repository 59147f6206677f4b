//! Messages and threads as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};

use super::id::hex;
use super::mailbox::{Mailbox, Message};

/// Maximum number of characters of a snippet.
const MAX_SNIPPET: usize = 200;

/// Parts of a message in a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    Minimal,
    /// Headers; all of them if no name is given.
    Metadata(Vec<String>),
    Full,
    Raw,
}

/// Ids of a message and its thread.
pub(crate) fn ids_json(message: u64, thread: u64) -> Value {
    json!({ "id": hex(message), "threadId": hex(thread) })
}

/// A message in a format.
pub(crate) fn message_json(message: &Message, mailbox: &Mailbox, format: &Format) -> Value {
    let content = mailbox.content(message);
    let headers = content.headers(&mailbox.origin(message));
    let raw = raw_text(&headers, &content.text);
    let mut row = ids_json(message.id, message.thread);
    row["labelIds"] = json!(mailbox.names.ids(message.labels));
    row["snippet"] = json!(snippet(&content.text));
    match format {
        Format::Minimal => {}
        Format::Metadata(names) => {
            let is_selected = |name: &str| {
                let mut names = names.iter();
                names.len() == 0 || names.any(|one| one.eq_ignore_ascii_case(name))
            };
            let headers = headers.iter().filter(|(name, _)| is_selected(name));
            let mut payload = json!({ "mimeType": "text/plain" });
            let headers: Vec<Value> = headers.map(header_json).collect();
            // Gmail omits empty lists.
            if !headers.is_empty() {
                payload["headers"] = json!(headers);
            }
            row["payload"] = payload;
        }
        Format::Full => {
            let headers: Vec<Value> = headers.iter().map(header_json).collect();
            row["payload"] = json!({
                "partId": "", "mimeType": "text/plain", "filename": "", "headers": headers,
                "body": { "size": content.text.len(), "data": URL_SAFE.encode(&content.text) },
            });
        }
        Format::Raw => row["raw"] = json!(URL_SAFE.encode(&raw)),
    }
    row["sizeEstimate"] = json!(raw.len());
    row["historyId"] = json!(message.history_id.to_string());
    row["internalDate"] = json!(message.internal_date.to_string());
    row
}

fn header_json((name, value): &(String, String)) -> Value {
    json!({ "name": name, "value": value })
}

fn raw_text(headers: &[(String, String)], text: &str) -> String {
    let mut raw = String::new();
    for (name, value) in headers {
        raw.extend([name, ": ", value, "\r\n"]);
    }
    raw.extend(["\r\n", text]);
    raw
}

/// Beginning of a text on one line, with entities of HTML.
fn snippet(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().take(MAX_SNIPPET).collect();
    line.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// A thread with its messages.
pub(crate) fn thread_json(thread: u64, mailbox: &Mailbox, format: &Format) -> Option<Value> {
    let newest = mailbox
        .thread(thread)
        .map(|message| message.history_id)
        .max()?;
    let messages: Vec<Value> = mailbox
        .thread(thread)
        .map(|message| message_json(message, mailbox, format))
        .collect();
    Some(json!({ "id": hex(thread), "historyId": newest.to_string(), "messages": messages }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::google::gmail::labels::Labels;

    fn sample() -> (Mailbox, u64) {
        let mut mailbox = Mailbox::new("1", "a@team.example", 1, 7);
        let id = mailbox.new_id(1_795_428_000_000);
        let message = Message {
            id,
            thread: id,
            labels: Labels::INBOX.with(Labels::UNREAD),
            internal_date: 1_795_428_000_000,
            history_id: 0,
            fact: None,
            written: None,
        };
        mailbox.add(message, 1_795_428_000);
        (mailbox, id)
    }

    #[test]
    fn formats_have_their_own_parts() {
        let (mailbox, id) = sample();
        let row = |format: Format| message_json(&mailbox.messages[&id], &mailbox, &format);
        let minimal = row(Format::Minimal);
        assert!(minimal.get("payload").is_none() && minimal.get("raw").is_none());
        assert_eq!(minimal["internalDate"], "1795428000000");
        assert!(minimal["historyId"].is_string());
        assert!(
            minimal["snippet"]
                .as_str()
                .is_some_and(|text| text.starts_with("It&#39;s"))
        );
        let metadata = row(Format::Metadata(vec![
            "SUBJECT".to_owned(),
            "x-none".to_owned(),
        ]));
        let headers = metadata["payload"]["headers"].as_array().expect("headers");
        for header in headers {
            let name = header["name"].as_str().expect("a name");
            assert!(name.eq_ignore_ascii_case("subject"), "{name}");
        }
        assert!(metadata["payload"].get("body").is_none());
        let all = row(Format::Metadata(Vec::new()));
        let full = row(Format::Full);
        assert_eq!(all["payload"]["headers"], full["payload"]["headers"]);
        let data = full["payload"]["body"]["data"].as_str().expect("data");
        let text = URL_SAFE.decode(data).expect("base64");
        assert!(text.starts_with(b"It's"));
        let raw = row(Format::Raw);
        let size = raw["sizeEstimate"].as_u64().expect("a size");
        let raw = URL_SAFE
            .decode(raw["raw"].as_str().expect("data"))
            .expect("base64");
        assert_eq!(raw.len() as u64, size);
    }

    #[test]
    fn payload_without_selected_headers_has_none() {
        let (mailbox, id) = sample();
        let format = Format::Metadata(vec!["x-none".to_owned()]);
        let row = message_json(&mailbox.messages[&id], &mailbox, &format);
        assert_eq!(row["payload"], json!({ "mimeType": "text/plain" }));
    }
}
