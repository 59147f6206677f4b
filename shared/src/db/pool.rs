//! The pool: role, timeouts and scoped transactions.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Row};
use tokio::sync::OwnedSemaphorePermit;

use super::error::{is_forgotten, is_lost};
use super::line::{Doubt, Line, Manners, Tx, is_silence, scopes_setting};
use super::shares::Shares;
use super::{DbError, TenantScope};
use crate::config::DatabaseConfig;
use crate::ids::TenantId;

/// As whom a process works; the schema grants each just what its process needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The API server.
    Api,
    /// The webhook ingress.
    Ingress,
    /// The sync worker.
    Worker,
}

impl Role {
    /// The role's name in Postgres.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "poblysh_api",
            Self::Ingress => "poblysh_ingress",
            Self::Worker => "poblysh_worker",
        }
    }

    /// How long a statement waits for a connection. A provider is told to come back within
    /// a second; people and jobs would rather wait.
    const fn patience(self) -> Duration {
        match self {
            Self::Ingress => Duration::from_millis(900),
            Self::Api | Self::Worker => Duration::from_secs(5),
        }
    }

    /// How long a statement may take, in Postgres's eyes. Whoever waits for a delivery's
    /// commit has long gone after this time.
    const fn statement_seconds(self) -> u64 {
        match self {
            Self::Ingress => 8,
            Self::Api | Self::Worker => 30,
        }
    }

    /// When Postgres plans a statement. Those of ingress and worker name their rows, so that one
    /// plan is right for all values; to make another each time costs more than most of them do.
    /// The API's lists have filters, which a plan may know better.
    const fn plans(self) -> &'static str {
        match self {
            Self::Ingress | Self::Worker => "force_generic_plan",
            Self::Api => "auto",
        }
    }

    /// What Postgres must know of a connection of ours.
    fn settings(self, statement_seconds: u64) -> Vec<(&'static str, String)> {
        vec![
            ("role", self.name().to_owned()),
            ("statement_timeout", format!("{statement_seconds}s")),
            // Whoever waits between two statements of a transaction for so long is gone, and
            // holds what others wait for: a job's lease is over after as much.
            ("idle_in_transaction_session_timeout", "10s".to_owned()),
            // The promise "acknowledged after commit" must not hang on a server's default.
            ("synchronous_commit", "on".to_owned()),
            ("jit", "off".to_owned()),
            ("plan_cache_mode", self.plans().to_owned()),
        ]
    }
}

/// A host that vanished is noticed by Postgres within half a minute, and its locks go with it.
const NOTICE_THE_VANISHED: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "20000"),
];
/// How much longer than Postgres we wait for a statement.
const GRACE: Duration = Duration::from_secs(4);
/// How long a connection may take to show that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// How long a read waits for a connection to the replica before the primary is asked instead.
const REPLICA_PATIENCE: Duration = Duration::from_millis(700);
/// How long a read may take there. With [`GRACE`], what a reader waits at the most when the
/// replica falls silent meanwhile: less than the 10 s after which many a client gives up.
const REPLICA_SECONDS: u64 = 3;

/// A pool of connections that all run as one [`Role`].
#[derive(Debug, Clone)]
pub struct Db {
    pool: PgPool,
    manners: Arc<Manners>,
    /// Only the api-server's tenants come by requests of their own; a job is claimed in turn.
    shares: Option<Arc<Shares<Holder>>>,
}

/// Whose share of the pool a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Tenant(TenantId),
    /// Every client that is not yet known to belong to a tenant.
    Stranger,
}

impl Db {
    /// Opens a pool without connecting: a process starts, and stays unready, while Postgres
    /// is away. A connection that logs in as somebody else takes the role on at once.
    pub fn open(config: &DatabaseConfig, role: Role) -> Result<Self, DbError> {
        let url = config.url.expose_secret();
        Self::open_url(url, config, role, role.patience(), role.statement_seconds())
    }

