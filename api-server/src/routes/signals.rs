//! Signals: the feed, its stream, and the catalogue of kinds.

mod get;
mod kinds;
mod list;
mod stream;

use shared::model::{ConnectionId, SignalKind};
use shared::signals::FeedQuery;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::Routes;
use crate::query::{FromQuery, QueryReader, is_slug, parse_uuid};

pub(crate) fn router() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list::list_signals))
        .routes(routes!(kinds::list_signal_kinds))
        .routes(routes!(stream::stream_signals))
        .routes(routes!(get::get_signal))
}

/// An optional part of a Signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, ToSchema)]
#[strum(serialize_all = "snake_case")]
#[schema(rename_all = "snake_case")]
pub(crate) enum Include {
    /// The provider's object as `payload.raw`.
    Raw,
}

/// The filters of Signals.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SignalFilter {
    /// Slugs of providers.
    #[param(required = false, style = Form, explode = false, min_items = 1, max_items = 100, pattern = "^[a-z][a-z0-9_]{0,62}$")]
    source: Vec<String>,
    /// Kinds of Signals.
    #[param(required = false, style = Form, explode = false, min_items = 1, max_items = 100, inline)]
    kind: Vec<SignalKind>,
    /// Ids of connections.
    #[param(required = false, style = Form, explode = false, min_items = 1, max_items = 100)]
    connection_id: Vec<Uuid>,
    /// `raw` adds the provider's object to each Signal.
    #[param(inline)]
    include: Option<Include>,
}

impl FromQuery for SignalFilter {
    fn read(query: &mut QueryReader) -> Self {
        Self {
            source: query.list("source", "a provider's slug", |text| {
                is_slug(text).then(|| text.to_owned())
            }),
            kind: query.list("kind", "a kind of Signal", |text| text.parse().ok()),
            connection_id: query.list("connection_id", "a UUID", parse_uuid),
            include: query.enum_value("include"),
        }
    }
}

impl SignalFilter {
    /// A query for a page of matching Signals.
    pub(crate) fn page(&self, limit: u32) -> FeedQuery {
        FeedQuery {
            sources: self.source.clone(),
            kinds: self.kind.clone(),
            connection_ids: self
                .connection_id
                .iter()
                .copied()
                .map(ConnectionId)
                .collect(),
            since: None,
            until: None,
            limit,
            include_raw: self.include.is_some(),
        }
    }
}
