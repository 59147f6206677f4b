//! Creates, renews and ends a connection's subscriptions.
//!
//! What replaces another is created first, so that no delivery falls into a gap between two.
//! Every attempt is written down before the provider is asked. When an answer was lost, the
//! provider holds a subscription that nobody here knows; it is found in the provider's list
//! and taken on instead of being created twice.

use chrono::{DateTime, Utc};
use shared::connectors::{ConnectorError, Subscription, SubscriptionPolicy};
use shared::db::connections::{self, ConnectionStatus};
use shared::db::subscriptions::{self, Row};
use shared::db::{DbError, Tx};
use shared::queue::{self, ClaimedJob};
use url::Url;

use super::{JobFailure, connector_of};
use crate::access::Caller;
use crate::changes;
use crate::context::Context;

pub(super) async fn run(context: &Context, job: &ClaimedJob) -> Result<(), JobFailure> {
    let Some(id) = job.connection_id else {
        return Ok(());
    };
    let connector = connector_of(context, job)?;
    let mut tx = context.db.begin(&job.scope()).await?;
    let connection = connections::get(&mut tx, &job.scope(), id).await?;
    // The date before the rows: what is wanted after this look moves the date.
    let seen = subscriptions::due_at(&mut tx, &job.scope(), id).await?;
    let rows = subscriptions::list(&mut tx, &job.scope(), id).await?;
    let policy = connector.descriptor().subscriptions;
    let account = connection
        .filter(|c| {
            matches!(
                c.status,
                ConnectionStatus::Active | ConnectionStatus::Paused
            )
        })
        .and_then(|c| c.account);
    let (Some(policy), Some(account), false) = (policy, account, rows.is_empty()) else {
        subscriptions::looked_after(&mut tx, &job.scope(), id, seen, None).await?;
        tx.commit().await.map_err(DbError::from)?;
        return Ok(());
    };
    tx.commit().await.map_err(DbError::from)?;
    let care = Care {
        job,
        policy,
        seen,
        webhook_url: webhook_url(context, &job.provider),
        caller: Caller {
            context,
            scope: job.scope(),
            connector: &*connector,
            connection: id,
            account,
        },
    };
    let result = care.look_after(rows).await;
    if let Err(JobFailure::Provider(cause)) = &result
        && matches!(cause, ConnectorError::Unauthorized(_))
    {
        changes::note_refused_grant(context, &job.scope(), id, cause).await?;
    }
    result
}

/// Where the provider sends deliveries.
fn webhook_url(context: &Context, provider: &str) -> Url {
    let mut url = context.config.public_webhook_url.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["webhooks", provider]);
    }
    url
}

struct Care<'a> {
    job: &'a ClaimedJob,
    policy: SubscriptionPolicy,
    /// When this look was due.
    seen: Option<DateTime<Utc>>,
    webhook_url: Url,
    caller: Caller<'a>,
}

impl Care<'_> {
    async fn look_after(&self, rows: Vec<Row>) -> Result<(), JobFailure> {
        let soon = self.caller.context.clock.now() + self.policy.renew_before;
        let mut next: Option<DateTime<Utc>> = None;
        for row in &rows {
            if !row.wanted {
                self.end(row).await?;
                continue;
            }
            let held = match row.held() {
                Some(held) if held.expires_at.is_none_or(|end| end > soon) => held,
                Some(held) => self.renew(row, &held).await?,
                None => self.create(row).await?,
            };
            next = [next, held.expires_at].into_iter().flatten().min();
        }
        // A little after the renewal is due, so that it is.
        let seconds = next.map(|end| {
            let due = end - self.policy.renew_before - self.caller.context.clock.now();
            due.as_seconds_f64().max(60.0) + 1.0
        });
        let mut tx = self.begin().await?;
        let (scope, connection) = (&self.caller.scope, self.caller.connection);
        subscriptions::looked_after(&mut tx, scope, connection, self.seen, seconds).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    async fn create(&self, row: &Row) -> Result<Subscription, JobFailure> {
        let connector = self.caller.connector;
        let wanted = &row.spec();
        let held = if let Some(orphan) = self.orphan(row).await? {
            tracing::info!("a subscription whose answer was lost is taken on");
            orphan
        } else {
            let mut tx = self.begin().await?;
            subscriptions::attempt(&mut tx, &self.caller.scope, row.id).await?;
            tx.commit().await.map_err(DbError::from)?;
            let url = &self.webhook_url;
            self.caller
                .call(|access| {
                    Box::pin(async move { connector.subscribe(&access, wanted, url).await })
                })
                .await?
        };
        self.hold(row, &held).await?;
        Ok(held)
    }

    /// A subscription that does what is wanted, is held by the provider, and known to nobody.
    async fn orphan(&self, row: &Row) -> Result<Option<Subscription>, JobFailure> {
        let connector = self.caller.connector;
        let mut there = self
            .caller
            .call(|access| Box::pin(async move { connector.subscriptions(&access).await }))
            .await?;
        there.retain(|one| one.resource == row.resource);
        let ids: Vec<String> = there.iter().map(|one| one.external_id.clone()).collect();
        let taken = subscriptions::taken(&self.caller.context.db, &ids).await?;
        Ok(there.into_iter().find(|one| {
            !taken
                .iter()
                .any(|(id, route)| *id == one.external_id && *route == one.route)
        }))
    }

    async fn renew(&self, row: &Row, held: &Subscription) -> Result<Subscription, JobFailure> {
        let connector = self.caller.connector;
        let renewed = self
            .caller
            .call(|access| Box::pin(async move { connector.renew(&access, held).await }))
            .await;
        match renewed {
            Ok(renewed) => {
                self.hold(row, &renewed).await?;
                Ok(renewed)
            }
            // It has ended, or belonged to somebody else's grant.
            Err(JobFailure::Provider(ConnectorError::Permission(_))) => {
                let mut tx = self.begin().await?;
                subscriptions::lose(&mut tx, &self.caller.scope, row.id).await?;
                tx.commit().await.map_err(DbError::from)?;
                self.create(row).await
            }
            Err(other) => Err(other),
        }
    }

    async fn end(&self, row: &Row) -> Result<(), JobFailure> {
        let connector = self.caller.connector;
        if let Some(held) = &row.held() {
            self.caller
                .call(|access| Box::pin(async move { connector.unsubscribe(&access, held).await }))
                .await?;
        }
        let mut tx = self.begin().await?;
        subscriptions::delete(&mut tx, &self.caller.scope, row.id).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    async fn hold(&self, row: &Row, held: &Subscription) -> Result<(), JobFailure> {
        let (scope, connection) = (&self.caller.scope, self.caller.connection);
        let mut tx = self.begin().await?;
        subscriptions::hold(&mut tx, scope, connection, &self.job.provider, row.id, held).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    /// A transaction under the job's lease.
    async fn begin(&self) -> Result<Tx, JobFailure> {
        let mut tx = self.caller.context.db.begin(&self.caller.scope).await?;
        if !queue::hold(&mut tx, self.job).await? {
            return Err(JobFailure::Overtaken);
        }
        Ok(tx)
    }
}
