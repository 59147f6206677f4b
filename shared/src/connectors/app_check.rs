//! Checks of a provider's app that need no team's consent.

use chrono::{DateTime, Utc};
use serde::Serialize;
use url::Url;

/// The state of the installation, for the check of a provider's app.
#[derive(Debug, Clone)]
pub struct AppCheckRequest {
    /// The URL to which the provider redirects browsers.
    pub callback_url: Url,
    /// The URL to which the provider sends webhooks of the app.
    pub webhook_url: Url,
    /// The time of the check.
    pub now: DateTime<Utc>,
    /// The provider's activity; `None` if the database could not be read.
    pub activity: Option<ProviderActivity>,
}

/// Activity of all connections at a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderActivity {
    /// Connections that have not ended.
    pub connections: i64,
    /// Subscriptions that the provider holds.
    pub subscriptions: i64,
    /// When a subscription was last created or renewed.
    pub subscribed_at: Option<DateTime<Utc>>,
    /// When the last delivery of a connection arrived.
    pub delivered_at: Option<DateTime<Utc>>,
}

/// The status of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingStatus {
    /// It is as it should be.
    Ok,
    /// It works, but a part is missing or will fail.
    Warning,
    /// It does not work.
    Failure,
}

/// One finding of a check, as a sentence for operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The checked part, such as `client` or `webhook_url`.
    pub subject: &'static str,
    /// Its status.
    pub status: FindingStatus,
    /// The finding.
    pub message: String,
    /// The action that corrects it; every warning and failure has one.
    pub cure: Option<String>,
}

impl Finding {
    /// A part that is as it should be.
    pub fn ok(subject: &'static str, message: impl Into<String>) -> Self {
        Self {
            subject,
            status: FindingStatus::Ok,
            message: message.into(),
            cure: None,
        }
    }

    /// A part that works, but not completely.
    pub fn warning(
        subject: &'static str,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            subject,
            status: FindingStatus::Warning,
            message: message.into(),
            cure: Some(cure.into()),
        }
    }

    /// A part that does not work.
    pub fn failure(
        subject: &'static str,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            status: FindingStatus::Failure,
            ..Self::warning(subject, message, cure)
        }
    }
}

/// An error with its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
