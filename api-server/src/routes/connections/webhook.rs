//! `POST /v1/connections/{id}/webhook`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use shared::connectors::ConnectionWebhooks;
use shared::crypto::{Keyring, PublicKey};
use shared::db::audit::{self, AuditEntry};
use shared::db::connections::{self, ConnectionStatus};
use shared::db::{DbError, TenantScope, Tx, webhook_secrets};
use shared::model::ConnectionId;
use utoipa::ToSchema;

use crate::auth::{ConnectionsWrite, TenantAuth};
use crate::error::{ApiError, Conflict, FieldProblem};
use crate::extract::{IdPath, OptionalJsonBody, Validate};
use crate::idempotency::Idempotency;
use crate::query::{NoQuery, Query};
use crate::state::{AppState, append_path};

/// The key that verifies a connection's webhooks, if the provider signs with a public key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionWebhookRequest {
    /// The provider's RSA public key: a `SubjectPublicKeyInfo` as PEM or base64. Only for providers
    /// that sign with a private key.
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

/// The webhook settings of a connection, to enter at the provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionWebhook {
    /// The URL for deliveries.
    #[schema(
        example = "https://hooks.example.com/webhooks/jira/0198c4f0-7a11-7c52-9d5e-000000000001"
    )]
    url: String,
    /// The secret that signs deliveries, shown only once. Null if the provider creates the secret
    /// or signs with a private key.
    #[schema(example = "q2V0w4…")]
    secret: Option<String>,
    /// The time until which the URL accepts one secret from the provider; null in other cases.
    armed_until: Option<DateTime<Utc>>,
    /// The time until which the previous key is valid; null if there is none, or if it has not
    /// been replaced yet.
    previous_secret_expires_at: Option<DateTime<Utc>>,
}

/// A change of a connection's webhook key.
#[derive(Default)]
struct WebhookChange {
    action: &'static str,
    secret: Option<SecretString>,
    armed_until: Option<DateTime<Utc>>,
    previous_expires_at: Option<DateTime<Utc>>,
}

/// Create, rotate or arm the webhook key of a connection
///
/// For webhooks that an administrator creates at the provider. Deliveries to the URL are verified
/// with this connection's key and reach only this connection. A secret that this service creates is
/// shown in this response only. If the provider creates the secret, the URL accepts it once, within
/// 15 minutes. If the provider signs with a private key, send its public key. Another call replaces
/// the key; the previous key stays valid for 24 hours, an older one becomes invalid immediately.
#[utoipa::path(
    post,
    path = "/v1/connections/{id}/webhook",
    tag = "connections",
    security(("bearer" = ["connections:write"])),
    params(("id" = Uuid, Path, description = "The connection")),
    request_body(content = Option<ConnectionWebhookRequest>, description = "Optional; only for a public key"),
    responses(
        (status = 201, body = ConnectionWebhook, description = "The URL and the secret, shown only once"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The provider does not support webhooks of a connection, the connection is pending or disconnected, or the key for webhook secrets is not configured"),
        (status = 422, body = shared::problem::Problem, content_type = "application/problem+json", description = "The public key is invalid, or the provider does not use one")
    )
)]
pub(crate) async fn create_connection_webhook(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<ConnectionsWrite>,
    IdPath(id): IdPath<ConnectionId>,
    Query(NoQuery): Query<NoQuery>,
    idempotency: Idempotency,
    OptionalJsonBody(body): OptionalJsonBody<ConnectionWebhookRequest>,
) -> Result<Response, ApiError> {
    let (scope, principal) = (&auth.scope, &auth.principal);
    let mut tx = state.db.begin(scope).await?;
    if let Some(response) = idempotency.replay(&mut tx, scope, principal).await? {
        return Ok(response);
    }
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
    if key.is_some() && !webhooks.accepts_public_key {
        let problem = FieldProblem::new("public_key", "is not supported for this provider");
        return Err(ApiError::Fields(vec![problem]));
    }
    let changed = change(&mut tx, scope, id, key, webhooks, keyring).await?;
    let entry = AuditEntry::new(principal.actor(), changed.action).target(id);
    audit::record(&mut tx, scope, &entry).await?;
    let connection_id = id.to_string();
    let segments = ["webhooks", &connection.provider, &connection_id];
    let body = ConnectionWebhook {
        url: append_path(&state.public_webhook_url, &segments).into(),
        secret: changed
            .secret
            .map(|secret| secret.expose_secret().to_owned()),
        armed_until: changed.armed_until,
        previous_secret_expires_at: changed.previous_expires_at,
    };
    let status = StatusCode::CREATED;
    if body.secret.is_some() {
        idempotency
            .keep_object(&mut tx, scope, principal, id.0)
            .await?;
    } else {
        idempotency
            .keep(&mut tx, scope, principal, (status, &body))
            .await?;
    }
    tx.commit().await?;
    Ok((status, Json(body)).into_response())
}

/// Stores the public key, arms the connection or creates a secret, depending on the provider.
async fn change(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    key: Option<PublicKey>,
    webhooks: ConnectionWebhooks,
    keyring: &Keyring,
) -> Result<WebhookChange, DbError> {
    if let Some(key) = key {
        let previous = webhook_secrets::put_public_key(tx, scope, id, &key, keyring).await?;
        return Ok(WebhookChange {
            action: "connection.webhook_public_key_set",
            previous_expires_at: previous,
            ..WebhookChange::default()
        });
    }
    if webhooks.handshake_header.is_some() {
        return Ok(WebhookChange {
            action: "connection.webhook_armed",
            armed_until: Some(webhook_secrets::arm(tx, scope, id).await?),
            ..WebhookChange::default()
        });
    }
    let rotated = webhook_secrets::rotate(tx, scope, id, keyring).await?;
    Ok(WebhookChange {
        action: if rotated.previous_expires_at.is_some() {
            "connection.webhook_secret_rotated"
        } else {
            "connection.webhook_secret_created"
        },
        secret: Some(rotated.secret),
        previous_expires_at: rotated.previous_expires_at,
        ..WebhookChange::default()
    })
}
