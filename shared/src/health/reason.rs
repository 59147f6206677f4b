//! States of health, their reasons, and the action for each reason.

use serde::Serialize;
use strum::{EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

/// A state of health.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum HealthState {
    /// The account is read on schedule.
    Healthy,
    /// The past is being read for the first time.
    Backfilling,
    /// A part does not work, or not for now; the rest is read.
    Degraded,
    /// Nothing is read until a person acts.
    ActionRequired,
    /// A person paused the connection.
    Paused,
    /// The connection has ended.
    Disconnected,
}

/// The reason for a state of health.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum HealthReason {
    /// The account is read on schedule.
    UpToDate,
    /// The backfill is running.
    BackfillRunning,
    /// The provider limits the rate of calls.
    RateLimited,
    /// The quota of calls is used up.
    QuotaSpent,
    /// The provider fails or does not respond.
    ProviderUnavailable,
    /// The provider rejects tokens that it has just issued.
    TokenRejected,
    /// The grant lacks a scope that some streams need.
    ScopeMissing,
    /// The provider denies permission to read some streams.
    PermissionDenied,
    /// The provider's responses cannot be used.
    ResponseInvalid,
    /// This software failed.
    InternalError,
    /// No worker reads the account.
    SyncOverdue,
    /// Deliveries are rejected, because their signatures do not match the webhook secret.
    WebhooksRejected,
    /// Reads find facts that no delivery has reported.
    WebhooksSilent,
    /// A subscription has expired.
    SubscriptionLapsed,
    /// The grant ends within three days, and no refresh extends it.
    GrantEndsSoon,
    /// An administrator of the account must approve the connection.
    AwaitingApproval,
    /// The provider suspended the grant.
    SuspendedAtProvider,
    /// The provider refused to refresh the token.
    GrantRefused,
    /// The grant was revoked at the provider.
    GrantRevoked,
    /// The token was lost together with the response to a refresh.
    TokenLost,
    /// The connection has no stored tokens.
    CredentialMissing,
    /// A stored token cannot be decrypted.
    CredentialSealed,
    /// The provider's settings are missing in the worker.
    ProviderNotConfigured,
    /// The provider denies permission to read all streams.
    AccessDenied,
    /// A person paused the connection.
    Paused,
    /// A person disconnected the account.
    Disconnected,
    /// The app was removed from the account.
    RemovedAtProvider,
    /// The approval was not given in time.
    ApprovalExpired,
    /// The account has another connection.
    AccountAlreadyConnected,
}

/// A kind of action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ActionKind {
    /// Connect the account again.
    Reconnect,
    /// Connect the account again and allow the missing scope.
    GrantScope,
    /// Approve the connection.
    Approve,
    /// Wait; reading resumes without an action.
    Wait,
    /// Check the settings at the provider or of this service.
    CheckSettings,
    /// No action is necessary.
    None,
}

/// The person who must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Actor {
    /// An administrator of the tenant's account at the provider.
    TeamAdmin,
    /// An operator of this service.
    Operator,
    /// No person.
    Nobody,
}

impl HealthState {
    /// The name in the database and in the API.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl HealthReason {
    /// The name in the database and in the API.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The state that it leads to.
    pub const fn state(self) -> HealthState {
        match self {
            Self::UpToDate => HealthState::Healthy,
            Self::BackfillRunning => HealthState::Backfilling,
            Self::RateLimited
            | Self::QuotaSpent
            | Self::ProviderUnavailable
            | Self::TokenRejected
            | Self::ScopeMissing
            | Self::PermissionDenied
            | Self::ResponseInvalid
            | Self::InternalError
            | Self::SyncOverdue
            | Self::WebhooksRejected
            | Self::WebhooksSilent
            | Self::SubscriptionLapsed
            | Self::GrantEndsSoon => HealthState::Degraded,
            Self::AwaitingApproval
            | Self::SuspendedAtProvider
            | Self::GrantRefused
            | Self::GrantRevoked
            | Self::TokenLost
            | Self::CredentialMissing
            | Self::CredentialSealed
            | Self::ProviderNotConfigured
            | Self::AccessDenied => HealthState::ActionRequired,
            Self::Paused => HealthState::Paused,
            Self::Disconnected
            | Self::RemovedAtProvider
            | Self::ApprovalExpired
            | Self::AccountAlreadyConnected => HealthState::Disconnected,
        }
    }

