//! Grants at providers: looked at, paused, synced and ended.

mod delete;
mod get;
mod list;
mod sync;
mod update;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::db::connections::{self, ConnectionStatus};
use shared::ids::ConnectionId;
use shared::queue::JobError;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list::list_connections))
        .routes(routes!(
            get::get_connection,
            update::update_connection,
            delete::delete_connection
        ))
        .routes(routes!(sync::sync_connection))
}

/// A tenant's grant at one provider account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// The provider's slug.
    #[schema(example = "github")]
    provider: String,
    pub(crate) status: ConnectionStatus,
    /// Why it stands there, in a word.
    status_reason: Option<String>,
    /// The provider's account; null while the connection is pending.
    account: Option<Account>,
    /// Scopes or permissions, as the provider names them.
    scopes: Vec<String>,
    /// How often it is polled.
    #[schema(example = 300)]
    poll_interval_seconds: i32,
    /// When it was last read successfully.
    last_sync_at: Option<DateTime<Utc>>,
    /// When it is read next; null while it is not polled.
    next_sync_at: Option<DateTime<Utc>>,
    /// Why the last read failed; null after a success.
    last_error: Option<JobError>,
    /// When its past had been read completely.
    backfilled_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A provider's account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Account {
    /// The id that deliveries are routed by.
    id: String,
    /// The name people know it by.
    #[schema(example = "octo-org")]
    name: String,
}

impl From<connections::Connection> for Connection {
    fn from(connection: connections::Connection) -> Self {
        let account = connection.account.map(|account| Account {
            id: account.id,
            name: account.name,
        });
        Self {
            id: connection.id,
            provider: connection.provider,
            status: connection.status,
            status_reason: connection.status_reason,
            account,
            scopes: connection.scopes,
            poll_interval_seconds: connection.poll_interval_seconds,
            last_sync_at: connection.last_sync_at,
            next_sync_at: connection.next_sync_at,
            last_error: connection.last_error,
            backfilled_at: connection.backfilled_at,
            created_at: connection.created_at,
            updated_at: connection.updated_at,
        }
    }
}
