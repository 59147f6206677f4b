//! Provider calls with a connection's access token.
//!
//! A call whose token the provider rejects is repeated once with a refreshed token. The refresh
//! shows whether the grant itself was revoked.

use std::sync::Arc;

use futures::future::BoxFuture;
use shared::connectors::{Access, Connector, ConnectorError, with_new_token};
use shared::db::TenantScope;
use shared::model::{ConnectionId, ExternalAccount};

use crate::context::Context;
use crate::failure::JobFailure;

/// A connection and the connector that calls its provider.
pub(crate) struct ProviderSession<'a> {
    pub(crate) context: &'a Context,
    pub(crate) scope: TenantScope,
    pub(crate) connector: &'a Arc<dyn Connector>,
    pub(crate) connection: ConnectionId,
    pub(crate) account: ExternalAccount,
}

impl ProviderSession<'_> {
    /// Makes a call with a valid token; repeats it with a refreshed one if it is rejected.
    pub(crate) async fn call<'f, T>(
        &self,
        call: impl Fn(Access) -> BoxFuture<'f, Result<T, ConnectorError>> + Send + Sync,
    ) -> Result<T, JobFailure> {
        let (access, version) = self.access(None).await?;
        match call(access).await {
            Err(ConnectorError::Unauthorized(_)) => {
                let (refreshed, _) = self.access(Some(version)).await?;
                Ok(with_new_token(|| call(refreshed.clone())).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Returns the access with a valid token, and the token's version.
    ///
    /// `rejected` is the version that the provider has just rejected.
    async fn access(&self, rejected: Option<i64>) -> Result<(Access, i64), JobFailure> {
        let token = self
            .context
            .credentials
            .access_token(
                &self.scope,
                self.connection,
                &self.account,
                self.connector,
                rejected,
            )
            .await?;
        let access = Access {
            account: self.account.clone(),
            token: token.token,
            user_token: token.user_token,
        };
        Ok((access, token.version))
    }
}
