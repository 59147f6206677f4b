//! `POST /v1/connections/{id}/webhook`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use shared::connectors::ConnectionWebhooks;
use shared::crypto::{Keyring, PublicKey};
use shared::db::audit::{self, AuditEntry};
use shared::db::connections::{self, ConnectionStatus};
use shared::db::{DbError, TenantScope, Tx, webhook_secrets};
use shared::ids::ConnectionId;
use utoipa::ToSchema;

use crate::auth::{ConnectionsWrite, TenantAuth};
use crate::error::{ApiError, Conflict, FieldProblem};
use crate::extract::{IdPath, OptionalJsonBody, Validate};
use crate::query::{NoQuery, Query};
use crate::state::{AppState, url_below};

/// What a connection's webhooks are verified with, where the provider leaves a choice.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionWebhookRequest {
    /// The provider's RSA public key: a `SubjectPublicKeyInfo` as PEM or its base64 alone. Only where
    /// the provider signs with a key of its own.
    #[schema(max_length = 4096, example = "MIIBIjANBgkqhkiG9w0B…")]
    public_key: Option<String>,
}

impl Validate for ConnectionWebhookRequest {
    fn validate(&self, problems: &mut Vec<FieldProblem>) {
        if self.public_key.is_some() && self.key().is_none() {
            problems.push(FieldProblem::new(
                "public_key",
                "must be an RSA public key as PEM or base64 of its SubjectPublicKeyInfo",
            ));
        }
    }
}

impl ConnectionWebhookRequest {
    fn key(&self) -> Option<PublicKey> {
        PublicKey::parse(self.public_key.as_deref()?)
    }
}

/// Where a provider sends a connection's own webhooks, and how it signs them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionWebhook {
    /// The URL that deliveries are sent to.
    #[schema(
        example = "https://hooks.example.com/webhooks/jira/0198c4f0-7a11-7c52-9d5e-000000000001"
    )]
    url: String,
    /// The secret that deliveries are signed with; it is never shown again. Null where the provider
    /// makes the secret, or signs with the key that was given.
    #[schema(example = "q2V0w4…")]
    secret: Option<String>,
    /// Until when the URL takes one secret from the provider; null where the secret is given here.
    armed_until: Option<DateTime<Utc>>,
    /// Until when the key before is valid as well; null when there was none, and as long as no other
    /// has taken its place.
    previous_secret_expires_at: Option<DateTime<Utc>>,
}

/// A change of a connection's key.
#[derive(Default)]
struct Changed {
    action: &'static str,
    secret: Option<SecretString>,
    armed_until: Option<DateTime<Utc>>,
    previous_expires_at: Option<DateTime<Utc>>,
}

/// Create, rotate or arm the webhook key of a connection
///
/// For webhooks that an administrator sets up at the provider by hand. Deliveries to the URL are
/// verified with this connection's key and reach this connection only. Where we make the secret,
/// the answer is the only one that shows it, so an `Idempotency-Key` has no effect here. Where the
/// provider makes it, the URL takes it once, within 15 minutes. Where the provider signs with a key
/// of its own, send its public key. Another call replaces the key; the one before stays valid for 24
/// hours, an older one ends at once.
#[utoipa::path(
    post,
    path = "/v1/connections/{id}/webhook",
    tag = "connections",
    security(("bearer" = ["connections:write"])),
    params(("id" = Uuid, Path, description = "The connection")),
    request_body(content = Option<ConnectionWebhookRequest>, description = "Nothing, except for a public key"),
    responses(
        (status = 201, body = ConnectionWebhook, description = "The URL and the secret, shown this once"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The provider has no such webhooks, the connection is pending or disconnected, or the operator has set no key for webhook secrets"),
        (status = 422, body = shared::problem::Problem, content_type = "application/problem+json", description = "The public key is none, or this provider takes none")
    )
)]
pub(crate) async fn create_connection_webhook(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<ConnectionsWrite>,
    IdPath(id): IdPath<ConnectionId>,
    Query(NoQuery): Query<NoQuery>,
    OptionalJsonBody(body): OptionalJsonBody<ConnectionWebhookRequest>,
) -> Result<(StatusCode, Json<ConnectionWebhook>), ApiError> {
    let scope = &auth.scope;
    let mut tx = state.db.begin(scope).await?;
    let connection = connections::lock(&mut tx, scope, id)
        .await?
        .ok_or(ApiError::NotFound("connection"))?;
    let mut providers = state.registry.iter();
    let webhooks = providers
        .find(|(descriptor, _)| descriptor.slug == connection.provider)
        .and_then(|(descriptor, _)| descriptor.connection_webhooks)
        .ok_or(Conflict::WebhookNotSupported)?;
    if matches!(
        connection.status,
        ConnectionStatus::Pending | ConnectionStatus::Disconnected
    ) {
        return Err(Conflict::ConnectionNotActive.into());
    }
    let keyring = state
        .webhook_keyring
        .as_ref()
        .ok_or(Conflict::WebhookSecretsNotConfigured)?;
    let key = body.key();
    if key.is_some() && !webhooks.takes_public_key {
        let problem = FieldProblem::new("public_key", "is not taken by this provider");
        return Err(ApiError::Fields(vec![problem]));
    }
    let changed = change(&mut tx, scope, id, key, webhooks, keyring).await?;
    let target = id.to_string();
    let entry = AuditEntry::new(auth.principal.actor(), changed.action).target(&target);
    audit::record(&mut tx, scope, &entry).await?;
    tx.commit().await?;
    let segments = ["webhooks", connection.provider.as_str(), target.as_str()];
    let body = ConnectionWebhook {
        url: url_below(&state.public_webhook_url, &segments).into(),
        secret: changed
            .secret
            .map(|secret| secret.expose_secret().to_owned()),
        armed_until: changed.armed_until,
        previous_secret_expires_at: changed.previous_expires_at,
    };
    Ok((StatusCode::CREATED, Json(body)))
}

/// Takes the public key, arms the connection or makes a secret, as the provider has it.
async fn change(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    key: Option<PublicKey>,
    webhooks: ConnectionWebhooks,
    keyring: &Keyring,
) -> Result<Changed, DbError> {
    if let Some(key) = key {
        let previous = webhook_secrets::put_public_key(tx, scope, id, &key, keyring).await?;
        return Ok(Changed {
            action: "connection.webhook_public_key_set",
            previous_expires_at: previous,
            ..Changed::default()
        });
    }
    if webhooks.handshake_header.is_some() {
        return Ok(Changed {
            action: "connection.webhook_armed",
            armed_until: Some(webhook_secrets::arm(tx, scope, id).await?),
            ..Changed::default()
        });
    }
    let made = webhook_secrets::rotate(tx, scope, id, keyring).await?;
    Ok(Changed {
        action: if made.previous_expires_at.is_some() {
            "connection.webhook_secret_rotated"
        } else {
            "connection.webhook_secret_created"
        },
        secret: Some(made.secret),
        previous_expires_at: made.previous_expires_at,
        ..Changed::default()
    })
}
