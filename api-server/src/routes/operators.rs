//! Named operators, for administrators.

mod create;
mod get;
mod list;
mod login_links;
mod revoke;
mod update;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::db::operators;
use shared::model::{OperatorId, OperatorRole};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;
use crate::error::FieldProblem;

/// The range of days until a token expires.
const EXPIRY_DAYS: std::ops::RangeInclusive<i32> = 1..=365;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(create::create_operator, list::list_operators))
        .routes(routes!(
            get::get_operator,
            update::update_operator,
            revoke::revoke_operator
        ))
        .routes(routes!(login_links::create_login_link))
}

/// A named operator without its token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Operator {
    id: OperatorId,
    /// The person's name, which the audit log shows.
    #[schema(example = "Ada")]
    name: String,
    #[schema(inline)]
    role: OperatorRole,
    /// The first characters of the token.
    #[schema(example = "pbo_8fK2xA")]
    hint: String,
    created_at: DateTime<Utc>,
    /// When the token expires.
    expires_at: DateTime<Utc>,
    /// When the operator was revoked.
    revoked_at: Option<DateTime<Utc>>,
    /// When the token was last used, to the minute.
    last_used_at: Option<DateTime<Utc>>,
}

impl From<operators::Operator> for Operator {
    fn from(operator: operators::Operator) -> Self {
        Self {
            id: operator.id,
            name: operator.name,
            role: operator.role,
            hint: operator.hint,
            created_at: operator.created_at,
            expires_at: operator.expires_at,
            revoked_at: operator.revoked_at,
            last_used_at: operator.last_used_at,
        }
    }
}

/// Checks the days until a token expires.
fn validate_expiry(days: Option<i32>, problems: &mut Vec<FieldProblem>) {
    if days.is_some_and(|days| !EXPIRY_DAYS.contains(&days)) {
        problems.push(FieldProblem::new(
            "expires_in_days",
            "must be from 1 to 365",
        ));
    }
}
