//! Creates, renews and deletes a connection's subscriptions.
//!
//! A replacement is created before the old subscription is deleted, so that no delivery is lost in
//! between. Every attempt is recorded before the call. When a response was lost, the provider holds
//! a subscription that no row has; it is found in the provider's list and adopted instead of being
//! created twice. Where the service plans the ids, a subscription of an attempt without a result is
//! ended after the next attempt. So is one that a renewal has replaced.

mod changes;

use chrono::{DateTime, TimeDelta, Utc};
use shared::connectors::{ConnectorError, SubscriptionAddress, SubscriptionPolicy};
use shared::credentials::CredentialError;
use shared::db::connections::{self, ConnectionStatus};
use shared::db::subscriptions::{self, Row};
use shared::db::{DbError, Tx};
use shared::model::{ConnectionId, ReconcileSubscriptions, Subscription};
use shared::queue::ClaimedJob;
use url::Url;

use super::{Attempt, Job, connector_of};
use crate::account_events;
use crate::context::Context;
use crate::failure::JobFailure;
use crate::job_transaction::begin;
use crate::provider_session::ProviderSession;

/// Maximum time between two reconciliations, because an account's address may change.
const MAX_RECONCILE_INTERVAL: TimeDelta = TimeDelta::hours(24);

impl Job for ReconcileSubscriptions {
    async fn run(&self, Attempt { context, job, .. }: Attempt<'_>) -> Result<(), JobFailure> {
        let Some(id) = job.connection_id else {
            return Ok(());
        };
        let connector = connector_of(context, job)?;
        let mut tx = begin(context, job).await?;
        let connection = connections::get(&mut tx, &job.scope(), id).await?;
        // Before the rows, because rows that are added later move the due time.
        let due_at = subscriptions::due_at(&mut tx, &job.scope(), id).await?;
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
        let (Some(policy), Some((account, connected_at)), false) =
            (policy, account, rows.is_empty())
        else {
            subscriptions::schedule_reconcile(&mut tx, &job.scope(), id, due_at, None).await?;
            tx.commit().await.map_err(DbError::from)?;
            return Ok(());
        };
        tx.commit().await.map_err(DbError::from)?;
        let mut reconciler = Reconciler {
            job,
            policy,
            connected_at,
            due_at,
            webhook_url: webhook_url(context, &job.provider, policy.address, id),
            session: ProviderSession {
                context,
                scope: job.scope(),
                connector: &connector,
                connection: id,
                account,
            },
        };
        let result = reconciler.reconcile(rows).await;
        if let Err(
            JobFailure::Provider(cause) | JobFailure::Credential(CredentialError::Provider(cause)),
        ) = &result
        {
            account_events::record_grant_error(context, job, id, cause).await?;
        }
        result
    }
}

/// The URL to which the provider sends deliveries.
fn webhook_url(
    context: &Context,
    provider: &str,
    address: SubscriptionAddress,
    connection: ConnectionId,
) -> Url {
    let mut url = context.config.public_webhook_url.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["webhooks", provider]);
        if address == SubscriptionAddress::Connection {
            path.push(&connection.to_string());
        }
    }
    url
}

/// Brings the subscriptions at the provider into line with the rows.
struct Reconciler<'a> {
    job: &'a ClaimedJob,
    policy: SubscriptionPolicy,
    /// When the current grant was given.
    connected_at: DateTime<Utc>,
    /// When this reconciliation was due.
    due_at: Option<DateTime<Utc>>,
    webhook_url: Url,
    session: ProviderSession<'a>,
}

