//! Normalization of a batch of deliveries, with the directory entries that they reference.

use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;

use shared::connectors::{ConnectorError, Directory, WebhookOutcome};
use shared::db::{TenantScope, Tx, directory};
use shared::inbox::StoredDelivery;
use shared::model::{ConnectionId, DirectoryKey, ResolveDirectory, TenantId};
use shared::telemetry::{record_trace_id, set_parent};

use super::KIND;
use super::work::{Read, ReadFailure, Work};
use crate::context::Context;
use crate::failure::{JobFailure, count_panic};

/// Normalizes deliveries, and enqueues a `resolve_directory` job for names that are missing.
///
/// A delivery that needs names is normalized again with the names from Postgres. If some are still
/// missing, the delivery waits until the job has fetched them.
pub(super) async fn read_all(
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
            let resolve = ResolveDirectory {
                keys: unknown.into_iter().collect(),
                deliveries: unresolved.iter().map(|delivery| delivery.id).collect(),
            };
            work.enqueue(first, resolve);
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
        trace.id = tracing::field::Empty,
    );
    if let Some(traceparent) = &delivery.traceparent {
        set_parent(&span, traceparent);
    }
    record_trace_id(&span);
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
