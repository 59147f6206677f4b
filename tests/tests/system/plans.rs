//! Query plans of the feed with every filter: the index, and the number of rows read.
//!
//! The server logs the plan of each statement of the API with `auto_explain`.

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use tests::harness::{Cluster, System, Tenant, TestDb};
use uuid::Uuid;

/// Number of Signals of each of two tenants.
const SIGNALS: i32 = 30_000;
/// Maximum number of rows that a page reads with any filter.
const MAX_ROWS_READ: f64 = 2_000.0;
/// Maximum number of sorted rows: a page's 50 Signals, one for `has_more`, and one other row.
const MAX_SORTED_ROWS: f64 = 52.0;
/// Number of executions; from the sixth on, Postgres may use a generic plan.
const REPETITIONS: usize = 7;

/// Parses the plans in the server's log.
fn parse_plans(log: &str) -> Vec<Value> {
    let mut plans = Vec::new();
    for (at, _) in log.match_indices("plan:\n") {
        let rest = &log[at + "plan:\n".len()..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        plans.extend(values.next().and_then(Result::ok));
    }
    plans
}

/// Returns all nodes of a plan.
fn nodes(plan: &Value) -> Vec<&Value> {
    let mut all = vec![plan];
    for child in plan["Plans"].as_array().into_iter().flatten() {
        all.extend(nodes(child));
    }
    all
}

/// Logs the plans of all statements of new sessions.
async fn enable_auto_explain(db: &TestDb) {
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(db.pool())
        .await
        .expect("the query result");
    for setting in [
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_analyze = on",
        "auto_explain.log_format = json",
    ] {
        let statement = format!("ALTER DATABASE {name} SET {setting}");
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(db.pool())
            .await
            .expect("a superuser");
    }
}

/// Inserts Signals of three sources and four kinds, one of which occurs once in 5,000.
async fn insert_signals(pool: &PgPool, tenant: Uuid) {
    sqlx::query(
        "INSERT INTO signals (tenant_id, id, connection_id, source, kind, dedupe_key, \
             occurred_at, received_at, schema_version, body, raw) \
         SELECT $1, gen_random_uuid(), $1, (ARRAY['github', 'slack', 'jira'])[1 + n % 3], \
             CASE WHEN n % 5000 = 0 THEN 'release_published' \
                  ELSE (ARRAY['issue_created', 'pr_opened', 'message_posted'])[1 + n % 3] END, \
             'n:' || n, now() - n * interval '1 minute', now(), 1, \
             '{\"actor\":{\"type\":\"unknown\"},\"normalized\":{}, \
               \"subject\":{\"type\":\"issue\",\"id\":\"1\",\"key\":null,\"title\":null,\"url\":null}, \
               \"context\":{\"type\":\"repository\",\"id\":\"1\",\"name\":null}}', '{}' \
         FROM generate_series(1, $2) n",
    )
    .bind(tenant)
    .bind(SIGNALS)
    .execute(pool)
    .await
    .expect("inserted");
}

/// Reads a list to its end and counts the Signals.
async fn count_signals(tenant: &Tenant<'_>, query: &str) -> usize {
    let (mut seen, mut cursor) = (0, String::new());
    loop {
        let page = tenant.get(&format!("/v1/signals?{query}{cursor}")).await;
        seen += page["signals"].as_array().expect("a list").len();
        if page["has_more"] == Value::Bool(false) {
            return seen;
        }
        let next = page["next_cursor"].as_str().expect("more follows");
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_reads_few_rows_by_index() {
    if !Cluster::is_available() {
        eprintln!("plans: SKIPPED, because PostgreSQL's server programs are not installed");
        return;
    }
    let cluster = Cluster::start().await;
    let db = TestDb::create_in(&cluster).await;
    enable_auto_explain(&db).await;
    let system = System::with_fast_provider()
        .database(db)
        .workers(0)
        .start()
        .await;
    let tenant = system.tenant("Acme").await;
    let other = system.tenant("Globex").await;
    insert_signals(system.db.pool(), tenant.id).await;
    insert_signals(system.db.pool(), other.id).await;
    sqlx::raw_sql("VACUUM ANALYZE signals")
        .execute(system.db.pool())
        .await
        .expect("analyzed");

    let connection = tenant.id;
    let unknown = Uuid::nil();
    let long_ago = "since=2000-01-01T00:00:00Z&until=2000-01-02T00:00:00Z";
    for filter in [
        String::new(),
        "source=github".to_owned(),
        "kind=release_published".to_owned(),
        "source=slack&kind=message_posted".to_owned(),
        format!("connection_id={connection}"),
        format!("connection_id={unknown}"),
        long_ago.to_owned(),
        format!("{long_ago}&kind=pr_opened"),
    ] {
        for order in ["feed", "recent"] {
            for _ in 0..REPETITIONS {
                let path = format!("/v1/signals?order={order}&{filter}");
                tenant.get(&path).await;
            }
        }
    }
    let rare = count_signals(&tenant, "limit=200&kind=release_published").await;
    assert_eq!(rare, usize::try_from(SIGNALS / 5000).expect("a few"));
    let rare = count_signals(&tenant, "limit=200&order=recent&kind=release_published").await;
    assert_eq!(rare, usize::try_from(SIGNALS / 5000).expect("a few"));

    let mut checked = 0;
    for plan in parse_plans(&cluster.read_log()) {
        let text = plan["Query Text"].as_str().unwrap_or_default();
        let index = match text {
            _ if !text.contains(" FROM signals WHERE tenant_id") => continue,
            _ if text.contains("ORDER BY tx_id, seq") => "signals_feed",
            _ if text.contains("ORDER BY occurred_at DESC, id DESC") => "signals_recent",
            _ => continue,
        };
        checked += 1;
        let nodes = nodes(&plan["Plan"]);
        for node in &nodes {
            let kind = node["Node Type"].as_str().unwrap_or_default();
            let of_signals = node["Relation Name"] == "signals";
            let slow = kind == "Seq Scan" && of_signals || kind.contains("Bitmap");
            assert!(!slow, "{plan:#}");
            let sorted =
                kind.contains("Sort") && node["Actual Rows"].as_f64() > Some(MAX_SORTED_ROWS);
            assert!(!sorted, "{plan:#}");
        }
        let scan = nodes
            .iter()
            .find(|node| node["Relation Name"] == "signals")
            .unwrap_or_else(|| panic!("no scan of signals: {plan:#}"));
        assert_eq!(scan["Index Name"], index, "{plan:#}");
        let rows = |field: &str| scan[field].as_f64().unwrap_or_default();
        let rows_read = rows("Actual Rows") + rows("Rows Removed by Filter");
        assert!(rows_read <= MAX_ROWS_READ, "{plan:#}");
    }
    eprintln!("plans: {checked} statements of the feed were checked");
    assert!(checked > 16 * REPETITIONS, "{checked} plans were logged");
}
