//! Synchronous webhook verification for tests.

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use http::HeaderMap;
use secrecy::SecretString;

use crate::connectors::{
    Connector, KeySource, NoKeys, VerifyError, WebhookReceipt, WebhookRequest,
};
use crate::model::ConnectionId;

/// Webhook secrets of one connection.
pub(in crate::connectors) struct SecretsOf(
    pub(in crate::connectors) ConnectionId,
    pub(in crate::connectors) &'static [&'static str],
);

#[async_trait]
impl KeySource for SecretsOf {
    async fn connection_secrets(
        &self,
        _: &'static str,
        connection: ConnectionId,
    ) -> Result<Vec<SecretString>, VerifyError> {
        if connection != self.0 {
            return Err(VerifyError::UnknownConnection);
        }
        Ok(self
            .1
            .iter()
            .map(|secret| SecretString::from(*secret))
            .collect())
    }
}

/// Verifies a delivery sent to the app's URL.
pub(in crate::connectors) fn verify(
    connector: &dyn Connector,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<WebhookReceipt, VerifyError> {
    let request = WebhookRequest {
        headers,
        body,
        connection: None,
    };
    let verified = connector.verify_webhook(&request, &NoKeys);
    verified.now_or_never().expect("verification does not wait")
}
