//! SeaORM over our own sessions, with finders that begin with the tenant.
//!
//! [`Orm`] sends a query like every other statement of its transaction or pool, so the tenant's
//! scope, the timeouts and the pooler mode hold, and an entity and a statement in SQL can share a
//! transaction. Entities are private to `db`; a query over one begins in [`Scoped`].

use std::sync::Arc;

use futures::TryStreamExt;
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{
    ActiveEnum, ActiveModelTrait, ActiveValue, ColumnTrait, ConnectionTrait, DbBackend, DbErr,
    DeleteMany, EntityName, EntityTrait, ExecResult, Iterable, QueryFilter, QueryOrder,
    QueryResult, QuerySelect, RuntimeErr, Select, UpdateMany, Value, Values,
};
use sea_query_sqlx::SqlxValues;
use sqlx::postgres::PgQueryResult;
use sqlx::{AssertSqlSafe, Either, Executor};
use tokio::sync::Mutex;

use super::page::PageRequest;
use super::session::{Session, Step, Tx, first_row};
use super::{Db, TenantScope};

/// Sends SeaORM's queries.
pub(super) struct Orm<'a>(Sender<'a>);

enum Sender<'a> {
    /// In a transaction. SeaORM takes `&self`, so a mutex lends the session.
    Tx(Mutex<&'a mut Session>),
    /// Each query in its own transaction, possibly twice.
    Db(&'a Db),
}

impl Tx {
    /// Lends the transaction to SeaORM.
    pub(super) fn orm(&mut self) -> Orm<'_> {
        Orm(Sender::Tx(Mutex::new(self)))
    }
}

impl Db {
    /// Lends the pool to SeaORM; only for queries that may be executed twice.
    pub(super) const fn orm(&self) -> Orm<'_> {
        Orm(Sender::Db(self))
    }
}

impl Orm<'_> {
    async fn send(&self, statement: sea_orm::Statement) -> Result<Vec<Step>, DbErr> {
        let values = statement.values.unwrap_or(Values(Vec::new()));
        let query = sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values));
        let response = match &self.0 {
            Sender::Tx(session) => {
                let mut session = session.lock().await;
                (&mut **session).fetch_many(query).try_collect().await
            }
            Sender::Db(db) => db.fetch_many(query).try_collect().await,
        };
        response.map_err(|error| DbErr::Query(RuntimeErr::SqlxError(Arc::new(error))))
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Orm<'_> {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: sea_orm::Statement) -> Result<ExecResult, DbErr> {
        let steps = self.send(statement).await?;
        let mut result = PgQueryResult::default();
        result.extend(steps.into_iter().filter_map(Either::left));
        Ok(result.into())
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.execute_raw(sea_orm::Statement::from_string(DbBackend::Postgres, sql))
            .await
    }

    async fn query_one_raw(
        &self,
        statement: sea_orm::Statement,
    ) -> Result<Option<QueryResult>, DbErr> {
        Ok(first_row(self.send(statement).await?).map(QueryResult::from))
    }

    async fn query_all_raw(
        &self,
        statement: sea_orm::Statement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let rows = self.send(statement).await?.into_iter();
        Ok(rows
            .filter_map(Either::right)
            .map(QueryResult::from)
            .collect())
    }
}

/// An entity whose rows belong to tenants.
///
/// Its queries begin with the tenant, so that none forgets it.
pub(super) trait Scoped: EntityTrait {
    /// The column with the tenant's id.
    const TENANT: Self::Column;

    /// Selects rows of the tenant.
    fn scoped(scope: &TenantScope) -> Select<Self> {
        across_tenants::<Self>().filter(of_tenant::<Self>(scope))
    }

    /// Updates rows of the tenant.
    #[expect(clippy::disallowed_methods, reason = "the tenant is named here")]
    fn update_scoped(scope: &TenantScope) -> UpdateMany<Self> {
        Self::update_many().filter(of_tenant::<Self>(scope))
    }

    /// Deletes rows of the tenant.
    #[expect(clippy::disallowed_methods, reason = "the tenant is named here")]
    fn delete_scoped(scope: &TenantScope) -> DeleteMany<Self> {
        Self::delete_many().filter(of_tenant::<Self>(scope))
    }
}

fn of_tenant<E: Scoped>(scope: &TenantScope) -> Expr {
    E::TENANT.eq(scope.tenant_id())
}

