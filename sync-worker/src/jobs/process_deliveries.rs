//! Turns stored deliveries into Signals: many jobs, one transaction. Signals, outcomes and
//! the end of the jobs commit together.
//!
//! When a batch fails as a whole, its jobs are done one by one, so that a delivery that
//! cannot be stored holds up nobody else's.

use std::collections::HashSet;
use std::time::Instant;

use shared::connectors::{AccountChange, ConnectorError, WebhookOutcome};
use shared::db::{DbError, TenantScope, Tx};
use shared::ids::{ConnectionId, TenantId};
use shared::inbox::{self, Outcome, StoredDelivery};
use shared::queue::{ClaimedJob, Finished, JobOutcome, JobPayload};
use shared::signals::{self, NewSignal};
use shared::telemetry::set_parent;
use tracing::Instrument;

use super::JobFailure;
use crate::changes;
use crate::context::Context;
use crate::lanes;

/// Processes a batch of jobs; what fails goes back to the queue or to the dead letters.
pub(crate) async fn run(context: &Context, jobs: Vec<ClaimedJob>) {
    let started = Instant::now();
    if jobs.len() > 1 && batch(context, &jobs).await.is_ok() {
        for _ in &jobs {
            lanes::report("process_deliveries", &JobOutcome::Succeeded, started);
        }
        return;
    }
    for job in jobs {
        let started = Instant::now();
        let span = lanes::span(&job);
        let outcome = match batch(context, std::slice::from_ref(&job))
            .instrument(span)
            .await
        {
            Ok(()) => JobOutcome::Succeeded,
            // Nothing was written, and somebody else has the job.
            Err(JobFailure::Overtaken) => continue,
            Err(failure) => failure.outcome(context),
        };
        lanes::report("process_deliveries", &outcome, started);
        if outcome != JobOutcome::Succeeded {
            let finished = Finished { job, outcome };
            if let Err(error) = context.queue.finish(&[finished]).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the lease will expire"
                );
            }
        }
    }
}

async fn batch(context: &Context, jobs: &[ClaimedJob]) -> Result<(), JobFailure> {
    let mut scopes: Vec<TenantScope> = jobs.iter().map(ClaimedJob::scope).collect();
    scopes.sort_by_key(TenantScope::tenant_id);
    scopes.dedup();
    let mut tx = context.db.begin_many(&scopes).await?;
    let mut keys = Vec::new();
    for job in jobs {
        if let JobPayload::ProcessDeliveries { deliveries } = &job.payload {
            keys.extend(deliveries.iter().map(|id| (job.tenant_id, *id)));
        }
    }
    let deliveries = inbox::load(&mut tx, &keys).await?;
    let mut work = Work::default();
    for delivery in &deliveries {
        work.read(context, delivery);
    }
    signals::store(&mut tx, std::mem::take(&mut work.signals)).await?;
    apply(context, &mut tx, &scopes, &mut work).await?;
    inbox::record(&mut tx, &work.outcomes).await?;
    let finished: Vec<Finished> = jobs
        .iter()
        .map(|job| Finished {
            job: job.clone(),
            outcome: JobOutcome::Succeeded,
        })
        .collect();
    if !context
        .queue
        .finish_in(&mut tx, &finished)
        .await?
        .is_empty()
    {
        return Err(JobFailure::Overtaken);
    }
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}

/// What a batch comes to.
#[derive(Default)]
struct Work {
    signals: Vec<NewSignal>,
    outcomes: Vec<Outcome>,
    changes: Vec<(TenantId, ConnectionId, AccountChange)>,
    /// Of deliveries that match no connection.
    arrivals: Vec<(String, AccountChange)>,
}

impl Work {
    fn read(&mut self, context: &Context, delivery: &StoredDelivery) {
        let span = tracing::info_span!(
            "delivery.normalize",
            otel.kind = "internal",
            delivery.id = %delivery.id,
            provider = delivery.provider,
            tenant.id = %delivery.tenant_id,
        );
        if let Some(traceparent) = &delivery.traceparent {
            set_parent(&span, traceparent);
        }
        let _entered = span.enter();
        let read = context
            .registry
            .get(&delivery.provider)
            .map_err(|error| ConnectorError::Permanent(Box::new(error)))
            .and_then(|connector| {
                let slug = connector.descriptor().slug;
                connector
                    .handle_webhook(&delivery.delivery)
                    .map(|outcome| (slug, outcome))
            });
        match read {
            Ok((slug, outcome)) => self.take(delivery, slug, outcome),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a delivery cannot be read; it is kept"
                );
                self.note(
                    delivery,
                    "failed",
                    Some("the payload is not of the documented form"),
                    0,
                );
            }
        }
    }

    fn take(&mut self, delivery: &StoredDelivery, slug: &'static str, outcome: WebhookOutcome) {
        let count = i32::try_from(outcome.signals.len()).unwrap_or(i32::MAX);
        let Some(connection_id) = delivery.connection_id else {
            let arrivals = outcome
                .changes
                .into_iter()
                .map(|change| (delivery.provider.clone(), change));
            self.arrivals.extend(arrivals);
            // What carries no Signal tells only of the account's state, which a connect flow
            // reads afresh: replaying it later would undo what came after it.
            let unmatched = count > 0 && delivery.account_id.is_some();
            let word = if unmatched { "unmatched" } else { "ignored" };
            return self.note(delivery, word, None, 0);
        };
        self.changes.extend(
            outcome
                .changes
                .into_iter()
                .map(|change| (delivery.tenant_id, connection_id, change)),
        );
        self.signals
            .extend(outcome.signals.into_iter().map(|draft| NewSignal {
                tenant_id: delivery.tenant_id,
                connection_id,
                source: slug,
                received_at: delivery.delivery.received_at,
                traceparent: delivery.traceparent.clone(),
                draft,
            }));
        self.note(
            delivery,
            if count > 0 { "processed" } else { "ignored" },
            None,
            count,
        );
    }

    fn note(
        &mut self,
        delivery: &StoredDelivery,
        outcome: &'static str,
        detail: Option<&str>,
        signals: i32,
    ) {
        self.outcomes.push(Outcome {
            id: delivery.id,
            tenant_id: delivery.tenant_id,
            outcome,
            detail: detail.map(str::to_owned),
            signals,
        });
    }
}

/// Changes of connections. The same change told twice in a batch is made once.
async fn apply(
    context: &Context,
    tx: &mut Tx,
    scopes: &[TenantScope],
    work: &mut Work,
) -> Result<(), JobFailure> {
    let mut synced = HashSet::new();
    for (tenant, connection, change) in std::mem::take(&mut work.changes) {
        if let Some(scope) = scopes.iter().find(|scope| scope.tenant_id() == tenant) {
            changes::apply(context, tx, scope, connection, &change, &mut synced).await?;
        }
    }
    for (provider, change) in std::mem::take(&mut work.arrivals) {
        changes::arrive(context, &provider, &change).await?;
    }
    Ok(())
}
