//! A connection as statements see it: no answer is waited for without end, a connection that
//! died is told from a statement that failed, and nothing is asked of it that a pooler between
//! us and Postgres would forget.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{AssertSqlSafe, Either, Execute, Executor, Postgres, SqlSafeStr, SqlStr};
use tokio::sync::OwnedSemaphorePermit;

use super::error::is_lost;
use super::{Db, DbError, TenantScope};

/// How long the end of a transaction is waited for, where nobody else waits for it, before its
/// connection is given up instead.
const END: Duration = Duration::from_secs(5);

/// How a process's connections are used.
#[derive(Debug)]
pub(super) struct Manners {
    /// Whether a statement is prepared once per connection and then called by its name. A
    /// pooler that lends connections per transaction takes the name to a connection that has
    /// never heard it.
    pub(super) named: bool,
    /// What every transaction begins with, where a connection cannot be told once for all.
    pub(super) opening: Option<String>,
    /// How long the answer to a statement is waited for: longer than Postgres lets one run.
    pub(super) patience: Duration,
    /// Whether idle connections may have died.
    pub(super) doubt: Doubt,
}

/// When a connection was last found dead. Asking every connection whether it lives, before
/// each use, would double the round trips; but connections die together, so after one death
/// those that were idle then are asked first.
#[derive(Debug)]
pub(super) struct Doubt {
    epoch: Instant,
    /// Milliseconds after `epoch`; 0 is never.
    since: AtomicU64,
}

impl Doubt {
    pub(super) fn none() -> Self {
        Self {
            epoch: Instant::now(),
            since: AtomicU64::new(0),
        }
    }

    fn milliseconds(&self, before: Duration) -> u64 {
        let age = self.epoch.elapsed().saturating_sub(before);
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    }

    fn raise(&self) {
        let now = self.milliseconds(Duration::ZERO).max(1);
        self.since.fetch_max(now, Ordering::AcqRel);
    }

    /// Whether a connection that has been idle for so long must show that it lives.
    pub(super) fn concerns(&self, idle_for: Duration) -> bool {
        let since = self.since.load(Ordering::Acquire);
        since > 0 && self.milliseconds(idle_for) <= since
    }
}

/// Rows and counts of a statement, as they come.
type Step = Either<PgQueryResult, PgRow>;

/// A statement that can be sent again.
#[derive(Debug, Clone)]
pub(super) struct Request {
    sql: SqlStr,
    arguments: Option<PgArguments>,
    named: bool,
}

impl Request {
    pub(super) fn of<'q>(
        mut query: impl Execute<'q, Postgres>,
        manners: &Manners,
    ) -> Result<Self, sqlx::Error> {
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
        let named = query.persistent() && manners.named;
        Ok(Self {
            sql: query.sql(),
            arguments,
            named,
        })
    }

    fn plain(sql: String) -> Self {
        Self {
            sql: AssertSqlSafe(sql).into_sql_str(),
            arguments: None,
            named: false,
        }
    }
}

impl Execute<'_, Postgres> for Request {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&PgStatement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.named
    }
}

/// A connection, lent by the pool.
#[derive(Debug)]
pub struct Line {
    connection: PoolConnection<Postgres>,
    manners: Arc<Manners>,
    /// Whether an answer is outstanding, or will never come.
    broken: bool,
    /// The place in its tenant's share of the pool that it takes until it is given back.
    share: Option<OwnedSemaphorePermit>,
}

impl Line {
    pub(super) const fn new(connection: PoolConnection<Postgres>, manners: Arc<Manners>) -> Self {
        Self {
            connection,
            manners,
            broken: false,
            share: None,
        }
    }

    /// Sends a statement and waits for all of its answer.
    pub(super) async fn ask(&mut self, request: Request) -> Result<Vec<Step>, sqlx::Error> {
        self.broken = true;
        let answer = self.connection.fetch_many(request).try_collect();
        let answer = match tokio::time::timeout(self.manners.patience, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(silence()),
        };
        match &answer {
            Err(error) if is_lost(error) => self.manners.doubt.raise(),
            _ => self.broken = false,
        }
        answer
    }
}

/// Postgres has not answered. Unlike the end of a connection it says nothing about whether
/// the next one would.
fn silence() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

/// Whether an error means [`silence`].
pub(super) fn is_silence(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(cause) if cause.kind() == std::io::ErrorKind::TimedOut)
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.broken {
            // Whatever is still to come belongs to a question that nobody remembers.
            self.connection.close_on_drop();
        }
    }
}

impl<'c> Executor<'c> for &'c mut Line {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let request = Request::of(query, &self.manners);
        one_by_one(async move { self.ask(request?).await })
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let request = Request::of(query, &self.manners);
        async move { Ok(first_row(self.ask(request?).await?)) }.boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.connection.prepare_with(sql, parameters)
    }
}

