//! Webhook keys of connections: access of ingress and of an owner without superuser rights.

use shared::model::{ConnectionId, TenantId};
use sqlx::{AssertSqlSafe, PgPool};
use tests::harness::TestDb;
use url::Url;

use crate::bytes::create_connection;

/// An owner of databases without superuser rights, to whom the policies apply.
const OWNER: &str = "test_owner";

/// Creates a database that [`OWNER`] has migrated.
async fn migrated_by_owner() -> TestDb {
    let db = TestDb::empty().await;
    // The runtime roles exist after any migration; concurrent tests may create the owner.
    TestDb::create().await;
    for statement in [
        format!(
            "DO $$ BEGIN CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{OWNER}'; \
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        ),
        format!("GRANT poblysh_api, poblysh_ingress, poblysh_worker TO {OWNER} WITH ADMIN OPTION"),
        format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO {OWNER}', \
                 current_database()); END $$"
        ),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(db.pool())
            .await
            .expect("superuser rights");
    }
    let mut url = Url::parse(db.url()).expect("a URL");
    url.set_username(OWNER).expect("a name");
    url.set_password(Some(OWNER)).expect("a password");
    TestDb::migrate_as(url.as_str()).await;
    db
}

/// Calls `accept_webhook_secret` as ingress and returns its result.
async fn accept_secret(pool: &PgPool, tenant: TenantId, connection: ConnectionId) -> bool {
    let mut tx = pool.begin().await.expect("begun");
    sqlx::raw_sql("SET LOCAL ROLE poblysh_ingress")
        .execute(&mut *tx)
        .await
        .expect("a member");
    let accepted =
        sqlx::query_scalar("SELECT accept_webhook_secret($1, $2, gen_random_uuid(), 'sealed')")
            .bind(tenant)
            .bind(connection)
            .fetch_one(&mut *tx)
            .await
            .expect("execute privilege");
    tx.commit().await.expect("committed");
    accepted
}

#[tokio::test]
async fn owner_bound_by_policies_accepts_secret_once() {
    let db = migrated_by_owner().await;
    let owner: String = sqlx::query_scalar(
        "SELECT proowner::regrole::text FROM pg_proc WHERE proname = 'accept_webhook_secret'",
    )
    .fetch_one(db.pool())
    .await
    .expect("the function");
    assert_eq!(owner, OWNER);
    let (scope, connection) = create_connection(&db, "account").await;
    let tenant = scope.tenant_id();
    assert!(
        !accept_secret(db.pool(), tenant, connection).await,
        "not armed"
    );
    let arm = "INSERT INTO webhook_arming VALUES ($1, $2, now() + interval '15 minutes')";
    for _ in 0..3 {
        sqlx::query(arm)
            .bind(tenant)
            .bind(connection)
            .execute(db.pool())
            .await
            .expect("armed");
        assert!(accept_secret(db.pool(), tenant, connection).await);
        assert!(!accept_secret(db.pool(), tenant, connection).await, "once");
    }
    let is_current: Vec<bool> = sqlx::query_scalar(
        "SELECT expires_at IS NULL FROM webhook_secrets ORDER BY created_at DESC",
    )
    .fetch_all(db.pool())
    .await
    .expect("rows");
    assert_eq!(is_current, [true], "each secret ends the earlier one");
    let audited: i64 =
        sqlx::query_scalar("SELECT count(*) FROM audit_log WHERE actor = 'provider'")
            .fetch_one(db.pool())
            .await
            .expect("a number");
    assert_eq!(audited, 3);
}

#[tokio::test]
async fn ingress_cannot_write_webhook_keys_directly() {
    let db = TestDb::create().await;
    let mut session = db.connect_as("poblysh_ingress").await;
    for statement in [
        "INSERT INTO webhook_secrets (tenant_id, connection_id, id, secret) \
         VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'sealed')",
        "UPDATE webhook_secrets SET secret = 'sealed'",
        "DELETE FROM webhook_secrets",
        "INSERT INTO webhook_arming VALUES (gen_random_uuid(), gen_random_uuid(), now())",
        "SELECT put_webhook_key(gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), \
             'sealed', false, interval '1 day')",
    ] {
        let result = sqlx::raw_sql(statement).execute(&mut session).await;
        let error = result.expect_err(statement).to_string();
        assert!(error.contains("permission denied"), "{statement}: {error}");
    }
}
