//! Profile, messages, threads and labels.

use serde_json::{Value, json};

use super::errors::{forbidden, invalid_argument, not_found};
use super::id::parse_hex;
use super::labels::Labels;
use super::mailbox::{Mailbox, Message};
use super::render::{Format, ids_json, message_json, thread_json};
use super::search::Search;
use super::settings::Settings;
use crate::google::api::Call;
use crate::google::error::ApiError;

const DEFAULT_PAGE_SIZE: usize = 100;
const MAX_PAGE_SIZE: usize = 500;
/// Largest estimate of a list's size.
const MAX_ESTIMATE: usize = 201;

/// Access of a token to the content of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The scope `gmail.metadata` was granted, also together with others.
    Metadata,
    Content,
}

/// Number of rows of a page.
pub(super) fn page_size(call: &Call<'_>, settings: &Settings) -> Result<usize, ApiError> {
    let max = MAX_PAGE_SIZE.min(settings.max_page_size.max(1));
    call.page_size("maxResults", DEFAULT_PAGE_SIZE, max)
}

pub(super) fn profile(mailbox: &Mailbox) -> Value {
    json!({
        "emailAddress": mailbox.address, "messagesTotal": mailbox.messages.len(),
        "threadsTotal": mailbox.thread_count(), "historyId": mailbox.history_id().to_string(),
    })
}

/// Token of the page that begins after a message.
fn page_token(last: &Message) -> String {
    format!("{:014}{:020}", last.internal_date, last.id)
}

fn parse_page_token(token: &str) -> Option<(i64, u64)> {
    let (date, id) = token.split_at_checked(14)?;
    Some((date.parse().ok()?, id.parse().ok()?))
}

/// Responds to `messages.list`.
pub(super) fn list(
    mailbox: &Mailbox,
    call: &Call<'_>,
    settings: &Settings,
    access: Access,
) -> Result<Value, ApiError> {
    let query = call.text("q");
    if query.is_some() && access == Access::Metadata {
        return Err(forbidden("Metadata scope does not support 'q' parameter"));
    }
    let size = page_size(call, settings)?;
    let mut wanted = Labels::NONE;
    for id in call.texts("labelIds") {
        let label = mailbox.names.by_id(id);
        wanted = wanted.with(label.ok_or_else(|| invalid_argument("Invalid label: ", id))?);
    }
    let before = match call.text("pageToken") {
        None => None,
        Some(token) => {
            let position = parse_page_token(token);
            Some(position.ok_or_else(|| invalid_argument("Invalid pageToken", ""))?)
        }
    };
    let search = Search::parse(query.unwrap_or_default(), &mailbox.names);
    let hidden = Labels::SPAM.with(Labels::TRASH);
    let shows_hidden = call.flag("includeSpamTrash")?
        || wanted.has_any(hidden)
        || search.includes_spam_and_trash();
    let mut rows = mailbox.newest_first(before).filter(|message| {
        message.labels.has_all(wanted)
            && (shows_hidden || !message.labels.has_any(hidden))
            && search.matches(message, mailbox)
    });
    let page: Vec<&Message> = rows.by_ref().take(size).collect();
    let more = rows.take(MAX_ESTIMATE).count();
    let mut response = json!({});
    if !page.is_empty() {
        let ids = page
            .iter()
            .map(|message| ids_json(message.id, message.thread));
        response["messages"] = ids.collect();
    }
    if let Some(last) = page.last().filter(|_| more > 0) {
        response["nextPageToken"] = json!(page_token(last));
    }
    response["resultSizeEstimate"] = json!((page.len() + more).min(MAX_ESTIMATE.max(page.len())));
    Ok(response)
}

/// Format of a request, which the scope may refuse.
fn format(call: &Call<'_>, access: Access) -> Result<Format, ApiError> {
    let names = || call.texts("metadataHeaders").map(str::to_owned).collect();
    let text = call.text("format").unwrap_or("full").to_lowercase();
    let format = match text.as_str() {
        "minimal" => Format::Minimal,
        "metadata" => Format::Metadata(names()),
        "full" => Format::Full,
        "raw" => Format::Raw,
        other => return Err(invalid_argument("Invalid format: ", other)),
    };
    if access == Access::Metadata && matches!(format, Format::Full | Format::Raw) {
        let name = text.to_uppercase();
        return Err(forbidden(format!(
            "Metadata scope doesn't allow format {name}"
        )));
    }
    Ok(format)
}

/// Responds to `messages.get`.
pub(super) fn get(
    mailbox: &Mailbox,
    id: &str,
    call: &Call<'_>,
    access: Access,
) -> Result<Value, ApiError> {
    let format = format(call, access)?;
    let id = parse_hex(id).ok_or_else(|| invalid_argument("Invalid id value", ""))?;
    let message = mailbox.messages.get(&id).ok_or_else(not_found)?;
    Ok(message_json(message, mailbox, &format))
}

/// Responds to `threads.get`.
pub(super) fn thread(
    mailbox: &Mailbox,
    id: &str,
    call: &Call<'_>,
    access: Access,
) -> Result<Value, ApiError> {
    let format = format(call, access)?;
    let id = parse_hex(id).ok_or_else(|| invalid_argument("Invalid id value", ""))?;
    thread_json(id, mailbox, &format).ok_or_else(not_found)
}

/// Responds to `labels.list`.
pub(super) fn labels(mailbox: &Mailbox) -> Value {
    let labels = mailbox.names.all().into_iter().map(|(_, label)| label);
    json!({ "labels": labels.collect::<Vec<_>>() })
}

