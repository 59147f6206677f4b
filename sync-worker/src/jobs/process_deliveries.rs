//! Turns stored deliveries into Signals: many jobs, one transaction. Signals, outcomes and
//! the end of the jobs commit together.
//!
//! A delivery whose reading panics stays pending, and its job is tried again; all others are
//! processed. When a batch fails as a whole, its jobs are done one by one, and then the
//! deliveries of the job that fails, so that a delivery that cannot be stored holds up nobody
//! else's. While Postgres itself is the reason, that would only be more of the same: then all
//! of them wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use shared::connectors::{
    AccountChange, ConnectorError, Directory, DirectoryEntry, DirectoryKey, WebhookOutcome,
};
use shared::db::{DbError, TenantScope, Tx, directory, schedule};
use shared::ids::{ConnectionId, DeliveryId, TenantId};
use shared::inbox::{self, Outcome, StoredDelivery};
use shared::queue::{self, ClaimedJob, Finished, JobKind, JobOutcome, JobPayload, NewJob};
use shared::signals::{self, NewSignal};
use shared::telemetry::set_parent;
use tracing::Instrument;

use super::{JobFailure, catch_panic, count_panic, hold, panicked, unreadable};
use crate::changes;
use crate::context::Context;
use crate::lanes;

const KIND: JobKind = JobKind::ProcessDeliveries;
/// Bytes of deliveries that are held at a time, unless a single job has more.
const MOST_BYTES: u64 = 8 << 20;

/// Processes claimed jobs, in batches that fit into memory; what fails goes back to the queue
/// or to the dead letters.
pub(crate) async fn run(context: &Context, jobs: Vec<ClaimedJob>) {
    let (mut fitting, mut bytes) = (Vec::new(), 0);
    let is_unreadable = |job: &ClaimedJob| matches!(job.payload, JobPayload::Unreadable { .. });
    let (unreadable_jobs, jobs): (Vec<_>, Vec<_>) = jobs.into_iter().partition(is_unreadable);
    if !unreadable_jobs.is_empty() {
        end(context, unreadable_jobs, &unreadable(), Instant::now()).await;
    }
    for job in jobs {
        if bytes + job.bytes > MOST_BYTES && !fitting.is_empty() {
            run_batch(context, std::mem::take(&mut fitting)).await;
            bytes = 0;
        }
        bytes += job.bytes;
        fitting.push(job);
    }
    run_batch(context, fitting).await;
}

async fn run_batch(context: &Context, jobs: Vec<ClaimedJob>) {
    let started = Instant::now();
    if jobs.len() > 1 {
        match process(context, &jobs).await {
            Ok(outcomes) => return report_all(&outcomes, started),
            Err(JobFailure::Db(error)) if error.is_outage() => {
                let outcome = JobFailure::Db(error).outcome(context);
                return end(context, jobs, &outcome, started).await;
            }
            Err(_) => {}
        }
    }
    for job in jobs {
        let span = lanes::span(&job);
        run_single(context, job).instrument(span).await;
    }
}

async fn run_single(context: &Context, job: ClaimedJob) {
    let started = Instant::now();
    let mut result = process(context, std::slice::from_ref(&job)).await;
    if let Err(failure) = &result
        && concerns_content(failure)
        && job.deliveries().count() > 1
    {
        result = process_one_by_one(context, &job).await;
    }
    match result {
        Ok(outcomes) => report_all(&outcomes, started),
        // Nothing was written, and somebody else has the job.
        Err(JobFailure::Overtaken) => {}
        Err(failure) => {
            let outcome = failure.outcome(context);
            end(context, vec![job], &outcome, started).await;
        }
    }
}

/// Whether a delivery may be the cause, rather than Postgres or the lease.
fn concerns_content(failure: &JobFailure) -> bool {
    match failure {
        JobFailure::Db(error) => !error.is_outage(),
        JobFailure::Overtaken => false,
        _ => true,
    }
}

fn report_all(outcomes: &[JobOutcome], started: Instant) {
    for outcome in outcomes {
        lanes::report(KIND.as_str(), outcome, started);
    }
}

