//! JSON of accounts, folders, messages and deliveries.
//!
//! Rows of messages have strings only, with entities; deliveries have numbers and plain text.

use serde_json::{Map, Value, json};

use super::content::{Content, addresses, entities};
use super::folder::Folder;
use super::mailbox::{Mailbox, Message};

/// Text of a row without copies.
const NOT_PROVIDED: &str = "Not Provided";

/// Longest summary of a message, in characters.
const SUMMARY_LENGTH: usize = 160;

pub(super) fn account(mailbox: &Mailbox) -> Value {
    let (id, address) = (mailbox.account_id.to_string(), &mailbox.party.address);
    let name = &mailbox.party.name;
    json!({
        "accountId": id, "zuid": mailbox.zuid, "type": "ZOHO_ACCOUNT", "accountName": address,
        "accountDisplayName": name, "displayName": name, "primaryEmailAddress": address,
        "mailboxAddress": address, "incomingBlocked": false, "enabled": true, "status": true,
        "timeZone": mailbox.data_center.time_zone().0,
        "emailAddress": [{
            "mailId": address, "isPrimary": true, "isAlias": false, "isConfirmed": true,
        }],
        "sendMailDetails": [{
            "sendMailId": id, "fromAddress": address, "displayName": name, "status": true,
        }],
    })
}

/// A folder; `url` is the address of the account's folders.
pub(super) fn folder(folder: &Folder, url: &str) -> Value {
    json!({
        "path": format!("/{}", folder.name), "isArchived": 0, "folderName": folder.name,
        "imapAccess": true, "folderType": folder.kind.name(),
        "URI": format!("{url}/{}", folder.id), "folderId": folder.id.to_string(),
    })
}

/// Time at which a message was sent, in milliseconds.
///
/// The field is named for GMT, and is off by the difference of the owner's time zone.
fn sent_date(mailbox: &Mailbox, message: &Message) -> i64 {
    let sent = message.received.div_euclid(1_000) - 3;
    (sent - mailbox.utc_offset()) * 1_000
}

fn summary(content: &Content) -> String {
    content.text.chars().take(SUMMARY_LENGTH).collect()
}

/// A message as a row of a view, with its recipients if they are asked for.
pub(super) fn row(mailbox: &Mailbox, message: &Message, has_recipients: bool) -> Value {
    let content = mailbox.content(message);
    let flag = |value: bool| if value { "1" } else { "0" };
    let mut row = json!({
        "messageId": message.id.to_string(), "folderId": message.folder.to_string(),
        "subject": entities(&content.subject), "fromAddress": entities(&content.from.address),
        "sender": entities(content.from.display_name()), "summary": entities(&summary(&content)),
        "receivedTime": message.received.to_string(),
        "sentDateInGMT": sent_date(mailbox, message).to_string(),
        "status": flag(message.is_read), "status2": "0", "flagid": "flag_not_set",
        "priority": "3", "hasAttachment": flag(content.has_attachment), "hasInline": "false",
        "size": content.size().to_string(), "calendarType": 0,
    });
    if has_recipients {
        row["toAddress"] = json!(entities(&addresses(&content.to)));
        row["ccAddress"] = match content.cc.as_slice() {
            [] => json!(NOT_PROVIDED),
            copies => json!(entities(&addresses(copies))),
        };
    }
    let thread = message.thread.or(message.is_outgoing.then_some(message.id));
    if let Some(thread) = thread {
        row["threadId"] = json!(thread.to_string());
        row["threadCount"] = json!(mailbox.thread_size(thread).to_string());
    }
    if message.is_outgoing {
        row["toAddr"] = json!(entities(&addresses(&content.to)));
        row["mailDeliveryStatus"] = json!("1");
    }
    row
}

/// Headers of a message, each with its values.
pub(super) fn headers(mailbox: &Mailbox, message: &Message) -> Value {
    let content = mailbox.content(message);
    let date = chrono::DateTime::from_timestamp_millis(message.received).unwrap_or_default();
    let mut headers = Map::new();
    let mut add = |name: &str, value: String| headers.insert(name.to_owned(), json!([value]));
    add("Date", date.to_rfc2822());
    add("From", addresses(&[content.from]));
    add("To", addresses(&content.to));
    if !content.cc.is_empty() {
        add("Cc", addresses(&content.cc));
    }
    add("Subject", content.subject);
    add("Message-ID", format!("<{:x}@mail.example>", message.id));
    add("MIME-Version", "1.0".to_owned());
    json!({ "headerContent": headers })
}

/// Body of a message as a page.
fn html(content: &Content) -> String {
    format!("<div>{}</div>", entities(&content.text))
}

pub(super) fn content(mailbox: &Mailbox, message: &Message) -> Value {
    let content = mailbox.content(message);
    json!({ "messageId": message.id.to_string(), "content": html(&content) })
}

/// Body of the delivery of a received message.
///
/// Without the id as a string it has the form of Zoho's page, otherwise that of recorded
/// deliveries, which leave out absent copies.
pub(super) fn delivery(
    mailbox: &Mailbox,
    message: &Message,
    integrations: &str,
    has_id_string: bool,
) -> Value {
    let content = mailbox.content(message);
    let mut body = json!({
        "summary": entities(&summary(&content)), "sentDateInGMT": sent_date(mailbox, message),
        "subject": content.subject, "messageId": message.id, "folderId": message.folder,
        "toAddress": addresses(&content.to), "zuid": mailbox.zuid, "size": content.size(),
        "sender": content.from.display_name(), "receivedTime": message.received,
        "fromAddress": content.from.address, "html": html(&content), "IntegIdList": integrations,
    });
    if has_id_string {
        body["Mode"] = json!(0);
        body["messageIdString"] = json!(message.id.to_string());
    }
    if !(has_id_string && content.cc.is_empty()) {
        body["ccAddress"] = json!(addresses(&content.cc));
    }
    body
}

/// Body of the delivery of a new task.
pub(super) fn task(mailbox: &Mailbox, id: u64, title: &str, integrations: &str) -> Value {
    json!({
        "entityId": id, "entityType": "task", "action": "add", "nameSpaceId": mailbox.zuid,
        "title": title, "status": "In Progress", "ownerZuid": mailbox.zuid,
        "IntegIdList": integrations,
    })
}
