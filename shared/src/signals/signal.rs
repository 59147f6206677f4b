//! A Signal as Story Hunter reads it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Actor, Context, SignalKind, Subject, TimestampSource};
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
    /// The fact's identity within tenant and source. It outlives ids: the same fact has the same
    /// key by whichever way it arrives.
    #[schema(example = "github:pr:279147437:merged")]
    pub dedupe_key: String,
    /// When it happened; never more than a minute after `received_at`.
    pub timestamp: DateTime<Utc>,
    /// Whose clock `timestamp` is read from.
    pub timestamp_source: TimestampSource,
    /// When we took it in.
    pub received_at: DateTime<Utc>,
    /// Who did it.
    #[schema(value_type = Actor)]
    pub actor: Box<RawValue>,
    /// What it is about.
    #[schema(value_type = Subject)]
    pub subject: Box<RawValue>,
    /// Where it happened.
    #[schema(value_type = Context)]
    pub context: Box<RawValue>,
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
    pub normalized: Box<RawValue>,
    /// The provider's object as received; only with `include=raw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub raw: Option<Box<RawValue>>,
}

/// What is written to the column `body`.
#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    #[serde(skip_serializing_if = "TimestampSource::is_provider")]
    pub(super) timestamp_source: TimestampSource,
    pub(super) actor: &'a Actor,
    pub(super) subject: &'a Subject,
    pub(super) context: &'a Context,
    pub(super) normalized: &'a Value,
}

/// What is read from it, and handed on as it was written.
#[derive(Debug, Deserialize)]
pub(super) struct StoredBody {
    #[serde(default)]
    pub(super) timestamp_source: TimestampSource,
    pub(super) actor: Box<RawValue>,
    pub(super) subject: Box<RawValue>,
    pub(super) context: Box<RawValue>,
    pub(super) normalized: Box<RawValue>,
}
