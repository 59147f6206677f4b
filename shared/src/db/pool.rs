//! The session pool: roles, timeouts and scoped transactions.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Row};
use tokio::sync::OwnedSemaphorePermit;

use super::error::{is_lost, is_unknown_prepared_statement};
use super::session::{
    LivenessCheck, Session, SessionPolicy, Tx, is_response_timeout, scopes_setting,
};
use super::shares::Shares;
use super::{DbError, OperatorProof, TenantScope};
use crate::config::DatabaseConfig;
use crate::model::TenantId;

/// The Postgres role of a process, with only the privileges that the process needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The API server.
    Api,
    /// The webhook ingress.
    Ingress,
    /// The sync worker.
    Worker,
}

/// The role in which the api-server reads all tenants for operators.
const OPERATOR_ROLE: &str = "poblysh_operator";

impl Role {
    /// The role's name in Postgres.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "poblysh_api",
            Self::Ingress => "poblysh_ingress",
            Self::Worker => "poblysh_worker",
        }
    }

    /// The maximum time that a statement waits for a session of the pool.
    ///
    /// Ingress rejects a delivery within a second; people and jobs can wait longer.
    const fn acquire_timeout(self) -> Duration {
        match self {
            Self::Ingress => Duration::from_millis(900),
            Self::Api | Self::Worker => Duration::from_secs(5),
        }
    }

    /// `statement_timeout` in seconds.
    ///
    /// A provider stops waiting for a delivery's commit long before ingress's timeout.
    const fn statement_seconds(self) -> u64 {
        match self {
            Self::Ingress => 8,
            Self::Api | Self::Worker => 30,
        }
    }

    /// `plan_cache_mode`: whether statements are planned once or per execution.
    ///
    /// Statements of ingress and worker select rows by key, so one plan fits all values, and
    /// planning costs more than most executions. The API's lists have filters, whose values can
    /// lead to a better plan.
    const fn plan_cache_mode(self) -> &'static str {
        match self {
            Self::Ingress | Self::Worker => "force_generic_plan",
            Self::Api => "auto",
        }
    }

    /// The settings of every session.
    fn settings(self, statement_seconds: u64) -> Vec<(&'static str, String)> {
        vec![
            ("role", self.name().to_owned()),
            ("statement_timeout", format!("{statement_seconds}s")),
            // A transaction that is idle for this long belongs to a lost process, and its locks
            // block others. A job's lease ends after the same time.
            ("idle_in_transaction_session_timeout", "10s".to_owned()),
            // "Acknowledged after commit" must not depend on a server's default.
            ("synchronous_commit", "on".to_owned()),
            ("jit", "off".to_owned()),
            ("plan_cache_mode", self.plan_cache_mode().to_owned()),
        ]
    }
}

/// Settings with which Postgres detects a vanished host within 30 s and releases its locks.
const KEEPALIVES: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "20000"),
];
/// The excess of a response timeout over `statement_timeout`.
const RESPONSE_GRACE: Duration = Duration::from_secs(4);
/// Timeout of the ping that checks a session before use.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// The maximum time that a read waits for a session with the replica before it uses the primary.
const REPLICA_ACQUIRE_TIMEOUT: Duration = Duration::from_millis(700);
/// `statement_timeout` of a read at the replica, in seconds.
///
/// Together with [`RESPONSE_GRACE`] it limits the wait for a replica that stops responding to less
/// than 10 s, after which many clients give up.
const REPLICA_STATEMENT_SECONDS: u64 = 3;

/// A pool of sessions that all run as one [`Role`].
#[derive(Debug, Clone)]
pub struct Db {
    pool: PgPool,
    policy: Arc<SessionPolicy>,
    /// Present in the api-server only: jobs are claimed fairly, requests are not.
    shares: Option<Arc<Shares<ShareHolder>>>,
}

/// The number of sessions of a pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolUsage {
    pub(crate) idle: u32,
    pub(crate) in_use: u32,
    pub(crate) max: u32,
}

/// The holder of the share of the pool that a request uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ShareHolder {
    Tenant(TenantId),
    /// All clients whose tenant is not yet known.
    Unauthenticated,
    /// Operators that read all tenants.
    Operators,
}

impl Db {
    /// Opens a pool without connecting.
    ///
    /// A process can therefore start, and stay unready, while Postgres is unavailable. A session
    /// that logs in under another name sets the role immediately.
    pub fn open(config: &DatabaseConfig, role: Role) -> Result<Self, DbError> {
        let url = config.url.expose_secret();
        let seconds = role.statement_seconds();
        Self::open_url(url, config, role, role.acquire_timeout(), seconds)
    }

