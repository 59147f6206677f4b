//! API keys of tenants, for operators.

pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod revoke;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::db::api_keys::{self, ApiScope};
use shared::db::{OperatorProof, TenantScope, tenants};
use shared::model::{ApiKeyId, TenantId};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;
use crate::error::ApiError;
use crate::state::AppState;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(create::create_api_key, list::list_api_keys))
        .routes(routes!(revoke::revoke_api_key))
}

/// An API key without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKey {
    pub(crate) id: ApiKeyId,
    /// The name that its owner chose.
    #[schema(example = "Story Hunter")]
    pub(crate) name: String,
    /// The first characters of the key.
    #[schema(example = "pbk_8fK2xA")]
    pub(crate) hint: String,
    /// The scopes of the key.
    pub(crate) scopes: Vec<ApiScope>,
    pub(crate) created_at: DateTime<Utc>,
    /// When the key expires; null if never.
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// When the key was revoked.
    pub(crate) revoked_at: Option<DateTime<Utc>>,
    /// When the key was last used, to the minute.
    pub(crate) last_used_at: Option<DateTime<Utc>>,
}

impl From<api_keys::ApiKey> for ApiKey {
    fn from(key: api_keys::ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            hint: key.hint,
            scopes: key.scopes,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
        }
    }
}

/// Returns the scope of the tenant in the path; the nil tenant has no keys.
async fn resolve_tenant(
    state: &AppState,
    proof: OperatorProof,
    id: TenantId,
) -> Result<TenantScope, ApiError> {
    if id == TenantId::UNASSIGNED {
        return Err(ApiError::NotFound("tenant"));
    }
    tenants::resolve_scope(&state.db, proof, id)
        .await?
        .ok_or(ApiError::NotFound("tenant"))
}