    /// The action that helps.
    pub const fn action(self) -> ActionKind {
        match self {
            Self::UpToDate
            | Self::BackfillRunning
            | Self::Paused
            | Self::Disconnected
            | Self::AccountAlreadyConnected => ActionKind::None,
            Self::RateLimited
            | Self::QuotaSpent
            | Self::ProviderUnavailable
            | Self::TokenRejected => ActionKind::Wait,
            Self::ScopeMissing => ActionKind::GrantScope,
            Self::AwaitingApproval => ActionKind::Approve,
            Self::GrantEndsSoon
            | Self::GrantRefused
            | Self::GrantRevoked
            | Self::TokenLost
            | Self::CredentialMissing
            | Self::RemovedAtProvider
            | Self::ApprovalExpired => ActionKind::Reconnect,
            Self::PermissionDenied
            | Self::ResponseInvalid
            | Self::InternalError
            | Self::SyncOverdue
            | Self::WebhooksRejected
            | Self::WebhooksSilent
            | Self::SubscriptionLapsed
            | Self::SuspendedAtProvider
            | Self::CredentialSealed
            | Self::ProviderNotConfigured
            | Self::AccessDenied => ActionKind::CheckSettings,
        }
    }

    /// The person who must act.
    pub const fn actor(self) -> Actor {
        match self.action() {
            ActionKind::None | ActionKind::Wait => Actor::Nobody,
            ActionKind::Reconnect | ActionKind::GrantScope | ActionKind::Approve => {
                Actor::TeamAdmin
            }
            ActionKind::CheckSettings => match self {
                Self::PermissionDenied | Self::AccessDenied | Self::SuspendedAtProvider => {
                    Actor::TeamAdmin
                }
                _ => Actor::Operator,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_back() {
        for reason in HealthReason::VARIANTS {
            assert_eq!(reason.as_str().parse(), Ok(*reason));
        }
        for state in HealthState::VARIANTS {
            assert_eq!(state.as_str().parse(), Ok(*state));
        }
    }

    #[test]
    fn every_state_has_a_reason() {
        for state in HealthState::VARIANTS {
            let mut reasons = HealthReason::VARIANTS.iter();
            assert!(reasons.any(|reason| reason.state() == *state), "{state:?}");
        }
    }

    #[test]
    fn required_action_names_a_person() {
        for reason in HealthReason::VARIANTS {
            let is_required = reason.state() == HealthState::ActionRequired;
            assert!(
                !is_required || reason.actor() != Actor::Nobody,
                "{reason:?}"
            );
        }
    }

    /// The runbook has one row per reason, in the order of the enum: state, person and a cure.
    #[test]
    fn runbook_lists_every_reason() {
        let text = include_str!("../../../docs/operations.md");
        let (_, table) = text
            .split_once("| reason | state | who |")
            .expect("the table of reasons");
        let rows: Vec<Vec<&str>> = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        let listed: Vec<[String; 3]> = rows
            .iter()
            .map(|row| [row[0], row[1], row[2]].map(|cell| cell.replace('`', "")))
            .collect();
        let expected: Vec<[String; 3]> = HealthReason::VARIANTS
            .iter()
            .map(|reason| {
                let actor: &'static str = reason.actor().into();
                [reason.as_str(), reason.state().as_str(), actor].map(str::to_owned)
            })
            .collect();
        assert_eq!(listed, expected);
        for row in rows {
            assert_eq!(row.len(), 4, "{row:?}");
            assert!(row[3].len() > 20, "{row:?} has no cure");
        }
    }
}
