//! Operators as callers: their roles, and the extractors of routes for operators only.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use shared::db::audit::AuditActor;
use shared::db::operator_sessions::OperatorSession;
use shared::db::operators::AuthenticatedOperator;
use shared::db::{OperatorProof, TenantScope, tenants};
use shared::model::{OperatorId, OperatorRole, TenantId};

use super::{Credential, Principal, Reach, RequiredScope, TenantAuth, authenticate, tenant_header};
use crate::error::ApiError;
use crate::state::AppState;

/// An authenticated operator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator {
    /// The id; `None` for the operator whose token is in the settings.
    pub(crate) id: Option<OperatorId>,
    pub(crate) role: OperatorRole,
    pub(crate) proof: OperatorProof,
}

impl Operator {
    /// The operator whose token is in the settings: an administrator.
    pub(crate) const fn bootstrap(proof: OperatorProof) -> Self {
        Self {
            id: None,
            role: OperatorRole::Admin,
            proof,
        }
    }

    /// The operator as an actor of the audit log.
    pub(crate) const fn actor(&self) -> AuditActor {
        match self.id {
            Some(id) => AuditActor::NamedOperator(id),
            None => AuditActor::Operator,
        }
    }

    /// Fails if the operator's role is below `needed`.
    pub(crate) fn require(&self, needed: OperatorRole) -> Result<(), ApiError> {
        if self.role >= needed {
            Ok(())
        } else {
            Err(ApiError::InsufficientRole {
                needed,
                role: self.role,
            })
        }
    }

    /// The operator in a tenant. Fails if there is none with this id.
    pub(crate) async fn in_tenant(
        self,
        state: &AppState,
        tenant: TenantId,
    ) -> Result<TenantOperator, ApiError> {
        let scope = tenants::resolve_scope(&state.db, self.proof, tenant)
            .await?
            .ok_or(ApiError::NotFound("tenant"))?;
        Ok(TenantOperator {
            scope,
            operator: self,
        })
    }

    /// The rows that a list contains: of one tenant if one is named, else of all tenants.
    pub(crate) async fn reach(
        &self,
        state: &AppState,
        tenant: Option<TenantId>,
    ) -> Result<Reach, ApiError> {
        let Some(tenant) = tenant else {
            return Ok(Reach::AllTenants(self.proof));
        };
        Ok(Reach::Tenant(self.in_tenant(state, tenant).await?.scope))
    }
}

/// An operator in a tenant that exists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TenantOperator {
    pub(crate) scope: TenantScope,
    operator: Operator,
}

impl TenantOperator {
    /// Checks that the operator's role allows `S`.
    pub(crate) fn auth<S: RequiredScope>(self) -> Result<TenantAuth<S>, ApiError> {
        self.operator.require(S::ROLE)?;
        if self.scope.tenant_id() == TenantId::UNASSIGNED && !S::UNASSIGNED {
            return Err(ApiError::NotFound("tenant"));
        }
        Ok(TenantAuth {
            scope: self.scope,
            principal: Principal::Operator(self.operator),
            _required: PhantomData,
        })
    }
}

impl From<&AuthenticatedOperator> for Operator {
    fn from(operator: &AuthenticatedOperator) -> Self {
        Self {
            id: Some(operator.id),
            role: operator.role,
            proof: operator.proof,
        }
    }
}

impl From<&OperatorSession> for Operator {
    fn from(session: &OperatorSession) -> Self {
        Self {
            id: session.operator,
            role: session.role,
            proof: session.proof,
        }
    }
}

/// The proof that the request has an operator's token, of any role.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperatorAuth(pub(crate) OperatorProof);

/// The proof that the request has the token of an administrator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdminAuth(pub(crate) Operator);

/// The proof that an operator of any role reads a list, over one tenant or all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperatorRead {
    pub(crate) reach: Reach,
}

async fn operator_of(parts: &Parts, state: &Arc<AppState>) -> Result<Operator, ApiError> {
    match authenticate(parts, state).await? {
        Credential::Operator(operator) => Ok(operator),
        Credential::ApiKey(_) => Err(ApiError::OperatorOnly),
    }
}

impl FromRequestParts<Arc<AppState>> for OperatorAuth {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        Ok(Self(operator_of(parts, state).await?.proof))
    }
}

impl FromRequestParts<Arc<AppState>> for AdminAuth {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        let operator = operator_of(parts, state).await?;
        operator.require(OperatorRole::Admin)?;
        Ok(Self(operator))
    }
}

impl FromRequestParts<Arc<AppState>> for OperatorRead {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        let operator = operator_of(parts, state).await?;
        let tenant = tenant_header(&parts.headers)?;
        let reach = operator.reach(state, tenant).await?;
        Ok(Self { reach })
    }
}