fn one_by_one<'e>(
    answer: impl Future<Output = Result<Vec<Step>, sqlx::Error>> + Send + 'e,
) -> BoxStream<'e, Result<Step, sqlx::Error>> {
    stream::once(answer)
        .map_ok(|steps| stream::iter(steps.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
}

fn first_row(steps: Vec<Step>) -> Option<PgRow> {
    steps.into_iter().find_map(|step| match step {
        Either::Right(row) => Some(row),
        Either::Left(_) => None,
    })
}

/// Says whose rows a transaction sees; only ids of ours are in it.
pub(super) fn scopes_setting(scopes: &[TenantScope]) -> String {
    let tenants: Vec<String> = scopes
        .iter()
        .map(|scope| scope.tenant_id().to_string())
        .collect();
    format!("SET LOCAL poblysh.tenants = '{{{}}}'", tenants.join(","))
}

/// A transaction in Postgres. What is not committed is rolled back.
#[derive(Debug)]
pub struct Tx {
    /// Empty once it has ended.
    line: Option<Line>,
}

impl Tx {
    /// Begins; one round trip, however much is to be said at the beginning.
    pub(super) async fn begin(mut line: Line, opening: &str) -> Result<Self, sqlx::Error> {
        let always = line.manners.opening.as_deref().unwrap_or_default();
        let statement = Request::plain(format!("BEGIN; {always}{opening}"));
        let begun = line.ask(statement).await;
        // Part of it may have been done.
        line.broken |= begun.is_err();
        begun?;
        Ok(Self { line: Some(line) })
    }

    /// Keeps a place in a tenant's share of the pool until the connection is given back.
    pub(super) fn hold_share(&mut self, share: Option<OwnedSemaphorePermit>) {
        if let Some(line) = &mut self.line {
            line.share = share;
        }
    }

    /// Has the rows that are asked for from now on looked up in indexes. Where policies apply,
    /// Postgres keeps from itself how common a value is, and may take what hardly a row has
    /// for what all have, and read a whole day of deliveries for it.
    pub(crate) async fn look_up_by_index(&mut self) -> Result<(), sqlx::Error> {
        let setting = Request::plain("SET LOCAL enable_seqscan = off".to_owned());
        self.ask(setting).await.map(drop)
    }

    /// Lets the transaction see the rows of these tenants, and of no others, from now on.
    pub async fn change_scopes(&mut self, scopes: &[TenantScope]) -> Result<(), DbError> {
        self.say(scopes_setting(scopes)).await
    }

    /// Marks where [`Tx::rollback_to_savepoint`] leads; one at a time.
    pub async fn savepoint(&mut self) -> Result<(), DbError> {
        self.say("SAVEPOINT part".to_owned()).await
    }

    /// Keeps what was done since the savepoint.
    pub async fn release_savepoint(&mut self) -> Result<(), DbError> {
        self.say("RELEASE SAVEPOINT part".to_owned()).await
    }

    /// Undoes what was done since the savepoint, a change of scopes included, even if a
    /// statement failed.
    pub async fn rollback_to_savepoint(&mut self) -> Result<(), DbError> {
        let sql = "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part";
        self.say(sql.to_owned()).await
    }

    async fn say(&mut self, sql: String) -> Result<(), DbError> {
        self.ask(Request::plain(sql)).await?;
        Ok(())
    }

    /// Makes everything durable.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.end("COMMIT").await
    }

    /// Ends a transaction that only read, without waiting for it.
    pub fn leave(mut self) {
        self.end_alone("COMMIT");
    }

    /// Undoes everything, and waits until that is done.
    pub async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.end("ROLLBACK").await
    }

    async fn end(&mut self, how: &str) -> Result<(), sqlx::Error> {
        let answer = self.ask(Request::plain(how.to_owned())).await;
        // After an answer there is no transaction any more, whatever it says.
        self.line = None;
        answer.map(drop)
    }

    fn end_alone(&mut self, how: &'static str) {
        let Some(mut line) = self.line.take().filter(|line| !line.broken) else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            line.broken = true;
            return;
        };
        runtime.spawn(async move {
            let end = line.ask(Request::plain(how.to_owned()));
            // Without an answer the line stays broken, and its end ends the transaction.
            if let Ok(Err(error)) = tokio::time::timeout(END, end).await {
                tracing::debug!(%error, how, "a transaction was not ended; its connection ends");
            }
        });
    }
}

impl Deref for Tx {
    type Target = Line;

    fn deref(&self) -> &Line {
        match &self.line {
            Some(line) => line,
            None => unreachable!("ending a transaction consumes it"),
        }
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Line {
        match &mut self.line {
            Some(line) => line,
            None => unreachable!("ending a transaction consumes it"),
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        self.end_alone("ROLLBACK");
    }
}

/// One statement, committed by itself. When its connection turns out to be dead it is sent
/// once more, over another: give statements here that may be done twice.
impl<'c> Executor<'c> for &'c Db {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let request = Request::of(query, self.manners());
        one_by_one(async move { self.ask(request?).await })
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let request = Request::of(query, self.manners());
        async move { Ok(first_row(self.ask(request?).await?)) }.boxed()
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
    async fn ask(&self, request: Request) -> Result<Vec<Step>, sqlx::Error> {
        match self.ask_once(request.clone()).await {
            Err(error) if is_lost(&error) && !is_silence(&error) => self.ask_once(request).await,
            answer => answer,
        }
    }

    async fn ask_once(&self, request: Request) -> Result<Vec<Step>, sqlx::Error> {
        let mut line = self.line().await?;
        if line.manners.opening.is_none() {
            return line.ask(request).await;
        }
        let mut tx = Tx::begin(line, "").await?;
        let answer = tx.ask(request).await?;
        tx.commit().await?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_that_were_idle_at_a_death_are_doubted() {
        let doubt = Doubt {
            epoch: Instant::now()
                .checked_sub(Duration::from_mins(10))
                .expect("the clock runs for a while"),
            since: AtomicU64::new(0),
        };
        assert!(!doubt.concerns(Duration::from_mins(5)), "nothing has died");
        doubt.raise();
        assert!(doubt.concerns(Duration::from_secs(1)));
        let since = doubt.since.load(Ordering::Acquire);
        // A second ago by now.
        doubt.since.store(since - 1000, Ordering::Release);
        assert!(doubt.concerns(Duration::from_secs(2)));
        assert!(!doubt.concerns(Duration::from_millis(500)), "used since");
    }
}
