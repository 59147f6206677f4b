//! Changes of subscriptions at the provider.
//!
//! Each is recorded before the call, and its result is stored after it.

use shared::connectors::{ConnectorError, Renewal, SubscribeRequest, SubscriptionIds};
use shared::db::DbError;
use shared::db::subscriptions::{self, Row};
use shared::model::Subscription;

use super::Reconciler;
use crate::failure::JobFailure;

impl Reconciler<'_> {
    /// Creates the subscription of a row, or adopts one whose response was lost.
    pub(super) async fn create(&self, row: &Row) -> Result<Subscription, JobFailure> {
        let connector = self.session.connector;
        let held = if let Some(orphan) = self.find_orphan(row).await? {
            tracing::info!(
                subscription.resource = row.resource,
                "adopted a subscription whose response was lost"
            );
            orphan
        } else {
            let request = &self.plan(row).await?;
            self.session
                .call(|access| Box::pin(async move { connector.subscribe(&access, request).await }))
                .await?
        };
        self.store(row, &held).await?;
        Ok(held)
    }

    /// Records an attempt to create a subscription for a row.
    ///
    /// An earlier attempt without a result may have created one under its planned id, which is
    /// superseded.
    async fn plan(&self, row: &Row) -> Result<SubscribeRequest, JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let mut tx = self.begin().await?;
        let planned_id = match self.policy.ids {
            SubscriptionIds::Provider => {
                subscriptions::record_attempt(&mut tx, scope, row.id).await?;
                None
            }
            SubscriptionIds::Planned => {
                if let Some(unknown) = row.attempted() {
                    subscriptions::supersede(&mut tx, scope, connection, row.id, &unknown).await?;
                }
                let provider = &self.job.provider;
                Some(subscriptions::plan(&mut tx, scope, connection, provider, row.id).await?)
            }
        };
        tx.commit().await.map_err(DbError::from)?;
        Ok(SubscribeRequest {
            spec: row.spec(),
            planned_id,
            webhook_url: self.webhook_url.clone(),
        })
    }

    /// Finds a subscription for the row's resource that the provider holds and no row has.
    ///
    /// Deletes leftovers of an earlier registration, because providers limit their number.
    async fn find_orphan(&self, row: &Row) -> Result<Option<Subscription>, JobFailure> {
        let leftover = Subscription::leftover_of(&row.resource);
        let mut listed = self.listed().await?;
        listed.retain(|candidate| {
            candidate.resource == row.resource || candidate.resource == leftover
        });
        let ids: Vec<String> = listed
            .iter()
            .map(|candidate| candidate.external_id.clone())
            .collect();
        let taken = subscriptions::find_held(&self.session.context.db, &ids).await?;
        listed.retain(|candidate| {
            !taken
                .iter()
                .any(|(id, route)| *id == candidate.external_id && *route == candidate.route)
        });
        let connector = self.session.connector;
        for candidate in listed
            .iter()
            .filter(|candidate| candidate.resource == leftover)
        {
            self.session
                .call(|access| {
                    Box::pin(async move { connector.unsubscribe(&access, candidate).await })
                })
                .await?;
        }
        Ok(listed
            .into_iter()
            .find(|candidate| candidate.resource == row.resource))
    }

    /// Renews the subscription of a row, or creates it again if it no longer exists.
    pub(super) async fn renew(
        &self,
        row: &Row,
        held: &Subscription,
    ) -> Result<Subscription, JobFailure> {
        let connector = self.session.connector;
        let request = &self.plan(row).await?;
        let renewed = self
            .session
            .call(|access| Box::pin(async move { connector.renew(&access, held, request).await }))
            .await;
        match renewed {
            Ok(Renewal::Extended(renewed)) => {
                self.store(row, &renewed).await?;
                Ok(renewed)
            }
            Ok(Renewal::Replaced(renewed)) => {
                self.replace(row, held, &renewed).await?;
                Ok(renewed)
            }
            // It has expired, or another grant made it.
            Err(JobFailure::Provider(ConnectorError::Denied { .. })) => {
                let mut tx = self.begin().await?;
                subscriptions::mark_lost(&mut tx, &self.session.scope, row.id).await?;
                tx.commit().await.map_err(DbError::from)?;
                self.create(row).await
            }
            Err(other) => Err(other),
        }
    }

    /// Stores the subscription that has replaced another one, which is superseded.
    async fn replace(
        &self,
        row: &Row,
        held: &Subscription,
        renewed: &Subscription,
    ) -> Result<(), JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let mut tx = self.begin().await?;
        subscriptions::supersede(&mut tx, scope, connection, row.id, held).await?;
        let provider = &self.job.provider;
        subscriptions::store_held(&mut tx, scope, connection, provider, row.id, renewed).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    /// Ends the subscriptions of a row and deletes it.
    pub(super) async fn delete(&self, row: &Row, rows: &[Row]) -> Result<(), JobFailure> {
        for held in row.possibly_held(rows) {
            self.unsubscribe(&held).await?;
        }
        let mut tx = self.begin().await?;
        subscriptions::delete(&mut tx, &self.session.scope, row.id).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    /// Ends a subscription, unless the provider holds it for another connection as well.
    async fn unsubscribe(&self, held: &Subscription) -> Result<(), JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let mut tx = self.begin().await?;
        let is_shared = subscriptions::is_shared(&mut tx, scope, connection, held).await?;
        tx.commit().await.map_err(DbError::from)?;
        if is_shared {
            return Ok(());
        }
        let connector = self.session.connector;
        let ended = self
            .session
            .call(|access| Box::pin(async move { connector.unsubscribe(&access, held).await }))
            .await;
        match ended {
            // Another grant created it. Without a row its deliveries match no connection.
            Err(JobFailure::Provider(error @ ConnectorError::Denied { .. })) => {
                tracing::warn!(
                    subscription.resource = held.resource,
                    error = &error as &dyn std::error::Error,
                    "subscription cannot be ended, it expires later"
                );
                Ok(())
            }
            other => other,
        }
    }
}
