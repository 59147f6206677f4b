//! Renews a token before it ends, so that no call has to wait for it.

use shared::connectors::TokenHolder;
use shared::credentials::CredentialError;
use shared::db::DbError;
use shared::db::connections::{self, ConnectionStatus};
use shared::db::credentials::{self, CredentialKey};
use shared::queue::ClaimedJob;

use super::{JobFailure, connector_of};
use crate::changes;
use crate::context::Context;

pub(super) async fn run(context: &Context, job: &ClaimedJob) -> Result<(), JobFailure> {
    let Some(id) = job.connection_id else {
        return Ok(());
    };
    let connector = connector_of(context, job)?;
    let key = CredentialKey {
        connection: id,
        holder: TokenHolder::Account,
    };
    let mut tx = context.db.begin(&job.scope()).await?;
    let connection = connections::get(&mut tx, &job.scope(), id).await?;
    let sealed = credentials::get(&mut tx, &job.scope(), key).await?;
    tx.commit().await.map_err(DbError::from)?;
    let (Some(connection), Some(sealed)) = (connection, sealed) else {
        return Ok(());
    };
    let (ConnectionStatus::Active, Some(account)) = (connection.status, &connection.account) else {
        return Ok(());
    };
    // Renewed meanwhile by a job that needed it.
    let soon = context.clock.now() + chrono::TimeDelta::minutes(5);
    if sealed.expires_at.is_none_or(|end| end > soon) {
        return Ok(());
    }
    let renewed = context
        .credentials
        .access_token(&job.scope(), id, account, &connector, Some(sealed.version))
        .await;
    match renewed {
        Ok(_) => Ok(()),
        Err(CredentialError::RotationLost(error)) => {
            changes::note_lost_rotation(context, job, id, &error).await?;
            Err(CredentialError::RotationLost(error).into())
        }
        Err(CredentialError::Provider(error)) => {
            changes::note_word_on_grant(context, job, id, &error).await?;
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}
