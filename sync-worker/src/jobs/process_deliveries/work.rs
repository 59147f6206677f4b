//! The results of a batch of deliveries, and their application.

use std::collections::BTreeMap;

use shared::connectors::{AccountChange, SyncHint, WebhookOutcome};
use shared::db::{TenantScope, Tx, directory};
use shared::inbox::{Outcome, StoredDelivery};
use shared::model::{
    ConfirmGrant, ConnectionId, DeliveryId, DirectoryEntry, FanOutDelivery, JobPayload, NewJob,
    TenantId,
};
use shared::queue::{ClaimedJob, JobOutcome};
use shared::signals::NewSignal;

use crate::account_events;
use crate::context::Context;
use crate::failure::{JobFailure, panicked};

/// The results of a batch.
#[derive(Default)]
pub(super) struct Work {
    pub(super) signals: Vec<NewSignal>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) changes: Vec<(TenantId, ConnectionId, AccountChange)>,
    /// Streams to read, by connection; the hints of several deliveries are merged.
    sync_hints: BTreeMap<(TenantId, ConnectionId), SyncHint>,
    /// Changes from deliveries that match no connection.
    unmatched_changes: Vec<(String, AccountChange)>,
    /// Directory entries to store, by connection.
    directory_updates: BTreeMap<(TenantId, ConnectionId), Vec<DirectoryEntry>>,
    /// Jobs to enqueue.
    pub(super) next: Vec<NewJob>,
    /// Deliveries that panicked, with the panic's message.
    pub(super) panics: Vec<(DeliveryId, String)>,
}

pub(super) type Read = Result<(&'static str, WebhookOutcome), ReadFailure>;

/// The reason why a delivery could not be normalized.
pub(super) enum ReadFailure {
    /// The connector rejected it.
    Unreadable,
    /// The connector panicked, with this message.
    Panicked(String),
}

impl Work {
    /// The outcome of a job whose deliveries are all part of this batch.
    pub(super) fn outcome_of(&self, job: &ClaimedJob) -> JobOutcome {
        let mut panics = self.panics.iter();
        let panic = panics.find(|(delivery, _)| job.deliveries().any(|(_, id)| id == *delivery));
        match panic {
            Some((_, message)) => JobOutcome::Failed(panicked(message)),
            None => JobOutcome::Succeeded,
        }
    }

    pub(super) fn add(&mut self, delivery: &StoredDelivery, read: Read) {
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
            let fan_out = FanOutDelivery {
                delivery: delivery.id,
            };
            self.enqueue(delivery, fan_out);
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
                AccountChange::GrantCheckRequired => {
                    self.enqueue(delivery, ConfirmGrant::default());
                }
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

    /// Adds a job on behalf of a delivery, in its trace.
    pub(super) fn enqueue(&mut self, delivery: &StoredDelivery, payload: impl Into<JobPayload>) {
        self.next.push(NewJob {
            traceparent: delivery.traceparent.clone(),
            ..NewJob::new(
                delivery.tenant_id,
                &delivery.provider,
                delivery.connection_id,
                payload,
            )
        });
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

/// Applies changes and sync hints, ordered by connection id.
///
/// A connection's changes keep the order of deliveries. Two batches therefore lock rows in the same order.
pub(super) async fn apply(
    context: &Context,
    tx: &mut Tx,
    scopes: &[TenantScope],
    work: &mut Work,
) -> Result<(), JobFailure> {
    let mut by_connection: BTreeMap<_, (Vec<AccountChange>, Option<SyncHint>)> = BTreeMap::new();
    for (tenant, connection, change) in std::mem::take(&mut work.changes) {
        let (changes, _) = by_connection.entry((tenant, connection)).or_default();
        changes.push(change);
    }
    for (key, hint) in std::mem::take(&mut work.sync_hints) {
        by_connection.entry(key).or_default().1 = Some(hint);
    }
    for ((tenant, connection), (changes, hint)) in by_connection {
        let Some(scope) = scopes.iter().find(|scope| scope.tenant_id() == tenant) else {
            continue;
        };
        for change in &changes {
            account_events::apply(context, tx, scope, connection, change).await?;
        }
        if let Some(hint) = &hint {
            account_events::request_sync(tx, scope, connection, hint).await?;
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
