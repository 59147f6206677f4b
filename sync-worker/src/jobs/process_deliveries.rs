//! Normalizes stored deliveries into Signals, in batches of jobs.
//!
//! The Signals, the outcomes of the deliveries and the end of the jobs commit in one transaction.
//!
//! A delivery that panics stays pending and its job is retried; the other deliveries are processed.
//! When a batch fails, its jobs run one by one, and then the deliveries of the failing job, so that
//! a delivery that cannot be stored delays no other. When Postgres is unavailable, all jobs of the
//! batch are retried later instead.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use shared::connectors::{AccountChange, ConnectorError, Directory, SyncHint, WebhookOutcome};
use shared::db::{DbError, TenantScope, Tx, directory};
use shared::inbox::{self, Outcome, StoredDelivery};
use shared::model::{
    ConnectionId, DeliveryId, DirectoryEntry, DirectoryKey, JobKind, JobPayload, NewJob, TenantId,
};
use shared::queue::due_jobs;
use shared::queue::{self, ClaimedJob, Finished, JobOutcome};
use shared::signals::{self, NewSignal};
use shared::telemetry::set_parent;
use tracing::Instrument;

use crate::account_events;
use crate::attempt;
use crate::context::Context;
use crate::failure::{JobFailure, catch_panic, count_panic, panicked, unreadable};
use crate::job_transaction::verify_lease;

const KIND: JobKind = JobKind::ProcessDeliveries;
/// Maximum bytes of deliveries in memory at a time, unless a single job has more.
const MAX_BATCH_BYTES: u64 = 8 << 20;

/// Processes claimed jobs in batches that fit into memory, and records the failures.
pub(crate) async fn run(context: &Context, jobs: Vec<ClaimedJob>) {
    let (mut fitting, mut bytes) = (Vec::new(), 0);
    let is_unreadable = |job: &ClaimedJob| matches!(job.payload, JobPayload::Unreadable { .. });
    let (unreadable_jobs, jobs): (Vec<_>, Vec<_>) = jobs.into_iter().partition(is_unreadable);
    if !unreadable_jobs.is_empty() {
        finish(context, unreadable_jobs, &unreadable(), Instant::now()).await;
    }
    for job in jobs {
        if bytes + job.bytes > MAX_BATCH_BYTES && !fitting.is_empty() {
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
                let outcome = JobFailure::Db(error).outcome(&context.clock);
                return finish(context, jobs, &outcome, started).await;
            }
            Err(_) => {}
        }
    }
    for job in jobs {
        let span = attempt::span(&job);
        run_single(context, job).instrument(span).await;
    }
}

async fn run_single(context: &Context, job: ClaimedJob) {
    let started = Instant::now();
    let mut result = process(context, std::slice::from_ref(&job)).await;
    if let Err(failure) = &result
        && is_caused_by_content(failure)
        && job.deliveries().count() > 1
    {
        result = process_one_by_one(context, &job).await;
    }
    match result {
        Ok(outcomes) => report_all(&outcomes, started),
        // Another worker has the job, and this one has written nothing.
        Err(JobFailure::LeaseLost) => {}
        Err(failure) => {
            let outcome = failure.outcome(&context.clock);
            finish(context, vec![job], &outcome, started).await;
        }
    }
}

/// Whether the content of a delivery may be the cause, and not Postgres or the lease.
fn is_caused_by_content(failure: &JobFailure) -> bool {
    match failure {
        JobFailure::Db(error) => !error.is_outage(),
        JobFailure::LeaseLost | JobFailure::CursorConflict => false,
        _ => true,
    }
}

fn report_all(outcomes: &[JobOutcome], started: Instant) {
    for outcome in outcomes {
        attempt::report(KIND.as_str(), outcome, started);
    }
}

/// Records the outcome of attempts that did not succeed.
async fn finish(context: &Context, jobs: Vec<ClaimedJob>, outcome: &JobOutcome, started: Instant) {
    let finished: Vec<Finished> = jobs
        .into_iter()
        .map(|job| {
            attempt::report(KIND.as_str(), outcome, started);
            let outcome = outcome.clone();
            Finished { job, outcome }
        })
        .collect();
    if let Err(error) = context.queue.finish(&finished).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "failed to record the outcome of jobs, they will be rescued"
        );
    }
}

