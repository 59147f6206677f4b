//! Refreshes a token before it expires, so that no call waits for a refresh.

use shared::credentials::CredentialError;
use shared::db::DbError;
use shared::db::connections::{self, ConnectionStatus};
use shared::db::credentials::{self, CredentialKey};
use shared::model::RefreshToken;

use super::{Attempt, Job, connector_of};
use crate::account_events;
use crate::failure::JobFailure;

impl Job for RefreshToken {
    async fn run(&self, Attempt { context, job, .. }: Attempt<'_>) -> Result<(), JobFailure> {
        let Some(id) = job.connection_id else {
            return Ok(());
        };
        let connector = connector_of(context, job)?;
        let key = CredentialKey::account(id);
        let mut tx = context.db.begin(&job.scope()).await?;
        let connection = connections::get(&mut tx, &job.scope(), id).await?;
        let stored = credentials::get(&mut tx, &job.scope(), &key).await?;
        tx.commit().await.map_err(DbError::from)?;
        let (Some(connection), Some(stored)) = (connection, stored) else {
            return Ok(());
        };
        let (ConnectionStatus::Active, Some(account)) = (connection.status, &connection.account)
        else {
            return Ok(());
        };
        // Another job has refreshed it meanwhile.
        let soon = context.clock.now() + connector.descriptor().tokens.refresh_before;
        if stored.expires_at.is_none_or(|end| end > soon) {
            return Ok(());
        }
        let refreshed = context
            .credentials
            .access_token(&job.scope(), id, account, &connector, Some(stored.version))
            .await;
        match refreshed {
            Ok(_) => Ok(()),
            Err(CredentialError::RefreshResponseLost(error)) => {
                account_events::record_lost_refresh(context, job, id, &error).await?;
                Err(CredentialError::RefreshResponseLost(error).into())
            }
            Err(CredentialError::Provider(error)) => {
                account_events::record_grant_error(context, job, id, &error).await?;
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}