    /// Opens a pool at the read replica, when one is configured.
    pub fn open_replica(config: &DatabaseConfig, role: Role) -> Result<Option<Self>, DbError> {
        let Some(url) = &config.read_url else {
            return Ok(None);
        };
        let url = url.expose_secret();
        let seconds = REPLICA_STATEMENT_SECONDS;
        Self::open_url(url, config, role, REPLICA_ACQUIRE_TIMEOUT, seconds).map(Some)
    }

    /// Opens a pool for `LISTEN`, which needs a session that no pooler shares.
    ///
    /// `None` behind a transaction-mode pooler without a configured direct URL.
    pub fn open_listening(
        &self,
        config: &DatabaseConfig,
        role: Role,
    ) -> Result<Option<Self>, DbError> {
        match &config.listen_url {
            Some(url) => {
                let direct = DatabaseConfig {
                    is_pooled: false,
                    max_connections: 1,
                    ..config.clone()
                };
                let (url, seconds) = (url.expose_secret(), role.statement_seconds());
                Self::open_url(url, &direct, role, role.acquire_timeout(), seconds).map(Some)
            }
            None => Ok((!config.is_pooled).then(|| self.clone())),
        }
    }

    fn open_url(
        url: &str,
        config: &DatabaseConfig,
        role: Role,
        acquire_timeout: Duration,
        statement_seconds: u64,
    ) -> Result<Self, DbError> {
        let mut options = PgConnectOptions::from_str(url)?.application_name(role.name());
        if config.is_pooled {
            // Poolers reject startup parameters that they do not track, this one included.
            options = options.extra_float_digits(None);
        } else {
            options = options
                .options(role.settings(statement_seconds))
                .options(KEEPALIVES);
        }
        let policy = Arc::new(SessionPolicy {
            prepares_statements: !config.is_pooled,
            transaction_prefix: config
                .is_pooled
                .then(|| transaction_prefix(role, statement_seconds)),
            response_timeout: Duration::from_secs(statement_seconds) + RESPONSE_GRACE,
            liveness: LivenessCheck::new(),
        });
        let is_pooled = config.is_pooled;
        let checked_policy = Arc::clone(&policy);
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(acquire_timeout)
            .idle_timeout(Duration::from_mins(5))
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if is_pooled {
                        load_types(connection).await?;
                    }
                    Ok(())
                })
            })
            .before_acquire(move |connection, metadata| {
                let liveness = &checked_policy.liveness;
                let needs_ping = liveness.is_required_after(metadata.idle_for);
                Box::pin(async move {
                    if !needs_ping {
                        return Ok(true);
                    }
                    let response = tokio::time::timeout(PING_TIMEOUT, connection.ping()).await;
                    Ok(response.is_ok_and(|response| response.is_ok()))
                })
            })
            .connect_lazy_with(options);
        // Each holder may use half of the pool, but never all of a pool with several sessions.
        let share = usize::try_from(config.max_connections.div_ceil(2)).unwrap_or(usize::MAX);
        let shares =
            (role == Role::Api).then(|| Arc::new(Shares::new(share.max(1), acquire_timeout)));
        Ok(Self {
            pool,
            policy,
            shares,
        })
    }

    /// Rejects a session that runs as another role or could bypass row-level security.
    pub async fn check_role(&self, role: Role) -> Result<(), DbError> {
        let row = sqlx::query(
            "SELECT current_user::text AS name, rolsuper OR rolbypassrls AS bypasses_policies \
             FROM pg_roles WHERE rolname = current_user",
        )
        .fetch_one(self)
        .await?;
        let name: String = row.try_get("name")?;
        if name != role.name() || row.try_get("bypasses_policies")? {
            return Err(DbError::Role(name));
        }
        Ok(())
    }

    /// The number of sessions of the pool.
    pub(crate) fn pool_usage(&self) -> PoolUsage {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        PoolUsage {
            idle,
            in_use: self.pool.size().saturating_sub(idle),
            max: self.pool.options().get_max_connections(),
        }
    }

    /// The sqlx pool, for uses that need a session outside [`Session`].
    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) fn policy(&self) -> &SessionPolicy {
        &self.policy
    }

    pub(super) async fn session(&self) -> Result<Session, sqlx::Error> {
        let inner = self.pool.acquire().await?;
        Ok(Session::new(inner, Arc::clone(&self.policy)))
    }

    /// Begins a transaction that sees one tenant's rows, in one round trip.
    ///
    /// In the api-server it uses the tenant's share of the pool.
    pub async fn begin(&self, scope: &TenantScope) -> Result<Tx, DbError> {
        let share = self
            .acquire_share(ShareHolder::Tenant(scope.tenant_id()))
            .await?;
        let mut tx = self.begin_many(std::slice::from_ref(scope)).await?;
        tx.hold_share(share);
        Ok(tx)
    }

    /// Begins a transaction that sees the rows of several tenants, for a batch of claimed jobs.
    ///
    /// It uses no share of the pool, so a request must not begin it.
    pub async fn begin_many(&self, scopes: &[TenantScope]) -> Result<Tx, DbError> {
        self.begin_with(&scopes_setting(scopes)).await
    }

    /// Begins a transaction that sees only the row whose secret has this hash.
    ///
    /// In the api-server it uses the share of the pool of all unauthenticated clients.
    pub async fn begin_by_secret(&self, hash: &[u8; 32]) -> Result<Tx, DbError> {
        let share = self.acquire_share(ShareHolder::Unauthenticated).await?;
        // Hexadecimal digits need no escaping.
        let setup = format!("SET LOCAL poblysh.secret_hash = '{}'", hex::encode(hash));
        let mut tx = self.begin_with(&setup).await?;
        tx.hold_share(share);
        Ok(tx)
    }

    /// Acquires a permit of the pool to authenticate a client.
    ///
    /// The permit counts against the tenant's share if the credential is known, otherwise against
    /// the share of unauthenticated clients.
    pub(super) async fn acquire_client_share(
        &self,
        tenant: Option<TenantId>,
    ) -> Result<Option<OwnedSemaphorePermit>, DbError> {
        self.acquire_share(tenant.map_or(ShareHolder::Unauthenticated, ShareHolder::Tenant))
            .await
    }

    /// Waits for a permit of a share for as long as for a session of the pool.
    async fn acquire_share(
        &self,
        holder: ShareHolder,
    ) -> Result<Option<OwnedSemaphorePermit>, DbError> {
        let Some(shares) = &self.shares else {
            return Ok(None);
        };
        let permit = shares.acquire(holder).await;
        Ok(Some(permit.ok_or(sqlx::Error::PoolTimedOut)?))
    }

    /// Begins a transaction on tables without a tenant, or that the role may read across tenants.
    pub async fn begin_unscoped(&self) -> Result<Tx, DbError> {
        self.begin_with("").await
    }

    /// Begins a read-only transaction over all tenants, in the operators' role.
    ///
    /// The role sees no secrets, bodies and raw data. Only the api-server's role may switch to it,
    /// which uses the operators' share of the pool.
    pub async fn begin_for_operator(&self, _proof: OperatorProof) -> Result<Tx, DbError> {
        self.begin_as_operator().await
    }

    /// Like [`Db::begin_for_operator`], for tasks of the service that no request starts.
    pub(super) async fn begin_as_operator(&self) -> Result<Tx, DbError> {
        let share = self.acquire_share(ShareHolder::Operators).await?;
        let setup = format!("SET LOCAL ROLE {OPERATOR_ROLE}; SET TRANSACTION READ ONLY");
        let mut tx = self.begin_with(&setup).await?;
        tx.hold_share(share);
        Ok(tx)
    }

    /// Begins a transaction with `setup`; a dead session is replaced once.
    ///
    /// Before a transaction has begun nothing has been done, so a second attempt is safe.
    async fn begin_with(&self, setup: &str) -> Result<Tx, DbError> {
        match Tx::begin(self.session().await?, setup).await {
            Err(error) if is_lost(&error) && !is_response_timeout(&error) => {
                Ok(Tx::begin(self.session().await?, setup).await?)
            }
            result => Ok(result?),
        }
    }
}

