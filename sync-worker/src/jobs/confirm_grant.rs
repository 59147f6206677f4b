//! Asks the provider whether it honours a connection's grant, and writes down what it says.

use shared::connectors::{AccountChange, GrantState};
use shared::db::DbError;
use shared::db::connections::{self, ConnectionStatus};
use shared::queue::ClaimedJob;

use super::{JobFailure, begin, connection_of, connector_of};
use crate::changes;
use crate::context::Context;

pub(super) async fn run(context: &Context, job: &ClaimedJob) -> Result<(), JobFailure> {
    let Some(id) = job.connection_id else {
        return Ok(());
    };
    let scope = &job.scope();
    let connection = connection_of(context, job, id).await?;
    // One that is disconnected has no tokens left to ask with, and nothing to lose.
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
    let state = connector_of(context, job)?.grant_state(&grant).await?;
    tracing::info!(connection.id = %id, ?state, "the provider was asked for the state of a grant");
    let change = match state {
        // Changes nothing unless the connection is suspended.
        GrantState::Active => AccountChange::Unsuspended,
        GrantState::Suspended => AccountChange::Suspended,
        GrantState::Revoked => AccountChange::Revoked {
            at: context.clock.now(),
        },
        GrantState::Removed => AccountChange::Removed { at: None },
    };
    let mut tx = begin(context, job).await?;
    let current = connections::get(&mut tx, scope, id).await?;
    // Connected anew since: nothing was asked about that grant.
    let is_same = current.is_some_and(|current| {
        current.account.as_ref() == Some(&account)
            && current.connected_at == connection.connected_at
    });
    if is_same {
        changes::apply(context, &mut tx, scope, id, &change).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}