/// Processes the deliveries of jobs and finishes the jobs, in one transaction.
///
/// Returns the outcome of each job: failed if one of its deliveries panicked, else succeeded.
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
            return Err(JobFailure::LeaseLost);
        }
        commit(context, tx, &work).await?;
        Ok(finished.into_iter().map(|one| one.outcome).collect())
    })
    .await
}

/// Processes each delivery of a job in a separate transaction.
///
/// A delivery that cannot be stored then delays no other, and a retry skips those that are done.
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
            verify_lease(&mut tx, job).await?;
            commit(context, tx, &work).await
        });
        match work.await {
            Ok(()) => {}
            Err(error) if is_caused_by_content(&error) => failure = Some(error),
            Err(error) => return Err(error),
        }
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    // No delivery is pending now, so this only finishes the job.
    process(context, std::slice::from_ref(job)).await
}

/// Writes the results of deliveries; the caller commits.
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
    // Later deliveries of the batch name the resource by its new id, so all are read again.
    if apply_resource_ids(&work.changes, &mut deliveries) {
        work = read_all(context, &mut tx, &scopes, &deliveries).await?;
    }
    signals::store(&mut tx, std::mem::take(&mut work.signals)).await?;
    let in_doubt: Vec<_> = deliveries
        .iter()
        .filter(|delivery| delivery.has_ended_grant)
        .filter_map(|delivery| Some((delivery.tenant_id, delivery.connection_id?)))
        .collect();
    apply(context, &mut tx, &scopes, &mut work).await?;
    due_jobs::probe_soon(&mut tx, &in_doubt).await?;
    inbox::record_outcomes(&mut tx, &work.outcomes).await?;
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

/// The results of a batch.
#[derive(Default)]
struct Work {
    signals: Vec<NewSignal>,
    outcomes: Vec<Outcome>,
    changes: Vec<(TenantId, ConnectionId, AccountChange)>,
    /// Streams to read, by connection; the hints of several deliveries are merged.
    sync_hints: BTreeMap<(TenantId, ConnectionId), SyncHint>,
    /// Changes from deliveries that match no connection.
    unmatched_changes: Vec<(String, AccountChange)>,
    /// Directory entries to store, by connection.
    directory_updates: BTreeMap<(TenantId, ConnectionId), Vec<DirectoryEntry>>,
    /// Jobs to enqueue.
    next: Vec<NewJob>,
    /// Deliveries that panicked, with the panic's message.
    panics: Vec<(DeliveryId, String)>,
}

/// Applies the resource id changes of a batch to its deliveries; returns whether there are any.
fn apply_resource_ids(
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

/// Normalizes deliveries, and enqueues a `resolve_directory` job for names that are missing.
///
/// A delivery that needs names is normalized again with the names from Postgres. If some are still
/// missing, the delivery waits until the job has fetched them.
async fn read_all(
    context: &Context,
    tx: &mut Tx,
    scopes: &[TenantScope],
    deliveries: &[StoredDelivery],
) -> Result<Work, JobFailure> {
    let mut work = Work::default();
    let empty = Directory::default();
    let mut unread: HashMap<(TenantId, ConnectionId), Unread<'_>> = HashMap::new();
    for delivery in deliveries {
        let read = handle(context, delivery, &empty);
        let missing = empty.take_missing();
        match delivery.connection_id {
            Some(connection) if !missing.is_empty() => {
                let waiting = unread.entry((delivery.tenant_id, connection)).or_default();
                waiting.keys.extend(missing);
                waiting.deliveries.push(delivery);
            }
            _ => work.add(delivery, read),
        }
    }
    for ((tenant, connection), waiting) in unread {
        let known = Directory::default();
        if let Some(scope) = scopes.iter().find(|scope| scope.tenant_id() == tenant) {
            known.add(directory::load(tx, scope, connection, &waiting.keys).await?);
        }
        let mut unknown = BTreeSet::new();
        let mut unresolved = Vec::new();
        for delivery in waiting.deliveries {
            let read = handle(context, delivery, &known);
            let missing = known.take_missing();
            if missing.is_empty() {
                work.add(delivery, read);
            } else {
                unknown.extend(missing);
                unresolved.push(delivery);
            }
        }
        if let Some(first) = unresolved.first() {
            work.next.push(NewJob {
                tenant_id: tenant,
                provider: first.provider.clone(),
                connection_id: Some(connection),
                cursor_window: None,
                payload: JobPayload::ResolveDirectory {
                    keys: unknown.into_iter().collect(),
                    deliveries: unresolved.iter().map(|delivery| delivery.id).collect(),
                },
                traceparent: first.traceparent.clone(),
            });
        }
    }
    Ok(work)
}

/// A connection's deliveries that need names, and the keys of the names.
#[derive(Default)]
struct Unread<'d> {
    keys: Vec<DirectoryKey>,
    deliveries: Vec<&'d StoredDelivery>,
}

