//! Creates, renews and ends a connection's subscriptions.
//!
//! What replaces another is created first, so that no delivery falls into a gap between two.
//! Every attempt is written down before the provider is asked. When an answer was lost, the
//! provider holds a subscription that nobody here knows; it is found in the provider's list
//! and taken on instead of being created twice.

use chrono::{DateTime, TimeDelta, Utc};
use shared::connectors::{ConnectorError, Subscription, SubscriptionPolicy};
use shared::credentials::CredentialError;
use shared::db::connections::{self, ConnectionStatus};
use shared::db::subscriptions::{self, Row};
use shared::db::{DbError, Tx};
use shared::queue::ClaimedJob;
use url::Url;

use super::{JobFailure, begin, connector_of};
use crate::access::Caller;
use crate::changes;
use crate::context::Context;

/// How long subscriptions are left alone: an account may get another address at any time.
const MAX_LOOK_INTERVAL: TimeDelta = TimeDelta::hours(24);

pub(super) async fn run(context: &Context, job: &ClaimedJob) -> Result<(), JobFailure> {
    let Some(id) = job.connection_id else {
        return Ok(());
    };
    let connector = connector_of(context, job)?;
    let mut tx = begin(context, job).await?;
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
        .and_then(|c| Some((c.account?, c.connected_at)));
    let (Some(policy), Some((account, connected_at)), false) = (policy, account, rows.is_empty())
    else {
        subscriptions::looked_after(&mut tx, &job.scope(), id, seen, None).await?;
        tx.commit().await.map_err(DbError::from)?;
        return Ok(());
    };
    tx.commit().await.map_err(DbError::from)?;
    let mut care = Care {
        job,
        policy,
        connected_at,
        seen,
        webhook_url: webhook_url(context, &job.provider),
        caller: Caller {
            context,
            scope: job.scope(),
            connector: &connector,
            connection: id,
            account,
        },
    };
    let result = care.look_after(rows).await;
    if let Err(
        JobFailure::Provider(cause) | JobFailure::Credential(CredentialError::Provider(cause)),
    ) = &result
    {
        changes::note_word_on_grant(context, job, id, cause).await?;
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
    /// When the present grant was given.
    connected_at: DateTime<Utc>,
    /// When this look was due.
    seen: Option<DateTime<Utc>>,
    webhook_url: Url,
    caller: Caller<'a>,
}

impl Care<'_> {
    async fn look_after(&mut self, rows: Vec<Row>) -> Result<(), JobFailure> {
        self.follow_account().await?;
        let listed = self.listed().await?;
        let soon = self.caller.context.clock.now() + self.policy.renew_before;
        let mut next: Option<DateTime<Utc>> = None;
        for row in &rows {
            if !row.wanted {
                self.end(row).await?;
                continue;
            }
            let held = match self.check(row, &listed).await? {
                Some(held) if self.is_current(row, &held, soon) => held,
                Some(held) => self.renew(row, &held).await?,
                None => self.create(row).await?,
            };
            next = [next, held.expires_at].into_iter().flatten().min();
        }
        // A little after the renewal is due, so that it is.
        let seconds = next.map(|end| {
            let due = end - self.policy.renew_before - self.caller.context.clock.now();
            (due.as_seconds_f64().max(60.0) + 1.0).min(MAX_LOOK_INTERVAL.as_seconds_f64())
        });
        let mut tx = self.begin().await?;
        let (scope, connection) = (&self.caller.scope, self.caller.connection);
        subscriptions::looked_after(&mut tx, scope, connection, self.seen, seconds).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    /// Takes in how the provider describes the account now: deliveries name its present address.
    async fn follow_account(&mut self) -> Result<(), JobFailure> {
        let connector = self.caller.connector;
        let described = self
            .caller
            .call(|access| Box::pin(async move { connector.describe(&access).await }))
            .await?;
        let Some(mut account) = described.filter(|now| *now != self.caller.account) else {
            return Ok(());
        };
        let (scope, connection) = (&self.caller.scope, self.caller.connection);
        let mut tx = self.begin().await?;
        // Ids of resources may have changed since the account was read.
        let Some(known) = connections::lock(&mut tx, scope, connection).await? else {
            return Ok(());
        };
        if let Some(known) = &known.account {
            account.keep_resource_ids(known);
        }
        connections::describe_account(&mut tx, scope, connection, &account).await?;
        tx.commit().await.map_err(DbError::from)?;
        tracing::info!(connection.id = %connection, "the account's description changed");
        self.caller.account = account;
        Ok(())
    }

    /// The subscriptions that the provider holds for this grant.
    async fn listed(&self) -> Result<Vec<Subscription>, JobFailure> {
        let connector = self.caller.connector;
        self.caller
            .call(|access| Box::pin(async move { connector.subscriptions(&access).await }))
            .await
    }

    /// What the provider holds of a row. Its route follows the account's address; what the
    /// provider does not list any more is not held.
    async fn check(
        &self,
        row: &Row,
        listed: &[Subscription],
    ) -> Result<Option<Subscription>, JobFailure> {
        let Some(held) = row.held() else {
            return Ok(None);
        };
        let known = listed
            .iter()
            .find(|one| one.external_id == held.external_id);
        let Some(now) = known else {
            if !self.policy.is_listed {
                return Ok(Some(held));
            }
            let mut tx = self.begin().await?;
            subscriptions::lose(&mut tx, &self.caller.scope, row.id).await?;
            tx.commit().await.map_err(DbError::from)?;
            return Ok(None);
        };
        if now.route == held.route {
            return Ok(Some(held));
        }
        let moved = Subscription {
            route: now.route.clone(),
            ..held
        };
        self.hold(row, &moved).await?;
        Ok(Some(moved))
    }

    /// Whether a subscription needs no call: it lasts, and it is known to be the present grant's.
    /// After a reconnect it may be another person's, whose webhooks end with that person's grant.
    fn is_current(&self, row: &Row, held: &Subscription, soon: DateTime<Utc>) -> bool {
        held.expires_at.is_none_or(|end| end > soon)
            && row.renewed_at.is_some_and(|at| at >= self.connected_at)
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

    /// A subscription that does what is wanted, is held by the provider, and that no row has.
    /// Leftovers of an earlier registration are ended: providers hold only a few.
    async fn orphan(&self, row: &Row) -> Result<Option<Subscription>, JobFailure> {
        let leftover = Subscription::leftover_of(&row.resource);
        let mut there = self.listed().await?;
        there.retain(|one| one.resource == row.resource || one.resource == leftover);
        let ids: Vec<String> = there.iter().map(|one| one.external_id.clone()).collect();
        let taken = subscriptions::taken(&self.caller.context.db, &ids).await?;
        there.retain(|one| {
            !taken
                .iter()
                .any(|(id, route)| *id == one.external_id && *route == one.route)
        });
        let connector = self.caller.connector;
        for one in there.iter().filter(|one| one.resource == leftover) {
            self.caller
                .call(|access| Box::pin(async move { connector.unsubscribe(&access, one).await }))
                .await?;
        }
        Ok(there.into_iter().find(|one| one.resource == row.resource))
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
        begin(self.caller.context, self.job).await
    }
}
