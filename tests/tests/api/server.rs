//! An api-server with a separate database, and rows that other processes would write.

use api_server::Config;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use shared::config::Env;
use shared::service::Lifecycle;
use shared::telemetry::MetricsHandle;
use tests::harness::{OPERATOR_TOKEN, TestDb};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::contract;

/// A running api-server. No provider is configured.
pub(crate) struct Api {
    pub(crate) db: TestDb,
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) lifecycle: Lifecycle,
}

/// The caller of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum As<'a> {
    Anonymous,
    Operator,
    /// An operator with `X-Tenant-Id`.
    OperatorOf(Uuid),
    Key(&'a str),
}

/// A tenant and a key with all scopes.
#[derive(Debug, Clone)]
pub(crate) struct Team {
    pub(crate) id: Uuid,
    pub(crate) key: String,
}

impl Team {
    pub(crate) fn auth(&self) -> As<'_> {
        As::Key(&self.key)
    }
}

/// A response with its body.
#[derive(Debug)]
pub(crate) struct ApiResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl ApiResponse {
    /// Asserts that the response is a problem of this status and code.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["code"], code, "{}", self.body);
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("urn:poblysh:problem:{code}"));
        assert!(
            self.body["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        assert_eq!(self.body["detail"], self.body["message"]);
    }

    /// Returns the body; fails unless the status is a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.body);
        self.body
    }

    /// The invalid fields or parameters of a problem.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let fields = self.body["details"]["fields"].as_array();
        fields
            .into_iter()
            .flatten()
            .filter_map(|field| field["name"].as_str())
            .collect()
    }
}

impl Api {
    pub(crate) async fn start() -> Self {
        let db = TestDb::create().await;
        let url = db.url().to_owned();
        Self::on(db, &url).await
    }

