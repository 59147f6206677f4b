//! Connector of the example provider's two products.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use shared::clock::SharedClock;
use shared::connectors::{
    Access, AddedProvider, AuthType, AuthorizeRequest, Callback, CallbackOutcome,
    ConnectionWebhooks, Connector, ConnectorDeps, ConnectorError, ConnectorSettings, Directory,
    Grant, KeySource, NewGrant, ProviderDescriptor, RateBudget, RateLimits, RefreshRequest,
    Renewal, RenewalTime, StreamScope, SubscribeRequest, SubscriptionAddress, SubscriptionIds,
    SubscriptionPolicy, SyncHint, SyncPage, SyncRequest, TokenPolicy, TokenQuota, TokenSet,
    VerifyError, WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRegistry, WebhookRequest,
};
use shared::http::{Charge, HttpError, Outbound, ProviderResponse};
use shared::model::{ExternalAccount, SignalKind, Subscription};
use tests::harness::AddedProviders;
use url::Url;

use super::page;
use super::webhook::{self, Verifier};
use super::world::SCOPES;

/// The slug of the product whose channels have planned ids.
pub(super) const CALENDAR: &str = "example_calendar";
/// The slug of the product whose pushes go to connections' own URLs.
pub(super) const MAIL: &str = "example_mail";
/// The provider's limit of token refreshes.
pub(super) const TOKEN_QUOTA: TokenQuota = TokenQuota {
    refreshes: 3,
    window: Duration::from_mins(10),
};
const CLIENT_ID: &str = "example-client";
const ROOT: &str = "root";

/// Adds both products to the processes of a system.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) base: Url,
}

impl AddedProviders for Family {
    fn add_connectors(&self, settings: &mut ConnectorSettings) {
        for slug in [CALENDAR, MAIL] {
            let base = self.base.clone();
            settings.add(AddedProvider::new(descriptor(slug), move |deps| {
                Example::new(slug, base, deps)
            }));
        }
    }

    fn add_verifiers(&self, webhooks: &mut WebhookRegistry) {
        for slug in [CALENDAR, MAIL] {
            webhooks.replace(Arc::new(Verifier(descriptor(slug))));
        }
    }
}

fn descriptor(slug: &'static str) -> ProviderDescriptor {
    let is_calendar = slug == CALENDAR;
    ProviderDescriptor {
        slug,
        display_name: "Example",
        auth_type: AuthType::Oauth2,
        scopes: SCOPES,
        stream_scopes: &[
            StreamScope {
                kind: "events",
                scope: "events.read",
            },
            StreamScope {
                kind: "files",
                scope: "files.read",
            },
        ],
        reads: &["events and files"],
        webhooks: true,
        polling: true,
        max_webhook_bytes: 1024,
        required_headers: &[webhook::TOKEN_HEADER],
        connection_webhooks: (!is_calendar).then_some(ConnectionWebhooks {
            required_headers: &[webhook::SIGNATURE_HEADER],
            handshake_header: Some(webhook::HOOK_SECRET_HEADER),
            accepts_public_key: false,
            is_only_url: false,
        }),
        stored_headers: &[webhook::RESOURCE_HEADER],
        exclusive_accounts: false,
        revoke_needs_administrator: false,
        kinds: &[SignalKind::MessagePosted],
        root_stream: ROOT,
        read_lag: Duration::ZERO,
        needs_redelivery: false,
        tokens: TokenPolicy {
            quota: Some(TOKEN_QUOTA),
            ..TokenPolicy::default()
        },
        subscriptions: Some(SubscriptionPolicy {
            is_listed: false,
            ids: if is_calendar {
                SubscriptionIds::Planned
            } else {
                SubscriptionIds::Provider
            },
            address: if is_calendar {
                SubscriptionAddress::App
            } else {
                SubscriptionAddress::Connection
            },
            renewal: RenewalTime::Before(Duration::from_hours(24)),
            alert_before: Duration::from_hours(1),
        }),
        limits: RateLimits {
            budgets: vec![RateBudget::per_account(100.0, 100)],
            account_concurrency: 4,
            process_concurrency: 16,
        },
    }
}

