//! Events: what happened to connections, written in the transaction of the change.
//!
//! [`super::connections`] writes those of connections. [`announce_expiries`] and
//! [`report_rejections`] write those that no change of a row causes; a worker calls them
//! periodically. Events never contain a secret.

mod expiries;
mod rejections;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, DerivePartialModel, QueryFilter, Select};
use serde_json::Value;
use uuid::Uuid;

pub use self::expiries::{ExpiryNotice, announce_expiries};
pub use self::rejections::report_rejections;
use super::entities::events::{Column, Entity};
use super::orm::{Scoped, across_tenants, newest_first};
use super::page::{Page, PageRequest};
use super::{DbError, OperatorProof, TenantScope, Tx, sanitize_json};
use crate::model::{ConnectionId, EventId, EventType, TenantId};

/// An event.
#[derive(Debug, Clone, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub struct Event {
    /// Its tenant; the nil id for an event of the service.
    pub tenant_id: TenantId,
    /// Its id, which sorts by `created_at`.
    pub id: EventId,
    /// Its type; another release may write other types than [`EventType`].
    pub event_type: String,
    /// The provider's slug.
    pub provider: String,
    /// The connection that it concerns.
    pub connection_id: Option<ConnectionId>,
    /// The subscription that it concerns.
    pub subscription_id: Option<Uuid>,
    /// Its details, a JSON object.
    pub data: Value,
    /// When it happened.
    pub created_at: DateTime<Utc>,
}

/// The filter of a list of events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Their types; any when empty.
    pub types: Vec<String>,
    /// The provider's slug.
    pub provider: Option<String>,
    /// The connection that they concern.
    pub connection_id: Option<ConnectionId>,
    /// The time before which events are not listed.
    pub since: Option<DateTime<Utc>>,
}

/// An event to be written.
#[derive(Debug)]
pub(super) struct NewEvent<'a> {
    pub(super) tenant: TenantId,
    /// The time at which it happened, read after the changed row was locked.
    pub(super) at: DateTime<Utc>,
    pub(super) event_type: EventType,
    pub(super) provider: &'a str,
    pub(super) connection: Option<ConnectionId>,
    pub(super) subscription: Option<Uuid>,
    pub(super) data: Value,
    /// The key of an event that several transactions may find; the first one writes it.
    pub(super) dedupe_key: Option<String>,
}

impl<'a> NewEvent<'a> {
    /// An event of a connection.
    pub(super) fn of_connection(
        (tenant, connection): (TenantId, ConnectionId),
        provider: &'a str,
        at: DateTime<Utc>,
        event_type: EventType,
        data: Value,
    ) -> Self {
        Self {
            tenant,
            at,
            event_type,
            provider,
            connection: Some(connection),
            subscription: None,
            data,
            dedupe_key: None,
        }
    }

    fn id(&self) -> EventId {
        EventId::at(self.at, self.event_type.rank())
    }
}

/// Writes events.
pub(super) async fn insert(tx: &mut Tx, events: &[NewEvent<'_>]) -> Result<(), DbError> {
    if events.is_empty() {
        return Ok(());
    }
    let data = column(events, |event| {
        let text = event.data.to_string();
        sanitize_json(&text).into_owned()
    });
    sqlx::query(
        "INSERT INTO events (tenant_id, id, type, provider, connection_id, subscription_id, data, \
             dedupe_key, created_at) \
         SELECT tenant_id, id, type, provider, connection_id, subscription_id, data::json, \
             dedupe_key, created_at \
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], \
                 $7::text[], $8::text[], $9::timestamptz[]) \
             AS n(tenant_id, id, type, provider, connection_id, subscription_id, data, \
                 dedupe_key, created_at) \
         ON CONFLICT (tenant_id, dedupe_key) WHERE dedupe_key IS NOT NULL DO NOTHING",
    )
    .bind(column(events, |event| event.tenant))
    .bind(column(events, NewEvent::id))
    .bind(column(events, |event| event.event_type.as_str()))
    .bind(column(events, |event| event.provider))
    .bind(column(events, |event| event.connection))
    .bind(column(events, |event| event.subscription))
    .bind(data)
    .bind(column(events, |event| event.dedupe_key.as_deref()))
    .bind(column(events, |event| event.at))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The values of one column.
fn column<'e, 'a, T>(events: &'e [NewEvent<'a>], value: impl Fn(&'e NewEvent<'a>) -> T) -> Vec<T> {
    events.iter().map(value).collect()
}

/// Lists a tenant's events, newest first.
///
/// Scans the primary key backwards, or the index `events_connection`.
pub async fn list(
    tx: &mut Tx,
    scope: &TenantScope,
    filter: &EventFilter,
    request: &PageRequest,
) -> Result<Page<Event>, DbError> {
    page(tx, Entity::scoped(scope), filter, request).await
}

/// Lists the events of all tenants, or of `tenant`, and those of the service, newest first.
///
/// The transaction must be one of [`crate::db::Db::begin_for_operator`]. Scans the primary key or
/// one of the indexes `events_all`, `events_type` and `events_connection`.
pub async fn list_all(
    tx: &mut Tx,
    _proof: OperatorProof,
    tenant: Option<TenantId>,
    filter: &EventFilter,
    request: &PageRequest,
) -> Result<Page<Event>, DbError> {
    let mut events = across_tenants::<Entity>();
    if let Some(tenant) = tenant {
        events = events.filter(Column::TenantId.eq(tenant));
    }
    page(tx, events, filter, request).await
}

async fn page(
    tx: &mut Tx,
    mut events: Select<Entity>,
    filter: &EventFilter,
    request: &PageRequest,
) -> Result<Page<Event>, DbError> {
    if !filter.types.is_empty() {
        events = events.filter(Column::EventType.is_in(filter.types.clone()));
    }
    if let Some(provider) = &filter.provider {
        events = events.filter(Column::Provider.eq(provider));
    }
    if let Some(connection) = filter.connection_id {
        events = events.filter(Column::ConnectionId.eq(connection));
    }
    if let Some(since) = filter.since {
        // The id contains the time, so that the scan of an index ends there.
        events = events.filter(Column::Id.gte(EventId::first_at(since)));
    }
    let rows = newest_first(events, Column::Id, request)
        .into_partial_model()
        .all(&tx.orm())
        .await?;
    Ok(request.page(rows, |event: &Event| event.id.0))
}
