//! Panics of a connector, each of which fails only one delivery or one job.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use shared::connectors::{
    AuthorizeRequest, Callback, CallbackOutcome, Connector, ConnectorDeps, ConnectorError,
    ConnectorSettings, Directory, Grant, KeySource, ProviderDescriptor, RefreshRequest, Registry,
    SyncPage, SyncRequest, TokenSet, VerifyError, WebhookDelivery, WebhookOutcome, WebhookReceipt,
    WebhookRequest,
};
use shared::http::HttpError;
use tests::harness::{System, Tenant, eventually};
use url::Url;

/// Text in a delivery's body on which the connector panics.
const POISON: &str = "an unexpected title";

/// Connector that panics on a text in deliveries, and optionally in every sync.
struct FaultyConnector {
    inner: Arc<dyn Connector>,
    panics_in_sync: bool,
}

#[async_trait]
impl Connector for FaultyConnector {
    fn descriptor(&self) -> &ProviderDescriptor {
        self.inner.descriptor()
    }

    fn authorize(&self, request: &AuthorizeRequest) -> Result<Url, ConnectorError> {
        self.inner.authorize(request)
    }

    async fn exchange_token(&self, callback: Callback) -> Result<CallbackOutcome, ConnectorError> {
        self.inner.exchange_token(callback).await
    }

    async fn refresh_token(&self, request: RefreshRequest) -> Result<TokenSet, ConnectorError> {
        self.inner.refresh_token(request).await
    }

    async fn revoke(&self, grant: &Grant) -> Result<(), ConnectorError> {
        self.inner.revoke(grant).await
    }

    async fn verify_webhook(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        self.inner.verify_webhook(request, keys).await
    }

