//! Isolation of tenants and roles, checked in the system catalog.

use sqlx::Row;
use tests::harness::TestDb;

/// All tables with tenant data, including partitions.
const TENANT_TABLES: &str = "SELECT c.oid, c.relname, c.relrowsecurity, c.relforcerowsecurity \
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' \
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')";

#[tokio::test]
async fn every_tenant_table_forces_row_level_security() {
    let db = TestDb::create().await;
    let tables = sqlx::query(TENANT_TABLES)
        .fetch_all(db.pool())
        .await
        .expect("the catalog");
    assert!(tables.len() > 14, "the query finds the tables");
    for table in tables {
        let name: String = table.get("relname");
        assert!(
            table.get::<bool, _>("relrowsecurity"),
            "{name} has no row-level security"
        );
        assert!(
            table.get::<bool, _>("relforcerowsecurity"),
            "{name} does not force row-level security"
        );
    }
}

#[tokio::test]
async fn tenant_id_leads_primary_key_of_tenant_tables() {
    let db = TestDb::create().await;
    let wrong: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' \
         LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') \
           AND (i.indkey IS NULL OR i.indkey[0] <> a.attnum)",
    )
    .fetch_all(db.pool())
    .await
    .expect("the catalog");
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn role_without_scope_sees_no_row() {
    let db = TestDb::create().await;
    let mut tx = db.pool().begin().await.expect("a transaction");
    let tenant = uuid::Uuid::now_v7();
    sqlx::query("INSERT INTO tenants (id, name) VALUES ($1, 'one')")
        .bind(tenant)
        .execute(&mut *tx)
        .await
        .expect("a tenant");
    sqlx::query(
        "INSERT INTO connections (tenant_id, id, provider, status, poll_interval_seconds) \
         VALUES ($1, $1, 'any', 'disconnected', 60)",
    )
    .bind(tenant)
    .execute(&mut *tx)
    .await
    .expect("a connection");
    for role in ["poblysh_api", "poblysh_worker"] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("SET LOCAL ROLE {role}")))
            .execute(&mut *tx)
            .await
            .expect("a member");
        for (scope, rows) in [
            (None, 0_i64),
            (Some(uuid::Uuid::now_v7()), 0),
            (Some(tenant), 1),
        ] {
            let value = scope.map_or_else(String::new, |tenant| format!("{{{tenant}}}"));
            sqlx::query("SELECT set_config('poblysh.tenants', $1, true)")
                .bind(value)
                .execute(&mut *tx)
                .await
                .expect("set");
            let visible_rows: i64 = sqlx::query_scalar("SELECT count(*) FROM connections")
                .fetch_one(&mut *tx)
                .await
                .expect("readable");
            assert_eq!(visible_rows, rows, "{role} with {scope:?}");
        }
        sqlx::raw_sql("RESET ROLE")
            .execute(&mut *tx)
            .await
            .expect("reset");
    }
}

#[tokio::test]
async fn ingress_cannot_read_tenant_data() {
    let db = TestDb::create().await;
    let mut session = db.connect_as("poblysh_ingress").await;
    for table in [
        "signals",
        "credentials",
        "token_refresh_log",
        "directory_entries",
        "connections",
        "webhook_secrets",
        "webhook_arming",
        "deliveries",
        "jobs",
        "api_keys",
        "audit_log",
        "operators",
        "operator_login_links",
        "operator_sessions",
    ] {
        let read = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("SELECT * FROM {table}")))
            .execute(&mut session)
            .await;
        let error = read.expect_err(table).to_string();
        assert!(error.contains("permission denied"), "{table}: {error}");
    }
}

#[tokio::test]
async fn ingress_enqueues_only_jobs_that_process_deliveries() {
    let db = TestDb::create().await;
    let mut session = db.connect_as("poblysh_ingress").await;
    for (kind, payload, state, is_allowed) in [
        ("process_deliveries", "process_deliveries", "queued", true),
        ("process_deliveries", "process_deliveries", "running", false),
        ("process_deliveries", "refresh_token", "queued", false),
        ("sync_connection", "process_deliveries", "queued", false),
        ("refresh_token", "refresh_token", "queued", false),
    ] {
        let result = sqlx::query(
            "INSERT INTO jobs (tenant_id, id, kind, provider, state, priority, payload) \
             VALUES (gen_random_uuid(), gen_random_uuid(), $1::job_kind, 'any', $2::job_state, 0, \
                 json_build_object('kind', $3::text))",
        )
        .bind(kind)
        .bind(state)
        .bind(payload)
        .execute(&mut session)
        .await;
        assert_eq!(
            result.is_ok(),
            is_allowed,
            "{kind} {payload} {state}: {result:?}"
        );
    }
}

#[tokio::test]
async fn worker_cannot_read_webhook_secrets() {
    let db = TestDb::create().await;
    let mut session = db.connect_as("poblysh_worker").await;
    let read = sqlx::raw_sql("SELECT secret FROM webhook_secrets")
        .execute(&mut session)
        .await;
    let error = read.expect_err("rejected").to_string();
    assert!(error.contains("permission denied"), "{error}");
}