type Read = Result<(&'static str, WebhookOutcome), ReadFailure>;

/// The reason why a delivery could not be normalized.
enum ReadFailure {
    /// The connector rejected it.
    Unreadable,
    /// The connector panicked, with this message.
    Panicked(String),
}

/// Has the connector normalize a delivery; a panic fails this delivery only.
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
                "failed to normalize a delivery, keeping it"
            );
        })?;
    if let Some(reason) = &outcome.refused {
        tracing::warn!(reason, "delivery does not identify its fact, keeping it");
    }
    Ok((connector.descriptor().slug, outcome))
}

impl Work {
    /// The outcome of a job whose deliveries are all part of this batch.
    fn outcome_of(&self, job: &ClaimedJob) -> JobOutcome {
        let mut panics = self.panics.iter();
        let panic = panics.find(|(delivery, _)| job.deliveries().any(|(_, id)| id == *delivery));
        match panic {
            Some((_, message)) => JobOutcome::Failed(panicked(message)),
            None => JobOutcome::Succeeded,
        }
    }

    fn add(&mut self, delivery: &StoredDelivery, read: Read) {
        let (slug, outcome) = match read {
            Ok(read) => read,
            Err(ReadFailure::Unreadable) => {
                let reason = Some("the payload does not match the documented format");
                return self.record(delivery, "failed", reason, 0);
            }
            Err(ReadFailure::Panicked(message)) => {
                return self.panics.push((delivery.id, message));
            }
        };
        if outcome.more_recipients && !delivery.is_copy {
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
            let changes = outcome
                .changes
                .into_iter()
                .map(|change| (delivery.provider.clone(), change));
            self.unmatched_changes.extend(changes);
            // A delivery without Signals only reports the account's state. The connect flow reads
            // that state itself, and a later replay would undo newer changes.
            let is_unmatched = count > 0 && delivery.route.is_some();
            let result = match refused {
                Some(_) => "failed",
                None if is_unmatched => "unmatched",
                None => "ignored",
            };
            return self.record(delivery, result, refused, 0);
        };
        if !outcome.directory_updates.is_empty() {
            self.directory_updates
                .entry((delivery.tenant_id, connection_id))
                .or_default()
                .extend(outcome.directory_updates);
        }
        let is_wake_up = outcome.sync_hint.is_some();
        if let Some(hint) = outcome.sync_hint {
            self.sync_hints
                .entry((delivery.tenant_id, connection_id))
                .and_modify(|known| known.merge(hint.clone()))
                .or_insert(hint);
        }
        for change in outcome.changes {
            match change {
                // No window, because a running job may have checked before this delivery came.
                AccountChange::GrantCheckRequired => self.next.push(NewJob {
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
        let result = match refused {
            Some(_) => "failed",
            None if count > 0 || is_wake_up => "processed",
            None => "ignored",
        };
        self.record(delivery, result, refused, count);
    }

    fn record(
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

/// Applies changes of connections, ordered by connection id and then by delivery.
///
/// Two batches therefore lock rows in the same order.
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
            account_events::apply(context, tx, scope, connection, &change).await?;
        }
    }
    for ((tenant, connection), hint) in std::mem::take(&mut work.sync_hints) {
        if let Some(scope) = scopes.iter().find(|scope| scope.tenant_id() == tenant) {
            account_events::request_sync(tx, scope, connection, &hint).await?;
        }
    }
    for ((tenant, connection), entries) in std::mem::take(&mut work.directory_updates) {
        if let Some(scope) = scopes.iter().find(|scope| scope.tenant_id() == tenant) {
            directory::save(tx, scope, connection, &entries).await?;
        }
    }
    for (provider, change) in std::mem::take(&mut work.unmatched_changes) {
        account_events::apply_unmatched(tx, scopes, &provider, &change).await?;
    }
    Ok(())
}
