//! A Signal as Story Hunter reads it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Actor, Context, SignalKind, Subject};
use crate::ids::{ConnectionId, SignalId, TenantId};

/// One fact about a team's activity.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Signal {
    /// Ours; UUID version 7.
    pub id: SignalId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The connection it came by.
    pub connection_id: ConnectionId,
    /// The provider's slug.
    #[schema(example = "github")]
    pub source: String,
    /// What happened.
    pub kind: SignalKind,
    /// When it happened, by the provider's clock.
    pub timestamp: DateTime<Utc>,
    /// When we took it in.
    pub received_at: DateTime<Utc>,
    /// Who did it.
    pub actor: Actor,
    /// What it is about.
    pub subject: Subject,
    /// Where it happened.
    pub context: Context,
    /// The details.
    pub payload: Payload,
    /// Version of this shape.
    #[schema(example = 1)]
    pub schema_version: i16,
}

/// The details of a Signal.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Payload {
    /// The kind's own fields; `GET /v1/signals/kinds` documents them.
    #[schema(value_type = Object)]
    pub normalized: Arc<RawValue>,
    /// The provider's object as received; only with `include=raw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub raw: Option<Arc<RawValue>>,
}

/// What is stored in the column `body`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Body<N> {
    pub(super) actor: Actor,
    pub(super) subject: Subject,
    pub(super) context: Context,
    pub(super) normalized: N,
}
