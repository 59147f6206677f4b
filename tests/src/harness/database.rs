//! Test databases, each cloned from a template that is migrated once.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use migrations::Migrator;
use migrations::sea_orm::{ConnectOptions, Database};
use sea_orm_migration::MigratorTrait;
use secrecy::SecretString;
use shared::config::DatabaseConfig;
use shared::db::{Db, Role};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use url::Url;
use uuid::Uuid;

use super::{Cluster, cluster};

/// Advisory lock under which one process of the run creates the template.
const TEMPLATE_LOCK: i64 = 0x706f_626c;

/// Migrated database of one test.
#[derive(Debug, Clone)]
pub struct TestDb {
    url: String,
    pool: PgPool,
}

impl TestDb {
    /// Creates a migrated database.
    ///
    /// # Panics
    ///
    /// When there is no Postgres.
    pub async fn create() -> Self {
        Self::from_template(Some(&template().await)).await
    }

    /// Creates a database without schema, for tests of the migrations.
    ///
    /// # Panics
    ///
    /// When there is no Postgres.
    pub async fn empty() -> Self {
        Self::from_template(None).await
    }

    /// Creates a migrated database in the given cluster.
    ///
    /// # Panics
    ///
    /// When the cluster does not respond.
    pub async fn create_in(cluster: &Cluster) -> Self {
        let database = Self::create_on(&cluster.url(), None).await;
        database.migrate::<Migrator>().await;
        database
    }

    /// Number of this database's transactions that its sessions have reported so far.
    ///
    /// # Panics
    ///
    /// When Postgres does not respond.
    pub async fn transactions(&self) -> i64 {
        sqlx::query_scalar(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database \
             WHERE datname = current_database()",
        )
        .fetch_one(self.pool())
        .await
        .expect("the query result")
    }

    /// Opens the database in the worker's role, with a pool of this size.
    ///
    /// # Panics
    ///
    /// When the URL is invalid.
    pub fn as_worker(&self, connections: u32) -> Db {
        self.open_as(Role::Worker, connections)
    }

    /// Opens the database in the api-server's role, with a pool of this size.
    ///
    /// # Panics
    ///
    /// When the URL is invalid.
    pub fn as_api(&self, connections: u32) -> Db {
        self.open_as(Role::Api, connections)
    }

    fn open_as(&self, role: Role, connections: u32) -> Db {
        let config = DatabaseConfig {
            url: SecretString::from(self.url.clone()),
            read_url: None,
            listen_url: None,
            is_pooled: false,
            max_sessions: connections,
        };
        Db::open(&config, role).expect("a URL")
    }

    /// Applies the pending migrations of `M`.
    ///
    /// # Panics
    ///
    /// When a migration fails.
    pub async fn migrate<M: MigratorTrait>(&self) {
        migrate::<M>(self.url.clone()).await;
    }

    /// Applies all migrations as the user of this URL.
    ///
    /// # Panics
    ///
    /// When a migration fails.
    pub async fn migrate_as(url: &str) {
        migrate::<Migrator>(url.to_owned()).await;
    }

    async fn from_template(template: Option<&str>) -> Self {
        Self::create_on(cluster::url().await, template).await
    }

    /// Creates a database on the server of this URL.
    async fn create_on(server: &str, template: Option<&str>) -> Self {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let mut admin = admin(server).await;
        let source = template.map_or_else(String::new, |template| format!(" TEMPLATE {template}"));
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}{source}")))
            .execute(&mut admin)
            .await
            .expect("the database is created");
        let url = with_database(server, &name);
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .connect_lazy(&url)
            .expect("a URL");
        Self { url, pool }
    }

    /// Opens a session with exactly the rights of this role.
    ///
    /// # Panics
    ///
    /// When Postgres does not respond.
    pub async fn connect_as(&self, role: &str) -> PgConnection {
        let mut session = admin(&self.url).await;
        sqlx::raw_sql(AssertSqlSafe(format!("SET ROLE {role}")))
            .execute(&mut session)
            .await
            .expect("a member");
        session
    }

    /// The owner's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The owner's pool, which bypasses row-level security.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}

async fn admin(server: &str) -> PgConnection {
    PgConnection::connect(server)
        .await
        .expect("the query result")
}

fn with_database(server: &str, database: &str) -> String {
    let mut url = Url::parse(server).expect("a URL");
    url.set_path(database);
    url.to_string()
}

async fn migrate<M: MigratorTrait>(url: String) {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let database = Database::connect(options).await.expect("a pool");
    migrations::up::<M>(&database)
        .await
        .expect("the migrations apply");
    database.close().await.expect("closed");
}

async fn template() -> String {
    let name = format!("poblysh_template_{:x}", schema_hash());
    let server = cluster::url().await;
    let mut admin = admin(server).await;
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(&mut admin)
        .await
        .expect("a lock");
    let known: Option<i32> = sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
        .bind(&name)
        .fetch_optional(&mut admin)
        .await
        .expect("the query result");
    if known.is_none() {
        // The database gets its final name when it is complete: a run may be killed in between.
        let draft = format!("{name}_draft");
        for statement in [
            format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)"),
            format!("CREATE DATABASE {draft}"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut admin)
                .await
                .expect("a draft");
        }
        migrate::<Migrator>(with_database(server, &draft)).await;
        sqlx::raw_sql(AssertSqlSafe(format!(
            "ALTER DATABASE {draft} RENAME TO {name}"
        )))
        .execute(&mut admin)
        .await
        .expect("renamed");
    }
    admin.close().await.expect("the lock is released");
    name
}

/// Hash of the migrations' files, so that a kept server never serves an older schema.
fn schema_hash() -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/src")];
    let mut files = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the migrations' folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read(&path).expect("a migration's file");
                files.insert(path, text);
            }
        }
    }
    files.hash(&mut hasher);
    hasher.finish()
}
