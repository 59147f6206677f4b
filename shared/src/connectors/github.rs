//! The GitHub connector: a GitHub App with webhooks and polling.
//!
//! People connect an account by installing the app. Webhooks deliver all facts; polling reads the
//! ones that the REST API lists.

mod app_check;
mod auth;
mod client;
mod normalize;
mod page_size;
mod redelivery;
mod settings;
mod sync;
mod webhook;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use url::Url;

pub use settings::{AppSettings, GitHubSettings};
pub use webhook::Webhooks;

use super::settings::warn_without_webhook_secret;
use super::{
    AppCheckRequest, AuthType, AuthorizeRequest, Callback, CallbackOutcome, Connector,
    ConnectorDeps, ConnectorError, Directory, Finding, Grant, GrantState, KeySource,
    ProviderDescriptor, RateLimits, RefreshRequest, SyncPage, SyncRequest, TokenPolicy, TokenSet,
    VerifyError, WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest,
};
use crate::http::HttpError;

/// Slug.
const SLUG: &str = "github";

/// GitHub's limit of payloads.
const MAX_WEBHOOK_BYTES: usize = 25 * 1024 * 1024;

/// Connector of one GitHub App.
pub struct GitHub {
    descriptor: ProviderDescriptor,
    app: AppSettings,
    client: client::Client,
    names: sync::Names,
}

impl GitHub {
    /// Builds the connector.
    pub fn new(app: AppSettings, deps: &ConnectorDeps) -> Result<Self, HttpError> {
        warn_without_webhook_secret(SLUG, &app.webhook_secrets);
        let client = client::Client::new(
            deps.outbound(SLUG),
            app.web_base.clone(),
            app.api_base.clone(),
        )?;
        Ok(Self {
            descriptor: descriptor(app.limits.clone()),
            app,
            client,
            names: sync::Names::default(),
        })
    }
}

#[async_trait]
impl Connector for GitHub {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    fn authorize(&self, request: &AuthorizeRequest) -> Result<Url, ConnectorError> {
        Ok(auth::authorize(self, request))
    }

    async fn exchange_token(&self, callback: Callback) -> Result<CallbackOutcome, ConnectorError> {
        auth::exchange_token(self, &callback).await
    }

    async fn refresh_token(&self, request: RefreshRequest) -> Result<TokenSet, ConnectorError> {
        auth::refresh_token(self, &request).await
    }

    async fn revoke(&self, grant: &Grant) -> Result<(), ConnectorError> {
        auth::revoke(self, grant).await
    }

    async fn verify_webhook(
        &self,
        request: &WebhookRequest<'_>,
        _: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        webhook::verify(&self.app.webhook_secrets, request.headers, request.body)
    }

    fn handle_webhook(
        &self,
        delivery: &WebhookDelivery,
        _directory: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError> {
        webhook::handle(delivery)
    }

    async fn fetch_grant_state(&self, grant: &Grant) -> Result<GrantState, ConnectorError> {
        auth::fetch_grant_state(self, &grant.account).await
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncPage, ConnectorError> {
        sync::page(&self.client, &self.names, &request).await
    }

    async fn redeliver_webhooks(&self, since: DateTime<Utc>) -> Result<u64, ConnectorError> {
        redelivery::redeliver(self, since).await
    }

    async fn check_app(&self, request: &AppCheckRequest) -> Vec<Finding> {
        app_check::check(self, request).await
    }
}

/// Describes GitHub.
fn descriptor(limits: RateLimits) -> ProviderDescriptor {
    ProviderDescriptor {
        slug: SLUG,
        display_name: "GitHub",
        auth_type: AuthType::AppInstallation,
        scopes: &[
            "actions:read",
            "contents:read",
            "deployments:read",
            "discussions:read",
            "issues:read",
            "members:read",
            "metadata:read",
            "pull_requests:read",
        ],
        stream_scopes: &[],
        reads: &[
            "issues, pull requests, reviews, comments and discussions",
            "pushes, branches, tags, releases, deployments and workflow runs",
            "stars, and the names of repositories and people",
            "your role in the organization, once, to see whether you administer it",
        ],
        webhooks: true,
        polling: true,
        max_webhook_bytes: MAX_WEBHOOK_BYTES,
        required_headers: webhook::REQUIRED_HEADERS,
        connection_webhooks: None,
        stored_headers: webhook::STORED_HEADERS,
        exclusive_accounts: true,
        revoke_needs_administrator: true,
        kinds: normalize::KINDS,
        root_stream: sync::ROOT,
        read_lag: Duration::from_mins(1),
        needs_redelivery: true,
        tokens: TokenPolicy::default(),
        subscriptions: None,
        limits,
    }
}

#[cfg(test)]
pub(super) mod tests;
