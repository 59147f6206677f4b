//! Named operators: people who run the service, each with a role and a token that expires.
//!
//! A token is shown once, when the operator is created. Only its SHA-256 is stored, which suffices
//! for a value of 256 random bits. Rows are never deleted: the audit log names them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, FromQueryResult, Iterable, QueryFilter, QuerySelect,
    UpdateMany,
};
use secrecy::{ExposeSecret, SecretString};

use super::entities::operators::{ActiveModel, Column, Entity, Model};
use super::orm::{across_tenants, insert_computed, newest_first, now};
use super::page::{Page, PageRequest};
use super::{Db, DbError, OperatorProof, Tx};
use crate::crypto;
use crate::model::{OperatorId, OperatorRole};

/// The prefix of every token, by which secret scanners recognize it.
pub const TOKEN_PREFIX: &str = "pbo_";
/// Random bytes in a token.
const TOKEN_BYTES: usize = 32;
/// Number of characters of a token that stay readable, including the prefix.
const HINT_CHARS: usize = 10;

/// A named operator without its token.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Its id.
    pub id: OperatorId,
    /// The person's name, which the audit log shows.
    pub name: String,
    /// Its role.
    pub role: OperatorRole,
    /// The first characters of the token, by which it can be recognized.
    pub hint: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its token expires.
    pub expires_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When its token was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl From<Model> for Operator {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            name: row.name,
            role: row.role,
            hint: row.hint,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
        }
    }
}

/// A new operator, with its token.
#[derive(Debug)]
pub struct CreatedOperator {
    /// The stored operator.
    pub operator: Operator,
    /// The token, which cannot be read again.
    pub token: SecretString,
}

/// A named operator whose token or session was presented.
#[derive(Debug, Clone)]
pub struct AuthenticatedOperator {
    /// Its id.
    pub id: OperatorId,
    /// Its role at this time.
    pub role: OperatorRole,
    /// The proof with which it reads all tenants.
    pub proof: OperatorProof,
    /// Whether [`touch`] must record the use of the token, because none is recorded for this minute.
    pub needs_touch: bool,
}

/// Creates an operator whose token expires this many days after the database's time.
///
/// The constraint `operators_name` is violated if another operator has or had the name.
pub async fn create(
    tx: &mut Tx,
    name: &str,
    role: OperatorRole,
    expires_in_days: i32,
) -> Result<CreatedOperator, DbError> {
    let random = crypto::random_token(TOKEN_BYTES);
    let token = format!("{TOKEN_PREFIX}{}", random.expose_secret());
    let row = ActiveModel {
        id: Set(OperatorId::generate()),
        name: Set(name.to_owned()),
        role: Set(role),
        token_hash: Set(crypto::sha256(token.as_bytes()).to_vec()),
        hint: Set(token[..HINT_CHARS].to_owned()),
        ..Default::default()
    };
    let expires_at = (Column::ExpiresAt, days_from_now(expires_in_days));
    let row = insert_computed(&tx.orm(), row, expires_at, Column::iter()).await?;
    Ok(CreatedOperator {
        operator: Model::from_query_result(&row, "")?.into(),
        token: token.into(),
    })
}

/// Lists the operators, newest first, including revoked and expired ones.
pub async fn list(tx: &mut Tx, request: &PageRequest) -> Result<Page<Operator>, DbError> {
    let page = newest_first(across_tenants::<Entity>(), Column::Id, request);
    let rows = page.all(&tx.orm()).await?;
    let operators = rows.into_iter().map(Operator::from).collect();
    Ok(request.page(operators, |operator: &Operator| operator.id.0))
}

/// Returns an operator.
pub async fn get(tx: &mut Tx, id: OperatorId) -> Result<Option<Operator>, DbError> {
    let named = across_tenants::<Entity>().filter(Column::Id.eq(id));
    Ok(named.one(&tx.orm()).await?.map(Operator::from))
}

