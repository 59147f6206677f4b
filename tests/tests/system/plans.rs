//! How Postgres answers the feed's readers: by which index, and how much it looks at, with every
//! filter. The server itself writes down the plan of each statement that the API sends.

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use tests::harness::{Cluster, System, Tenant, TestDb};
use uuid::Uuid;

/// Signals of the tenant; as many belong to another one.
const SIGNALS: i32 = 30_000;
/// Rows that a page may look at, whatever its filters leave.
const LOOKED_AT: f64 = 2_000.0;
/// Signals of a page, one to see whether more follow, and a row for what belongs to none of them.
const PAGE: f64 = 52.0;
/// From the sixth on, Postgres may keep one plan for all values.
const TIMES: usize = 7;

/// Plans of statements that ran, as the server logged them.
fn plans(log: &str) -> Vec<Value> {
    let mut plans = Vec::new();
    for (at, _) in log.match_indices("plan:\n") {
        let rest = &log[at + "plan:\n".len()..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        plans.extend(values.next().and_then(Result::ok));
    }
    plans
}

/// Every node of a plan.
fn nodes(plan: &Value) -> Vec<&Value> {
    let mut all = vec![plan];
    for child in plan["Plans"].as_array().into_iter().flatten() {
        all.extend(nodes(child));
    }
    all
}

/// Has the server write down what it does for everybody who connects from now on.
async fn explain_everything(db: &TestDb) {
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(db.pool())
        .await
        .expect("Postgres answers");
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

/// Signals of three sources and ten kinds, one in five thousand of a kind of its own.
async fn fill(pool: &PgPool, tenant: Uuid) {
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

/// Follows a list to its end; answers how many Signals it had.
async fn follow(tenant: &Tenant<'_>, query: &str) -> usize {
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
async fn every_page_is_read_by_an_index_and_looks_at_little() {
    if !Cluster::is_possible() {
        eprintln!("plans: SKIPPED, because PostgreSQL's server programs are not installed");
        return;
    }
    let cluster = Cluster::start().await;
    let db = TestDb::within(&cluster).await;
    explain_everything(&db).await;
    let system = System::with_fast_provider()
        .database(db)
        .workers(0)
        .start()
        .await;
    let tenant = system.tenant("Acme").await;
    let other = system.tenant("Globex").await;
    fill(system.db.pool(), tenant.id).await;
    fill(system.db.pool(), other.id).await;
    sqlx::raw_sql("VACUUM ANALYZE signals")
        .execute(system.db.pool())
        .await
        .expect("analyzed");

    let connection = tenant.id;
    let nobody = Uuid::nil();
    let long_ago = "since=2000-01-01T00:00:00Z&until=2000-01-02T00:00:00Z";
    for filter in [
        String::new(),
        "source=github".to_owned(),
        "kind=release_published".to_owned(),
        "source=slack&kind=message_posted".to_owned(),
        format!("connection_id={connection}"),
        format!("connection_id={nobody}"),
        long_ago.to_owned(),
        format!("{long_ago}&kind=pr_opened"),
    ] {
        for order in ["feed", "recent"] {
            for _ in 0..TIMES {
                let path = format!("/v1/signals?order={order}&{filter}");
                tenant.get(&path).await;
            }
        }
    }
    let rare = follow(&tenant, "limit=200&kind=release_published").await;
    assert_eq!(rare, usize::try_from(SIGNALS / 5000).expect("a few"));
    let rare = follow(&tenant, "limit=200&order=recent&kind=release_published").await;
    assert_eq!(rare, usize::try_from(SIGNALS / 5000).expect("a few"));

    let mut held = 0;
    for plan in plans(&cluster.whole_log()) {
        let text = plan["Query Text"].as_str().unwrap_or_default();
        let index = match text {
            _ if !text.contains(" FROM signals WHERE tenant_id") => continue,
            _ if text.contains("ORDER BY tx_id, seq") => "signals_feed",
            _ if text.contains("ORDER BY occurred_at DESC, id DESC") => "signals_recent",
            _ => continue,
        };
        held += 1;
        let nodes = nodes(&plan["Plan"]);
        for node in &nodes {
            let kind = node["Node Type"].as_str().unwrap_or_default();
            let of_signals = node["Relation Name"] == "signals";
            let slow = kind == "Seq Scan" && of_signals || kind.contains("Bitmap");
            assert!(!slow, "{plan:#}");
            let sorted = kind.contains("Sort") && node["Actual Rows"].as_f64() > Some(PAGE);
            assert!(!sorted, "{plan:#}");
        }
        let scan = nodes
            .iter()
            .find(|node| node["Relation Name"] == "signals")
            .unwrap_or_else(|| panic!("no scan of signals: {plan:#}"));
        assert_eq!(scan["Index Name"], index, "{plan:#}");
        let rows = |field: &str| scan[field].as_f64().unwrap_or_default();
        let looked_at = rows("Actual Rows") + rows("Rows Removed by Filter");
        assert!(looked_at <= LOOKED_AT, "{plan:#}");
    }
    eprintln!("plans: {held} statements of the feed were held");
    assert!(held > 16 * TIMES, "{held} plans were logged");
}
