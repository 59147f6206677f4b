//! Asks the provider whether it honours a connection's grant, and writes down what it says.

use shared::connectors::{AccountChange, GrantState};
use shared::db::{DbError, connections};
use shared::queue::{self, ClaimedJob};

use super::{JobFailure, connector_of};
use crate::changes;
use crate::context::Context;

pub(super) async fn run(context: &Context, job: &ClaimedJob) -> Result<(), JobFailure> {
    let Some(id) = job.connection_id else {
        return Ok(());
    };
    let scope = &job.scope();
    let mut tx = context.db.begin(scope).await?;
    let connection = connections::get(&mut tx, scope, id).await?;
    tx.commit().await.map_err(DbError::from)?;
    let Some(account) = connection.and_then(|connection| connection.account) else {
        return Ok(());
    };
    let state = connector_of(context, job)?.grant_state(&account).await?;
    tracing::info!(connection.id = %id, ?state, "the provider was asked for the state of a grant");
    let change = match state {
        // Changes nothing unless the connection is suspended.
        GrantState::Active => AccountChange::Unsuspended,
        GrantState::Suspended => AccountChange::Suspended,
        GrantState::Removed => AccountChange::Removed { at: None },
    };
    let mut tx = context.db.begin(scope).await?;
    if !queue::hold(&mut tx, job).await? {
        return Err(JobFailure::Overtaken);
    }
    let current = connections::get(&mut tx, scope, id).await?;
    // Connected to another account since, about which nothing was asked.
    if current.and_then(|connection| connection.account).as_ref() == Some(&account) {
        changes::apply(context, &mut tx, scope, id, &change).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}