/// Connector of one product.
struct Example {
    descriptor: ProviderDescriptor,
    base: Url,
    client: Outbound,
    clock: SharedClock,
}

impl Example {
    fn new(slug: &'static str, base: Url, deps: &ConnectorDeps) -> Result<Self, HttpError> {
        let client = Outbound::builder(slug, deps.rate_limiter.clone(), deps.clock.clone())
            .allow(&base)
            .build()?;
        Ok(Self {
            descriptor: descriptor(slug),
            base,
            client,
            clock: deps.clock.clone(),
        })
    }

    fn is_calendar(&self) -> bool {
        self.descriptor.slug == CALENDAR
    }

    fn url(&self, path: &str) -> Url {
        let path = format!("{}/{path}", self.descriptor.slug);
        self.base.join(&path).expect("a path")
    }

    fn after(&self, seconds: &Value) -> Option<DateTime<Utc>> {
        Some(self.clock.now() + TimeDelta::seconds(seconds.as_i64()?))
    }

    /// Posts a form of the OAuth endpoints.
    async fn post_form(
        &self,
        path: &'static str,
        form: &[(&str, &str)],
    ) -> Result<Value, ConnectorError> {
        let request = self.client.request(Method::POST, self.url(path)).form(form);
        read(
            &self
                .client
                .send(&Charge::new(CLIENT_ID, path), request)
                .await?,
        )
    }

    async fn get(&self, access: &Access, path: &str) -> Result<Value, ConnectorError> {
        let request = self.client.request(Method::GET, self.url(path));
        let request = request.bearer_auth(access.token.expose_secret());
        let charge = Charge::new(&access.account.id, "read");
        read(&self.client.send(&charge, request).await?)
    }

    async fn post(
        &self,
        access: &Access,
        path: &'static str,
        body: &Value,
    ) -> Result<Value, ConnectorError> {
        let request = self.client.request(Method::POST, self.url(path)).json(body);
        let request = request.bearer_auth(access.token.expose_secret());
        let charge = Charge::new(&access.account.id, path);
        read(&self.client.send(&charge, request).await?)
    }

    fn tokens(&self, response: &Value) -> Result<TokenSet, ConnectorError> {
        let token = |name: &str| response[name].as_str().map(SecretString::from);
        Ok(TokenSet {
            access_token: token("access_token")
                .ok_or_else(|| ConnectorError::Permanent("the response has no token".into()))?,
            refresh_token: token("refresh_token"),
            expires_at: self.after(&response["expires_in"]),
            refresh_expires_at: None,
        })
    }

    /// Creates a channel for the events of a stream.
    async fn create_channel(
        &self,
        access: &Access,
        request: &SubscribeRequest,
    ) -> Result<Subscription, ConnectorError> {
        let body = json!({
            "id": request.planned_id,
            "resource": request.spec.resource,
            "url": request.webhook_url.as_str(),
        });
        let created = self.post(access, "channels", &body).await?;
        let id = created["id"].as_str().unwrap_or_default().to_owned();
        Ok(Subscription {
            resource: request.spec.resource.clone(),
            // A push to the connection's own URL needs no route.
            route: self.is_calendar().then(|| id.clone()),
            external_id: id,
            state: json!({ "resource_id": created["resource_id"] }),
            expires_at: self.after(&created["expires_in"]),
            refused_events: Vec::new(),
        })
    }
}

/// Maps a response to its body, or to the error that its status means.
fn read(response: &ProviderResponse) -> Result<Value, ConnectorError> {
    let source = || format!("status {}", response.status).into();
    Err(match response.status {
        StatusCode::NO_CONTENT => return Ok(Value::Null),
        status if status.is_success() => {
            return Ok(serde_json::from_slice(&response.body).unwrap_or_default());
        }
        StatusCode::UNAUTHORIZED => ConnectorError::Unauthorized(source()),
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            ConnectorError::denied(format!("status {}", response.status))
        }
        status if status.is_server_error() => ConnectorError::Transient(source()),
        _ => ConnectorError::Permanent(source()),
    })
}

#[async_trait]
impl Connector for Example {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    fn authorize(&self, request: &AuthorizeRequest) -> Result<Url, ConnectorError> {
        let mut url = self.url("authorize");
        url.query_pairs_mut()
            .append_pair("state", &request.state)
            .append_pair("redirect_uri", request.redirect_uri.as_str());
        Ok(url)
    }

