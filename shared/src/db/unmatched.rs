//! Counts of unmatched deliveries, per account.
//!
//! Ingress counts deliveries as it stores them. This module updates the counts when deliveries are
//! rematched or expire, and lists them for operators.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};

use super::entities::unmatched_accounts::{Column, Entity};
use super::orm::across_tenants;
use super::page::{MalformedCursor, Page};
use super::{Db, DbError, OperatorProof, Tx, sanitize};
use crate::model::TenantId;

/// The unmatched deliveries of an account.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct UnmatchedAccount {
    /// The provider's slug.
    pub provider: String,
    /// The account that deliveries name; empty if they name none.
    pub account_id: String,
    /// Stored deliveries.
    pub deliveries: i64,
    /// Their size in bytes.
    pub bytes: i64,
    /// Deliveries above the quota, of which only the ids are stored.
    pub digests: i64,
    /// When the last one was received.
    pub updated_at: DateTime<Utc>,
}

/// The filter and the start of a page of unmatched accounts.
#[derive(Debug, Clone, Default)]
pub struct UnmatchedFilter {
    /// Only accounts of this provider.
    pub provider: Option<String>,
    /// Only accounts that have exceeded their quota.
    pub is_over_quota: bool,
    /// The account after which the page starts.
    pub after: Option<AccountPosition>,
    /// Maximum number of accounts.
    pub limit: u32,
}

/// A position in the list of accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountPosition {
    provider: String,
    account_id: String,
}

impl AccountPosition {
    /// Parses a cursor.
    ///
    /// # Errors
    ///
    /// When the cursor was not created by this API.
    pub fn parse(cursor: &str) -> Result<Self, MalformedCursor> {
        let bytes = URL_SAFE_NO_PAD
            .decode(cursor)
            .map_err(|_| MalformedCursor)?;
        let text = String::from_utf8(bytes).map_err(|_| MalformedCursor)?;
        let (provider, account_id) = text.split_once(':').ok_or(MalformedCursor)?;
        Ok(Self {
            provider: provider.to_owned(),
            account_id: sanitize(account_id).into_owned(),
        })
    }

    fn cursor(account: &UnmatchedAccount) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}:{}", account.provider, account.account_id))
    }
}

/// Lists accounts with unmatched deliveries, ordered by provider and account.
///
/// Served by the primary key.
pub async fn list(
    db: &Db,
    _proof: OperatorProof,
    filter: &UnmatchedFilter,
) -> Result<Page<UnmatchedAccount>, DbError> {
    let mut accounts = across_tenants::<Entity>();
    if let Some(after) = &filter.after {
        let key = Expr::tuple([Column::Provider.into_expr(), Column::AccountId.into_expr()]);
        let after = [after.provider.as_str(), after.account_id.as_str()];
        accounts = accounts.filter(key.gt(Expr::tuple(after.map(Expr::val))));
    }
    if let Some(provider) = &filter.provider {
        accounts = accounts.filter(Column::Provider.eq(provider));
    }
    if filter.is_over_quota {
        accounts = accounts.filter(Column::Digests.gt(0));
    }
    let mut items: Vec<UnmatchedAccount> = accounts
        .order_by_asc(Column::Provider)
        .order_by_asc(Column::AccountId)
        .limit(u64::from(filter.limit) + 1)
        .into_model()
        .all(&db.orm())
        .await?;
    let has_more = items.len() > filter.limit as usize;
    items.truncate(filter.limit as usize);
    let last = items.last().filter(|_| has_more);
    Ok(Page {
        next_cursor: last.map(AccountPosition::cursor),
        items,
    })
}

/// Deletes an account's counts when a connection takes its deliveries.
#[expect(clippy::disallowed_methods, reason = "the table has no tenant data")]
pub async fn delete(tx: &mut Tx, provider: &str, account: &str) -> Result<(), DbError> {
    Entity::delete_many()
        .filter(Column::Provider.eq(provider))
        .filter(Column::AccountId.eq(&*sanitize(account)))
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Corrects all counts; deletes counts without deliveries after a month.
///
/// The difference is applied, so that deliveries stored meanwhile stay counted. Served by the
/// primary keys of the partitions, for the rows without a tenant.
pub async fn recount(tx: &mut Tx) -> Result<(), DbError> {
    sqlx::query(
        "WITH stored AS ( \
             SELECT provider, coalesce(account_id, '') AS account_id, count(*) AS deliveries, \
                 sum(octet_length(body) + octet_length(headers::text) + 512)::bigint AS bytes \
             FROM deliveries WHERE tenant_id = $1 \
             GROUP BY 1, 2 \
         ) \
         UPDATE unmatched_accounts u SET \
             deliveries = greatest(u.deliveries - known.deliveries + coalesce(k.deliveries, 0), 0), \
             bytes = greatest(u.bytes - known.bytes + coalesce(k.bytes, 0), 0) \
         FROM unmatched_accounts known LEFT JOIN stored k USING (provider, account_id) \
         WHERE u.provider = known.provider AND u.account_id = known.account_id",
    )
    .bind(TenantId::UNASSIGNED)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "DELETE FROM unmatched_accounts \
         WHERE deliveries = 0 AND updated_at < now() - interval '30 days'",
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_decodes_to_its_account() {
        let account = UnmatchedAccount {
            provider: "jira".to_owned(),
            account_id: "https://acme.example:1".to_owned(),
            deliveries: 0,
            bytes: 0,
            digests: 0,
            updated_at: DateTime::UNIX_EPOCH,
        };
        let position =
            AccountPosition::parse(&AccountPosition::cursor(&account)).expect("own cursor");
        assert_eq!(
            (position.provider, position.account_id),
            (account.provider, account.account_id)
        );
        for foreign in ["", "!", "AAAA", "_w"] {
            assert!(AccountPosition::parse(foreign).is_err(), "{foreign}");
        }
    }
}
