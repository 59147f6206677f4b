//! The reason for a connection's health, and when time alone may change it.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Facts, HealthReason};
use crate::model::ConnectionStatus;

/// The remaining time of a grant below which a person must connect the account again.
const GRANT_NOTICE: TimeDelta = TimeDelta::days(3);
/// Missed facts since the last delivery that do not count as silence yet.
///
/// A delivery may be lost, or arrive after the read.
const MAX_TOLERATED_MISSES: i64 = 3;
/// The time without a delivery after which any missed fact counts as silence.
const MAX_SILENCE: TimeDelta = TimeDelta::hours(1);
/// The longest time between two assessments.
const MAX_REVIEW_INTERVAL: TimeDelta = TimeDelta::hours(1);
/// The shortest time until the next assessment.
const MIN_REVIEW_INTERVAL: TimeDelta = TimeDelta::seconds(30);

/// The result of an assessment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assessment {
    /// The reason, which determines the state.
    pub reason: HealthReason,
    /// When it must be assessed again, because time alone may have changed it.
    pub review_at: DateTime<Utc>,
}

/// Derives the health of a connection from stored facts.
pub fn assess(facts: &Facts) -> Assessment {
    Assessment {
        reason: reason_of(facts),
        review_at: review_at(facts),
    }
}

fn reason_of(facts: &Facts) -> HealthReason {
    let status_reason = facts.status_reason.as_deref();
    match facts.status {
        ConnectionStatus::Pending => HealthReason::AwaitingApproval,
        ConnectionStatus::Paused => HealthReason::Paused,
        ConnectionStatus::Suspended => HealthReason::SuspendedAtProvider,
        ConnectionStatus::NeedsReauth => match status_reason {
            Some("revoked_at_provider") => HealthReason::GrantRevoked,
            Some("rotation_lost") => HealthReason::TokenLost,
            _ => HealthReason::GrantRefused,
        },
        ConnectionStatus::Disconnected => match status_reason {
            Some("removed_at_provider") => HealthReason::RemovedAtProvider,
            Some("approval_expired") => HealthReason::ApprovalExpired,
            Some("account_already_connected") => HealthReason::AccountAlreadyConnected,
            _ => HealthReason::Disconnected,
        },
        ConnectionStatus::Active => {
            let problem = facts.error_code().map(|code| reason_of_error(code, facts));
            problem.unwrap_or_else(|| reason_without_error(facts))
        }
    }
}

/// The reason for a problem of reading.
fn reason_of_error(code: &str, facts: &Facts) -> HealthReason {
    match code {
        "rate_limited" if facts.is_quota_spent => HealthReason::QuotaSpent,
        "rate_limited" => HealthReason::RateLimited,
        "permission" if facts.is_all_denied => HealthReason::AccessDenied,
        "permission" if has_missing_scope(facts) => HealthReason::ScopeMissing,
        "permission" => HealthReason::PermissionDenied,
        "unauthorized" => HealthReason::TokenRejected,
        "transient" | "no_progress" | "cursor_expired" | "token_busy" => {
            HealthReason::ProviderUnavailable
        }
        "grant_revoked" => HealthReason::GrantRefused,
        "grant_suspended" => HealthReason::SuspendedAtProvider,
        "rotation_lost" => HealthReason::TokenLost,
        "no_credential" => HealthReason::CredentialMissing,
        "credential_sealed" => HealthReason::CredentialSealed,
        "provider_not_configured" => HealthReason::ProviderNotConfigured,
        "permanent" => HealthReason::ResponseInvalid,
        _ => HealthReason::InternalError,
    }
}

fn has_missing_scope(facts: &Facts) -> bool {
    let error = facts.last_error.as_ref();
    error.is_some_and(|error| error.scope.is_some())
}

/// The reason while reads succeed, or none has ended yet.
fn reason_without_error(facts: &Facts) -> HealthReason {
    if facts.overdue_at.is_some_and(|at| at <= facts.now) {
        HealthReason::SyncOverdue
    } else if facts
        .grant_ends_at
        .is_some_and(|end| end - GRANT_NOTICE <= facts.now)
    {
        HealthReason::GrantEndsSoon
    } else if facts
        .subscription_ends_at
        .is_some_and(|end| end <= facts.now)
    {
        HealthReason::SubscriptionLapsed
    } else if is_silent(facts) {
        let rejected = [facts.rejected_at, facts.own_rejected_at];
        if rejected
            .into_iter()
            .any(|at| facts.is_rejected_since_delivery(at))
        {
            HealthReason::WebhooksRejected
        } else {
            HealthReason::WebhooksSilent
        }
    } else if facts.is_backfilled {
        HealthReason::UpToDate
    } else {
        HealthReason::BackfillRunning
    }
}

