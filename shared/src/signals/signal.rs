//! A Signal as readers of the feed receive it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::model::{
    Actor, ConnectionId, Context, SignalId, SignalKind, Subject, TenantId, TimestampSource,
};

/// One fact about a team's activity.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Signal {
    /// A UUID version 7 that this service assigns.
    pub id: SignalId,
    /// The tenant that owns the Signal.
    pub tenant_id: TenantId,
    /// The connection that the fact was read through.
    pub connection_id: ConnectionId,
    /// The provider's slug.
    #[schema(example = "github")]
    pub source: String,
    /// The type of the fact.
    pub kind: SignalKind,
    /// The fact's identity within tenant and source: the same fact has the same key, no matter
    /// how and how often it arrives.
    #[schema(example = "github:pr:279147437:merged")]
    pub dedupe_key: String,
    /// When it happened; at most a minute after `received_at`.
    pub timestamp: DateTime<Utc>,
    /// The source of `timestamp`.
    pub timestamp_source: TimestampSource,
    /// When this service received it.
    pub received_at: DateTime<Utc>,
    /// The account that acted.
    #[schema(value_type = Actor)]
    pub actor: Box<RawValue>,
    /// The object that the fact is about.
    #[schema(value_type = Subject)]
    pub subject: Box<RawValue>,
    /// The place where it happened.
    #[schema(value_type = Context)]
    pub context: Box<RawValue>,
    /// The details of the fact.
    pub payload: Payload,
    /// The version of this schema.
    #[schema(example = 1)]
    pub schema_version: i16,
}

/// The details of a Signal.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Payload {
    /// The fields of the kind, documented by `GET /v1/signals/kinds`.
    #[schema(value_type = Object)]
    pub normalized: Box<RawValue>,
    /// The provider's object as received; only with `include=raw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub raw: Option<Box<RawValue>>,
}

/// The JSON that is written to the column `body`.
#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    #[serde(skip_serializing_if = "TimestampSource::is_provider")]
    pub(super) timestamp_source: TimestampSource,
    pub(super) actor: &'a Actor,
    pub(super) subject: &'a Subject,
    pub(super) context: &'a Context,
    pub(super) normalized: &'a Value,
}

/// The JSON that is read from `body` and passed to the reader unchanged.
#[derive(Debug, Deserialize)]
pub(super) struct StoredBody {
    #[serde(default)]
    pub(super) timestamp_source: TimestampSource,
    pub(super) actor: Box<RawValue>,
    pub(super) subject: Box<RawValue>,
    pub(super) context: Box<RawValue>,
    pub(super) normalized: Box<RawValue>,
}