/// Writes down how tries ended that did not succeed.
async fn end(context: &Context, jobs: Vec<ClaimedJob>, outcome: &JobOutcome, started: Instant) {
    let finished: Vec<Finished> = jobs
        .into_iter()
        .map(|job| {
            lanes::report(KIND.as_str(), outcome, started);
            let outcome = outcome.clone();
            Finished { job, outcome }
        })
        .collect();
    if let Err(error) = context.queue.finish(&finished).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the outcome was not written; the jobs will be put back"
        );
    }
}

/// Processes the deliveries of these jobs and ends the jobs, in one transaction. Answers how
/// each job ended: one with a delivery that panics has failed, the others have succeeded.
async fn process(context: &Context, jobs: &[ClaimedJob]) -> Result<Vec<JobOutcome>, JobFailure> {
    catch_panic(KIND, async {
        let keys: Vec<_> = jobs.iter().flat_map(ClaimedJob::deliveries).collect();
        let (mut tx, work) = write(context, jobs, &keys).await?;
        let finished: Vec<Finished> = jobs
            .iter()
            .map(|job| Finished {
                job: job.clone(),
                outcome: work.outcome_of(job),
            })
            .collect();
        let lost = context.queue.finish_in(&mut tx, &finished).await?;
        if !lost.is_empty() {
            return Err(JobFailure::Overtaken);
        }
        commit(context, tx, &work).await?;
        Ok(finished.into_iter().map(|one| one.outcome).collect())
    })
    .await
}

/// Processes each delivery of a job in a transaction of its own, so that one that cannot be
/// written holds up none of the others. What is done stays done when the job is tried again.
async fn process_one_by_one(
    context: &Context,
    job: &ClaimedJob,
) -> Result<Vec<JobOutcome>, JobFailure> {
    let mut failure = None;
    for key in job.deliveries() {
        let work = catch_panic(KIND, async {
            let (mut tx, work) = write(context, std::slice::from_ref(job), &[key]).await?;
            if let Some((_, message)) = work.panics.first() {
                return Err(JobFailure::Panicked(message.clone()));
            }
            hold(&mut tx, job).await?;
            commit(context, tx, &work).await
        });
        match work.await {
            Ok(()) => {}
            Err(error) if concerns_content(&error) => failure = Some(error),
            Err(error) => return Err(error),
        }
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    // Nothing is pending any more: this ends the job.
    process(context, std::slice::from_ref(job)).await
}

/// Writes what these deliveries of the jobs say; the caller commits it.
async fn write(
    context: &Context,
    jobs: &[ClaimedJob],
    keys: &[(TenantId, DeliveryId)],
) -> Result<(Tx, Work), JobFailure> {
    let mut scopes: Vec<TenantScope> = jobs.iter().map(ClaimedJob::scope).collect();
    scopes.sort_by_key(TenantScope::tenant_id);
    scopes.dedup();
    let mut tx = context.db.begin_many(&scopes).await?;
    let mut deliveries = inbox::load(&mut tx, keys).await?;
    let mut work = read_all(context, &mut tx, &scopes, &deliveries).await?;
    // What comes behind such a change in the same batch speaks of the resource by its new id.
    if note_resource_ids(&work.changes, &mut deliveries) {
        work = read_all(context, &mut tx, &scopes, &deliveries).await?;
    }
    signals::store(&mut tx, std::mem::take(&mut work.signals)).await?;
    let doubted: Vec<_> = deliveries
        .iter()
        .filter(|delivery| delivery.has_ended_grant)
        .filter_map(|delivery| Some((delivery.tenant_id, delivery.connection_id?)))
        .collect();
    apply(context, &mut tx, &scopes, &mut work).await?;
    schedule::probe_soon(&mut tx, &doubted).await?;
    inbox::record(&mut tx, &work.outcomes).await?;
    for job in &work.next {
        queue::enqueue(&mut tx, job).await?;
    }
    Ok((tx, work))
}

async fn commit(context: &Context, tx: Tx, work: &Work) -> Result<(), JobFailure> {
    tx.commit().await.map_err(DbError::from)?;
    if !work.next.is_empty() {
        queue::notify(&context.db).await?;
    }
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
    /// What was told of a connection's people and places.
    learned: BTreeMap<(TenantId, ConnectionId), Vec<DirectoryEntry>>,
    /// Jobs that follow.
    next: Vec<NewJob>,
    /// Deliveries whose reading panicked, with the panic's message.
    panics: Vec<(DeliveryId, String)>,
}

/// Tells the deliveries of a batch which ids of resources changed within it; answers whether any.
fn note_resource_ids(
    changes: &[(TenantId, ConnectionId, AccountChange)],
    deliveries: &mut [StoredDelivery],
) -> bool {
    let mut is_changed = false;
    for (tenant, connection, change) in changes {
        let AccountChange::ResourceIdChanged { from, to } = change else {
            continue;
        };
        is_changed = true;
        for stored in deliveries.iter_mut() {
            if stored.tenant_id == *tenant && stored.connection_id == Some(*connection) {
                stored.delivery.account.note_resource_id(from, to);
            }
        }
    }
    is_changed
}

/// Reads what can be read at once. What asks for names that are not at hand is read again
/// with those that Postgres knows; for the others the provider must be asked, and the
/// delivery waits for that.
async fn read_all(
    context: &Context,
    tx: &mut Tx,
    scopes: &[TenantScope],
    deliveries: &[StoredDelivery],
) -> Result<Work, JobFailure> {
    let mut work = Work::default();
    let nobody = Directory::default();
    let mut again: HashMap<(TenantId, ConnectionId), Unread<'_>> = HashMap::new();
    for delivery in deliveries {
        let read = handle(context, delivery, &nobody);
        let missing = nobody.take_missing();
        match delivery.connection_id {
            Some(connection) if !missing.is_empty() => {
                let waiting = again.entry((delivery.tenant_id, connection)).or_default();
                waiting.keys.extend(missing);
                waiting.deliveries.push(delivery);
            }
            _ => work.take(delivery, read),
        }
    }
    for ((tenant, connection), waiting) in again {
        let known = Directory::default();
        if let Some(scope) = scopes.iter().find(|scope| scope.tenant_id() == tenant) {
            known.add(directory::load(tx, scope, connection, &waiting.keys).await?);
        }
        let mut unknown = BTreeSet::new();
        let mut unread = Vec::new();
        for delivery in waiting.deliveries {
            let read = handle(context, delivery, &known);
            let missing = known.take_missing();
            if missing.is_empty() {
                work.take(delivery, read);
            } else {
                unknown.extend(missing);
                unread.push(delivery);
            }
        }
        if let Some(first) = unread.first() {
            work.next.push(NewJob {
                tenant_id: tenant,
                provider: first.provider.clone(),
                connection_id: Some(connection),
                cursor_window: None,
                payload: JobPayload::LookUp {
                    keys: unknown.into_iter().collect(),
                    deliveries: unread.iter().map(|delivery| delivery.id).collect(),
                },
                traceparent: first.traceparent.clone(),
            });
        }
    }
    Ok(work)
}

/// A connection's deliveries that ask for names, and the names.
#[derive(Default)]
struct Unread<'d> {
    keys: Vec<DirectoryKey>,
    deliveries: Vec<&'d StoredDelivery>,
}

