//! A provider that refreshes tokens slowly.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use shared::connectors::{
    AuthorizeRequest, Callback, CallbackOutcome, Connector, ConnectorError, Directory, Grant,
    KeySource, ProviderDescriptor, RefreshRequest, SyncPage, SyncRequest, TokenSet, VerifyError,
    WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest,
};
use url::Url;

/// A provider that refreshes tokens slowly and supports no other operation.
pub(super) struct SlowProvider {
    pub(super) descriptor: ProviderDescriptor,
    pub(super) refresh_duration: Duration,
    pub(super) fails: bool,
    pub(super) calls: AtomicUsize,
}

fn unsupported<T>() -> Result<T, ConnectorError> {
    Err(ConnectorError::Permanent(
        "the provider only refreshes tokens".into(),
    ))
}

#[async_trait]
impl Connector for SlowProvider {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    fn authorize(&self, _: &AuthorizeRequest) -> Result<Url, ConnectorError> {
        unsupported()
    }

    async fn exchange_token(&self, _: Callback) -> Result<CallbackOutcome, ConnectorError> {
        unsupported()
    }

    async fn refresh_token(&self, _: RefreshRequest) -> Result<TokenSet, ConnectorError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(self.refresh_duration).await;
        if self.fails {
            return Err(ConnectorError::Transient("for a test".into()));
        }
        Ok(TokenSet {
            access_token: SecretString::from(format!("access-{call}")),
            refresh_token: Some(SecretString::from(format!("refresh-{call}"))),
            expires_at: None,
            refresh_expires_at: None,
        })
    }

    async fn revoke(&self, _: &Grant) -> Result<(), ConnectorError> {
        unsupported()
    }

    async fn verify_webhook(
        &self,
        _: &WebhookRequest<'_>,
        _: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        Err(VerifyError::NotConfigured)
    }

    fn handle_webhook(
        &self,
        _: &WebhookDelivery,
        _: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError> {
        unsupported()
    }

    async fn sync(&self, _: SyncRequest) -> Result<SyncPage, ConnectorError> {
        unsupported()
    }
}
