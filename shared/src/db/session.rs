//! Postgres sessions and transactions, with response timeouts and detection of dead sessions.
//!
//! A statement never waits without limit, a lost session is distinguished from a failed
//! statement, and no session state is used that a transaction-mode pooler would lose.

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
use super::{DbError, TenantScope};

/// Timeout of a COMMIT or ROLLBACK in the background, after which the session is closed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The rules by which a process uses its sessions.
#[derive(Debug)]
pub(super) struct SessionPolicy {
    /// Whether statements are prepared once per session and then referred to by name.
    ///
    /// A transaction-mode pooler may send the name to a session that has not prepared it.
    pub(super) prepares_statements: bool,
    /// Settings that begin every transaction if the session cannot keep them.
    pub(super) transaction_prefix: Option<String>,
    /// The maximum time to wait for a response: longer than Postgres lets a statement run.
    pub(super) response_timeout: Duration,
    /// Whether idle sessions may have died.
    pub(super) liveness: LivenessCheck,
}

/// The time at which a session was last found dead.
///
/// A ping before each use would double the round trips. Sessions die together, so after one
/// death only the sessions that were idle at that time are pinged before use.
#[derive(Debug)]
pub(super) struct LivenessCheck {
    epoch: Instant,
    /// Milliseconds after `epoch`; 0 means never.
    last_death: AtomicU64,
}

impl LivenessCheck {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            last_death: AtomicU64::new(0),
        }
    }

    /// Milliseconds from `epoch` until this long ago.
    fn milliseconds_before_now(&self, ago: Duration) -> u64 {
        let age = self.epoch.elapsed().saturating_sub(ago);
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    }

    fn record_death(&self) {
        let now = self.milliseconds_before_now(Duration::ZERO).max(1);
        self.last_death.fetch_max(now, Ordering::AcqRel);
    }

    /// Whether a session that has been idle for this long must be pinged before use.
    pub(super) fn is_required_after(&self, idle_for: Duration) -> bool {
        let last_death = self.last_death.load(Ordering::Acquire);
        last_death > 0 && self.milliseconds_before_now(idle_for) <= last_death
    }
}

/// A row of a statement's response, or its final count.
pub(super) type Step = Either<PgQueryResult, PgRow>;

/// A statement that can be sent more than once.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    sql: SqlStr,
    arguments: Option<PgArguments>,
    is_prepared: bool,
}

impl Statement {
    pub(super) fn from_query<'q>(
        mut query: impl Execute<'q, Postgres>,
        policy: &SessionPolicy,
    ) -> Result<Self, sqlx::Error> {
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
        let is_prepared = query.persistent() && policy.prepares_statements;
        Ok(Self {
            sql: query.sql(),
            arguments,
            is_prepared,
        })
    }

    fn from_sql(sql: String) -> Self {
        Self {
            sql: AssertSqlSafe(sql).into_sql_str(),
            arguments: None,
            is_prepared: false,
        }
    }
}

impl Execute<'_, Postgres> for Statement {
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
        self.is_prepared
    }
}

/// A Postgres session, borrowed from the pool.
#[derive(Debug)]
pub struct Session {
    inner: PoolConnection<Postgres>,
    pub(super) policy: Arc<SessionPolicy>,
    /// Whether a response is outstanding or was abandoned.
    broken: bool,
    /// The permit of its tenant's share of the pool, held until the session is returned.
    share: Option<OwnedSemaphorePermit>,
}

impl Session {
    pub(super) const fn new(inner: PoolConnection<Postgres>, policy: Arc<SessionPolicy>) -> Self {
        Self {
            inner,
            policy,
            broken: false,
            share: None,
        }
    }

    /// Sends a statement and waits for its complete response.
    pub(super) async fn send(&mut self, statement: Statement) -> Result<Vec<Step>, sqlx::Error> {
        self.broken = true;
        let response = self.inner.fetch_many(statement).try_collect();
        let response = match tokio::time::timeout(self.policy.response_timeout, response).await {
            Ok(response) => response,
            Err(_) => Err(response_timeout_error()),
        };
        match &response {
            Err(error) if is_lost(error) => self.policy.liveness.record_death(),
            _ => self.broken = false,
        }
        response
    }
}

/// The error of a statement whose response did not arrive in time.
///
/// Unlike a closed session, it does not imply that another session would respond.
fn response_timeout_error() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

/// Whether an error is [`response_timeout_error`].
pub(super) fn is_response_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(cause) if cause.kind() == std::io::ErrorKind::TimedOut)
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.broken {
            // The response of an abandoned statement may still arrive, so the session must not be
            // reused.
            self.inner.close_on_drop();
        }
    }
}

impl<'c> Executor<'c> for &'c mut Session {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let statement = Statement::from_query(query, &self.policy);
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
        let statement = Statement::from_query(query, &self.policy);
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
        self.inner.prepare_with(sql, parameters)
    }
}