    fn handle_webhook(
        &self,
        delivery: &WebhookDelivery,
        directory: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError> {
        let text = String::from_utf8_lossy(&delivery.body);
        assert!(!text.contains(POISON), "cannot be read: {POISON}");
        self.inner.handle_webhook(delivery, directory)
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncPage, ConnectorError> {
        assert!(!self.panics_in_sync, "no page can be read");
        self.inner.sync(request).await
    }
}

/// Creates the configured connectors, with a faulty one for GitHub.
fn with_faults(
    panics_in_sync: bool,
) -> impl FnOnce(ConnectorSettings, &ConnectorDeps) -> Result<Registry, HttpError> {
    move |settings, deps| {
        let mut registry = Registry::new(settings, deps)?;
        let inner = registry.get("github").expect("configured");
        registry.replace(Arc::new(FaultyConnector {
            inner,
            panics_in_sync,
        }));
        Ok(registry)
    }
}

/// Makes all queued jobs due.
async fn make_due(system: &System) {
    sqlx::query("UPDATE jobs SET run_at = now() WHERE state = 'queued'")
        .execute(system.db.pool())
        .await
        .expect("the query result");
}

async fn dead_jobs(tenant: &Tenant<'_>) -> Vec<Value> {
    let page = tenant.get("/v1/jobs?state=dead").await;
    page["jobs"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn panic_costs_one_delivery() {
    let system = System::with_fast_provider().workers(0).start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    let open = async |title: &str| {
        let act = json!({ "account": account, "action": "issues.opened", "title": title });
        system.sim("github/act", act).await;
    };
    for title in ["before", POISON, "behind"] {
        open(title).await;
    }
    system.quiesce().await;
    // Combines all deliveries in one job, as an ingress under load does.
    sqlx::query(
        "WITH gone AS (DELETE FROM jobs \
             WHERE kind = 'process_deliveries' AND tenant_id = $1 RETURNING *), \
         one AS (SELECT * FROM gone LIMIT 1) \
         INSERT INTO jobs (tenant_id, id, kind, provider, priority, payload) \
         SELECT tenant_id, id, kind, provider, priority, json_build_object('kind', kind, \
             'deliveries', (SELECT json_agg(id) FROM deliveries WHERE tenant_id = $1)) FROM one",
    )
    .bind(tenant.id)
    .execute(system.db.pool())
    .await
    .expect("the query result");
    system.start_worker_with(with_faults(false)).await;

    let mut dead = Vec::new();
    eventually("the job is dead-lettered", async || {
        make_due(&system).await;
        dead = dead_jobs(&tenant).await;
        !dead.is_empty()
    })
    .await;
    let [job] = dead.as_slice() else {
        panic!("one job is dead: {dead:#?}");
    };
    assert_eq!(job["attempts"], 3);
    assert_eq!(job["error"]["code"], "panicked");
    let message = job["error"]["message"].as_str().expect("a message");
    assert!(message.contains("cannot be read"), "{message}");
    let failed = tenant.get("/v1/webhook-deliveries?outcome=failed").await;
    let failed = failed["deliveries"].as_array().expect("a list");
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert_eq!(failed[0]["outcome_detail"], message);

    // A retry of the job processes it again.
    let path = format!("/v1/jobs/{}/retry", job["id"].as_str().expect("an id"));
    tenant.post(&path, &json!({})).await;
    eventually("the retried job is dead-lettered", async || {
        make_due(&system).await;
        dead_jobs(&tenant).await.len() == 2
    })
    .await;

    // The same worker processes the other deliveries and later ones.
    open("later").await;
    let titles = async || {
        tenant
            .map_feed(|signal| signal["subject"]["title"].clone())
            .await
    };
    eventually("all other Signals are in the feed", async || {
        let titles = titles().await;
        ["before", "behind", "later"]
            .iter()
            .all(|title| titles.contains(&json!(title)))
    })
    .await;
    let panics = system
        .metric(
            &system.api,
            "poblysh_job_panics_total",
            "process_deliveries",
        )
        .await;
    assert!(panics >= 6.0, "{panics} were counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn panicking_job_is_dead_lettered_with_its_message() {
    let system = System::with_fast_provider().workers(0).start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    system.start_worker_with(with_faults(true)).await;
    let connection = tenant.connect(&account, &admin).await;
    let mut dead = Vec::new();
    eventually("the sync is dead-lettered", async || {
        make_due(&system).await;
        dead = dead_jobs(&tenant).await;
        !dead.is_empty()
    })
    .await;
    let job = &dead[0];
    assert_eq!(
        (&job["kind"], &job["attempts"], &job["error"]["code"]),
        (&json!("sync_connection"), &json!(3), &json!("panicked"))
    );
    let message = job["error"]["message"].as_str().expect("a message");
    assert!(message.contains("no page can be read"), "{message}");
    // The connection shows the error, and the metric counts it as a sync without progress.
    let shown = tenant.get(&format!("/v1/connections/{connection}")).await;
    assert_eq!(shown["last_error"]["code"], "panicked", "{shown:#}");
    let stalled = system
        .metric(&system.api, "poblysh_sync_stalled_total", "panicked")
        .await;
    assert!(stalled >= 3.0, "{stalled}");
    // The worker still runs other jobs.
    let act = json!({ "account": account, "action": "issues.opened", "title": "later" });
    system.sim("github/act", act).await;
    eventually("a delivery is processed", async || {
        tenant
            .map_feed(|signal| signal["subject"]["title"].clone())
            .await
            .contains(&json!("later"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn persistent_statement_timeout_ends_its_job() {
    let system = System::with_fast_provider().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    system.drain().await;
    // Raises the error of a statement timeout for one Signal, without its 30 s.
    sqlx::raw_sql(
        "CREATE FUNCTION time_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.body::text LIKE '%an unexpected title%' THEN \
                 RAISE EXCEPTION 'canceling statement' USING ERRCODE = 'query_canceled'; \
             END IF; RETURN NEW; END $$; \
         CREATE TRIGGER time_out BEFORE INSERT ON signals FOR EACH ROW EXECUTE FUNCTION time_out()",
    )
    .execute(system.db.pool())
    .await
    .expect("a trigger");
    for title in ["before", POISON, "behind"] {
        let act = json!({ "account": account, "action": "issues.opened", "title": title });
        system.sim("github/act", act).await;
    }
    let mut dead = Vec::new();
    eventually("the job is dead-lettered", async || {
        make_due(&system).await;
        dead = dead_jobs(&tenant).await;
        !dead.is_empty()
    })
    .await;
    assert_eq!(dead[0]["error"]["code"], "statement_timeout", "{dead:#?}");
    let titles = tenant
        .map_feed(|signal| signal["subject"]["title"].clone())
        .await;
    for title in ["before", "behind"] {
        assert!(titles.contains(&json!(title)), "{title}: {titles:?}");
    }
}