/// Whether reads find facts that deliveries should have reported.
fn is_silent(facts: &Facts) -> bool {
    let has_been_quiet = facts
        .last_delivery_at
        .is_none_or(|at| at + MAX_SILENCE <= facts.now);
    facts.missed_since_delivery > MAX_TOLERATED_MISSES
        || (facts.missed_since_delivery > 0 && has_been_quiet)
}

fn review_at(facts: &Facts) -> DateTime<Utc> {
    let quiet_at = facts
        .last_delivery_at
        .filter(|_| facts.missed_since_delivery > 0)
        .map(|at| at + MAX_SILENCE);
    let changes = [
        facts.overdue_at,
        facts.grant_ends_at.map(|end| end - GRANT_NOTICE),
        facts.subscription_ends_at,
        quiet_at,
    ];
    let next = changes.into_iter().flatten().filter(|at| *at > facts.now);
    next.min()
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
        .min(facts.now + MAX_REVIEW_INTERVAL)
        .max(facts.now + MIN_REVIEW_INTERVAL)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::JobError;

    /// An active connection whose reads succeed.
    pub(in crate::health) fn healthy() -> Facts {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        Facts {
            now,
            provider: "github".to_owned(),
            status: ConnectionStatus::Active,
            status_reason: None,
            account_name: Some("octo-org".to_owned()),
            approval_expires_at: None,
            last_error: None,
            is_quota_spent: false,
            is_all_denied: false,
            is_backfilled: true,
            overdue_at: Some(now + TimeDelta::minutes(11)),
            grant_ends_at: None,
            subscription_ends_at: None,
            last_delivery_at: Some(now - TimeDelta::minutes(1)),
            missed_since_delivery: 0,
            rejected_at: None,
            own_rejected_at: None,
        }
    }

    fn reason(change: impl FnOnce(&mut Facts)) -> HealthReason {
        let mut facts = healthy();
        change(&mut facts);
        assess(&facts).reason
    }

    #[test]
    fn status_decides_before_errors() {
        use ConnectionStatus as Status;

        let failing = |status, reason: Option<&str>| {
            self::reason(|facts| {
                (facts.status, facts.status_reason) = (status, reason.map(str::to_owned));
                facts.last_error = Some(JobError::new("transient", ""));
            })
        };
        for (status, status_reason, expected) in [
            (Status::Pending, None, HealthReason::AwaitingApproval),
            (Status::Paused, None, HealthReason::Paused),
            (Status::Suspended, None, HealthReason::SuspendedAtProvider),
            (
                Status::NeedsReauth,
                Some("grant_refused"),
                HealthReason::GrantRefused,
            ),
            (
                Status::NeedsReauth,
                Some("revoked_at_provider"),
                HealthReason::GrantRevoked,
            ),
            (
                Status::NeedsReauth,
                Some("rotation_lost"),
                HealthReason::TokenLost,
            ),
            (
                Status::Disconnected,
                Some("removed_at_provider"),
                HealthReason::RemovedAtProvider,
            ),
            (
                Status::Disconnected,
                Some("approval_expired"),
                HealthReason::ApprovalExpired,
            ),
            (
                Status::Disconnected,
                Some("disconnected"),
                HealthReason::Disconnected,
            ),
            (Status::Active, None, HealthReason::ProviderUnavailable),
        ] {
            assert_eq!(failing(status, status_reason), expected, "{status:?}");
        }
    }

    #[test]
    fn every_error_code_has_a_reason() {
        for (code, expected) in [
            ("rate_limited", HealthReason::RateLimited),
            ("permission", HealthReason::PermissionDenied),
            ("unauthorized", HealthReason::TokenRejected),
            ("transient", HealthReason::ProviderUnavailable),
            ("no_progress", HealthReason::ProviderUnavailable),
            ("permanent", HealthReason::ResponseInvalid),
            ("no_credential", HealthReason::CredentialMissing),
            ("credential_sealed", HealthReason::CredentialSealed),
            (
                "provider_not_configured",
                HealthReason::ProviderNotConfigured,
            ),
            ("panicked", HealthReason::InternalError),
            ("a new code", HealthReason::InternalError),
        ] {
            let of_code = reason(|facts| facts.last_error = Some(JobError::new(code, "")));
            assert_eq!(of_code, expected, "{code}");
        }
    }

    #[test]
    fn denial_depends_on_scope_and_extent() {
        let denied = |scope: Option<&str>, is_all_denied| {
            reason(|facts| {
                let error = JobError::new("permission", "");
                facts.last_error = Some(JobError {
                    scope: scope.map(str::to_owned),
                    ..error
                });
                facts.is_all_denied = is_all_denied;
            })
        };
        assert_eq!(denied(None, false), HealthReason::PermissionDenied);
        assert_eq!(denied(Some("mail.read"), false), HealthReason::ScopeMissing);
        assert_eq!(denied(None, true), HealthReason::AccessDenied);
    }

    #[test]
    fn silence_needs_missed_facts() {
        let minutes = |facts: &Facts, minutes| Some(facts.now - TimeDelta::minutes(minutes));
        for (missed, quiet_minutes, expected) in [
            (0, 10_000, HealthReason::UpToDate),
            (1, 59, HealthReason::UpToDate),
            (1, 60, HealthReason::WebhooksSilent),
            (3, 5, HealthReason::UpToDate),
            (4, 5, HealthReason::WebhooksSilent),
        ] {
            let silent = reason(|facts| {
                facts.missed_since_delivery = missed;
                facts.last_delivery_at = minutes(facts, quiet_minutes);
            });
            assert_eq!(silent, expected, "{missed} in {quiet_minutes} minutes");
        }
        let never =
            reason(|facts| (facts.missed_since_delivery, facts.last_delivery_at) = (1, None));
        assert_eq!(never, HealthReason::WebhooksSilent);
        // A rejection before the last delivery explains nothing.
        for (rejected_minutes, expected) in [
            (10, HealthReason::WebhooksSilent),
            (2, HealthReason::WebhooksRejected),
        ] {
            let rejected = reason(|facts| {
                facts.missed_since_delivery = 9;
                facts.last_delivery_at = minutes(facts, 5);
                facts.rejected_at = minutes(facts, rejected_minutes);
            });
            assert_eq!(rejected, expected, "{rejected_minutes}");
        }
        let rejected = reason(|facts| facts.rejected_at = Some(facts.now));
        assert_eq!(rejected, HealthReason::UpToDate, "no fact was missed");
    }

    #[test]
    fn time_changes_the_reason_at_the_review() {
        type Change = fn(&mut Facts);
        let cases: [(Change, HealthReason); 4] = [
            (|_| {}, HealthReason::SyncOverdue),
            (
                |facts| facts.grant_ends_at = Some(facts.now + TimeDelta::minutes(4_325)),
                HealthReason::GrantEndsSoon,
            ),
            (
                |facts| facts.subscription_ends_at = Some(facts.now + TimeDelta::minutes(5)),
                HealthReason::SubscriptionLapsed,
            ),
            (
                |facts| {
                    facts.missed_since_delivery = 1;
                    facts.last_delivery_at = Some(facts.now - TimeDelta::minutes(55));
                },
                HealthReason::WebhooksSilent,
            ),
        ];
        for (change, expected) in cases {
            let mut facts = healthy();
            change(&mut facts);
            let before = assess(&facts);
            assert_eq!(before.reason, HealthReason::UpToDate, "{expected:?}");
            facts.now = before.review_at;
            assert_eq!(assess(&facts).reason, expected);
        }
        let mut facts = healthy();
        facts.overdue_at = None;
        let in_an_hour = facts.now + MAX_REVIEW_INTERVAL;
        assert_eq!(assess(&facts).review_at, in_an_hour);
    }

    #[test]
    fn backfill_lasts_until_its_end() {
        let running = reason(|facts| facts.is_backfilled = false);
        assert_eq!(running, HealthReason::BackfillRunning);
    }
}
