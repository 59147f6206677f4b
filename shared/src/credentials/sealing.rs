//! Sealed tokens of a credential, each bound to tenant, connection, holder and field.

use secrecy::SecretString;

use super::{CredentialError, Credentials};
use crate::connectors::{TokenPolicy, TokenSet};
use crate::crypto::SealContext;
use crate::db::TenantScope;
use crate::db::credentials::{CredentialKey, NewSealed};

impl Credentials {
    pub(super) fn seal(
        &self,
        scope: &TenantScope,
        key: &CredentialKey,
        policy: TokenPolicy,
        tokens: &TokenSet,
    ) -> NewSealed {
        let holder = key.holder.to_string();
        let seal = |field, token| {
            self.keyring
                .seal(&context(scope, key, &holder, field), token)
        };
        NewSealed {
            access_token: Some(seal("access_token", &tokens.access_token)),
            refresh_token: tokens
                .refresh_token
                .as_ref()
                .map(|token| seal("refresh_token", token)),
            expires_at: tokens.expires_at,
            refresh_at: tokens.expires_at.map(|end| end - policy.refresh_before),
            refresh_expires_at: tokens.refresh_expires_at,
            keeps_refresh_token: policy.keeps_refresh_token,
        }
    }

    pub(super) fn open(
        &self,
        scope: &TenantScope,
        key: &CredentialKey,
        field: &str,
        sealed: Option<&[u8]>,
    ) -> Result<Option<SecretString>, CredentialError> {
        let holder = key.holder.to_string();
        sealed
            .map(|sealed| {
                let context = context(scope, key, &holder, field);
                self.keyring.open(&context, sealed)
            })
            .transpose()
            .map_err(CredentialError::Decrypt)
    }
}

/// The context that a sealed token is bound to.
///
/// The token cannot be decrypted in another row or column.
fn context<'a>(
    scope: &TenantScope,
    key: &CredentialKey,
    holder: &'a str,
    field: &'a str,
) -> SealContext<'a> {
    SealContext {
        tenant: scope.tenant_id(),
        connection: key.connection.0,
        holder,
        field,
    }
}
