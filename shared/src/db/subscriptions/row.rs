//! A row of the subscriptions table, and the subscriptions that the provider may hold for it.

use chrono::{DateTime, Utc};
use sea_orm::DerivePartialModel;
use serde_json::Value;
use uuid::Uuid;

use crate::db::entities::subscriptions::Entity;
use crate::model::{Subscription, SubscriptionSpec};

/// A row of the subscriptions table.
#[derive(Debug, Clone, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub struct Row {
    /// Our id.
    pub id: Uuid,
    /// The resource that it covers.
    pub resource: String,
    target: Value,
    external_id: Option<String>,
    /// The id of an attempt to create it whose result is unknown.
    planned_id: Option<String>,
    route: Option<String>,
    state: Value,
    expires_at: Option<DateTime<Utc>>,
    refused_events: Vec<String>,
    /// When the provider last created or renewed it.
    pub renewed_at: Option<DateTime<Utc>>,
    /// Whether it must exist, or must end.
    pub desired: bool,
}

impl Row {
    /// The subscription to request from the provider.
    pub fn spec(&self) -> SubscriptionSpec {
        SubscriptionSpec {
            resource: self.resource.clone(),
            target: self.target.clone(),
        }
    }

    /// The subscription as the provider holds it, if it does.
    pub fn held(&self) -> Option<Subscription> {
        Some(Subscription {
            resource: self.resource.clone(),
            external_id: self.external_id.clone()?,
            route: self.route.clone(),
            state: self.state.clone(),
            expires_at: self.expires_at,
            refused_events: self.refused_events.clone(),
        })
    }

    /// The subscription that an attempt without a result may have created, under a planned id.
    pub fn attempted(&self) -> Option<Subscription> {
        let planned_id = self.planned_id.clone()?;
        Some(Subscription::planned(self.resource.clone(), planned_id))
    }

    /// The subscriptions that the provider may hold, with the state that their end needs.
    ///
    /// One that was never confirmed gets the state of the resource's current subscription among
    /// `rows`, which describes the same resource.
    pub fn possibly_held(&self, rows: &[Self]) -> Vec<Subscription> {
        let mut all: Vec<Subscription> = self.held().into_iter().chain(self.attempted()).collect();
        for one in all.iter_mut().filter(|one| one.state.is_null()) {
            let mut current = rows.iter().filter_map(Self::held);
            let current = current.find(|held| held.resource == one.desired_resource());
            one.state = current.map(|held| held.state).unwrap_or_default();
        }
        all
    }
}
