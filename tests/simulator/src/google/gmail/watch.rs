//! Watches: which changes of a mailbox are published, and how often.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::labels::Labels;
use super::mailbox::{Change, Mailbox};
use super::reading::invalid_argument;
use super::settings::Settings;
use crate::google::error::ApiError;

/// Lifetime of a watch in milliseconds.
const LIFETIME: i64 = 7 * 24 * 3_600 * 1_000;

/// A watch of a mailbox. A new one replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watch {
    labels: Labels,
    /// Changes of messages with one of the labels are left out, instead of all others.
    excludes: bool,
    /// Epoch milliseconds.
    pub(crate) expires: i64,
}

/// Body of a request for a watch.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    topic_name: String,
    label_ids: Vec<String>,
    label_filter_behavior: Option<String>,
    /// Older name of the behaviour.
    label_filter_action: Option<String>,
}

/// Responds to `users.watch`; `now` is in epoch milliseconds.
pub(super) fn start(
    mailbox: &mut Mailbox,
    body: &Value,
    settings: &Settings,
    now: i64,
) -> Result<Value, ApiError> {
    let request = Request::deserialize(body)
        .map_err(|_| invalid_argument("Invalid JSON payload received.", ""))?;
    let project = &settings.project;
    let prefix = format!("projects/{project}/topics/");
    let topic = &request.topic_name;
    if topic.is_empty() {
        return Err(invalid_argument("topicName required", ""));
    }
    if topic.strip_prefix(&prefix).is_none_or(str::is_empty) {
        let text = "Invalid topicName does not match ";
        return Err(invalid_argument(text, &format!("{prefix}*")));
    }
    if *topic != settings.topic_name() {
        let name = topic.strip_prefix(&prefix).unwrap_or_default();
        return Err(test_message_failed(
            StatusCode::NOT_FOUND,
            topic,
            &format!("Resource not found (resource={name})."),
        ));
    }
    if !settings.may_publish {
        let text = "User not authorized to perform this action.";
        return Err(test_message_failed(StatusCode::FORBIDDEN, topic, text));
    }
    let mut labels = Labels::NONE;
    for id in &request.label_ids {
        let label = mailbox.names.by_id(id);
        labels = labels.with(label.ok_or_else(|| invalid_argument("Invalid label: ", id))?);
    }
    let behavior = request
        .label_filter_behavior
        .or(request.label_filter_action);
    let excludes = match behavior.as_deref().map(str::to_lowercase).as_deref() {
        None | Some("include") => false,
        Some("exclude") => true,
        Some(other) => return Err(invalid_argument("Invalid labelFilterBehavior: ", other)),
    };
    let expires = now + LIFETIME;
    mailbox.watch = Some(Watch {
        labels,
        excludes,
        expires,
    });
    Ok(json!({
        "historyId": mailbox.history_id().to_string(), "expiration": expires.to_string(),
    }))
}

/// Error of the message with which Gmail tests a topic.
fn test_message_failed(status: StatusCode, topic: &str, reason: &str) -> ApiError {
    let text = format!("Error sending test message to Cloud PubSub {topic} : {reason}");
    if status == StatusCode::NOT_FOUND {
        return ApiError::not_found(text).canonical("NOT_FOUND");
    }
    ApiError::new(status, "forbidden", text).canonical("PERMISSION_DENIED")
}

impl Watch {
    /// Whether the watch reports a change.
    fn reports(self, change: &Change, mailbox: &Mailbox) -> bool {
        let message = mailbox.messages.get(&change.message);
        let current = message.map_or(Labels::NONE, |message| message.labels);
        let has_any = change.labels.with(current).has_any(self.labels);
        self.labels.is_empty() || has_any != self.excludes
    }
}

