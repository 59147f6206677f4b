//! Check of the Google app as Gmail uses it: the OAuth client, and pushes by Pub/Sub.

use chrono::Duration;

use super::Gmail;
use super::auth::google;
use super::settings::AppSettings;
use crate::connectors::{AppCheckRequest, Finding};

const SUBJECT: &str = "pushes";
/// Time after a watch began within which a push is expected.
///
/// Google sends one as soon as a watch begins.
const FIRST_PUSH: Duration = Duration::hours(1);
/// Age of the last renewal that shows that watches are no longer renewed; they end after seven days.
const RENEWAL_OVERDUE: Duration = Duration::days(3);

/// Checks the app.
pub(super) async fn check(gmail: &Gmail, request: &AppCheckRequest) -> Vec<Finding> {
    vec![
        google(gmail).check_app(request).await,
        check_pushes(&gmail.app, request),
    ]
}

fn check_pushes(app: &AppSettings, request: &AppCheckRequest) -> Finding {
    match (&app.topic, &app.pushes) {
        (None, None) => Finding::warning(
            SUBJECT,
            "no Pub/Sub topic is set, so mailboxes are polled",
            "Create a topic with a push subscription, and set POBLYSH_GMAIL_TOPIC and \
             POBLYSH_GMAIL_PUSH_ACCOUNT (docs/google.md).",
        ),
        (Some(_), None) => Finding::failure(
            SUBJECT,
            "a topic is set without its push account, so every push is rejected",
            "Set POBLYSH_GMAIL_PUSH_ACCOUNT to the service account of the push subscription.",
        ),
        (None, Some(_)) => Finding::failure(
            SUBJECT,
            "a push account is set without a topic, so no mailbox is watched",
            "Set POBLYSH_GMAIL_TOPIC to the topic, as projects/PROJECT/topics/TOPIC.",
        ),
        (Some(topic), Some(_)) => check_activity(topic, request),
    }
}

/// Checks that mailboxes are watched, and that the topic's pushes arrive.
fn check_activity(topic: &str, request: &AppCheckRequest) -> Finding {
    let Some(seen) = &request.activity else {
        return Finding::ok(SUBJECT, format!("pushes of {topic} are configured"));
    };
    if seen.connections == 0 {
        return Finding::ok(
            SUBJECT,
            format!("pushes of {topic}; no mailbox is connected yet"),
        );
    }
    let age = |at| request.now - at;
    match (seen.subscribed_at, seen.delivered_at) {
        (None, _) => Finding::failure(
            SUBJECT,
            "no mailbox is watched",
            format!("Allow gmail-api-push@system.gserviceaccount.com to publish to {topic}."),
        ),
        (Some(watched), _) if age(watched) > RENEWAL_OVERDUE => Finding::failure(
            SUBJECT,
            format!("the last watch began at {watched}; watches end after seven days"),
            "Check that the sync-worker runs, and the jobs `reconcile_subscriptions` of Gmail \
             (`poblysh jobs list --kind reconcile_subscriptions`).",
        ),
        (Some(watched), None) if age(watched) > FIRST_PUSH => Finding::failure(
            SUBJECT,
            format!("mailboxes are watched since {watched}, and no push has arrived"),
            format!(
                "Check the push subscription of {topic}: its endpoint is {}, its authentication \
                 the account of POBLYSH_GMAIL_PUSH_ACCOUNT.",
                request.webhook_url
            ),
        ),
        (Some(watched), None) => {
            Finding::ok(SUBJECT, format!("watched since {watched}; no push yet"))
        }
        (Some(watched), Some(pushed)) => {
            Finding::ok(SUBJECT, format!("last watch {watched}, last push {pushed}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use url::Url;

    use super::*;
    use crate::connectors::{FindingStatus, ProviderActivity};

    /// A finding after a watch and a push so many hours ago.
    fn status(watched: Option<i64>, pushed: Option<i64>) -> FindingStatus {
        let url = Url::parse("https://hooks.example.com/webhooks/gmail").expect("a URL");
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let ago = |hours: Option<i64>| hours.map(|hours| now - Duration::hours(hours));
        let request = AppCheckRequest {
            callback_url: url.clone(),
            webhook_url: url,
            now,
            activity: Some(ProviderActivity {
                connections: 1,
                subscriptions: 1,
                subscribed_at: ago(watched),
                delivered_at: ago(pushed),
            }),
        };
        check_activity("projects/p/topics/t", &request).status
    }

    #[test]
    fn watch_without_push_is_a_failure_after_an_hour() {
        assert_eq!(status(Some(0), None), FindingStatus::Ok);
        assert_eq!(status(Some(2), None), FindingStatus::Failure);
        assert_eq!(status(Some(2), Some(1)), FindingStatus::Ok);
    }

    #[test]
    fn missing_or_old_watch_is_a_failure() {
        assert_eq!(status(None, Some(1)), FindingStatus::Failure);
        assert_eq!(status(Some(24 * 4), Some(1)), FindingStatus::Failure);
    }
}
