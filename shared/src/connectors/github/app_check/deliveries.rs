//! Check of the app's log of deliveries, which shows how the ingress answers GitHub.

use http::Method;

use super::unreachable;
use crate::connectors::github::GitHub;
use crate::connectors::github::client::ApiError;
use crate::connectors::github::wire::AppDelivery;
use crate::connectors::{AppCheckRequest, Finding};

const SUBJECT: &str = "deliveries";
/// The number of newest deliveries that state how the ingress answers now.
const NEWEST: usize = 10;

/// Checks the newest page of the log.
pub(super) async fn check(github: &GitHub, request: &AppCheckRequest) -> Finding {
    let path = ["app", "hook", "deliveries"];
    let log: Result<Vec<AppDelivery>, ApiError> = match github
        .as_app(Method::GET, &path, "list_webhook_deliveries")
        .await
    {
        Ok(response) => response.json().map_err(ApiError::from),
        Err(error) => Err(error),
    };
    match log {
        Ok(log) => assess(&log, request),
        Err(error) => unreachable(SUBJECT, &error),
    }
}

/// An answer to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Accepted,
    /// The signature was rejected.
    Rejected,
    /// A response with another status.
    Failed(i64),
    /// No response.
    Missing,
}

impl Answer {
    /// The answer to a delivery; `None` before GitHub's attempt.
    fn of(entry: &AppDelivery) -> Option<Self> {
        let status = entry.status.as_deref().unwrap_or_default();
        if status.eq_ignore_ascii_case("pending") {
            return None;
        }
        Some(match entry.status_code {
            Some(200..=299) => Self::Accepted,
            Some(401) => Self::Rejected,
            Some(code @ 100..) => Self::Failed(code),
            _ => Self::Missing,
        })
    }
}

fn assess(log: &[AppDelivery], request: &AppCheckRequest) -> Finding {
    let mut entries: Vec<(u64, Answer)> = log
        .iter()
        .filter_map(|entry| Some((entry.id, Answer::of(entry)?)))
        .collect();
    entries.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    let answers: Vec<Answer> = entries.into_iter().map(|(_, answer)| answer).collect();
    let newest = &answers[..answers.len().min(NEWEST)];
    let accepted = newest
        .iter()
        .filter(|one| **one == Answer::Accepted)
        .count();
    let Some(last) = newest.first() else {
        return without_deliveries(request);
    };
    let summary = format!(
        "{accepted} of the last {} deliveries were accepted",
        newest.len()
    );
    match (last, newest.iter().find(|one| **one != Answer::Accepted)) {
        (_, None) => Finding::ok(SUBJECT, summary),
        (Answer::Rejected, _) => Finding::failure(
            SUBJECT,
            format!("{summary}; the last one was rejected with 401"),
            "The webhook secret differs: set the secret of the app's page as \
             POBLYSH_GITHUB_WEBHOOK_SECRET of the webhook-ingress.",
        ),
        (Answer::Failed(code), _) => Finding::failure(
            SUBJECT,
            format!("{summary}; the last one was answered with {code}"),
            "Check that the webhook-ingress is ready, and that the proxy before it forwards POST \
             requests to it.",
        ),
        (Answer::Missing, _) => Finding::failure(
            SUBJECT,
            format!("{summary}; GitHub could not reach the URL of the last one"),
            "Make POBLYSH_PUBLIC_WEBHOOK_URL reachable from the internet with a valid certificate.",
        ),
        (Answer::Accepted, Some(_)) => Finding::warning(
            SUBJECT,
            format!("{summary}; the last one was"),
            "No action is needed if it stays so: failed deliveries are requested again every hour.",
        ),
    }
}

fn without_deliveries(request: &AppCheckRequest) -> Finding {
    let connections = request.activity.as_ref().map_or(0, |seen| seen.connections);
    if connections == 0 {
        return Finding::ok(
            SUBJECT,
            "no delivery yet, and no connection that expects one",
        );
    }
    Finding::warning(
        SUBJECT,
        format!("GitHub's log has no delivery, though {connections} accounts are connected"),
        "Check on the app's page that the webhook is active and events are selected.",
    )
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use url::Url;

    use super::*;
    use crate::connectors::{FindingStatus, ProviderActivity};

    fn request(connections: i64) -> AppCheckRequest {
        let url = Url::parse("https://hooks.example.com/webhooks/github").expect("a URL");
        AppCheckRequest {
            callback_url: url.clone(),
            webhook_url: url,
            now: DateTime::UNIX_EPOCH,
            activity: Some(ProviderActivity {
                connections,
                ..ProviderActivity::default()
            }),
        }
    }

    fn log(codes: &[Option<i64>]) -> Vec<AppDelivery> {
        // The latest delivery has the highest id.
        codes
            .iter()
            .zip((1_u64..=codes.len() as u64).rev())
            .map(|(code, id)| AppDelivery {
                id,
                guid: id.to_string(),
                delivered_at: None,
                status: Some("done".to_owned()),
                status_code: *code,
            })
            .collect()
    }

    #[test]
    fn last_answer_decides_the_cure() {
        use FindingStatus::{Failure, Ok, Warning};
        for (codes, status, named) in [
            (&[Some(200), Some(202)][..], Ok, None),
            (
                &[Some(401), Some(200)],
                Failure,
                Some("POBLYSH_GITHUB_WEBHOOK_SECRET"),
            ),
            (
                &[Some(502), Some(200)],
                Failure,
                Some("webhook-ingress is ready"),
            ),
            (
                &[None, Some(200)],
                Failure,
                Some("reachable from the internet"),
            ),
            (
                &[Some(0), Some(200)],
                Failure,
                Some("reachable from the internet"),
            ),
            (&[Some(200), Some(401)], Warning, Some("every hour")),
        ] {
            let finding = assess(&log(codes), &request(1));
            assert_eq!(finding.status, status, "{codes:?}: {finding:?}");
            let cure = finding.cure.unwrap_or_default();
            assert!(
                cure.contains(named.unwrap_or_default()),
                "{codes:?}: {cure}"
            );
        }
    }

    #[test]
    fn empty_log_is_suspicious_with_connections_only() {
        assert_eq!(assess(&[], &request(0)).status, FindingStatus::Ok);
        assert_eq!(assess(&[], &request(2)).status, FindingStatus::Warning);
    }
}