pub(super) fn stream_steps<'e>(
    response: impl Future<Output = Result<Vec<Step>, sqlx::Error>> + Send + 'e,
) -> BoxStream<'e, Result<Step, sqlx::Error>> {
    stream::once(response)
        .map_ok(|steps| stream::iter(steps.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
}

pub(super) fn first_row(steps: Vec<Step>) -> Option<PgRow> {
    steps.into_iter().find_map(|step| match step {
        Either::Right(row) => Some(row),
        Either::Left(_) => None,
    })
}

/// The statement that limits a transaction to the rows of these tenants.
///
/// It contains our own ids only, so it needs no escaping.
pub(super) fn scopes_setting(scopes: &[TenantScope]) -> String {
    let tenants: Vec<String> = scopes
        .iter()
        .map(|scope| scope.tenant_id().to_string())
        .collect();
    format!("SET LOCAL poblysh.tenants = '{{{}}}'", tenants.join(","))
}

/// A transaction; dropping it without a commit rolls it back.
#[derive(Debug)]
pub struct Tx {
    /// `None` after the transaction has ended.
    session: Option<Session>,
}

impl Tx {
    /// Begins a transaction in one round trip; `setup` is sent along with `BEGIN`.
    pub(super) async fn begin(mut session: Session, setup: &str) -> Result<Self, sqlx::Error> {
        let prefix = session.policy.transaction_prefix.as_deref();
        let prefix = prefix.unwrap_or_default();
        let statement = Statement::from_sql(format!("BEGIN; {prefix}{setup}"));
        let result = session.send(statement).await;
        // Some of the statements may have been executed.
        session.broken |= result.is_err();
        result?;
        Ok(Self {
            session: Some(session),
        })
    }

    /// Holds a permit of a tenant's share of the pool until the session is returned.
    pub(super) fn hold_share(&mut self, share: Option<OwnedSemaphorePermit>) {
        if let Some(session) = &mut self.session {
            session.share = share;
        }
    }

    /// Excludes sequential scans from the plans of this transaction's later statements.
    ///
    /// Where policies apply, the planner may not use the statistics of a column, so it can
    /// overestimate a rare value and read a whole day of deliveries.
    pub(crate) async fn prefer_index_scan(&mut self) -> Result<(), sqlx::Error> {
        let setting = Statement::from_sql("SET LOCAL enable_seqscan = off".to_owned());
        self.send(setting).await.map(drop)
    }

    /// Limits the transaction's later statements to the rows of these tenants.
    pub async fn change_scopes(&mut self, scopes: &[TenantScope]) -> Result<(), DbError> {
        let setting = Statement::from_sql(scopes_setting(scopes));
        self.send(setting).await?;
        Ok(())
    }

    /// Commits the transaction.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.end("COMMIT").await
    }

    /// Ends a read-only transaction without waiting for the response.
    pub fn end_read(mut self) {
        self.end_in_background("COMMIT");
    }

    /// Rolls the transaction back and waits for the response.
    pub async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.end("ROLLBACK").await
    }

    async fn end(&mut self, command: &str) -> Result<(), sqlx::Error> {
        let response = self.send(Statement::from_sql(command.to_owned())).await;
        // Any response ends the transaction, an error included.
        self.session = None;
        response.map(drop)
    }

    fn end_in_background(&mut self, command: &'static str) {
        let Some(mut session) = self.session.take().filter(|session| !session.broken) else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            session.broken = true;
            return;
        };
        runtime.spawn(async move {
            let end = session.send(Statement::from_sql(command.to_owned()));
            // Without a response the session stays broken and is closed, which ends the
            // transaction.
            if let Ok(Err(error)) = tokio::time::timeout(END_TIMEOUT, end).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    command,
                    "failed to end transaction in the background"
                );
            }
        });
    }
}

impl Deref for Tx {
    type Target = Session;

    fn deref(&self) -> &Session {
        match &self.session {
            Some(session) => session,
            None => unreachable!("ending a transaction consumes it"),
        }
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Session {
        match &mut self.session {
            Some(session) => session,
            None => unreachable!("ending a transaction consumes it"),
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        self.end_in_background("ROLLBACK");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sessions_idle_at_a_death_are_pinged() {
        let liveness = LivenessCheck {
            epoch: Instant::now()
                .checked_sub(Duration::from_mins(10))
                .expect("the clock has run for ten minutes"),
            last_death: AtomicU64::new(0),
        };
        assert!(
            !liveness.is_required_after(Duration::from_mins(5)),
            "no session has died"
        );
        liveness.record_death();
        assert!(liveness.is_required_after(Duration::from_secs(1)));
        let last_death = liveness.last_death.load(Ordering::Acquire);
        // Move the death one second into the past.
        liveness
            .last_death
            .store(last_death - 1000, Ordering::Release);
        assert!(liveness.is_required_after(Duration::from_secs(2)));
        assert!(
            !liveness.is_required_after(Duration::from_millis(500)),
            "used after the death"
        );
    }
}
