//! Checks the state of a connection's grant with the provider and records it.
//!
//! A removed grant ends the connection and erases its tokens, which only a person can undo, so the
//! provider must confirm the removal twice, with a pause between.

use chrono::{DateTime, TimeDelta, Utc};
use shared::connectors::{AccountChange, GrantState};
use shared::db::DbError;
use shared::db::connections::{self, ConnectionStatus};
use shared::model::ConfirmGrant;
use shared::queue::{ClaimedJob, JobOutcome};

use super::{Attempt, Job, connection_of, connector_of};
use crate::account_events;
use crate::context::Context;
use crate::failure::{JobFailure, error};
use crate::job_transaction::begin;

/// Minimum time between the two confirmations of a removal.
const REMOVAL_PAUSE: TimeDelta = TimeDelta::seconds(20);

impl Job for ConfirmGrant {
    async fn run(&self, Attempt { context, job, .. }: Attempt<'_>) -> Result<(), JobFailure> {
        let Some(id) = job.connection_id else {
            return Ok(());
        };
        let scope = &job.scope();
        let connection = connection_of(context, job, id).await?;
        // A disconnected connection has no tokens for the call and no grant to lose.
        let Some(connection) =
            connection.filter(|connection| connection.status != ConnectionStatus::Disconnected)
        else {
            return Ok(());
        };
        let Some(account) = connection.account else {
            return Ok(());
        };
        let grant = context
            .credentials
            .grant(scope, id, account.clone())
            .await?;
        let state = connector_of(context, job)?
            .fetch_grant_state(&grant)
            .await?;
        tracing::info!(connection.id = %id, ?state, "checked the state of the grant");
        if state == GrantState::Removed {
            await_second_confirmation(context, job, self.removed_since).await?;
        }
        let change = match state {
            // This change has an effect on suspended connections only.
            GrantState::Active => AccountChange::Unsuspended,
            GrantState::Suspended => AccountChange::Suspended,
            GrantState::Revoked => AccountChange::Revoked {
                at: context.clock.now(),
            },
            GrantState::Removed => AccountChange::Removed { at: None },
        };
        let mut tx = begin(context, job).await?;
        let current = connections::get(&mut tx, scope, id).await?;
        // The check does not concern a grant that was given after it.
        let is_unchanged = current.is_some_and(|current| {
            current.account.as_ref() == Some(&account)
                && current.connected_at == connection.connected_at
        });
        if is_unchanged {
            account_events::apply(context, &mut tx, scope, id, &change).await?;
        }
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }
}

/// Ends the attempt unless the provider has confirmed the removal before, long enough ago.
async fn await_second_confirmation(
    context: &Context,
    job: &ClaimedJob,
    removed_since: Option<DateTime<Utc>>,
) -> Result<(), JobFailure> {
    let now = context.clock.now();
    let since = removed_since.unwrap_or(now);
    if since + REMOVAL_PAUSE <= now {
        return Ok(());
    }
    let mut tx = begin(context, job).await?;
    let payload = ConfirmGrant {
        removed_since: Some(since),
    };
    let queue = &context.queue;
    if !queue.set_payload(&mut tx, job, &payload.into()).await? {
        return Err(JobFailure::LeaseLost);
    }
    tx.commit().await.map_err(DbError::from)?;
    Err(JobFailure::from(JobOutcome::Snoozed {
        at: since + REMOVAL_PAUSE,
        error: error(
            "removal_unconfirmed",
            "The provider says that the grant was removed. It is asked again.",
        ),
    }))
}