    async fn exchange_token(&self, callback: Callback) -> Result<CallbackOutcome, ConnectorError> {
        let Some(code) = callback.param("code") else {
            return Ok(CallbackOutcome::denied("You did not grant access."));
        };
        let form = [("grant_type", "authorization_code"), ("code", code)];
        let response = self.post_form("token", &form).await?;
        let text = |name: &str| response[name].as_str().unwrap_or_default().to_owned();
        Ok(CallbackOutcome::connected(NewGrant {
            account: ExternalAccount {
                id: text("sub"),
                name: text("sub"),
                stable_id: text("sub"),
                settings: Value::Null,
            },
            tokens: Some(self.tokens(&response)?),
            user_token: None,
            scopes: text("scope").split(' ').map(str::to_owned).collect(),
            administrator: None,
        }))
    }

    fn grant_key(&self, account: &ExternalAccount) -> Option<String> {
        Some(format!("example:{CLIENT_ID}:{}", account.stable_id))
    }

    async fn refresh_token(&self, request: RefreshRequest) -> Result<TokenSet, ConnectorError> {
        let token = request.refresh_token.as_ref();
        let token = token.map(ExposeSecret::expose_secret).unwrap_or_default();
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let response = self.post_form("token", &form).await;
        self.tokens(&response.map_err(|error| match error {
            ConnectorError::Permanent(source) => ConnectorError::GrantRevoked(source),
            other => other,
        })?)
    }

    async fn revoke(&self, grant: &Grant) -> Result<(), ConnectorError> {
        if let Some(token) = &grant.refresh_token {
            let form = [("token", token.expose_secret())];
            self.post_form("revoke", &form).await?;
        }
        Ok(())
    }

    async fn verify_webhook(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        webhook::verify(self.descriptor.slug, request, keys).await
    }

    fn handle_webhook(
        &self,
        delivery: &WebhookDelivery,
        _: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError> {
        Ok(WebhookOutcome {
            sync_hint: delivery
                .header(webhook::RESOURCE_HEADER)
                .map(SyncHint::stream),
            ..WebhookOutcome::default()
        })
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncPage, ConnectorError> {
        let key = &request.stream.key;
        if key == ROOT {
            return Ok(page::list(&self.get(&request.access, "streams").await?));
        }
        let seen = request.cursor.as_ref().and_then(Value::as_u64);
        let response = self.get(&request.access, &format!("streams/{key}")).await?;
        let numbers = response["facts"].as_array().into_iter().flatten();
        let numbers: Vec<u64> = numbers.filter_map(Value::as_u64).collect();
        let last = numbers.last().copied().or(seen).unwrap_or_default();
        Ok(SyncPage {
            signals: numbers
                .into_iter()
                .filter(|number| Some(*number) > seen)
                .map(|number| page::signal(self.descriptor.slug, key, number, request.upper_bound))
                .collect(),
            has_more: response["has_more"] == true,
            ..SyncPage::empty(json!(last))
        })
    }

    async fn subscribe(
        &self,
        access: &Access,
        request: &SubscribeRequest,
    ) -> Result<Subscription, ConnectorError> {
        self.create_channel(access, request).await
    }

    async fn renew(
        &self,
        access: &Access,
        subscription: &Subscription,
        request: &SubscribeRequest,
    ) -> Result<Renewal, ConnectorError> {
        if self.is_calendar() {
            let created = self.create_channel(access, request).await?;
            return Ok(Renewal::Replaced(created));
        }
        Ok(Renewal::Extended(Subscription {
            expires_at: Some(self.clock.now() + TimeDelta::days(7)),
            ..subscription.clone()
        }))
    }

    async fn unsubscribe(
        &self,
        access: &Access,
        subscription: &Subscription,
    ) -> Result<(), ConnectorError> {
        let body = json!({
            "id": subscription.external_id,
            "resource_id": subscription.state["resource_id"],
        });
        match self.post(access, "channels/stop", &body).await {
            // It no longer exists.
            Ok(_) | Err(ConnectorError::Denied { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
