//! Connections: read, pause, sync and disconnect.

mod create_webhook;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod streams;
pub(crate) mod sync;
pub(crate) mod update;
pub(crate) mod webhook_state;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use shared::connectors::{ProviderDescriptor, Registry};
use shared::db::connections::{self, Behind, ConnectionHealth, ConnectionStatus};
use shared::db::cursors::HeldBackBy;
use shared::db::{DbError, Tx};
use shared::health::Health;
use shared::model::{ConnectionId, JobError, TenantId};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::webhook_state::Webhooks;
use super::Routes;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list::list_connections))
        .routes(routes!(
            get::get_connection,
            update::update_connection,
            delete::delete_connection
        ))
        .routes(routes!(streams::list_connection_streams))
        .routes(routes!(sync::sync_connection))
        .routes(routes!(create_webhook::create_connection_webhook))
}

/// A tenant's grant at one provider account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// The tenant that it belongs to.
    pub(crate) tenant_id: TenantId,
    /// The provider's slug.
    #[schema(example = "github")]
    pub(crate) provider: String,
    pub(crate) status: ConnectionStatus,
    /// The reason for the status, for programs.
    pub(crate) status_reason: Option<String>,
    /// The state of its parts, the reason, and the action that helps.
    pub(crate) health: Health,
    /// The provider's account; null while the connection is pending.
    pub(crate) account: Option<Account>,
    /// The approval that a pending connection waits for; null for other connections.
    pub(crate) approval: Option<Approval>,
    /// The granted scopes or permissions, as the provider names them.
    pub(crate) scopes: Vec<String>,
    /// The scopes or permissions that the connect flow requests.
    #[schema(value_type = Vec<String>)]
    pub(crate) required_scopes: &'static [&'static str],
    /// The configured seconds between two polls.
    #[schema(example = 300)]
    pub(crate) poll_interval_seconds: i32,
    /// The actual seconds between two polls: more than configured if a full read takes longer at
    /// the provider's rate limits.
    #[schema(example = 300)]
    pub(crate) effective_poll_interval_seconds: i32,
    /// When the last successful sync ended.
    pub(crate) last_sync_at: Option<DateTime<Utc>>,
    /// When the next sync is due; null while the connection is not polled.
    pub(crate) next_sync_at: Option<DateTime<Utc>>,
    /// The error of the last sync; null after a success.
    pub(crate) last_error: Option<JobError>,
    /// When the backfill ended.
    pub(crate) backfilled_at: Option<DateTime<Utc>>,
    /// Problems that do not stop the connection; empty if there are none.
    pub(crate) warnings: Vec<Warning>,
    /// The progress of the backfill; null before and after it.
    pub(crate) backfill: Option<Backfill>,
    /// The time before which every fact that the provider lists as it happens is in the feed: the
    /// minimum over the connection's streams. Null until each of them has been read once.
    pub(crate) complete_through: Option<DateTime<Utc>>,
    /// The same time for facts that only the reconciliation pass finds: replies in old threads,
    /// edits, rows that the provider lists late.
    pub(crate) reconciled_through: Option<DateTime<Utc>>,
    /// The stream that holds these times back, why, and since when; null if none does.
    pub(crate) held_back_by: Option<HeldBackBy>,
    /// The reason why `complete_through` does not advance; null while it does.
    pub(crate) behind: Option<Behind>,
    /// The number of facts that a poll found and no delivery had reported. If there are many, the
    /// connection is polled more often for a while.
    #[schema(example = 0)]
    pub(crate) missed_count: i64,
    /// When a poll found the last of these facts.
    pub(crate) missed_at: Option<DateTime<Utc>>,
    /// The webhooks of the connection.
    pub(crate) webhooks: Webhooks,
    /// When the last Signal was stored, to the minute.
    pub(crate) last_signal_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// A problem that does not stop a connection.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Warning {
    /// The kind of problem, for programs.
    #[schema(example = "events_refused")]
    pub(crate) code: String,
    /// Explanation and next step, for people.
    pub(crate) message: String,
}

