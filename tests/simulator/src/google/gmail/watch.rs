//! Watches: which changes of a mailbox are published, and how often.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::errors::{forbidden, invalid_argument};
use super::labels::{LabelNames, Labels};
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

impl Watch {
    /// Parses the body of `users.watch`; `now` is in epoch milliseconds.
    pub(super) fn parse(
        body: &Value,
        names: &LabelNames,
        settings: &Settings,
        now: i64,
    ) -> Result<Self, ApiError> {
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
            let label = names.by_id(id);
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
        Ok(Self {
            labels,
            excludes,
            expires: now + LIFETIME,
        })
    }

    /// Whether a change is reported, by the labels of its message.
    pub(crate) const fn reports(self, labels: Labels) -> bool {
        self.labels.is_empty() || labels.has_any(self.labels) != self.excludes
    }
}

/// Error of the message with which Gmail tests a topic.
fn test_message_failed(status: StatusCode, topic: &str, reason: &str) -> ApiError {
    let text = format!("Error sending test message to Cloud PubSub {topic} : {reason}");
    if status == StatusCode::NOT_FOUND {
        return ApiError::not_found(text).canonical("NOT_FOUND");
    }
    forbidden(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_795_428_000_000;

    impl Watch {
        /// A watch of all changes.
        pub(in crate::google::gmail) const fn of_all(expires: i64) -> Self {
            Self {
                labels: Labels::NONE,
                excludes: false,
                expires,
            }
        }
    }

    fn parse(body: &Value, settings: &Settings) -> Result<Watch, StatusCode> {
        let watch = Watch::parse(body, &LabelNames::default(), settings, NOW);
        watch.map_err(|error| error.status())
    }

    #[test]
    fn watch_needs_topic_of_its_project_and_permission() {
        let mut settings = Settings::default();
        for (topic, status) in [
            ("", StatusCode::BAD_REQUEST),
            ("gmail", StatusCode::BAD_REQUEST),
            ("projects/other/topics/gmail", StatusCode::BAD_REQUEST),
            ("projects/poblysh-sim/topics/", StatusCode::BAD_REQUEST),
            ("projects/poblysh-sim/topics/other", StatusCode::NOT_FOUND),
        ] {
            let body = json!({ "topicName": topic });
            assert_eq!(parse(&body, &settings), Err(status), "{topic}");
        }
        let topic = settings.topic_name();
        let body = json!({ "topicName": topic, "labelIds": ["NONE"] });
        assert_eq!(parse(&body, &settings), Err(StatusCode::BAD_REQUEST));
        let body = json!({ "topicName": topic, "labelFilterBehavior": "other" });
        assert_eq!(parse(&body, &settings), Err(StatusCode::BAD_REQUEST));
        let body = json!({ "topicName": topic });
        assert_eq!(parse(&body, &settings), Ok(Watch::of_all(NOW + LIFETIME)));
        settings.may_publish = false;
        assert_eq!(parse(&body, &settings), Err(StatusCode::FORBIDDEN));
    }

    #[test]
    fn labels_select_published_changes() {
        let settings = Settings::default();
        for (behavior, inbox, spam) in [
            (json!("INCLUDE"), true, false),
            (json!("exclude"), false, true),
            (Value::Null, true, false),
        ] {
            let body = json!({
                "topicName": settings.topic_name(), "labelIds": ["INBOX"],
                "labelFilterBehavior": behavior,
            });
            let watch = parse(&body, &settings).expect("a watch");
            assert_eq!(watch.reports(Labels::INBOX), inbox);
            assert_eq!(watch.reports(Labels::SPAM), spam);
        }
    }
}
