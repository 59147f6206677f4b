//! Fetches the names that deliveries carry as ids only, then enqueues their processing.
//!
//! A missing name does not delay a Signal: if the provider has no name or allows no call, the
//! deliveries are processed without it.

use std::sync::Arc;

use chrono::TimeDelta;
use shared::connectors::{AccountChange, ConnectorError};
use shared::credentials::CredentialError;
use shared::db::connections::ConnectionStatus;
use shared::db::{DbError, directory};
use shared::model::{
    ConnectionId, DirectoryEntry, DirectoryKey, NewJob, ProcessDeliveries, ResolveDirectory,
    Resource,
};
use shared::queue::ClaimedJob;

use super::{Attempt, Job, connection_of, connector_of};
use crate::context::Context;
use crate::failure::JobFailure;
use crate::job_transaction::begin;
use crate::provider_session::ProviderSession;
use crate::{account_events, resource_ids};

/// The longest time that deliveries wait for names.
const MAX_WAIT: TimeDelta = TimeDelta::minutes(5);

impl Job for ResolveDirectory {
    async fn run(&self, Attempt { context, job, .. }: Attempt<'_>) -> Result<(), JobFailure> {
        let Some(id) = job.connection_id else {
            return Ok(());
        };
        let mut missing = self.keys.clone();
        let mut tx = context.db.begin(&job.scope()).await?;
        let known = directory::load(&mut tx, &job.scope(), id, &self.keys).await?;
        tx.commit().await.map_err(DbError::from)?;
        missing.retain(|key| !known.iter().any(|entry| entry.key == *key));

        let Resolved {
            mut found,
            id_changes,
        } = match fetch(context, job, id, &missing).await {
            Ok(resolved) => resolved,
            Err(failure) if is_final(context, job, &failure) => {
                tracing::warn!(
                    error = &failure as &dyn std::error::Error,
                    "failed to fetch names, processing deliveries without them"
                );
                Resolved::default()
            }
            Err(failure) => return Err(failure),
        };
        missing.retain(|key| !found.iter().any(|entry| entry.key == *key));
        found.extend(missing.into_iter().map(DirectoryEntry::nameless));

        let mut tx = begin(context, job).await?;
        for change in &id_changes {
            account_events::apply(context, &mut tx, &job.scope(), id, change).await?;
        }
        directory::save(&mut tx, &job.scope(), id, &found).await?;
        let process = ProcessDeliveries {
            deliveries: self.deliveries.clone(),
        };
        let next = NewJob {
            traceparent: job.traceparent.clone(),
            ..NewJob::new(job.tenant_id, &job.provider, Some(id), process)
        };
        context.queue.enqueue(&mut tx, &next).await?;
        tx.commit().await.map_err(DbError::from)?;
        context.queue.notify().await?;
        Ok(())
    }
}

/// Directory entries that the provider returned.
#[derive(Default)]
struct Resolved {
    found: Vec<DirectoryEntry>,
    /// Id changes of the resources among them that are known under another id.
    id_changes: Vec<AccountChange>,
}

async fn fetch(
    context: &Context,
    job: &ClaimedJob,
    id: ConnectionId,
    keys: &[DirectoryKey],
) -> Result<Resolved, JobFailure> {
    if keys.is_empty() {
        return Ok(Resolved::default());
    }
    let connector = connector_of(context, job)?;
    let connection = connection_of(context, job, id).await?;
    let account = connection
        .filter(|c| {
            matches!(
                c.status,
                ConnectionStatus::Active | ConnectionStatus::Paused
            )
        })
        .and_then(|c| c.account);
    let Some(account) = account else {
        return Ok(Resolved::default());
    };
    let session = ProviderSession {
        context,
        scope: job.scope(),
        connector: &connector,
        connection: id,
        account,
    };
    let found = session
        .call(|access| {
            let connector = Arc::clone(&connector);
            Box::pin(async move { connector.resolve_directory(&access, keys).await })
        })
        .await?;
    let shown = found.iter().filter_map(Resource::of_entry).collect();
    let id_changes = resource_ids::find_changes(&session, shown).await?;
    Ok(Resolved { found, id_changes })
}

/// Whether the names will not come within [`MAX_WAIT`].
fn is_final(context: &Context, job: &ClaimedJob, failure: &JobFailure) -> bool {
    let is_last_attempt = job.is_last_attempt();
    match failure {
        JobFailure::Provider(cause) | JobFailure::Credential(CredentialError::Provider(cause)) => {
            match cause {
                ConnectorError::RateLimited { retry_at, .. } => {
                    *retry_at > context.clock.now() + MAX_WAIT
                }
                ConnectorError::Transient(_) => is_last_attempt,
                _ => true,
            }
        }
        JobFailure::Credential(CredentialError::NotFound | CredentialError::Decrypt(_)) => true,
        _ => false,
    }
}