impl Warning {
    /// The warning for events that the provider refused to send.
    fn refused_events(events: &[String]) -> Option<Self> {
        (!events.is_empty()).then(|| Self {
            code: "events_refused".to_owned(),
            message: format!(
                "The provider refused to send these events: {}. Polling finds those of them that \
                 the provider lists. Check the permissions of the app at the provider.",
                events.join(", ")
            ),
        })
    }

    /// The warning for a grant that ends soon and that no refresh extends.
    fn grant_end(at: DateTime<Utc>) -> Self {
        Self {
            code: "grant_ends_soon".to_owned(),
            message: format!(
                "The grant ends at {}. Connect the account again before then.",
                at.to_rfc3339_opts(SecondsFormat::Secs, true)
            ),
        }
    }
}

/// The progress of a connection's backfill.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Backfill {
    pub(crate) started_at: DateTime<Utc>,
    /// The number of known streams: the issues of a repository, the messages of a channel …
    #[schema(example = 280)]
    pub(crate) streams: i64,
    /// The number of streams that have been read completely.
    #[schema(example = 112)]
    pub(crate) streams_read: i64,
    /// The share of the streams that has been read, from 0 to 1.
    #[schema(example = 0.43)]
    pub(crate) progress: f64,
    /// When the backfill ends at its rate so far; null while too little has been read.
    pub(crate) estimated_end_at: Option<DateTime<Utc>>,
}

/// The approval that a pending connection waits for.
///
/// An administrator of the account approves by opening the same connect link.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Approval {
    /// The name of the account; null until the provider names it.
    #[schema(example = "octo-org")]
    pub(crate) account_name: Option<String>,
    /// The provider's id of the person who requested the connection.
    #[schema(example = "480938")]
    pub(crate) requester: Option<String>,
    /// When the approval and the pending connection expire.
    pub(crate) expires_at: DateTime<Utc>,
}

/// An account at a provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Account {
    /// The id that routes deliveries.
    pub(crate) id: String,
    /// The display name.
    #[schema(example = "octo-org")]
    pub(crate) name: String,
}

/// The description of a provider; `None` if this release does not know it.
fn descriptor_of<'r>(registry: &'r Registry, slug: &str) -> Option<&'r ProviderDescriptor> {
    let mut descriptors = registry.iter().map(|(descriptor, _)| descriptor);
    descriptors.find(|descriptor| descriptor.slug == slug)
}

/// Adds health and activity to connections.
pub(crate) async fn show_all(
    tx: &mut Tx,
    registry: &Registry,
    connections: Vec<connections::Connection>,
) -> Result<Vec<Connection>, DbError> {
    let keys: Vec<_> = connections.iter().map(|c| (c.tenant_id, c.id)).collect();
    let mut health = connections::load_health(tx, &keys).await?;
    let mut shown = Vec::with_capacity(connections.len());
    for connection in connections {
        let own = health.iter().position(|one| one.id == connection.id);
        let own = own.ok_or(DbError::Corrupt("the health of a connection"))?;
        let descriptor = descriptor_of(registry, &connection.provider);
        shown.push(Connection::new(
            connection,
            health.swap_remove(own),
            descriptor,
        ));
    }
    Ok(shown)
}

/// Adds health and activity to a connection.
pub(crate) async fn show(
    tx: &mut Tx,
    registry: &Registry,
    connection: connections::Connection,
) -> Result<Connection, DbError> {
    let mut shown = show_all(tx, registry, vec![connection]).await?;
    shown
        .pop()
        .ok_or(DbError::Corrupt("the health of a connection"))
}

impl Connection {
    fn new(
        connection: connections::Connection,
        own: ConnectionHealth,
        descriptor: Option<&ProviderDescriptor>,
    ) -> Self {
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
            tenant_id: connection.tenant_id,
            webhooks: Webhooks::new(descriptor, own.health.reason, &own.activity),
            last_signal_at: own.activity.last_signal_at,
            health: own.health,
            required_scopes: descriptor.map_or(&[], |descriptor| descriptor.scopes),
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
            warnings: Warning::refused_events(&connection.refused_events)
                .into_iter()
                .chain(connection.grant_ends_at.map(Warning::grant_end))
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
