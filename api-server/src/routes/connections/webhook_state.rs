//! The state of a connection's webhooks.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use shared::connectors::ProviderDescriptor;
use shared::db::connections::Activity;
use shared::health::HealthReason;
use utoipa::ToSchema;

/// The silence after which webhooks count as silent, if it is unusual for the connection.
const MIN_SILENCE: TimeDelta = TimeDelta::days(1);
/// The multiple of the longest earlier silence that is unusual.
const UNUSUAL_FACTOR: f64 = 2.0;

/// The webhooks of a connection.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Webhooks {
    /// The state.
    #[schema(inline)]
    pub(crate) state: WebhookState,
    /// When the last delivery arrived, to the minute.
    pub(crate) last_delivery_at: Option<DateTime<Utc>>,
    /// The number of facts of the last 24 hours that a poll found and no delivery had reported.
    #[schema(example = 0)]
    pub(crate) missed_24h: i64,
    /// The number of subscriptions that the provider holds; null if it needs none.
    pub(crate) subscriptions: Option<i64>,
}

/// The state of a connection's webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub(crate) enum WebhookState {
    /// Deliveries arrive, or none was to be expected.
    Active,
    /// Polls find facts that no delivery reports, or deliveries are absent for longer than usual.
    Silent,
    /// The provider holds no subscription.
    Unsubscribed,
    /// The provider sends no webhooks.
    None,
}

impl Webhooks {
    /// The webhooks of a connection at a provider; an unknown provider sends none.
    pub(super) fn new(
        descriptor: Option<&ProviderDescriptor>,
        reason: HealthReason,
        activity: &Activity,
    ) -> Self {
        let sends = descriptor.is_some_and(|descriptor| descriptor.webhooks);
        let needs_subscription =
            descriptor.is_some_and(|descriptor| descriptor.subscriptions.is_some());
        let state = if !sends {
            WebhookState::None
        } else if needs_subscription && activity.subscriptions == 0 {
            WebhookState::Unsubscribed
        } else if is_reported_silent(reason) || is_unusually_silent(activity) {
            WebhookState::Silent
        } else {
            WebhookState::Active
        };
        Self {
            state,
            last_delivery_at: activity.last_delivery_at,
            missed_24h: activity.missed_24h,
            subscriptions: needs_subscription.then_some(activity.subscriptions),
        }
    }
}

const fn is_reported_silent(reason: HealthReason) -> bool {
    matches!(
        reason,
        HealthReason::WebhooksSilent | HealthReason::WebhooksRejected
    )
}

/// Whether deliveries are absent for much longer than ever before.
fn is_unusually_silent(activity: &Activity) -> bool {
    activity.last_delivery_at.is_some_and(|last| {
        let silence = activity.now - last;
        silence > MIN_SILENCE
            && silence.as_seconds_f64() > activity.longest_gap_seconds * UNUSUAL_FACTOR
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_compared_with_earlier_silences() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1000);
        let is_silent = |silent_hours: i64, longest_hours: f64| {
            is_unusually_silent(&Activity {
                now,
                last_delivery_at: Some(now - TimeDelta::hours(silent_hours)),
                last_signal_at: None,
                longest_gap_seconds: longest_hours * 3600.0,
                missed_since_delivery: 0,
                missed_24h: 0,
                subscriptions: 0,
            })
        };
        assert!(!is_silent(24, 1.0), "a quiet day");
        assert!(is_silent(25, 1.0));
        assert!(!is_silent(62, 40.0), "a weekend");
        assert!(is_silent(81, 40.0));
    }
}
