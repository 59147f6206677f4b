//! `history.list`: the changes after a history id.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::errors::{invalid_argument, not_found};
use super::labels::Labels;
use super::mailbox::{Change, ChangeKind, Mailbox, Record};
use super::reading::page_size;
use super::render::ids_json;
use super::settings::Settings;
use crate::google::api::Call;
use crate::google::error::ApiError;

impl ChangeKind {
    const ALL: [Self; 4] = [
        Self::MessageAdded,
        Self::MessageDeleted,
        Self::LabelAdded,
        Self::LabelRemoved,
    ];

    /// Name in the parameter `historyTypes`.
    const fn name(self) -> &'static str {
        match self {
            Self::MessageAdded => "messageAdded",
            Self::MessageDeleted => "messageDeleted",
            Self::LabelAdded => "labelAdded",
            Self::LabelRemoved => "labelRemoved",
        }
    }

    /// Name of the list in a record.
    const fn field(self) -> &'static str {
        match self {
            Self::MessageAdded => "messagesAdded",
            Self::MessageDeleted => "messagesDeleted",
            Self::LabelAdded => "labelsAdded",
            Self::LabelRemoved => "labelsRemoved",
        }
    }
}

/// The kinds of changes that a request selects.
struct Selection {
    kinds: Vec<ChangeKind>,
    label: Option<Labels>,
}

impl Selection {
    fn new(call: &Call<'_>, mailbox: &Mailbox) -> Result<Self, ApiError> {
        let mut kinds = Vec::new();
        for name in call.texts("historyTypes") {
            let mut known = ChangeKind::ALL.into_iter();
            let kind = known.find(|kind| kind.name() == name);
            kinds.push(kind.ok_or_else(|| invalid_value("history_types", name))?);
        }
        if kinds.is_empty() {
            kinds = ChangeKind::ALL.to_vec();
        }
        let label = match call.text("labelId") {
            None => None,
            Some(id) => {
                let label = mailbox.names.by_id(id);
                Some(label.ok_or_else(|| invalid_argument("Invalid label: ", id))?)
            }
        };
        Ok(Self { kinds, label })
    }

    fn contains(&self, change: &Change, mailbox: &Mailbox) -> bool {
        let has_label = |label: Labels| {
            let message = mailbox.messages.get(&change.message);
            change.labels.has_any(label)
                || message.is_some_and(|message| message.labels.has_any(label))
        };
        self.kinds.contains(&change.kind) && self.label.is_none_or(has_label)
    }
}

fn invalid_value(name: &str, value: &str) -> ApiError {
    let message =
        format!("Invalid value at '{name}' (type.googleapis.com/google.gmail.v1), \"{value}\"");
    ApiError::new(StatusCode::BAD_REQUEST, "badRequest", message).canonical("INVALID_ARGUMENT")
}

/// Position of a page, as its token contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    /// History id of the last record on the page before.
    after: u64,
    /// The empty page before this one was sent.
    is_filled: bool,
}

impl Position {
    fn parse(token: &str) -> Option<Self> {
        let (filled, after) = token.split_at_checked(1)?;
        let is_filled = match filled {
            "1" => false,
            "2" => true,
            _ => return None,
        };
        let after = after.parse().ok()?;
        Some(Self { after, is_filled })
    }

    fn token(self) -> String {
        format!("{}{:020}", if self.is_filled { 2 } else { 1 }, self.after)
    }
}

/// Responds to `history.list`.
pub(super) fn list(
    mailbox: &Mailbox,
    call: &Call<'_>,
    settings: &Settings,
) -> Result<Value, ApiError> {
    let start = call.text("startHistoryId").unwrap_or_default();
    let start: u64 = start
        .parse()
        .map_err(|_| invalid_value("start_history_id", start))?;
    let size = page_size(call, settings)?;
    let selection = Selection::new(call, mailbox)?;
    let position = match call.text("pageToken") {
        None => Position {
            after: start,
            is_filled: false,
        },
        Some(token) => {
            let position = Position::parse(token).filter(|position| position.after >= start);
            position.ok_or_else(|| invalid_argument("Invalid pageToken", ""))?
        }
    };
    let records = mailbox
        .records_after(position.after)
        .ok_or_else(not_found)?;
    let mut response = json!({ "historyId": mailbox.history_id().to_string() });
    if settings.empty_history_pages && !position.is_filled {
        let next = Position {
            is_filled: true,
            ..position
        };
        response["nextPageToken"] = json!(next.token());
        return Ok(response);
    }
    let mut rows = records.filter_map(|record| {
        let changes = record.changes.iter();
        let changes: Vec<&Change> = changes
            .filter(|change| selection.contains(change, mailbox))
            .collect();
        (!changes.is_empty()).then_some((record, changes))
    });
    let mut page = Vec::new();
    let mut last = position.after;
    for (record, changes) in rows.by_ref().take(size) {
        last = record.id;
        page.push(record_json(record, &changes, mailbox));
    }
    if !page.is_empty() {
        response["history"] = json!(page);
    }
    if rows.next().is_some() {
        let next = Position {
            after: last,
            is_filled: false,
        };
        response["nextPageToken"] = json!(next.token());
    }
    Ok(response)
}