/// Returns the names of operators.
pub async fn names(
    tx: &mut Tx,
    ids: impl IntoIterator<Item = OperatorId>,
) -> Result<HashMap<OperatorId, String>, DbError> {
    let named: Vec<(OperatorId, String)> = across_tenants::<Entity>()
        .select_only()
        .columns([Column::Id, Column::Name])
        .filter(Column::Id.eq_any(ids))
        .into_tuple()
        .all(&tx.orm())
        .await?;
    Ok(named.into_iter().collect())
}

/// Changes an operator's role; returns whether it exists and is not revoked.
pub async fn set_role(tx: &mut Tx, id: OperatorId, role: OperatorRole) -> Result<bool, DbError> {
    let changed = update(id).set(ActiveModel {
        role: Set(role),
        ..Default::default()
    });
    let result = changed
        .filter(Column::RevokedAt.is_null())
        .exec(&tx.orm())
        .await?;
    Ok(result.rows_affected == 1)
}

/// Moves the expiry of an operator's token; returns whether it exists and is not revoked.
pub async fn set_expiry(
    tx: &mut Tx,
    id: OperatorId,
    expires_in_days: i32,
) -> Result<bool, DbError> {
    let result = update(id)
        .col_expr(Column::ExpiresAt, days_from_now(expires_in_days))
        .filter(Column::RevokedAt.is_null())
        .exec(&tx.orm())
        .await?;
    Ok(result.rows_affected == 1)
}

/// Revokes an operator, its sessions included; returns whether it exists.
///
/// Revoking it again changes nothing.
pub async fn revoke(tx: &mut Tx, id: OperatorId) -> Result<bool, DbError> {
    let revoked_at = Func::coalesce([Expr::col(Column::RevokedAt), now()]);
    let result = update(id)
        .col_expr(Column::RevokedAt, revoked_at.into())
        .exec(&tx.orm())
        .await?;
    Ok(result.rows_affected == 1)
}

/// Authenticates a presented token; `None` when it is unknown, revoked or expired.
///
/// `is_known` only selects the share of the pool that the statement uses: the operators' share for
/// a token that was accepted recently.
pub async fn authenticate(
    db: &Db,
    presented: &str,
    is_known: bool,
) -> Result<Option<AuthenticatedOperator>, DbError> {
    if !presented.starts_with(TOKEN_PREFIX) {
        return Ok(None);
    }
    let _permit = if is_known {
        db.acquire_operator_share().await?
    } else {
        db.acquire_client_share(None).await?
    };
    let row = sqlx::query_as::<_, (OperatorId, OperatorRole, bool)>(
        "SELECT id, role, coalesce(last_used_at < now() - interval '1 minute', true) \
         FROM operators WHERE token_hash = $1 AND revoked_at IS NULL AND expires_at > now()",
    )
    .bind(crypto::sha256(presented.as_bytes()).to_vec())
    .fetch_optional(db)
    .await?;
    Ok(row.map(|(id, role, needs_touch)| AuthenticatedOperator {
        id,
        role,
        proof: OperatorProof::of_named(),
        needs_touch,
    }))
}

/// Records the use of a token, at most once a minute.
pub async fn touch(db: &Db, id: OperatorId) -> Result<(), DbError> {
    let minute_ago = Expr::cust("now() - interval '1 minute'");
    let unrecorded = Condition::any()
        .add(Column::LastUsedAt.is_null())
        .add(Column::LastUsedAt.into_expr().lt(minute_ago));
    let mut tx = db.begin_unscoped().await?;
    update(id)
        .col_expr(Column::LastUsedAt, now())
        .filter(unrecorded)
        .exec(&tx.orm())
        .await?;
    tx.commit().await?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "operators belong to no tenant")]
fn update(id: OperatorId) -> UpdateMany<Entity> {
    Entity::update_many().filter(Column::Id.eq(id))
}

fn days_from_now(days: i32) -> Expr {
    Expr::cust_with_values("now() + make_interval(days => $1)", [days])
}