type Read = Result<(&'static str, WebhookOutcome), ReadFailure>;

/// Why a delivery was not read.
enum ReadFailure {
    /// The connector cannot read it.
    Unreadable,
    /// The connector panicked, with this message.
    Panicked(String),
}

/// Has the connector read a delivery. A panic is the delivery's own.
fn handle(context: &Context, delivery: &StoredDelivery, directory: &Directory) -> Read {
    let read = AssertUnwindSafe(|| read(context, delivery, directory));
    match std::panic::catch_unwind(read) {
        Ok(read) => read.map_err(|_| ReadFailure::Unreadable),
        Err(panic) => Err(ReadFailure::Panicked(count_panic(KIND, &*panic))),
    }
}

fn read(
    context: &Context,
    delivery: &StoredDelivery,
    directory: &Directory,
) -> Result<(&'static str, WebhookOutcome), ConnectorError> {
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
    let connector = context
        .registry
        .get(&delivery.provider)
        .map_err(|error| ConnectorError::Permanent(Box::new(error)))?;
    let outcome = connector
        .handle_webhook(&delivery.delivery, directory)
        .inspect_err(|error| {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "a delivery cannot be read; it is kept"
            );
        })?;
    if let Some(reason) = &outcome.refused {
        tracing::warn!(reason, "a delivery does not identify its fact; it is kept");
    }
    Ok((connector.descriptor().slug, outcome))
}