#[tokio::test]
async fn only_api_server_stores_tokens_of_new_grants() {
    let db = TestDb::create().await;
    let statement = "INSERT INTO credentials (tenant_id, connection_id, holder) \
                     SELECT gen_random_uuid(), gen_random_uuid(), 'account' WHERE false";
    for (role, is_allowed) in [
        ("poblysh_api", true),
        ("poblysh_worker", false),
        ("poblysh_ingress", false),
    ] {
        let mut session = db.connect_as(role).await;
        let result = sqlx::raw_sql(statement).execute(&mut session).await;
        assert_eq!(result.is_ok(), is_allowed, "{role}: {result:?}");
    }
}

#[tokio::test]
async fn runtime_roles_own_nothing_and_obey_policies() {
    let db = TestDb::create().await;
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'poblysh\\_%' \
                 AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb)) AS privileged, \
                (SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner \
                 WHERE r.rolname LIKE 'poblysh\\_%') AS owned",
    )
    .fetch_one(db.pool())
    .await
    .expect("the catalog");
    assert_eq!(
        (row.get::<i64, _>("privileged"), row.get::<i64, _>("owned")),
        (0, 0)
    );
}

/// Runs a statement in the operators' role.
async fn run_as_operator(db: &TestDb, statement: &str) -> Result<u64, String> {
    let mut session = db.connect_as("poblysh_operator").await;
    let result = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
        .execute(&mut session)
        .await;
    result
        .map(|done| done.rows_affected())
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn operators_role_reads_no_secrets_bodies_raw() {
    let db = TestDb::create().await;
    for (table, columns) in [
        ("credentials", "access_token"),
        ("credentials", "refresh_token"),
        ("connection_routes", "grant_key"),
        ("cursors", "cursor"),
        ("cursors", "target"),
        ("deliveries", "body"),
        ("deliveries", "headers"),
        ("signals", "raw"),
        ("subscriptions", "state"),
        ("subscriptions", "target"),
        ("api_keys", "*"),
        ("connect_links", "*"),
        ("delivery_dedup", "*"),
        ("directory_entries", "*"),
        ("idempotency_keys", "*"),
        ("oauth_states", "*"),
        ("operators", "token_hash"),
        ("operator_login_links", "*"),
        ("operator_sessions", "*"),
        ("token_refresh_log", "*"),
        ("webhook_secrets", "*"),
    ] {
        let read = run_as_operator(&db, &format!("SELECT {columns} FROM {table}")).await;
        let error = read.expect_err(table);
        assert!(error.contains("permission denied"), "{table}: {error}");
    }
}

#[tokio::test]
async fn operators_role_writes_nothing() {
    let db = TestDb::create().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class \
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')",
    )
    .fetch_all(db.pool())
    .await
    .expect("the catalog");
    assert!(tables.len() > 20, "{tables:?}");
    let writable: Vec<String> = sqlx::query_scalar(
        "SELECT relname || ' ' || p FROM pg_class, unnest('{INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) p \
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') \
           AND (has_table_privilege('poblysh_operator', oid, p) \
             OR p IN ('INSERT', 'UPDATE') AND has_any_column_privilege('poblysh_operator', oid, p))",
    )
    .fetch_all(db.pool())
    .await
    .expect("the catalog");
    assert_eq!(writable, Vec::<String>::new());
}

#[tokio::test]
async fn only_operators_role_reads_across_tenants() {
    let db = TestDb::create().await;
    for statement in [
        "INSERT INTO tenants (id, name) SELECT gen_random_uuid(), n::text FROM generate_series(1, 3) n",
        "INSERT INTO connections (tenant_id, id, provider, status, poll_interval_seconds) \
         SELECT id, gen_random_uuid(), 'any', 'disconnected', 60 FROM tenants",
    ] {
        let done = sqlx::query(statement).execute(db.pool()).await;
        assert_eq!(done.expect("inserted").rows_affected(), 3);
    }
    for (role, visible) in [
        ("poblysh_operator", 3),
        ("poblysh_api", 0),
        ("poblysh_worker", 0),
    ] {
        let mut session = db.connect_as(role).await;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM connections")
            .fetch_one(&mut session)
            .await
            .expect("readable");
        assert_eq!(count, visible, "{role}");
    }
    // The API's role may switch to it, and has none of its privileges before that.
    let (may_switch, inherits): (bool, bool) = sqlx::query_as(
        "SELECT pg_has_role('poblysh_api', 'poblysh_operator', 'MEMBER'), \
             pg_has_role('poblysh_api', 'poblysh_operator', 'USAGE')",
    )
    .fetch_one(db.pool())
    .await
    .expect("the catalog");
    assert!(may_switch && !inherits);
    for role in ["poblysh_worker", "poblysh_ingress"] {
        let may_switch: bool =
            sqlx::query_scalar("SELECT pg_has_role($1, 'poblysh_operator', 'MEMBER')")
                .bind(role)
                .fetch_one(db.pool())
                .await
                .expect("the catalog");
        assert!(!may_switch, "{role}");
    }
}