    /// Starts with additional settings.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let db = TestDb::create().await;
        let url = db.url().to_owned();
        Self::serve(db, &url, settings).await
    }

    /// Starts with another database URL.
    pub(crate) async fn on(db: TestDb, database_url: &str) -> Self {
        Self::serve(db, database_url, &[]).await
    }

    async fn serve(db: TestDb, database_url: &str, settings: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let defaults = [
            ("POBLYSH_DATABASE_URL", database_url),
            (
                "POBLYSH_CRYPTO_KEY",
                "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
            ),
            ("POBLYSH_OPERATOR_TOKEN", OPERATOR_TOKEN),
        ];
        let env = Env::from_pairs(defaults.iter().chain(settings).copied());
        let config = Config::from_env(&env).expect("valid settings");
        let metrics = MetricsHandle::global().expect("a recorder");
        let server = api_server::start(config, listener, metrics)
            .await
            .expect("the server starts");
        Self {
            db,
            url: format!("http://{}", server.address()),
            client: Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .expect("a client"),
            lifecycle: server.lifecycle().clone(),
        }
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        caller: As<'_>,
    ) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        match caller {
            As::Anonymous => request,
            As::Operator => request.bearer_auth(OPERATOR_TOKEN),
            As::OperatorOf(tenant) => request
                .bearer_auth(OPERATOR_TOKEN)
                .header("X-Tenant-Id", tenant.to_string()),
            As::Key(key) => request.bearer_auth(key),
        }
    }

    pub(crate) async fn get(&self, path: &str, caller: As<'_>) -> ApiResponse {
        read(self.request(Method::GET, path, caller)).await
    }

    pub(crate) async fn post(&self, path: &str, caller: As<'_>, body: &Value) -> ApiResponse {
        read(self.request(Method::POST, path, caller).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, caller: As<'_>, body: &Value) -> ApiResponse {
        read(self.request(Method::PATCH, path, caller).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str, caller: As<'_>) -> ApiResponse {
        read(self.request(Method::DELETE, path, caller)).await
    }

    /// Creates a tenant with a key.
    pub(crate) async fn team(&self, name: &str) -> Team {
        let tenant = self
            .post("/v1/tenants", As::Operator, &json!({ "name": name }))
            .await
            .ok();
        let id: Uuid = tenant["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("a uuid");
        let key = self.key(id, &json!({ "name": "tests" })).await;
        Team { id, key }
    }

    /// Creates another key of a tenant.
    pub(crate) async fn key(&self, tenant: Uuid, body: &Value) -> String {
        let path = format!("/v1/tenants/{tenant}/api-keys");
        let created = self.post(&path, As::Operator, body).await.ok();
        created["key"].as_str().expect("a key").to_owned()
    }

    /// Runs a statement as the database's owner.
    pub(crate) async fn sql(&self, statement: &'static str, tenant: Uuid, id: Uuid) {
        sqlx::query(statement)
            .bind(tenant)
            .bind(id)
            .execute(self.db.pool())
            .await
            .expect("the statement runs");
    }

    /// Reads a number as the database's owner.
    pub(crate) async fn count(&self, statement: &'static str, tenant: Uuid, id: Uuid) -> i64 {
        sqlx::query_scalar(statement)
            .bind(tenant)
            .bind(id)
            .fetch_one(self.db.pool())
            .await
            .expect("a number")
    }

    /// Inserts an active connection with a route, tokens and a cursor.
    pub(crate) async fn connection(&self, team: &Team) -> Uuid {
        let id = Uuid::now_v7();
        self.sql(
            "INSERT INTO connections (tenant_id, id, provider, status, account_id, account_name, \
                 account_stable_id, poll_interval_seconds) \
             VALUES ($1, $2, 'github', 'active', $2::text, 'octo-org', $2::text, 300)",
            team.id,
            id,
        )
        .await;
        self.sql(
            "INSERT INTO connection_routes (tenant_id, connection_id, provider, account_id, \
                 exclusive, polling, poll_interval_seconds) \
             VALUES ($1, $2, 'github', $2::text, true, true, 300)",
            team.id,
            id,
        )
        .await;
        self.sql(
            "INSERT INTO credentials (tenant_id, connection_id, holder) \
             VALUES ($1, $2, 'account')",
            team.id,
            id,
        )
        .await;
        self.sql(
            "INSERT INTO cursors (tenant_id, connection_id, stream, target, backfill_from) \
             VALUES ($1, $2, 'issues:1', '{}', now())",
            team.id,
            id,
        )
        .await;
        id
    }

    /// Inserts a queued job of a connection.
    pub(crate) async fn queued_job(&self, team: &Team, connection: Uuid) -> Uuid {
        let id = Uuid::now_v7();
        self.job(
            "INSERT INTO jobs (tenant_id, id, kind, provider, connection_id, priority, payload) \
             VALUES ($1, $2, 'sync_connection', 'github', $3, 50, \
                 '{\"kind\":\"sync_connection\",\"mode\":\"full\"}')",
            team,
            id,
            connection,
        )
        .await;
        id
    }

    /// Inserts a dead job of a connection.
    pub(crate) async fn dead_job(&self, team: &Team, connection: Uuid) -> Uuid {
        let id = Uuid::now_v7();
        self.job(
            "INSERT INTO job_history (tenant_id, id, kind, provider, connection_id, state, \
                 priority, attempts, max_attempts, payload, last_error, created_at) \
             VALUES ($1, $2, 'sync_connection', 'github', $3, 'dead', 50, 3, 3, \
                 '{\"kind\":\"sync_connection\",\"mode\":\"full\"}', \
                 '{\"code\":\"permission\",\"message\":\"The provider denies permission.\"}', now())",
            team,
            id,
            connection,
        )
        .await;
        id
    }

    async fn job(&self, statement: &'static str, team: &Team, id: Uuid, connection: Uuid) {
        sqlx::query(statement)
            .bind(team.id)
            .bind(id)
            .bind(connection)
            .execute(self.db.pool())
            .await
            .expect("the job is stored");
    }

    /// Inserts a Signal that happened this many minutes ago.
    pub(crate) async fn signal(
        &self,
        team: &Team,
        connection: Uuid,
        kind: &str,
        minutes: i32,
    ) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO signals (tenant_id, id, connection_id, source, kind, dedupe_key, \
                 occurred_at, received_at, schema_version, body, raw) \
             VALUES ($1, $2, $3, 'github', $4, 'github:' || $2::text, \
                 now() - make_interval(mins => $5), now(), 1, \
                 '{\"actor\":{\"type\":\"unknown\"}, \
                   \"subject\":{\"type\":\"issue\",\"id\":\"1\",\"key\":null,\"title\":null,\"url\":null}, \
                   \"context\":{\"type\":\"repository\",\"id\":\"1\",\"name\":\"octo/repo\"}, \
                   \"normalized\":{\"number\":1}}', '{\"id\":1}')",
        )
        .bind(team.id)
        .bind(id)
        .bind(connection)
        .bind(kind)
        .bind(minutes)
        .execute(self.db.pool())
        .await
        .expect("the Signal is stored");
        id
    }

    /// Inserts a delivery of a tenant; the nil tenant's match no connection.
    pub(crate) async fn delivery(&self, tenant: Uuid, outcome: &'static str) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO deliveries (tenant_id, received_at, id, provider, account_id, dedupe_id, \
                 event, headers, body, outcome) \
             VALUES ($1, to_timestamp($3 / 1000.0), $2, 'github', '1', $2::text, 'issues.opened', \
                 '{\"x-github-event\":\"issues\"}', convert_to('{\"action\":\"opened\"}', 'UTF8'), \
                 $4::delivery_outcome)",
        )
        .bind(tenant)
        .bind(id)
        .bind(milliseconds(id))
        .bind(outcome)
        .execute(self.db.pool())
        .await
        .expect("the delivery is stored");
        id
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.lifecycle.draining().cancel();
        self.lifecycle.aborted().cancel();
    }
}

/// Sends a request and reads the response, which must be as the OpenAPI document says.
pub(crate) async fn read(request: reqwest::RequestBuilder) -> ApiResponse {
    let (client, request) = request.build_split();
    let request = request.expect("a request");
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await.expect("a response");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("a body");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    let response = ApiResponse {
        status,
        headers,
        body,
    };
    contract::check(&method, &path, &response);
    response
}

fn milliseconds(id: Uuid) -> f64 {
    let (seconds, nanos) = id.get_timestamp().expect("version 7").to_unix();
    let milliseconds = seconds * 1000 + u64::from(nanos / 1_000_000);
    u32::try_from(milliseconds / 1000).map_or(0.0, f64::from) * 1000.0
        + u32::try_from(milliseconds % 1000).map_or(0.0, f64::from)
}

/// The ids of a list, in order.
pub(crate) fn ids(list: &Value) -> Vec<Uuid> {
    let items = list.as_array().expect("a list").iter();
    items
        .map(|item| item["id"].as_str().expect("an id").parse().expect("a uuid"))
        .collect()
}