/// Loads the schema's enum types into a session.
///
/// The driver otherwise looks a type up at its first use, between preparing a statement and
/// executing it, and that query discards the unnamed prepared statement.
async fn load_types(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let row = sqlx::raw_sql(
        "SELECT string_agg(format('NULL::%1$s, NULL::%1$s[]', t.oid::regtype), ', ') AS types \
         FROM pg_type t WHERE t.typtype = 'e' AND t.typnamespace = 'public'::regnamespace",
    )
    .fetch_one(&mut *connection)
    .await?;
    let Some(types) = row.try_get::<Option<String>, _>("types")? else {
        return Ok(());
    };
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
    let result = sqlx::query(AssertSqlSafe(format!("SELECT {types}")))
        .persistent(false)
        .fetch_one(&mut *connection)
        .await;
    sqlx::raw_sql("ROLLBACK").execute(connection).await?;
    match result {
        Err(error) if !is_unknown_prepared_statement(&error) => Err(error),
        _ => Ok(()),
    }
}

/// The statements that set the role's settings for one transaction; all values are constants.
fn transaction_prefix(role: Role, statement_seconds: u64) -> String {
    let settings = role.settings(statement_seconds);
    let settings = settings
        .iter()
        .map(|(name, value)| format!("SET LOCAL {name} = '{value}'; "));
    settings.fold(String::new(), |all, setting| all + &setting)
}
