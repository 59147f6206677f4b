//! Proof of the tenant whose rows a transaction may access.

use crate::model::TenantId;

/// One tenant, proved by an API key, an operator's choice or a claimed job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TenantScope {
    tenant: TenantId,
}

impl TenantScope {
    /// Reserved for authentication and the queue, both in this crate.
    pub(crate) const fn new(tenant: TenantId) -> Self {
        Self { tenant }
    }

    /// The rows of no tenant; for the worker, which assigns them to one.
    pub const fn unassigned() -> Self {
        Self::new(TenantId::UNASSIGNED)
    }

    /// The tenant.
    pub const fn tenant_id(&self) -> TenantId {
        self.tenant
    }
}

/// Proof that an operator's token or session was presented; only authentication creates it.
#[derive(Debug, Clone, Copy)]
pub struct OperatorProof(());

impl OperatorProof {
    /// Compares a presented bearer token with the configured ones, in constant time.
    pub fn check(configured: &[secrecy::SecretString], presented: &str) -> Option<Self> {
        use secrecy::ExposeSecret;
        use subtle::ConstantTimeEq;
        let mut matched = subtle::Choice::from(0);
        for token in configured {
            let expected = crate::crypto::sha256(token.expose_secret().as_bytes());
            matched |= expected.ct_eq(&crate::crypto::sha256(presented.as_bytes()));
        }
        bool::from(matched).then_some(Self(()))
    }

    /// The proof of a named operator, whose token or session the caller has found.
    pub(super) const fn of_named() -> Self {
        Self(())
    }

    /// The rows of no tenant: unmatched deliveries and jobs of the service.
    pub const fn unassigned(self) -> TenantScope {
        TenantScope::new(TenantId::UNASSIGNED)
    }

    /// A tenant that the caller has found in [`super::tenants`].
    #[expect(clippy::unused_self, reason = "holding a value is the proof")]
    pub(crate) const fn tenant(self, tenant: TenantId) -> TenantScope {
        TenantScope::new(tenant)
    }
}
