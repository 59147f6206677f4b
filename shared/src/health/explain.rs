//! The sentence and the action for a reason.

use chrono::{DateTime, SecondsFormat, Utc};

use super::{ActionKind, Actor, Facts, Health, HealthAction, HealthReason};

impl Health {
    /// Explains the health that a reason leads to.
    pub fn explain(reason: HealthReason, since: DateTime<Utc>, facts: &Facts) -> Self {
        let kind = reason.action();
        let route = format!("/v1/connect/{}", facts.provider);
        Self {
            state: reason.state(),
            reason,
            since,
            explanation: explanation(reason, facts),
            action: HealthAction {
                kind,
                who: actor(reason, facts),
                url: matches!(kind, ActionKind::Reconnect | ActionKind::GrantScope)
                    .then_some(route),
                until: until(reason, facts),
            },
        }
    }
}

/// The person who must act.
fn actor(reason: HealthReason, facts: &Facts) -> Actor {
    match reason {
        // The team entered the secret of the connection's own URL at the provider.
        HealthReason::WebhooksRejected if is_own_url_rejected(facts) => Actor::TeamAdmin,
        _ => reason.actor(),
    }
}

fn is_own_url_rejected(facts: &Facts) -> bool {
    facts.is_rejected_since_delivery(facts.own_rejected_at)
}

/// The time until which to act, or until which to wait.
fn until(reason: HealthReason, facts: &Facts) -> Option<DateTime<Utc>> {
    match reason {
        HealthReason::RateLimited | HealthReason::QuotaSpent => facts.last_error.as_ref()?.retry_at,
        HealthReason::AwaitingApproval => facts.approval_expires_at,
        HealthReason::GrantEndsSoon => facts.grant_ends_at,
        _ => None,
    }
}

#[expect(clippy::too_many_lines, reason = "one sentence per reason")]
fn explanation(reason: HealthReason, facts: &Facts) -> String {
    let account = facts.account_name.as_deref().unwrap_or("the account");
    let until = |before: &str| {
        until(reason, facts).map_or_else(String::new, |at| {
            format!(
                " {before} {}",
                at.to_rfc3339_opts(SecondsFormat::Secs, true)
            )
        })
    };
    match reason {
        HealthReason::UpToDate => "The account is read on schedule.".to_owned(),
        HealthReason::BackfillRunning => {
            "The past of the account is being read for the first time.".to_owned()
        }
        HealthReason::RateLimited => format!(
            "The provider limits the rate of calls{}; reading resumes after that by itself.",
            until("until")
        ),
        HealthReason::QuotaSpent => format!(
            "The provider's quota of calls is used up{}; reading resumes after that by itself.",
            until("until")
        ),
        HealthReason::ProviderUnavailable => format!(
            "The provider fails or does not respond{}; the read is retried until it succeeds.",
            operation(facts)
        ),
        HealthReason::TokenRejected => "The provider rejects tokens that it has just issued; the \
             read is retried until it succeeds."
            .to_owned(),
        HealthReason::ScopeMissing => format!(
            "The grant lacks the scope {}, so a part of the account is not read.",
            scope(facts)
        ),
        HealthReason::PermissionDenied => format!(
            "The provider denies permission to read a part of {account}{}; give the app access to \
             it in the account's settings.",
            operation(facts)
        ),
        HealthReason::AccessDenied => format!(
            "The provider denies permission to read {account}{}; give the app access to it in the \
             account's settings.",
            operation(facts)
        ),
        HealthReason::ResponseInvalid => format!(
            "The provider rejects a call or its response cannot be used{}; the log of the worker \
             has the cause.",
            operation(facts)
        ),
        HealthReason::InternalError => {
            "A read failed because of an error of this service; the log of the worker has the cause."
                .to_owned()
        }
        HealthReason::SyncOverdue => "The next read is overdue, because too few workers run or \
             they wait for the database."
            .to_owned(),
        HealthReason::WebhooksRejected if is_own_url_rejected(facts) => {
            "Deliveries to the URL of this connection are rejected, because their signatures do \
             not match its webhook secret; polling continues."
                .to_owned()
        }
        HealthReason::WebhooksRejected => "The provider's deliveries are rejected, because their \
             signatures do not match the webhook secret of the app; polling continues."
            .to_owned(),
        HealthReason::WebhooksSilent => format!(
            "{} facts were found by polling and not reported by any delivery{}; polling continues.",
            facts.missed_since_delivery,
            facts.last_delivery_at.map_or_else(String::new, |at| {
                format!(" since {}", at.to_rfc3339_opts(SecondsFormat::Secs, true))
            })
        ),
        HealthReason::SubscriptionLapsed => "The subscription for webhooks has expired and was \
             not renewed; polling continues."
            .to_owned(),
        HealthReason::GrantEndsSoon => format!(
            "The grant ends{}; connect the account again before then.",
            until("at")
        ),
        HealthReason::AwaitingApproval => format!(
            "An administrator of {account} must approve the connection by opening the same \
             connect link{}.",
            until("before")
        ),
        HealthReason::SuspendedAtProvider => format!(
            "The app is suspended in {account}; an administrator of the account must end the \
             suspension at the provider."
        ),
        HealthReason::GrantRefused => format!(
            "The provider no longer accepts the grant for {account}; connect the account again."
        ),
        HealthReason::GrantRevoked => format!(
            "The grant for {account} was revoked at the provider; connect the account again."
        ),
        HealthReason::TokenLost => "The token was lost, because the provider's response to its \
             refresh did not arrive; connect the account again."
            .to_owned(),
        HealthReason::CredentialMissing => {
            "The connection has no stored tokens; connect the account again.".to_owned()
        }
        HealthReason::CredentialSealed => "The stored tokens cannot be decrypted, because the \
             worker lacks the crypto key that sealed them."
            .to_owned(),
        HealthReason::ProviderNotConfigured => {
            "The worker lacks the settings of the provider's app, so it reads no account there."
                .to_owned()
        }
        HealthReason::Paused => {
            "The connection is paused; deliveries are still received.".to_owned()
        }
        HealthReason::Disconnected => "The account was disconnected.".to_owned(),
        HealthReason::RemovedAtProvider => format!(
            "The app was removed from {account} at the provider; connect the account again to \
             resume."
        ),
        HealthReason::ApprovalExpired => {
            "The connection was not approved in time; connect the account again.".to_owned()
        }
        HealthReason::AccountAlreadyConnected => {
            "The account has another connection, which was resumed instead.".to_owned()
        }
    }
}

