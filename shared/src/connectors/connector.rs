//! The Connector SDK: the operations of a provider.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use url::Url;

use super::{
    Access, AppCheckRequest, AuthorizeRequest, Callback, CallbackOutcome, ConnectorError,
    Directory, Finding, Grant, GrantState, KeySource, ProviderDescriptor, RefreshRequest, Renewal,
    SubscribeRequest, SyncPage, SyncRequest, TokenSet, VerifyError, WebhookDelivery,
    WebhookOutcome, WebhookReceipt, WebhookRequest,
};
use crate::model::{
    DirectoryEntry, DirectoryKey, ExternalAccount, PushWays, StreamSpec, Subscription,
};

/// Connector of one provider.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Describes the provider.
    fn descriptor(&self) -> &ProviderDescriptor;

    /// Builds the provider's URL for the next authorization step.
    ///
    /// Called at the start of a connect flow and after every [`CallbackOutcome::NextStep`].
    fn authorize(&self, request: &AuthorizeRequest) -> Result<Url, ConnectorError>;

    /// Handles the provider's redirect: exchanges the code and verifies the grant.
    async fn exchange_token(&self, callback: Callback) -> Result<CallbackOutcome, ConnectorError>;

    /// Identity of an account's grant at the provider, if connections may share one.
    ///
    /// Connections with the same key, also at other providers of the family and of other tenants,
    /// share one grant: a revocation would end all of them, so the last one that ends revokes it.
    /// The key names the family and the OAuth client.
    fn grant_key(&self, account: &ExternalAccount) -> Option<String> {
        let _ = account;
        None
    }

    /// Obtains a new access token.
    ///
    /// Only `GrantRevoked` and `GrantSuspended` mean that the grant ended; `Permanent` means that
    /// the operator must correct the settings.
    async fn refresh_token(&self, request: RefreshRequest) -> Result<TokenSet, ConnectorError>;

    /// Revokes the grant at the provider; succeeds if the grant no longer exists.
    async fn revoke(&self, grant: &Grant) -> Result<(), ConnectorError>;

    /// Verifies a webhook's signature over the raw bytes, before the body is parsed.
    async fn verify_webhook(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError>;

    /// Normalizes a verified delivery to Signals and changes of the connection.
    ///
    /// It makes no calls. The directory notes the entries that it lacks, and the delivery is
    /// handled again after they are resolved.
    fn handle_webhook(
        &self,
        delivery: &WebhookDelivery,
        directory: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError>;

    /// Since when deliveries report the facts of a stream; `None` if they do not.
    ///
    /// `ways` are the connection's own, beside the app's URL. A fact that a read finds counts as
    /// missed only if a delivery should have reported it. The default distinguishes no streams.
    fn pushed_since(&self, stream: &StreamSpec, ways: &PushWays) -> Option<DateTime<Utc>> {
        let _ = stream;
        self.descriptor().pushed_since(ways)
    }

    /// Reads one page of one stream.
    async fn sync(&self, request: SyncRequest) -> Result<SyncPage, ConnectorError>;

    /// Fetches directory entries; the result omits the ones that the provider does not know.
    async fn resolve_directory(
        &self,
        access: &Access,
        keys: &[DirectoryKey],
    ) -> Result<Vec<DirectoryEntry>, ConnectorError> {
        let _ = (access, keys);
        Ok(Vec::new())
    }

    /// Returns whether the provider still has a resource with this id.
    ///
    /// Asked when another resource may be the same one under a new id. The default is `true`.
    async fn has_resource(&self, access: &Access, id: &str) -> Result<bool, ConnectorError> {
        let _ = (access, id);
        Ok(true)
    }

    /// Fetches the state of a grant, after [`super::AccountChange::GrantCheckRequired`].
    ///
    /// An error does not mean that the grant ended.
    async fn fetch_grant_state(&self, grant: &Grant) -> Result<GrantState, ConnectorError> {
        let _ = grant;
        Err(ConnectorError::Permanent(
            "the provider has no operation for the state of a grant".into(),
        ))
    }

    /// Fetches the routes of all accounts that a delivery was sent for.
    ///
    /// Called if [`WebhookOutcome::more_recipients`] is set: the delivery names only one of them.
    async fn list_recipients(
        &self,
        delivery: &WebhookDelivery,
    ) -> Result<Vec<String>, ConnectorError> {
        let _ = delivery;
        Ok(Vec::new())
    }

    /// Fetches the account's current description; `None` if it never changes or is not available.
    ///
    /// Called whenever the account's subscriptions are reconciled.
    async fn describe_account(
        &self,
        access: &Access,
    ) -> Result<Option<ExternalAccount>, ConnectorError> {
        let _ = access;
        Ok(None)
    }

    /// Lists the provider's subscriptions of this grant, including unknown ones.
    ///
    /// A known subscription that is not listed is created again if the policy says that the
    /// provider lists all of them.
    async fn list_subscriptions(
        &self,
        access: &Access,
    ) -> Result<Vec<Subscription>, ConnectorError> {
        let _ = access;
        Ok(Vec::new())
    }

    /// Creates a subscription.
    async fn subscribe(
        &self,
        access: &Access,
        request: &SubscribeRequest,
    ) -> Result<Subscription, ConnectorError> {
        let _ = (access, request);
        Err(ConnectorError::Permanent(
            "the provider has no subscriptions".into(),
        ))
    }

    /// Renews a subscription: extends it, or replaces it by a new one.
    ///
    /// It does not end a subscription that it replaces. Also called after a reconnect, with the
    /// subscription of an earlier grant.
    ///
    /// `Denied` means that the subscription no longer exists, so that it is created again.
    async fn renew(
        &self,
        access: &Access,
        subscription: &Subscription,
        request: &SubscribeRequest,
    ) -> Result<Renewal, ConnectorError> {
        let _ = (access, subscription, request);
        Err(ConnectorError::Permanent(
            "the provider has no subscriptions".into(),
        ))
    }

    /// Deletes a subscription; succeeds if it no longer exists.
    ///
    /// Not called while another connection has the same route: the provider then holds one
    /// subscription for both.
    ///
    /// A subscription whose creation has not been confirmed has the state of the resource's current
    /// subscription, or null if there is none. `Denied` means that this grant cannot delete it, so
    /// that it remains until it expires.
    async fn unsubscribe(
        &self,
        access: &Access,
        subscription: &Subscription,
    ) -> Result<(), ConnectorError> {
        let _ = (access, subscription);
        Ok(())
    }

    /// Requests redelivery of the deliveries that failed since `since` and returns their number.
    ///
    /// Connectors of providers that retry keep the default.
    async fn redeliver_webhooks(&self, since: DateTime<Utc>) -> Result<u64, ConnectorError> {
        let _ = since;
        Ok(0)
    }
    /// Checks the app as it is registered at the provider, without a team's consent.
    ///
    /// Every failed call is a finding. `poblysh doctor` shows them; none contains a secret.
    async fn check_app(&self, request: &AppCheckRequest) -> Vec<Finding> {
        let _ = request;
        Vec::new()
    }
}