    /// Like [`Db::open`] for the read replica, when one is configured.
    pub fn open_replica(config: &DatabaseConfig, role: Role) -> Result<Option<Self>, DbError> {
        let Some(url) = &config.read_url else {
            return Ok(None);
        };
        let url = url.expose_secret();
        Self::open_url(url, config, role, REPLICA_PATIENCE, REPLICA_SECONDS).map(Some)
    }

    /// Where notifications can be listened for. That needs a connection of one's own: `None`
    /// behind a pooler that lends them per transaction, unless there is a way around it.
    pub fn open_listening(
        &self,
        config: &DatabaseConfig,
        role: Role,
    ) -> Result<Option<Self>, DbError> {
        match &config.listen_url {
            Some(url) => {
                let direct = DatabaseConfig {
                    pooled: false,
                    max_connections: 1,
                    ..config.clone()
                };
                let (url, seconds) = (url.expose_secret(), role.statement_seconds());
                Self::open_url(url, &direct, role, role.patience(), seconds).map(Some)
            }
            None => Ok((!config.pooled).then(|| self.clone())),
        }
    }

    fn open_url(
        url: &str,
        config: &DatabaseConfig,
        role: Role,
        patience: Duration,
        statement_seconds: u64,
    ) -> Result<Self, DbError> {
        let mut options = PgConnectOptions::from_str(url)?.application_name(role.name());
        if config.pooled {
            // Poolers know few settings of a connection, and this is none of them.
            options = options.extra_float_digits(None);
        } else {
            options = options
                .options(role.settings(statement_seconds))
                .options(NOTICE_THE_VANISHED);
        }
        let manners = Arc::new(Manners {
            named: !config.pooled,
            opening: config.pooled.then(|| opening(role, statement_seconds)),
            patience: Duration::from_secs(statement_seconds) + GRACE,
            doubt: Doubt::none(),
        });
        let pooled = config.pooled;
        let doubting = Arc::clone(&manners);
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(patience)
            .idle_timeout(Duration::from_mins(5))
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if pooled {
                        learn_types(connection).await?;
                    }
                    Ok(())
                })
            })
            .before_acquire(move |connection, known| {
                let doubted = doubting.doubt.concerns(known.idle_for);
                Box::pin(async move {
                    if !doubted {
                        return Ok(true);
                    }
                    let sign = tokio::time::timeout(SIGN_OF_LIFE, connection.ping()).await;
                    Ok(sign.is_ok_and(|sign| sign.is_ok()))
                })
            })
            .connect_lazy_with(options);
        // Half of the pool for each, and never all of it where it has more than one.
        let share = usize::try_from(config.max_connections.div_ceil(2)).unwrap_or(usize::MAX);
        let shares = (role == Role::Api).then(|| Arc::new(Shares::new(share.max(1), patience)));
        Ok(Self {
            pool,
            manners,
            shares,
        })
    }

    /// Refuses a connection that could look past the policies.
    pub async fn check_role(&self, role: Role) -> Result<(), DbError> {
        let row = sqlx::query(
            "SELECT current_user::text AS name, rolsuper OR rolbypassrls AS above_policies \
             FROM pg_roles WHERE rolname = current_user",
        )
        .fetch_one(self)
        .await?;
        let name: String = row.try_get("name")?;
        if name != role.name() || row.try_get("above_policies")? {
            return Err(DbError::Role(name));
        }
        Ok(())
    }

    /// The pool itself, for what needs a connection of its own.
    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) fn manners(&self) -> &Manners {
        &self.manners
    }

    pub(super) async fn line(&self) -> Result<Line, sqlx::Error> {
        let connection = self.pool.acquire().await?;
        Ok(Line::new(connection, Arc::clone(&self.manners)))
    }

    /// A transaction that sees one tenant's rows; one round trip. In the api-server it counts
    /// as one of the tenant's share of the pool.
    pub async fn begin(&self, scope: &TenantScope) -> Result<Tx, DbError> {
        let share = self.share(Holder::Tenant(scope.tenant_id())).await?;
        let mut tx = self.begin_many(std::slice::from_ref(scope)).await?;
        tx.hold_share(share);
        Ok(tx)
    }

    /// A transaction that sees the rows of several tenants: a batch of claimed jobs. It takes no
    /// share of the pool, so a request must not begin it.
    pub async fn begin_many(&self, scopes: &[TenantScope]) -> Result<Tx, DbError> {
        self.begin_saying(&scopes_setting(scopes)).await
    }

    /// A transaction that sees the one row whose secret has this hash. In the api-server it counts
    /// for the share of the pool that all clients without a tenant have together.
    pub async fn begin_by_secret(&self, hash: &[u8; 32]) -> Result<Tx, DbError> {
        let share = self.share(Holder::Stranger).await?;
        let mut tx = self
            .begin_with("poblysh.secret_hash", &hex::encode(hash))
            .await?;
        tx.hold_share(share);
        Ok(tx)
    }

    /// A place in the pool for authenticating a client: in the tenant's share where the credential
    /// is known, else in the one of clients without a tenant.
    pub(super) async fn share_of_client(
        &self,
        tenant: Option<TenantId>,
    ) -> Result<Option<OwnedSemaphorePermit>, DbError> {
        self.share(tenant.map_or(Holder::Stranger, Holder::Tenant))
            .await
    }

    /// Waits for a place in a share as long as for a connection of the pool.
    async fn share(&self, holder: Holder) -> Result<Option<OwnedSemaphorePermit>, DbError> {
        let Some(shares) = &self.shares else {
            return Ok(None);
        };
        let place = shares.acquire(holder).await;
        Ok(Some(place.ok_or(sqlx::Error::PoolTimedOut)?))
    }

    /// A transaction on tables that belong to no tenant, or that the role may see across them.
    pub async fn begin_unscoped(&self) -> Result<Tx, DbError> {
        self.begin_saying("").await
    }

    async fn begin_with(&self, setting: &str, value: &str) -> Result<Tx, DbError> {
        // Both are ours: a constant, and hexadecimal digits, dashes, commas and braces.
        self.begin_saying(&format!("SET LOCAL {setting} = '{value}'"))
            .await
    }

    /// Nothing has been done before a transaction has begun, so a connection that turns out
    /// to be dead costs its user nothing.
    async fn begin_saying(&self, opening: &str) -> Result<Tx, DbError> {
        match Tx::begin(self.line().await?, opening).await {
            Err(error) if is_lost(&error) && !is_silence(&error) => {
                Ok(Tx::begin(self.line().await?, opening).await?)
            }
            begun => Ok(begun?),
        }
    }

    /// Whether Postgres answers.
    pub async fn ping(&self) -> Result<(), DbError> {
        sqlx::query("SELECT 1").execute(self).await?;
        Ok(())
    }
}

/// Makes a connection know the schema's own types. It would ask for them when it first meets
/// one, between preparing a statement and running it, and what it prepared without a name would
/// be gone then.
async fn learn_types(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
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
    let met = sqlx::query(AssertSqlSafe(format!("SELECT {types}")))
        .persistent(false)
        .fetch_one(&mut *connection)
        .await;
    sqlx::raw_sql("ROLLBACK").execute(connection).await?;
    match met {
        Err(error) if !is_forgotten(&error) => Err(error),
        _ => Ok(()),
    }
}

/// The role's settings, for one transaction. All of it is ours.
fn opening(role: Role, statement_seconds: u64) -> String {
    let settings = role.settings(statement_seconds);
    let settings = settings
        .iter()
        .map(|(name, value)| format!("SET LOCAL {name} = '{value}'; "));
    settings.fold(String::new(), |all, setting| all + &setting)
}
