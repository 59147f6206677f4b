//! What providers sent us, as received.

mod get;
mod list;
mod replay;
mod unmatched;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::db::deliveries::{self, DeliveryOutcome, DeliverySource};
use shared::ids::{ConnectionId, DeliveryId};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list::list_deliveries))
        .routes(routes!(get::get_delivery))
        .routes(routes!(replay::replay_delivery))
        .routes(routes!(unmatched::list_unmatched_accounts))
}

/// A webhook delivery, or a row of a list that a poll could not read.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Delivery {
    id: DeliveryId,
    /// The provider's slug.
    #[schema(example = "github")]
    provider: String,
    /// The connection it was routed to; null while it matches none.
    connection_id: Option<ConnectionId>,
    /// The provider's account it is about.
    account_id: Option<String>,
    /// The provider's id of the delivery: the same id is the same delivery.
    dedupe_id: String,
    /// The event's name.
    #[schema(example = "issues.opened")]
    event: String,
    /// Whether the provider sent it, or a poll read it.
    source: DeliverySource,
    /// What checking its signature gave; nothing else is kept.
    verdict: Verdict,
    outcome: DeliveryOutcome,
    /// Why, when that needs saying.
    outcome_detail: Option<String>,
    /// How many Signals it gave.
    signals: i32,
    received_at: DateTime<Utc>,
    /// When it was last processed.
    processed_at: Option<DateTime<Utc>>,
}

/// What checking a delivery's signature gave.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It is genuine.
    Verified,
    /// A poll read it, so there is no signature.
    NotApplicable,
}

impl From<deliveries::Delivery> for Delivery {
    fn from(delivery: deliveries::Delivery) -> Self {
        Self {
            id: delivery.id,
            provider: delivery.provider,
            connection_id: delivery.connection_id,
            account_id: delivery.account_id,
            dedupe_id: delivery.dedupe_id,
            event: delivery.event,
            verdict: match delivery.source {
                DeliverySource::Webhook => Verdict::Verified,
                DeliverySource::Poll => Verdict::NotApplicable,
            },
            source: delivery.source,
            outcome: delivery.outcome,
            outcome_detail: delivery.outcome_detail,
            signals: delivery.signals,
            received_at: delivery.received_at,
            processed_at: delivery.processed_at,
        }
    }
}
