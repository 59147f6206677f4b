//! The reason with which an operator reads bodies and raw data of providers.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;
use serde_json::json;
use shared::db::Tx;
use shared::db::audit::{self, AuditEntry};
use shared::model::OperatorRole;

use super::{Principal, TenantAuth};
use crate::error::{ApiError, FieldProblem};
use crate::state::AppState;

/// The header with the reason.
const AUDIT_REASON: HeaderName = HeaderName::from_static("x-audit-reason");
/// The minimum length of a reason, in characters.
const MIN_REASON_CHARS: usize = 3;
/// The maximum length of a reason, in characters.
const MAX_REASON_CHARS: usize = 500;

/// The `X-Audit-Reason` of a request; `None` without the header.
#[derive(Debug, Clone)]
pub(crate) struct AuditReason(pub(crate) Option<String>);

impl AuditReason {
    /// Parses a reason; `None` if it is too short, too long, or has control characters.
    pub(crate) fn parse(text: &str) -> Option<String> {
        let reason = text.trim();
        let is_valid = (MIN_REASON_CHARS..=MAX_REASON_CHARS).contains(&reason.chars().count())
            && !reason.chars().any(char::is_control);
        is_valid.then(|| reason.to_owned())
    }
}

impl FromRequestParts<Arc<AppState>> for AuditReason {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<AppState>) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all(&AUDIT_REASON).iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        let text = std::str::from_utf8(value.as_bytes()).ok();
        match text.and_then(Self::parse) {
            Some(reason) if values.next().is_none() => Ok(Self(Some(reason))),
            _ => Err(ApiError::Parameters(vec![FieldProblem::new(
                "X-Audit-Reason",
                "must be one text of 3 to 500 characters without control characters",
            )])),
        }
    }
}

impl Principal {
    /// Records why an operator reads contents; `action` is `delivery.body_read` or a similar one.
    ///
    /// Fails for a viewer. Returns whether the contents may be shown: not without a reason, and
    /// not to an API key.
    pub(crate) async fn disclose(
        &self,
        tx: &mut Tx,
        scope: &shared::db::TenantScope,
        reason: &AuditReason,
        (action, target): (&'static str, &str),
    ) -> Result<bool, ApiError> {
        let (Self::Operator(operator), AuditReason(Some(reason))) = (self, reason) else {
            return Ok(false);
        };
        operator.require(OperatorRole::Operator)?;
        let entry = AuditEntry::new(operator.actor(), action)
            .target(target)
            .detail(json!({ "reason": reason }));
        audit::record(tx, scope, &entry).await?;
        Ok(true)
    }
}

impl<S> TenantAuth<S> {
    /// Checks that the caller may read raw data of Signals, and records why an operator does.
    ///
    /// A key's scope includes raw data.
    pub(crate) async fn disclose_raw(
        &self,
        state: &AppState,
        reason: &AuditReason,
        target: &str,
    ) -> Result<(), ApiError> {
        let Principal::Operator(operator) = &self.principal else {
            return Ok(());
        };
        operator.require(OperatorRole::Operator)?;
        if reason.0.is_none() {
            return Err(ApiError::AuditReasonRequired);
        }
        let mut tx = state.db.begin(&self.scope).await?;
        let read = ("signal.raw_read", target);
        self.principal
            .disclose(&mut tx, &self.scope, reason, read)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_a_short_text() {
        assert_eq!(
            AuditReason::parse("  Ticket 4711: größe fehlt ").as_deref(),
            Some("Ticket 4711: größe fehlt")
        );
        for bad in ["", "  ", "ab", "a\nb c", "a\u{0}bc", &"x".repeat(501)] {
            assert_eq!(AuditReason::parse(bad), None, "{bad:?}");
        }
    }
}