/// Selects rows of any tenant.
///
/// For operators, for the row that the hash of a secret selects, for pending connections, whose
/// tenant is not known yet, and for tables without tenant data.
#[expect(clippy::disallowed_methods, reason = "the other finders begin here")]
pub(super) fn across_tenants<E: EntityTrait>() -> Select<E> {
    E::find()
}

/// The page of a list ordered by id, newest first, and one row more.
pub(super) fn newest_first<E: EntityTrait>(
    select: Select<E>,
    id: E::Column,
    request: &PageRequest,
) -> Select<E> {
    let select = match request.before {
        Some(before) => select.filter(id.lt(before)),
        None => select,
    };
    select
        .order_by_desc(id)
        .limit(request.fetch_limit().unsigned_abs())
}

/// Counts the rows of a statement.
pub(super) async fn count_rows(tx: &mut Tx, rows: SelectStatement) -> Result<i64, DbErr> {
    let count = Query::select()
        .expr_as(Expr::cust("count(*)"), "count")
        .from_subquery(rows, "matching")
        .take();
    let row = tx.orm().query_one(&count).await?;
    row.map_or(Ok(0), |row| row.try_get("", "count"))
}

/// The condition that a column has a value of a stored enum, written as a literal.
///
/// A generic plan can match a literal with the predicate of a partial index, unlike a parameter.
pub(super) fn equals_literal<V>(column: impl ColumnTrait, value: V) -> Expr
where
    V: ActiveEnum + Into<&'static str>,
{
    let name: &'static str = value.into();
    column.into_expr().eq(Expr::cust(format!("'{name}'")))
}

/// Postgres's time at the start of the transaction.
pub(super) fn now() -> Expr {
    Expr::current_timestamp()
}

/// Inserts a row of which Postgres computes a column, and returns columns of it.
pub(super) async fn insert_computed<A: ActiveModelTrait>(
    orm: &Orm<'_>,
    mut row: A,
    (computed, expression): (<A::Entity as EntityTrait>::Column, Expr),
    returned: impl IntoIterator<Item = <A::Entity as EntityTrait>::Column>,
) -> Result<QueryResult, DbErr> {
    let (mut columns, mut values) = (vec![computed], vec![expression]);
    for column in <A::Entity as EntityTrait>::Column::iter() {
        if let ActiveValue::Set(value) = row.take(column) {
            columns.push(column);
            values.push(column.save_as(Expr::val::<Value>(value)));
        }
    }
    let returned = returned
        .into_iter()
        .map(|column| column.select_as(column.into_returning_expr(DbBackend::Postgres)));
    let insert = Query::insert()
        .into_table(A::Entity::default().table_ref())
        .columns(columns)
        .values_panic(values)
        .returning(Query::returning().exprs(returned))
        .take();
    let inserted = orm.query_one(&insert).await?;
    inserted.ok_or(DbErr::RecordNotInserted)
}

#[cfg(test)]
mod tests {
    use sea_orm::QueryTrait;
    use uuid::Uuid;

    use super::*;
    use crate::db::entities::api_keys::{Column, Entity};

    #[test]
    fn scoped_queries_name_the_tenant() {
        let scope = TenantScope::unassigned();
        let queries = [
            Entity::scoped(&scope).build(DbBackend::Postgres),
            Entity::update_scoped(&scope)
                .col_expr(Column::RevokedAt, now())
                .build(DbBackend::Postgres),
            Entity::delete_scoped(&scope).build(DbBackend::Postgres),
        ];
        for query in queries {
            assert!(
                query.sql.ends_with(r#"WHERE "api_keys"."tenant_id" = $1"#),
                "{}",
                query.sql
            );
            assert_eq!(query.values, Some(Values(vec![Uuid::nil().into()])));
        }
    }

    #[test]
    fn page_is_one_range_of_the_key() {
        let page = |before| {
            let request = PageRequest { before, limit: 50 };
            let select = Entity::scoped(&TenantScope::unassigned());
            newest_first(select, Column::Id, &request)
                .build(DbBackend::Postgres)
                .sql
        };
        let end = r#" ORDER BY "api_keys"."id" DESC LIMIT $"#;
        assert!(page(None).ends_with(&format!(r#""tenant_id" = $1{end}2"#)));
        let next = page(Some(Uuid::now_v7()));
        assert!(
            next.ends_with(&format!(
                r#""tenant_id" = $1 AND "api_keys"."id" < $2{end}3"#
            )),
            "{next}"
        );
    }
}
