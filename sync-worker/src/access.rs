//! Calls with a connection's token: one that is refused is renewed. Whether the grant itself has
//! gone says the renewal; that tokens can end again right behind it is no reason to ask a person.

use futures::future::BoxFuture;
use shared::connectors::{Access, Connector, ConnectorError, ExternalAccount};
use shared::db::TenantScope;
use shared::ids::ConnectionId;

use crate::context::Context;
use crate::jobs::JobFailure;

/// How many tokens are tried for a call before the provider is believed to refuse them all.
const MOST_TOKENS: u32 = 4;

/// A connection as calls are made for it.
pub(crate) struct Caller<'a> {
    pub(crate) context: &'a Context,
    pub(crate) scope: TenantScope,
    pub(crate) connector: &'a dyn Connector,
    pub(crate) connection: ConnectionId,
    pub(crate) account: ExternalAccount,
}

impl Caller<'_> {
    /// Makes a call with a token that is good; if the provider refuses it all the same, again
    /// with another.
    pub(crate) async fn call<'f, T>(
        &self,
        call: impl Fn(Access) -> BoxFuture<'f, Result<T, ConnectorError>> + Send + Sync,
    ) -> Result<T, JobFailure> {
        let mut refused = None;
        let mut tokens = 0;
        loop {
            tokens += 1;
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
            match call(access).await {
                Err(ConnectorError::Unauthorized(_)) if tokens < MOST_TOKENS => {
                    refused = Some(token.version);
                }
                other => return Ok(other?),
            }
        }
    }
}
