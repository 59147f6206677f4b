//! Asks the provider what deliveries name by id only, and has them processed then.
//!
//! A name is not worth a Signal: when the provider does not tell, or nobody may ask it, the
//! deliveries go on without.

use std::sync::Arc;

use chrono::TimeDelta;
use shared::connectors::{AccountChange, ConnectorError, DirectoryEntry, DirectoryKey, Resource};
use shared::credentials::CredentialError;
use shared::db::connections::ConnectionStatus;
use shared::db::{DbError, directory};
use shared::ids::{ConnectionId, DeliveryId};
use shared::queue::{self, ClaimedJob, JobPayload, NewJob};

use super::{JobFailure, begin, connection_of, connector_of};
use crate::access::Caller;
use crate::context::Context;
use crate::{changes, resource_ids};

/// Names that take longer than this are not waited for.
const PATIENCE: TimeDelta = TimeDelta::minutes(5);

pub(super) async fn run(
    context: &Context,
    job: &ClaimedJob,
    keys: &[DirectoryKey],
    deliveries: &[DeliveryId],
) -> Result<(), JobFailure> {
    let Some(id) = job.connection_id else {
        return Ok(());
    };
    let mut missing = keys.to_vec();
    let mut tx = context.db.begin(&job.scope()).await?;
    let known = directory::load(&mut tx, &job.scope(), id, keys).await?;
    tx.commit().await.map_err(DbError::from)?;
    missing.retain(|key| !known.iter().any(|entry| entry.key == *key));

    let Answers {
        mut found,
        id_changes,
    } = match ask(context, job, id, &missing).await {
        Ok(answers) => answers,
        Err(failure) if is_final(context, job, &failure) => {
            tracing::warn!(
                error = &failure as &dyn std::error::Error,
                "names were not found; deliveries go on without"
            );
            Answers::default()
        }
        Err(failure) => return Err(failure),
    };
    missing.retain(|key| !found.iter().any(|entry| entry.key == *key));
    found.extend(missing.into_iter().map(DirectoryEntry::nameless));

    let mut tx = begin(context, job).await?;
    for change in &id_changes {
        changes::apply(context, &mut tx, &job.scope(), id, change).await?;
    }
    directory::save(&mut tx, &job.scope(), id, &found).await?;
    let next = NewJob {
        tenant_id: job.tenant_id,
        provider: job.provider.clone(),
        connection_id: Some(id),
        cursor_window: None,
        payload: JobPayload::ProcessDeliveries {
            deliveries: deliveries.to_vec(),
        },
        traceparent: job.traceparent.clone(),
    };
    queue::enqueue(&mut tx, &next).await?;
    tx.commit().await.map_err(DbError::from)?;
    queue::notify(&context.db).await?;
    Ok(())
}

/// What the provider says.
#[derive(Default)]
struct Answers {
    found: Vec<DirectoryEntry>,
    /// Resources among them that are known under another id.
    id_changes: Vec<AccountChange>,
}

async fn ask(
    context: &Context,
    job: &ClaimedJob,
    id: ConnectionId,
    keys: &[DirectoryKey],
) -> Result<Answers, JobFailure> {
    if keys.is_empty() {
        return Ok(Answers::default());
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
        return Ok(Answers::default());
    };
    let caller = Caller {
        context,
        scope: job.scope(),
        connector: &connector,
        connection: id,
        account,
    };
    let found = caller
        .call(|access| {
            let connector = Arc::clone(&connector);
            Box::pin(async move { connector.look_up(&access, keys).await })
        })
        .await?;
    let shown = found.iter().filter_map(Resource::of_entry).collect();
    let id_changes = resource_ids::find_changes(&caller, shown).await?;
    Ok(Answers { found, id_changes })
}

/// Whether waiting longer would not help, or not be worth it.
fn is_final(context: &Context, job: &ClaimedJob, failure: &JobFailure) -> bool {
    let last_try = job.attempts >= job.max_attempts;
    match failure {
        JobFailure::Provider(cause) | JobFailure::Credential(CredentialError::Provider(cause)) => {
            match cause {
                ConnectorError::RateLimited { retry_at, .. } => {
                    *retry_at > context.clock.now() + PATIENCE
                }
                ConnectorError::Transient(_) => last_try,
                _ => true,
            }
        }
        JobFailure::Credential(CredentialError::Erased | CredentialError::Sealed(_)) => true,
        _ => false,
    }
}
