//! Conversions from errors of the crate `shared` to [`ApiError`].

use shared::connectors::RegistryError;
use shared::credentials::CredentialError;
use shared::db::DbError;
use shared::db::connections::ConnectError;
use shared::db::page::MalformedCursor;
use shared::signals::FeedError;

use super::{ApiError, Conflict, FieldProblem};

impl From<Conflict> for ApiError {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}

impl From<DbError> for ApiError {
    /// Maps violated constraints to problems.
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some("connection_routes_exclusive" | "connections_account_once") => {
                Conflict::AccountAlreadyConnected.into()
            }
            Some(
                "api_keys_tenant_id_fkey"
                | "connect_links_tenant_id_fkey"
                | "oauth_states_tenant_id_fkey",
            ) => Self::NotFound("tenant"),
            Some("operators_name") => Conflict::OperatorNameTaken.into(),
            _ => Self::Db(error),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        DbError::from(error).into()
    }
}

impl From<ConnectError> for ApiError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::AccountTaken => Conflict::AccountAlreadyConnected.into(),
            ConnectError::GrantEnding => Self::Denied(
                "The access of this account was being ended at the same time. Connect again."
                    .to_owned(),
            ),
            ConnectError::Db(error) => error.into(),
        }
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Unknown(_) => Self::NotFound("provider"),
            RegistryError::NotConfigured(_) => Conflict::ProviderNotConfigured.into(),
        }
    }
}

impl From<FeedError> for ApiError {
    fn from(error: FeedError) -> Self {
        match error {
            // A well-formed cursor that is not authentic for this tenant and order.
            FeedError::MalformedCursor => Self::NotFound("cursor"),
            FeedError::CursorExpired => Self::CursorExpired,
            // Not reached: the feed repeats such a read on the primary.
            FeedError::ReplicaLagging => Self::TimedOut,
            FeedError::Db(error) => error.into(),
        }
    }
}

impl From<MalformedCursor> for ApiError {
    fn from(error: MalformedCursor) -> Self {
        Self::Parameters(vec![FieldProblem::new("cursor", error.to_string())])
    }
}

impl From<CredentialError> for ApiError {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Provider(error) | CredentialError::RefreshResponseLost(error) => {
                Self::Connector(error)
            }
            CredentialError::Decrypt(error) => Self::Decrypt(error),
            CredentialError::Db(error) => error.into(),
            CredentialError::NotFound | CredentialError::Busy => {
                Conflict::ConnectionNotActive.into()
            }
        }
    }
}
