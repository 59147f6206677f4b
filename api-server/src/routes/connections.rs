//! Grants at providers: looked at, paused, synced and ended.

mod delete;
mod get;
mod list;
mod sync;
mod update;
mod webhook;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::db::connections::{self, Behind, ConnectionStatus};
use shared::db::cursors::HeldBackBy;
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
        .routes(routes!(webhook::create_connection_webhook))
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
    /// What a pending connection waits for; null for every other.
    approval: Option<Approval>,
    /// Scopes or permissions, as the provider names them.
    scopes: Vec<String>,
    /// How often it is to be polled.
    #[schema(example = 300)]
    poll_interval_seconds: i32,
    /// How often it is polled in fact: less often where reading everything takes longer at the
    /// provider's pace.
    #[schema(example = 300)]
    effective_poll_interval_seconds: i32,
    /// When it was last read successfully.
    last_sync_at: Option<DateTime<Utc>>,
    /// When it is read next; null while it is not polled.
    next_sync_at: Option<DateTime<Utc>>,
    /// Why the last read failed; null after a success.
    last_error: Option<JobError>,
    /// When its past had been read completely.
    backfilled_at: Option<DateTime<Utc>>,
    /// What does not work as it could, and what to do about it; empty when all is well.
    warnings: Vec<Warning>,
    /// How far the first read of its past is; null before and after it.
    backfill: Option<Backfill>,
    /// Through when everything that the provider lists as it happens is in the feed: the least of
    /// its streams. Null while one has not been read once.
    complete_through: Option<DateTime<Utc>>,
    /// The same of facts that only the reconciliation pass finds: replies in old threads, edits,
    /// rows that the provider lists late.
    reconciled_through: Option<DateTime<Utc>>,
    /// The stream that holds these times back, why, and since when; null where none does.
    held_back_by: Option<HeldBackBy>,
    /// Why `complete_through` does not advance at the moment; null when it does.
    behind: Option<Behind>,
    /// Facts that a read found and no delivery had told. Where there are more than a few, the
    /// connection is polled more often for a while.
    #[schema(example = 0)]
    missed_count: i64,
    /// When the last such fact was found.
    missed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// Something about a connection that does not work as it could.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Warning {
    /// A short word for programs.
    #[schema(example = "events_refused")]
    code: String,
    /// What it is, in words for people.
    message: String,
}

impl Warning {
    /// Events that the provider refused to send.
    fn of_refused(events: &[String]) -> Option<Self> {
        (!events.is_empty()).then(|| Self {
            code: "events_refused".to_owned(),
            message: format!(
                "The provider refused to send these events: {}. They are found by polling only, \
                 where polling can see them.",
                events.join(", ")
            ),
        })
    }
}

/// How far the first read of a connection's past is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Backfill {
    started_at: DateTime<Utc>,
    /// Streams that are known so far: the issues of a repository, the messages of a channel …
    #[schema(example = 280)]
    streams: i64,
    /// Streams that have been read to their end.
    #[schema(example = 112)]
    streams_read: i64,
    /// How much of the streams has been read, from 0 to 1.
    #[schema(example = 0.43)]
    progress: f64,
    /// When it ends if it goes on as it did so far; null while too little has been read.
    estimated_end_at: Option<DateTime<Utc>>,
}

/// The approval that a pending connection waits for: an administrator of the account opens the
/// link that it was asked for with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Approval {
    /// The account's name; null until the provider has named the account.
    #[schema(example = "octo-org")]
    account_name: Option<String>,
    /// The provider's id of the person who asked.
    #[schema(example = "480938")]
    requester: Option<String>,
    /// When the approval expires, and the connection with it.
    expires_at: DateTime<Utc>,
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
        let requester = connection.requester;
        let approval = connection.approval.map(|approval| Approval {
            account_name: approval.account_name,
            requester,
            expires_at: approval.expires_at,
        });
        Self {
            id: connection.id,
            provider: connection.provider,
            status: connection.status,
            status_reason: connection.status_reason,
            account,
            approval,
            scopes: connection.scopes,
            poll_interval_seconds: connection.poll_interval_seconds,
            effective_poll_interval_seconds: connection.effective_poll_interval_seconds,
            last_sync_at: connection.last_sync_at,
            next_sync_at: connection.next_sync_at,
            last_error: connection.last_error,
            backfilled_at: connection.backfilled_at,
            warnings: Warning::of_refused(&connection.refused_events)
                .into_iter()
                .collect(),
            backfill: connection.backfill.map(|backfill| Backfill {
                started_at: backfill.started_at,
                streams: backfill.streams,
                streams_read: backfill.streams_read,
                progress: backfill.progress,
                estimated_end_at: backfill.estimated_end_at,
            }),
            complete_through: connection.complete_through,
            reconciled_through: connection.reconciled_through,
            held_back_by: connection.held_back_by,
            behind: connection.behind,
            missed_count: connection.missed_count,
            missed_at: connection.missed_at,
            created_at: connection.created_at,
            updated_at: connection.updated_at,
        }
    }
}