fn record_json(record: &Record, changes: &[&Change], mailbox: &Mailbox) -> Value {
    let mut row = Map::new();
    row.insert("id".to_owned(), json!(record.id.to_string()));
    let mut messages: Vec<Value> = Vec::new();
    for change in changes {
        let ids = ids_json(change.message, change.thread);
        if !messages.contains(&ids) {
            messages.push(ids);
        }
    }
    row.insert("messages".to_owned(), json!(messages));
    for change in changes {
        let mut message = ids_json(change.message, change.thread);
        // The labels of the present, also for a change of the past.
        let current = mailbox.messages.get(&change.message);
        let labels = match change.kind {
            ChangeKind::MessageAdded | ChangeKind::MessageDeleted => Some(change.labels),
            ChangeKind::LabelAdded | ChangeKind::LabelRemoved => None,
        };
        if let Some(labels) = current.map(|message| message.labels).or(labels) {
            message["labelIds"] = json!(mailbox.names.ids(labels));
        }
        let mut entry = json!({ "message": message });
        if matches!(
            change.kind,
            ChangeKind::LabelAdded | ChangeKind::LabelRemoved
        ) {
            entry["labelIds"] = json!(mailbox.names.ids(change.labels));
        }
        let list = row.entry(change.kind.field()).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(entry);
        }
    }
    Value::Object(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::google::gmail::id::hex;
    use crate::google::gmail::mailbox::Message;
    use crate::google::gmail::tests::with_call;

    const NOW: i64 = 1_795_428_000;

    fn mailbox(count: usize) -> (Mailbox, u64) {
        let mut mailbox = Mailbox::new("1", "a@team.example", 1, 7);
        let start = mailbox.history_id();
        for _ in 0..count {
            let id = mailbox.new_id(NOW * 1_000);
            let message = Message {
                id,
                thread: id,
                labels: Labels::INBOX,
                internal_date: NOW * 1_000,
                history_id: 0,
                fact: None,
                written: None,
            };
            mailbox.add(message, NOW);
        }
        (mailbox, start)
    }

    fn ask(mailbox: &Mailbox, settings: &Settings, query: &str) -> Result<Value, StatusCode> {
        with_call(query, |call| list(mailbox, call, settings)).map_err(|error| error.status())
    }

    #[test]
    fn pages_cover_all_records_once() {
        let (mailbox, start) = mailbox(25);
        for (empty_history_pages, calls) in [(false, 3), (true, 6)] {
            let settings = Settings {
                empty_history_pages,
                max_page_size: 10,
                ..Settings::default()
            };
            let (mut token, mut rows, mut pages) = (String::new(), Vec::new(), 0);
            loop {
                let query = format!("startHistoryId={start}&maxResults=500{token}");
                let page = ask(&mailbox, &settings, &query).expect("a page");
                pages += 1;
                let page_rows = page["history"].as_array().cloned().unwrap_or_default();
                rows.extend(page_rows.iter().map(|row| row["id"].clone()));
                let Some(next) = page["nextPageToken"].as_str() else {
                    assert_eq!(page["historyId"], mailbox.history_id().to_string());
                    break;
                };
                token = format!("&pageToken={next}");
            }
            assert_eq!((rows.len(), pages), (25, calls));
            rows.dedup();
            assert_eq!(rows.len(), 25);
        }
    }

    #[test]
    fn history_is_absent_without_changes() {
        let (mailbox, _) = mailbox(3);
        let current = mailbox.history_id();
        let page = ask(
            &mailbox,
            &Settings::default(),
            &format!("startHistoryId={current}"),
        );
        let page = page.expect("a page");
        assert_eq!(page, json!({ "historyId": current.to_string() }));
    }

    #[test]
    fn types_and_label_select_changes() {
        let (mut mailbox, start) = mailbox(2);
        let id = mailbox.changes().next().expect("a change").message;
        mailbox.relabel(id, Labels::TRASH, Labels::INBOX, NOW);
        let rows = |query: &str| {
            let query = format!("startHistoryId={start}{query}");
            let page = ask(&mailbox, &Settings::default(), &query).expect("a page");
            page["history"].as_array().cloned().unwrap_or_default()
        };
        assert_eq!(rows("").len(), 3);
        let added = rows("&historyTypes=messageAdded&historyTypes=labelAdded");
        assert_eq!(added.len(), 3);
        assert!(added[2].get("labelsRemoved").is_none());
        assert_eq!(added[2]["labelsAdded"][0]["labelIds"], json!(["TRASH"]));
        assert_eq!(
            added[0]["messagesAdded"][0]["message"]["labelIds"],
            json!(["TRASH"])
        );
        assert_eq!(added[0]["messages"][0]["id"], hex(id));
        assert_eq!(rows("&labelId=TRASH").len(), 2);
        assert_eq!(rows("&historyTypes=messageDeleted").len(), 0);
    }

    #[test]
    fn invalid_and_old_starts_are_distinguished() {
        let (mut mailbox, start) = mailbox(2);
        let settings = Settings::default();
        for query in ["", "startHistoryId=abc", "startHistoryId=-1"] {
            assert_eq!(
                ask(&mailbox, &settings, query),
                Err(StatusCode::BAD_REQUEST)
            );
        }
        let query = format!("startHistoryId={start}&historyTypes=other");
        assert_eq!(
            ask(&mailbox, &settings, &query),
            Err(StatusCode::BAD_REQUEST)
        );
        let query = format!("startHistoryId={start}&pageToken=x");
        assert_eq!(
            ask(&mailbox, &settings, &query),
            Err(StatusCode::BAD_REQUEST)
        );
        mailbox.expire_history(NOW);
        let query = format!("startHistoryId={start}");
        assert_eq!(ask(&mailbox, &settings, &query), Err(StatusCode::NOT_FOUND));
        assert_eq!(
            ask(&mailbox, &settings, "startHistoryId=1"),
            Err(StatusCode::NOT_FOUND)
        );
    }
}