impl Mailbox {
    /// Whether a record is published now; `now` is in epoch milliseconds.
    ///
    /// Notifications within the interval after the last one are dropped.
    pub(crate) fn publishes(&mut self, changes: &[Change], now: i64, interval: i64) -> bool {
        let Some(watch) = self.watch.filter(|watch| watch.expires > now) else {
            return false;
        };
        if !changes.iter().any(|change| watch.reports(change, self)) {
            return false;
        }
        if self.notified.is_some_and(|last| now - last < interval) {
            return false;
        }
        self.notified = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::google::gmail::mailbox::ChangeKind;

    const NOW: i64 = 1_795_428_000_000;

    fn mailbox() -> Mailbox {
        Mailbox::new("1", "a@team.example", 1, 7)
    }

    fn watch(mailbox: &mut Mailbox, body: &Value, settings: &Settings) -> Option<StatusCode> {
        let result = start(mailbox, body, settings, NOW);
        result.err().map(|error| error.status())
    }

    fn change(labels: Labels) -> Change {
        Change {
            kind: ChangeKind::MessageAdded,
            message: 1,
            thread: 1,
            labels,
        }
    }

    #[test]
    fn watch_needs_topic_of_its_project_and_permission() {
        let mut settings = Settings::default();
        let topic = settings.topic_name();
        let mut mailbox = mailbox();
        for (topic, status) in [
            ("", StatusCode::BAD_REQUEST),
            ("gmail", StatusCode::BAD_REQUEST),
            ("projects/other/topics/gmail", StatusCode::BAD_REQUEST),
            ("projects/poblysh-sim/topics/", StatusCode::BAD_REQUEST),
            ("projects/poblysh-sim/topics/other", StatusCode::NOT_FOUND),
        ] {
            let body = json!({ "topicName": topic });
            assert_eq!(
                watch(&mut mailbox, &body, &settings),
                Some(status),
                "{topic}"
            );
        }
        let body = json!({ "topicName": topic, "labelIds": ["NONE"] });
        assert_eq!(
            watch(&mut mailbox, &body, &settings),
            Some(StatusCode::BAD_REQUEST)
        );
        settings.may_publish = false;
        let body = json!({ "topicName": topic });
        assert_eq!(
            watch(&mut mailbox, &body, &settings),
            Some(StatusCode::FORBIDDEN)
        );
        assert_eq!(mailbox.watch, None);
        settings.may_publish = true;
        let response = start(&mut mailbox, &body, &settings, NOW).expect("a watch");
        assert_eq!(response["expiration"], (NOW + LIFETIME).to_string());
        assert_eq!(response["historyId"], mailbox.history_id().to_string());
    }

    #[test]
    fn labels_select_published_changes() {
        let settings = Settings::default();
        let mut mailbox = mailbox();
        for (behavior, inbox, spam) in [
            (json!("INCLUDE"), true, false),
            (json!("exclude"), false, true),
            (Value::Null, true, false),
        ] {
            let body = json!({
                "topicName": settings.topic_name(), "labelIds": ["INBOX"],
                "labelFilterBehavior": behavior,
            });
            start(&mut mailbox, &body, &settings, NOW).expect("a watch");
            assert_eq!(mailbox.publishes(&[change(Labels::INBOX)], NOW, 0), inbox);
            assert_eq!(mailbox.publishes(&[change(Labels::SPAM)], NOW, 0), spam);
        }
    }

    #[test]
    fn notifications_are_limited_and_end() {
        let settings = Settings::default();
        let mut mailbox = mailbox();
        let changes = [change(Labels::INBOX)];
        assert!(!mailbox.publishes(&changes, NOW, 1_000), "no watch");
        let body = json!({ "topicName": settings.topic_name() });
        start(&mut mailbox, &body, &settings, NOW).expect("a watch");
        assert!(mailbox.publishes(&changes, NOW, 1_000));
        assert!(!mailbox.publishes(&changes, NOW + 999, 1_000));
        assert!(mailbox.publishes(&changes, NOW + 1_000, 1_000));
        assert!(!mailbox.publishes(&changes, NOW + LIFETIME, 1_000));
    }
}