impl Reconciler<'_> {
    async fn reconcile(&mut self, rows: Vec<Row>) -> Result<(), JobFailure> {
        self.update_account().await?;
        let listed = self.listed().await?;
        let mut next: Option<DateTime<Utc>> = None;
        let mut failure: Option<JobFailure> = None;
        let mut denial: Option<JobFailure> = None;
        let mut holds_any = false;
        for row in rows.iter().filter(|row| row.desired) {
            let error = match self.ensure(row, &listed).await {
                Ok(due_at) => {
                    holds_any = true;
                    next = [next, due_at].into_iter().flatten().min();
                    continue;
                }
                Err(error) => error,
            };
            // It concerns this subscription only.
            let kept = match &error {
                JobFailure::Provider(ConnectorError::Denied { .. }) => &mut denial,
                JobFailure::Provider(ConnectorError::Permanent(_)) => &mut failure,
                _ => return Err(error),
            };
            tracing::warn!(
                subscription.resource = row.resource,
                error = &error as &dyn std::error::Error,
                "failed to create or renew a subscription"
            );
            kept.get_or_insert(error);
        }
        if denial.is_some() && holds_any {
            // The provider has no deliveries of that resource, which is polled. It may allow them
            // later.
            let retry_at = self.session.context.clock.now() + MAX_RECONCILE_INTERVAL;
            next = [next, Some(retry_at)].into_iter().flatten().min();
        } else {
            failure = failure.or(denial);
        }
        // Without a failure, their replacements exist now. Some have been superseded in this
        // reconciliation.
        let rows = self.rows().await?;
        for row in rows.iter().filter(|row| !row.desired) {
            if failure.is_none() || Subscription::is_replaced(&row.resource) {
                self.delete(row, &rows).await?;
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        // One second after the renewal is due.
        let seconds = next.map(|due_at| {
            let due = due_at - self.session.context.clock.now();
            (due.as_seconds_f64().max(60.0) + 1.0).min(MAX_RECONCILE_INTERVAL.as_seconds_f64())
        });
        let mut tx = self.begin().await?;
        let (scope, connection) = (&self.session.scope, self.session.connection);
        subscriptions::schedule_reconcile(&mut tx, scope, connection, self.due_at, seconds).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    /// Creates or renews the subscription of a row if necessary; returns when it is due next.
    async fn ensure(
        &self,
        row: &Row,
        listed: &[Subscription],
    ) -> Result<Option<DateTime<Utc>>, JobFailure> {
        let now = self.session.context.clock.now();
        let held = match self.check(row, listed).await? {
            Some(held) if self.is_current(row, &held, now) => {
                return Ok(self.due_at(&held, row.renewed_at.unwrap_or(now)));
            }
            Some(held) => self.renew(row, &held).await?,
            None => self.create(row).await?,
        };
        Ok(self.due_at(&held, now))
    }

    /// When a subscription that was created or renewed at `since` is due for renewal.
    fn due_at(&self, held: &Subscription, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Some(self.policy.renewal.due_at(since, held.expires_at?))
    }

    /// Updates the account's description, because deliveries carry its current address.
    async fn update_account(&mut self) -> Result<(), JobFailure> {
        let connector = self.session.connector;
        let described = self
            .session
            .call(|access| Box::pin(async move { connector.describe_account(&access).await }))
            .await?;
        let Some(mut account) = described.filter(|now| *now != self.session.account) else {
            return Ok(());
        };
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let mut tx = self.begin().await?;
        // Resource ids may have changed since the account was read.
        let Some(known) = connections::lock(&mut tx, scope, connection).await? else {
            return Ok(());
        };
        if let Some(known) = &known.account {
            account.keep_resource_ids(known);
        }
        connections::update_account(&mut tx, scope, connection, &account).await?;
        tx.commit().await.map_err(DbError::from)?;
        tracing::info!(connection.id = %connection, "account description changed");
        self.session.account = account;
        Ok(())
    }

    /// The subscriptions that the provider holds for this grant.
    async fn listed(&self) -> Result<Vec<Subscription>, JobFailure> {
        let connector = self.session.connector;
        self.session
            .call(|access| Box::pin(async move { connector.list_subscriptions(&access).await }))
            .await
    }

    /// Compares a row with the provider's list; returns the subscription if it still exists.
    ///
    /// Updates the row's route, which follows the account's address.
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
            .find(|candidate| candidate.external_id == held.external_id);
        let Some(now) = known else {
            if !self.policy.is_listed {
                return Ok(Some(held));
            }
            let mut tx = self.begin().await?;
            subscriptions::mark_lost(&mut tx, &self.session.scope, row.id).await?;
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
        self.store(row, &moved).await?;
        Ok(Some(moved))
    }

    /// Whether a subscription of the current grant needs no renewal.
    ///
    /// After a reconnect it may belong to another person, and ends with that person's grant.
    fn is_current(&self, row: &Row, held: &Subscription, now: DateTime<Utc>) -> bool {
        row.renewed_at.is_some_and(|renewed_at| {
            renewed_at >= self.connected_at
                && self.due_at(held, renewed_at).is_none_or(|due| due > now)
        })
    }

    async fn rows(&self) -> Result<Vec<Row>, JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let mut tx = self.begin().await?;
        let rows = subscriptions::list(&mut tx, scope, connection).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(rows)
    }

    async fn store(&self, row: &Row, held: &Subscription) -> Result<(), JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let mut tx = self.begin().await?;
        let provider = &self.job.provider;
        subscriptions::store_held(&mut tx, scope, connection, provider, row.id, held).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    /// A transaction under the job's lease.
    async fn begin(&self) -> Result<Tx, JobFailure> {
        begin(self.session.context, self.job).await
    }
}