/// The call that failed, in parentheses.
fn operation(facts: &Facts) -> String {
    let operation = facts
        .last_error
        .as_ref()
        .and_then(|error| error.operation.as_deref());
    operation.map_or_else(String::new, |operation| format!(" (call {operation})"))
}

fn scope(facts: &Facts) -> &str {
    let scope = facts
        .last_error
        .as_ref()
        .and_then(|error| error.scope.as_deref());
    scope.unwrap_or("that it needs")
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;
    use crate::health::assess::tests::healthy;
    use crate::model::JobError;

    #[test]
    fn explanation_is_one_sentence_also_without_details() {
        for reason in HealthReason::VARIANTS {
            let mut facts = healthy();
            facts.account_name = None;
            let health = Health::explain(*reason, facts.now, &facts);
            let text = &health.explanation;
            assert!(text.ends_with('.') && !text.contains(". "), "{text}");
            assert!(!text.contains("  ") && !text.contains(" ;"), "{text}");
            assert_eq!(health.state, reason.state());
        }
    }

    #[test]
    fn details_are_named() {
        let mut facts = healthy();
        facts.last_error = Some(JobError {
            scope: Some("mail.read".to_owned()),
            operation: Some("list_messages".to_owned()),
            retry_at: Some(facts.now),
            ..JobError::new("permission", "")
        });
        let explain = |reason| Health::explain(reason, facts.now, &facts);
        let missing = explain(HealthReason::ScopeMissing);
        assert!(missing.explanation.contains("mail.read"), "{missing:?}");
        assert_eq!(missing.action.url.as_deref(), Some("/v1/connect/github"));
        let failing = explain(HealthReason::ProviderUnavailable);
        assert!(failing.explanation.contains("list_messages"), "{failing:?}");
        let limited = explain(HealthReason::RateLimited);
        assert_eq!(limited.action.until, Some(facts.now));
        assert!(limited.explanation.contains("2027-01-15T08:00:00Z"));
    }

    #[test]
    fn rejected_secret_of_a_connection_concerns_the_team() {
        let mut facts = healthy();
        let who = |facts: &Facts| {
            Health::explain(HealthReason::WebhooksRejected, facts.now, facts)
                .action
                .who
        };
        facts.rejected_at = Some(facts.now);
        assert_eq!(who(&facts), Actor::Operator);
        facts.own_rejected_at = Some(facts.now);
        assert_eq!(who(&facts), Actor::TeamAdmin);
    }
}
