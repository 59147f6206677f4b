//! Events of webhook requests that are rejected, for operators.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{NewEvent, insert};
use crate::db::{DbError, TenantScope, Tx};
use crate::model::{EventType, TenantId};

/// The results of requests whose sender or signature was not accepted, as in the alert
/// `PoblyshWebhooksRejected`.
const REJECTED: [&str; 5] = [
    "not_configured",
    "missing_header",
    "malformed",
    "stale",
    "mismatch",
];
/// The number of rejected requests of an hour below which no event is written.
///
/// Strangers send a few requests to every public address.
const MIN_REJECTED: i64 = 10;
/// The part of an hour's requests below which no event is written, in percent.
const MIN_PERCENT: i64 = 10;

/// The requests of a provider in one hour.
#[derive(Debug, Default)]
struct Hour {
    started_at: DateTime<Utc>,
    now: DateTime<Utc>,
    requests: i64,
    rejected: BTreeMap<String, i64>,
}

impl Hour {
    fn count_rejected(&self) -> i64 {
        self.rejected.values().sum()
    }

    fn is_notable(&self) -> bool {
        let rejected = self.count_rejected();
        rejected >= MIN_REJECTED && rejected * 100 >= self.requests * MIN_PERCENT
    }

    fn into_event(self, provider: &str) -> NewEvent<'_> {
        let rejected = self.count_rejected();
        let hour = self.started_at.timestamp();
        NewEvent {
            tenant: TenantId::UNASSIGNED,
            at: self.now,
            event_type: EventType::DeliveriesRejected,
            provider,
            connection: None,
            subscription: None,
            data: json!({
                "since": self.started_at,
                "requests": self.requests,
                "rejected": rejected,
                "rejected_percent": rejected * 100 / self.requests.max(1),
                "by_result": self.rejected,
            }),
            dedupe_key: Some(format!("deliveries.rejected:{provider}:{hour}")),
        }
    }
}

/// A count of requests with the same result.
type Count = (String, String, DateTime<Utc>, i64, DateTime<Utc>);

/// Reports the providers of which many requests of this hour were rejected, each once per hour.
///
/// It reads the counts of the ingress. The event belongs to the service, so the transaction is
/// limited to the nil tenant.
pub async fn report_rejections(tx: &mut Tx) -> Result<(), DbError> {
    tx.change_scopes(&[TenantScope::unassigned()]).await?;
    let counts: Vec<Count> = sqlx::query_as(
        "SELECT provider, result, hour, sum(requests)::bigint, clock_timestamp() \
         FROM webhook_results WHERE hour = date_trunc('hour', now()) \
         GROUP BY provider, result, hour",
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut hours: BTreeMap<String, Hour> = BTreeMap::new();
    for (provider, result, started_at, requests, now) in counts {
        let hour = hours.entry(provider).or_default();
        (hour.started_at, hour.now) = (started_at, now);
        hour.requests += requests;
        if REJECTED.contains(&result.as_str()) {
            hour.rejected.insert(result, requests);
        }
    }
    hours.retain(|_, hour| hour.is_notable());
    let providers: Vec<String> = hours.keys().cloned().collect();
    let events = providers.iter().zip(hours.into_values());
    let events = events.map(|(provider, hour)| hour.into_event(provider));
    insert(tx, &events.collect::<Vec<_>>()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(requests: i64, rejected: i64) -> Hour {
        Hour {
            requests,
            rejected: BTreeMap::from([("mismatch".to_owned(), rejected)]),
            ..Hour::default()
        }
    }

    #[test]
    fn many_rejected_requests_are_notable() {
        for (requests, rejected, expected) in [
            (10, 10, true),
            (9, 9, false),
            (100, 10, true),
            (101, 10, false),
            (1000, 500, true),
            (0, 0, false),
        ] {
            let hour = hour(requests, rejected);
            assert_eq!(hour.is_notable(), expected, "{rejected} of {requests}");
        }
    }

    #[test]
    fn event_of_an_hour_has_one_key() {
        let key = |hour: Hour| hour.into_event("github").dedupe_key;
        assert_eq!(key(hour(10, 10)), key(hour(20, 15)));
        let event = hour(12, 10).into_event("github");
        assert_eq!(event.data["rejected_percent"], 83);
        assert_eq!(event.data["by_result"]["mismatch"], 10);
    }
}
