//! Calls with a connection's token. One that is refused is renewed; whether the grant itself is
//! gone, the renewal says.

use std::sync::Arc;

use futures::future::BoxFuture;
use shared::connectors::{Access, Connector, ConnectorError, ExternalAccount, with_new_token};
use shared::db::TenantScope;
use shared::ids::ConnectionId;

use crate::context::Context;
use crate::jobs::JobFailure;

/// A connection as calls are made for it.
pub(crate) struct Caller<'a> {
    pub(crate) context: &'a Context,
    pub(crate) scope: TenantScope,
    pub(crate) connector: &'a Arc<dyn Connector>,
    pub(crate) connection: ConnectionId,
    pub(crate) account: ExternalAccount,
}

impl Caller<'_> {
    /// Makes a call with a valid token; if the provider refuses it all the same, again with a
    /// renewed one.
    pub(crate) async fn call<'f, T>(
        &self,
        call: impl Fn(Access) -> BoxFuture<'f, Result<T, ConnectorError>> + Send + Sync,
    ) -> Result<T, JobFailure> {
        let (access, version) = self.access(None).await?;
        match call(access).await {
            Err(ConnectorError::Unauthorized(_)) => {
                let (renewed, _) = self.access(Some(version)).await?;
                Ok(with_new_token(|| call(renewed.clone())).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// The account with a valid token, and the token's version. `refused` is the version that the
    /// provider has just refused.
    async fn access(&self, refused: Option<i64>) -> Result<(Access, i64), JobFailure> {
        let token = self
            .context
            .credentials
            .access_token(
                &self.scope,
                self.connection,
                &self.account,
                self.connector,
                refused,
            )
            .await?;
        let access = Access {
            account: self.account.clone(),
            token: token.token,
            person: token.person,
        };
        Ok((access, token.version))
    }
}