/// Responds to `labels.get`.
pub(super) fn label(mailbox: &Mailbox, id: &str) -> Result<Value, ApiError> {
    let wanted = mailbox.names.by_id(id).ok_or_else(not_found)?;
    let mut all = mailbox.names.all().into_iter();
    let (_, mut label) = all.find(|(one, _)| *one == wanted).ok_or_else(not_found)?;
    let counts = |needed: Labels| {
        let found = mailbox.messages.values();
        let found = found.filter(|message| message.labels.has_all(needed));
        let mut threads: Vec<u64> = found.map(|message| message.thread).collect();
        let messages = threads.len();
        threads.sort_unstable();
        threads.dedup();
        (messages, threads.len())
    };
    let (total, unread) = (counts(wanted), counts(wanted.with(Labels::UNREAD)));
    label["messagesTotal"] = json!(total.0);
    label["messagesUnread"] = json!(unread.0);
    label["threadsTotal"] = json!(total.1);
    label["threadsUnread"] = json!(unread.1);
    Ok(label)
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;
    use crate::google::gmail::id::hex;
    use crate::google::gmail::tests::with_call;

    const NOW: i64 = 1_795_428_000;

    fn mailbox() -> Mailbox {
        let mut mailbox = Mailbox::new("1", "a@team.example", 1, 7);
        for number in 0..30 {
            let id = mailbox.new_id((NOW + number) * 1_000);
            let labels = match number % 10 {
                0 => Labels::SPAM,
                1 => Labels::TRASH,
                2 => Labels::NONE,
                _ => Labels::INBOX.with(Labels::UNREAD),
            };
            let message = Message {
                id,
                thread: id,
                labels,
                internal_date: (NOW + number / 2) * 1_000,
                history_id: 0,
                fact: None,
                written: None,
            };
            mailbox.add(message, NOW);
        }
        mailbox
    }

    fn ids(mailbox: &Mailbox, size: usize, query: &str) -> Vec<String> {
        let settings = Settings {
            max_page_size: size,
            ..Settings::default()
        };
        let (mut token, mut ids) = (String::new(), Vec::new());
        loop {
            let page = with_call(&format!("{query}{token}"), |call| {
                list(mailbox, call, &settings, Access::Content)
            });
            let page = page.expect("a page");
            let rows = page["messages"].as_array().cloned().unwrap_or_default();
            assert!(rows.len() <= size);
            ids.extend(rows.iter().map(|row| row["id"].to_string()));
            match page["nextPageToken"].as_str() {
                Some(next) => token = format!("&pageToken={next}"),
                None => return ids,
            }
        }
    }

    #[test]
    fn pages_are_newest_first_without_gaps() {
        let mailbox = mailbox();
        let whole = ids(&mailbox, 500, "a=b");
        assert_eq!(whole.len(), 24, "without spam and trash");
        for size in [1, 5, 7] {
            assert_eq!(ids(&mailbox, size, "a=b"), whole);
        }
        let dates: Vec<i64> = mailbox
            .newest_first(None)
            .map(|message| message.internal_date)
            .collect();
        assert!(dates.iter().rev().is_sorted());
        assert_eq!(ids(&mailbox, 7, "includeSpamTrash=true").len(), 30);
        assert_eq!(ids(&mailbox, 7, "labelIds=INBOX&labelIds=UNREAD").len(), 21);
        assert_eq!(ids(&mailbox, 7, "labelIds=SPAM").len(), 3);
        assert_eq!(ids(&mailbox, 7, "q=in%3Aanywhere").len(), 30);
        assert_eq!(
            ids(&mailbox, 7, &format!("q=after%3A{}", NOW + 10)).len(),
            8
        );
    }

    #[test]
    fn empty_list_has_no_messages() {
        let mailbox = Mailbox::new("1", "a@team.example", 1, 7);
        let page = with_call("maxResults=5", |call| {
            list(&mailbox, call, &Settings::default(), Access::Content)
        });
        assert_eq!(page.expect("a page"), json!({ "resultSizeEstimate": 0 }));
    }

    #[test]
    fn metadata_scope_refuses_content_and_searches() {
        let mailbox = mailbox();
        let id = mailbox.newest_first(None).next().expect("a message").id;
        let id = hex(id);
        let status = |query: &str, access: Access| {
            let result = with_call(query, |call| get(&mailbox, &id, call, access));
            result.err().map(|error| error.status())
        };
        for query in ["format=full", "format=raw", "a=b"] {
            assert_eq!(status(query, Access::Metadata), Some(StatusCode::FORBIDDEN));
            assert_eq!(status(query, Access::Content), None);
        }
        for query in ["format=metadata", "format=minimal", "format=METADATA"] {
            assert_eq!(status(query, Access::Metadata), None);
        }
        assert_eq!(
            status("format=x", Access::Content),
            Some(StatusCode::BAD_REQUEST)
        );
        let refused = with_call("q=", |call| {
            list(&mailbox, call, &Settings::default(), Access::Metadata)
        });
        assert_eq!(
            refused.map_err(|error| error.status()),
            Err(StatusCode::FORBIDDEN)
        );
    }

    #[test]
    fn label_counts_messages_and_threads() {
        let mailbox = mailbox();
        let inbox = label(&mailbox, "INBOX").expect("a label");
        assert_eq!(inbox["messagesTotal"], 21);
        assert_eq!(inbox["threadsUnread"], 21);
        assert!(label(&mailbox, "Label_1").is_err());
        assert_eq!(
            labels(&mailbox)["labels"].as_array().map(Vec::len),
            Some(14)
        );
    }
}
