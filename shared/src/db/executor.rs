//! Statements outside a transaction of the caller.

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::postgres::{PgRow, PgStatement, PgTypeInfo};
use sqlx::{Execute, Executor, Postgres, SqlStr};

use super::Db;
use super::error::is_lost;
use super::session::{Statement, Step, Tx, first_row, is_response_timeout, stream_steps};

/// Executes one statement in its own transaction.
///
/// When its session turns out to be dead, the statement is sent again in another session.
/// Only pass statements that may be executed twice.
impl<'c> Executor<'c> for &'c Db {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let statement = Statement::from_query(query, self.policy());
        stream_steps(async move { self.send(statement?).await })
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let statement = Statement::from_query(query, self.policy());
        async move { Ok(first_row(self.send(statement?).await?)) }.boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.pool().prepare_with(sql, parameters)
    }
}

impl Db {
    async fn send(&self, statement: Statement) -> Result<Vec<Step>, sqlx::Error> {
        match self.send_once(statement.clone()).await {
            Err(error) if is_lost(&error) && !is_response_timeout(&error) => {
                self.send_once(statement).await
            }
            response => response,
        }
    }

    async fn send_once(&self, statement: Statement) -> Result<Vec<Step>, sqlx::Error> {
        let mut session = self.session().await?;
        if session.policy.transaction_prefix.is_none() {
            return session.send(statement).await;
        }
        let mut tx = Tx::begin(session, "").await?;
        let response = tx.send(statement).await?;
        tx.commit().await?;
        Ok(response)
    }
}