impl Work {
    /// How a job ended whose deliveries are all in here.
    fn outcome_of(&self, job: &ClaimedJob) -> JobOutcome {
        let mut panics = self.panics.iter();
        let own = panics.find(|(delivery, _)| job.deliveries().any(|(_, id)| id == *delivery));
        match own {
            Some((_, message)) => JobOutcome::Failed(panicked(message)),
            None => JobOutcome::Succeeded,
        }
    }

    fn take(&mut self, delivery: &StoredDelivery, read: Read) {
        let (slug, outcome) = match read {
            Ok(read) => read,
            Err(ReadFailure::Unreadable) => {
                let why = Some("the payload is not of the documented form");
                return self.note(delivery, "failed", why, 0);
            }
            Err(ReadFailure::Panicked(message)) => {
                return self.panics.push((delivery.id, message));
            }
        };
        if outcome.more_recipients && !delivery.copied {
            self.next.push(NewJob {
                tenant_id: delivery.tenant_id,
                provider: delivery.provider.clone(),
                connection_id: delivery.connection_id,
                cursor_window: Some(format!("fan_out:{}", delivery.id)),
                payload: JobPayload::FanOutDelivery {
                    delivery: delivery.id,
                },
                traceparent: delivery.traceparent.clone(),
            });
        }
        let count = i32::try_from(outcome.signals.len()).unwrap_or(i32::MAX);
        let refused = outcome.refused.as_deref();
        let Some(connection_id) = delivery.connection_id else {
            let arrivals = outcome
                .changes
                .into_iter()
                .map(|change| (delivery.provider.clone(), change));
            self.arrivals.extend(arrivals);
            // What carries no Signal tells only of the account's state, which a connect flow
            // reads afresh: replaying it later would undo what came after it.
            let unmatched = count > 0 && delivery.route.is_some();
            let word = match refused {
                Some(_) => "failed",
                None if unmatched => "unmatched",
                None => "ignored",
            };
            return self.note(delivery, word, refused, 0);
        };
        if !outcome.learned.is_empty() {
            self.learned
                .entry((delivery.tenant_id, connection_id))
                .or_default()
                .extend(outcome.learned);
        }
        for change in outcome.changes {
            match change {
                // No window: a job that is running may have asked before this delivery.
                AccountChange::GrantInDoubt => self.next.push(NewJob {
                    tenant_id: delivery.tenant_id,
                    provider: delivery.provider.clone(),
                    connection_id: Some(connection_id),
                    cursor_window: None,
                    payload: JobPayload::ConfirmGrant,
                    traceparent: delivery.traceparent.clone(),
                }),
                change => self
                    .changes
                    .push((delivery.tenant_id, connection_id, change)),
            }
        }
        self.signals
            .extend(outcome.signals.into_iter().map(|draft| NewSignal {
                tenant_id: delivery.tenant_id,
                connection_id,
                source: slug,
                received_at: delivery.delivery.received_at,
                traceparent: delivery.traceparent.clone(),
                draft,
            }));
        let word = match refused {
            Some(_) => "failed",
            None if count > 0 => "processed",
            None => "ignored",
        };
        self.note(delivery, word, refused, count);
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

/// Applies changes of connections in the order of their deliveries, one connection after the
/// other in the order of their ids, so that two batches lock rows in the same order.
async fn apply(
    context: &Context,
    tx: &mut Tx,
    scopes: &[TenantScope],
    work: &mut Work,
) -> Result<(), JobFailure> {
    work.changes
        .sort_by_key(|(tenant, connection, _)| (*tenant, *connection));
    for (tenant, connection, change) in std::mem::take(&mut work.changes) {
        if let Some(scope) = scopes.iter().find(|scope| scope.tenant_id() == tenant) {
            changes::apply(context, tx, scope, connection, &change).await?;
        }
    }
    for ((tenant, connection), entries) in std::mem::take(&mut work.learned) {
        if let Some(scope) = scopes.iter().find(|scope| scope.tenant_id() == tenant) {
            directory::save(tx, scope, connection, &entries).await?;
        }
    }
    for (provider, change) in std::mem::take(&mut work.arrivals) {
        changes::arrive(tx, scopes, &provider, &change).await?;
    }
    Ok(())
}
