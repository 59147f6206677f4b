//! The pool: role, timeouts and scoped transactions.

use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool, Row};

use super::{DbError, TenantScope, Tx};
use crate::config::DatabaseConfig;

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
}

/// A pool of connections that all run as one [`Role`].
#[derive(Debug, Clone)]
pub struct Db {
    pool: PgPool,
}

impl Db {
    /// Opens a pool without connecting: a process starts, and stays unready, while Postgres
    /// is away. A connection that logs in as somebody else takes the role on at once.
    pub fn open(config: &DatabaseConfig, role: Role) -> Result<Self, DbError> {
        Self::open_url(config.url.expose_secret(), config.max_connections, role)
    }

    /// Like [`Db::open`] for the read replica, when one is configured.
    pub fn open_replica(config: &DatabaseConfig, role: Role) -> Result<Option<Self>, DbError> {
        let Some(url) = &config.read_url else {
            return Ok(None);
        };
        Self::open_url(url.expose_secret(), config.max_connections, role).map(Some)
    }

    fn open_url(url: &str, max_connections: u32, role: Role) -> Result<Self, DbError> {
        let options = PgConnectOptions::from_str(url)?
            .application_name(role.name())
            .options([
                ("role", role.name()),
                ("statement_timeout", "30s"),
                ("idle_in_transaction_session_timeout", "60s"),
                // The promise "acknowledged after commit" must not hang on a server's default.
                ("synchronous_commit", "on"),
                ("jit", "off"),
            ]);
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(role.patience())
            .idle_timeout(Duration::from_mins(5))
            // A ping before each use would double the round trips; a dead connection shows
            // itself at its first statement and the caller's error says "unavailable".
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// Refuses a connection that could look past the policies.
    pub async fn check_role(&self, role: Role) -> Result<(), DbError> {
        let row = sqlx::query(
            "SELECT current_user::text AS name, rolsuper OR rolbypassrls AS above_policies \
             FROM pg_roles WHERE rolname = current_user",
        )
        .fetch_one(&self.pool)
        .await?;
        let name: String = row.try_get("name")?;
        if name != role.name() || row.try_get("above_policies")? {
            return Err(DbError::Role(name));
        }
        Ok(())
    }

    /// The pool, for statements on tables that belong to no tenant.
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A transaction that sees one tenant's rows; one round trip.
    pub async fn begin(&self, scope: &TenantScope) -> Result<Tx, DbError> {
        self.begin_many(std::slice::from_ref(scope)).await
    }

    /// A transaction that sees the rows of several tenants: a batch of claimed jobs.
    pub async fn begin_many(&self, scopes: &[TenantScope]) -> Result<Tx, DbError> {
        let mut tenants = String::new();
        for scope in scopes {
            if !tenants.is_empty() {
                tenants.push(',');
            }
            tenants.push_str(&scope.tenant_id().to_string());
        }
        self.begin_with("poblysh.tenants", &format!("{{{tenants}}}"))
            .await
    }

    /// A transaction that sees the one row whose secret has this hash.
    pub async fn begin_by_secret(&self, hash: &[u8; 32]) -> Result<Tx, DbError> {
        self.begin_with("poblysh.secret_hash", &hex::encode(hash))
            .await
    }

    async fn begin_with(&self, setting: &str, value: &str) -> Result<Tx, DbError> {
        // Both are ours: a constant, and hexadecimal digits, dashes, commas and braces.
        let statement = format!("BEGIN; SET LOCAL {setting} = '{value}'");
        Ok(self.pool.begin_with(AssertSqlSafe(statement)).await?)
    }

    /// Whether Postgres answers.
    pub async fn ping(&self) -> Result<(), DbError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }
}
