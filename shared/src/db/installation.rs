//! Facts about the database server and the installation, for checks by an operator.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;

use super::{Db, DbError, webhook_results};

pub use webhook_results::DailyCount;

/// The database server, and the schema as a process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The version as a number, such as 150004.
    pub version_num: i32,
    /// The version for people.
    pub version: String,
    /// Whether it compresses with lz4, which the schema requires.
    pub has_lz4: bool,
    /// Roles of the installation that do not exist.
    pub missing_roles: Vec<String>,
    /// Names of the applied migrations; `None` if they are not readable.
    pub migrations: Option<Vec<String>>,
    /// The server's time when this host's clock showed `read_at`.
    pub time: DateTime<Utc>,
    /// The middle of the read, in this host's monotonic time.
    pub read_at: Instant,
}

/// Activity of a provider's connections of all tenants.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Activity {
    /// The provider's slug.
    pub provider: String,
    /// Connections that have not ended.
    pub connections: i64,
    /// Subscriptions that the provider holds for them.
    pub subscriptions: i64,
    /// When a subscription was last created or renewed.
    pub subscribed_at: Option<DateTime<Utc>>,
    /// When the last delivery of a connection arrived, to the minute.
    pub delivered_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct ServerRow {
    version_num: i32,
    version: String,
    has_lz4: bool,
    missing_roles: Vec<String>,
    reads_migrations: bool,
    time: DateTime<Utc>,
}

/// Reads the facts about the server.
///
/// It works in a database without schema as well.
pub async fn read_server(db: &Db) -> Result<Server, DbError> {
    // The first statement opens the session, which must not count as a difference of the clocks.
    sqlx::query("SELECT 1").execute(db).await?;
    let began_at = Instant::now();
    let row: ServerRow = sqlx::query_as(
        "SELECT current_setting('server_version_num')::integer AS version_num, \
             current_setting('server_version') AS version, \
             EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' \
                 AND 'lz4' = ANY (enumvals)) AS has_lz4, \
             ARRAY(SELECT r.name FROM unnest(ARRAY['poblysh_api', 'poblysh_ingress', \
                     'poblysh_operator', 'poblysh_worker']) AS r(name) \
                 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r.name)) AS missing_roles, \
             coalesce(has_table_privilege(to_regclass('public.seaql_migrations'), 'SELECT'), false) \
                 AS reads_migrations, \
             clock_timestamp() AS time",
    )
    .fetch_one(db)
    .await?;
    let round_trip = began_at.elapsed();
    let migrations = if row.reads_migrations {
        let names =
            sqlx::query_scalar("SELECT version FROM public.seaql_migrations ORDER BY version");
        Some(names.fetch_all(db).await?)
    } else {
        None
    };
    Ok(Server {
        version_num: row.version_num,
        version: row.version,
        has_lz4: row.has_lz4,
        missing_roles: row.missing_roles,
        migrations,
        time: row.time,
        read_at: began_at + round_trip / 2,
    })
}

impl Server {
    /// The server's clock minus a host's clock that shows `now` at this moment.
    pub fn clock_difference(&self, now: DateTime<Utc>) -> TimeDelta {
        let age = TimeDelta::from_std(self.read_at.elapsed()).unwrap_or_default();
        self.time + age - now
    }
}

/// Reads the activity of each provider with connections; runs in the api-server's role.
pub async fn read_activity(db: &Db) -> Result<Vec<Activity>, DbError> {
    let mut tx = db.begin_as_operator().await?;
    let found = sqlx::query_as(
        "SELECT c.provider, count(DISTINCT c.id) AS connections, \
             count(s.id) FILTER (WHERE s.external_id IS NOT NULL) AS subscriptions, \
             max(s.renewed_at) AS subscribed_at, max(a.last_delivery_at) AS delivered_at \
         FROM connections c \
         LEFT JOIN connection_activity a ON a.tenant_id = c.tenant_id AND a.connection_id = c.id \
         LEFT JOIN subscriptions s ON s.tenant_id = c.tenant_id AND s.connection_id = c.id \
         WHERE c.status <> 'disconnected' GROUP BY c.provider ORDER BY c.provider",
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.end_read();
    Ok(found)
}

/// Reads the results of webhook requests of the last 24 hours; runs in the api-server's role.
pub async fn read_webhook_results(db: &Db) -> Result<Vec<DailyCount>, DbError> {
    let mut tx = db.begin_as_operator().await?;
    let counts = webhook_results::list_daily(&mut tx).await?;
    tx.end_read();
    Ok(counts)
}
