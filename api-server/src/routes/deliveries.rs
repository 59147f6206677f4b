//! Webhook deliveries as received.

mod bulk;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod replay;
mod unmatched;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::db::deliveries::{self, DeliveryOutcome, DeliverySource};
use shared::model::{ConnectionId, DeliveryId};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list::list_deliveries))
        .routes(routes!(get::get_delivery))
        .routes(routes!(replay::replay_delivery))
        .routes(routes!(bulk::replay_deliveries))
        .routes(routes!(unmatched::list_unmatched_accounts))
}

/// A webhook delivery, or a row of a list that a poll could not read.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Delivery {
    pub(crate) id: DeliveryId,
    /// The provider's slug.
    #[schema(example = "github")]
    pub(crate) provider: String,
    /// The connection of the delivery; null while it matches none.
    pub(crate) connection_id: Option<ConnectionId>,
    /// The provider's account that the delivery names.
    pub(crate) account_id: Option<String>,
    /// The provider's id of the delivery, which identifies repeated deliveries.
    pub(crate) dedupe_id: String,
    /// The name of the event.
    #[schema(example = "issues.opened")]
    pub(crate) event: String,
    /// Whether the provider sent it or a poll read it.
    pub(crate) source: DeliverySource,
    /// The result of the signature check; the signature is not kept.
    pub(crate) result: VerificationResult,
    pub(crate) outcome: DeliveryOutcome,
    /// The reason for the outcome, if there is one.
    pub(crate) outcome_detail: Option<String>,
    /// The number of Signals that it produced.
    pub(crate) signals: i32,
    pub(crate) received_at: DateTime<Utc>,
    /// When it was last processed.
    pub(crate) processed_at: Option<DateTime<Utc>>,
}

/// The result of the check of a delivery's signature.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VerificationResult {
    /// The signature is valid.
    Verified,
    /// A poll read the row, so there is no signature.
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
            result: match delivery.source {
                DeliverySource::Webhook => VerificationResult::Verified,
                DeliverySource::Poll => VerificationResult::NotApplicable,
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
