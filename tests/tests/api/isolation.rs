//! Every operation of the OpenAPI document, called without the required rights.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Api, ApiResponse, As, read};

/// An operation of the OpenAPI document.
struct Operation {
    id: String,
    method: Method,
    path: String,
    role: Option<String>,
    has_body: bool,
}

fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&api_server::openapi_json()).expect("JSON");
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("an item") {
            operations.push(Operation {
                id: operation["operationId"].as_str().expect("an id").to_owned(),
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                role: operation["x-required-scope"].as_str().map(str::to_owned),
                has_body: operation["requestBody"].is_object(),
            });
        }
    }
    assert!(operations.len() > 25);
    operations
}

/// A tenant and the ids of its resources.
struct Resources {
    tenant: Uuid,
    key: Uuid,
    connection: Uuid,
    job: Uuid,
    signal: Uuid,
    delivery: Uuid,
}

impl Operation {
    /// The path with ids of these resources.
    fn resource_path(&self, resources: &Resources) -> String {
        let id = match self.path.split('/').nth(2).expect("a resource") {
            "connections" => resources.connection,
            "jobs" => resources.job,
            "signals" => resources.signal,
            "webhook-deliveries" => resources.delivery,
            "tenants" if self.path.contains("api-keys") => resources.key,
            _ => resources.tenant,
        };
        self.path
            .replace("{tenant_id}", &resources.tenant.to_string())
            .replace("{id}", &id.to_string())
            .replace("{provider}", "github")
    }

    async fn call(&self, api: &Api, resources: &Resources, caller: As<'_>) -> ApiResponse {
        let mut request = api.request(self.method.clone(), &self.resource_path(resources), caller);
        if self.has_body {
            request = request.json(&json!({}));
        }
        read(request).await
    }
}

async fn create_resources(api: &Api) -> Resources {
    let team = api.team("Acme").await;
    let connection = api.connection(&team).await;
    let keys = api
        .get(&format!("/v1/tenants/{}/api-keys", team.id), As::Operator)
        .await
        .ok();
    Resources {
        tenant: team.id,
        key: keys["api_keys"][0]["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("a uuid"),
        connection,
        job: api.dead_job(&team, connection).await,
        signal: api.signal(&team, connection, "issue_created", 1).await,
        delivery: api.delivery(team.id, "failed").await,
    }
}

/// The operations that need no credential.
const PUBLIC: [&str; 9] = [
    "finish_connect",
    "get_health",
    "get_liveness",
    "get_metrics",
    "get_readiness",
    "list_providers",
    "list_signal_kinds",
    "open_connect_link",
    "start_connect",
];

#[tokio::test]
async fn private_operations_require_a_credential() {
    let api = Api::start().await;
    let resources = create_resources(&api).await;
    let mut public = Vec::new();
    for operation in operations() {
        if operation.role.is_none() {
            public.push(operation.id);
            continue;
        }
        let callers = [
            As::Anonymous,
            As::Key("pbk_unknown"),
            As::Key("not-a-key"),
            As::Key("\u{e9}"),
        ];
        for caller in callers {
            let response = operation.call(&api, &resources, caller).await;
            assert_eq!(response.status, 401, "{}: {}", operation.id, response.body);
            response.is_problem(401, "unauthorized");
            assert_eq!(response.headers["www-authenticate"], "Bearer");
        }
    }
    public.sort();
    assert_eq!(public, PUBLIC);
}

#[tokio::test]
async fn other_tenant_sees_nothing() {
    let api = Api::start().await;
    let resources = create_resources(&api).await;
    let stranger = api.team("Stranger").await;
    let before = snapshot(&api, &resources).await;
    for operation in operations() {
        if !operation.path.contains("{id}") && !operation.path.contains("{tenant_id}") {
            continue;
        }
        let response = operation.call(&api, &resources, stranger.auth()).await;
        let expected = if operation.role.as_deref() == Some("operator") {
            403
        } else {
            404
        };
        assert_eq!(
            response.status, expected,
            "{}: {}",
            operation.id, response.body
        );
        let shown = response.body.to_string();
        for id in [
            resources.connection,
            resources.job,
            resources.signal,
            resources.delivery,
        ] {
            assert!(
                !shown.contains(&id.to_string()),
                "{}: {shown}",
                operation.id
            );
        }
    }
    for path in ["connections", "jobs", "signals", "webhook-deliveries"] {
        let list = api.get(&format!("/v1/{path}"), stranger.auth()).await.ok();
        let items = list
            .as_object()
            .expect("an object")
            .values()
            .find_map(Value::as_array);
        assert_eq!(items.map(Vec::len), Some(0), "{path}");
    }
    assert_eq!(snapshot(&api, &resources).await, before, "no row changed");
}

#[tokio::test]
async fn operations_require_their_documented_scopes() {
    let api = Api::start().await;
    let resources = create_resources(&api).await;
    let scopes = [
        "signals:read",
        "connections:read",
        "connections:write",
        "jobs:read",
        "jobs:write",
        "deliveries:read",
    ];
    for operation in operations() {
        let Some(role) = operation.role.as_deref().filter(|role| *role != "operator") else {
            continue;
        };
        let others: Vec<&str> = scopes.into_iter().filter(|scope| *scope != role).collect();
        assert_eq!(others.len(), scopes.len() - 1, "{role} is no scope");
        let key = api
            .key(
                resources.tenant,
                &json!({ "name": "others", "scopes": others }),
            )
            .await;
        let response = operation.call(&api, &resources, As::Key(&key)).await;
        assert_eq!(response.status, 403, "{}: {}", operation.id, response.body);
        assert_eq!(response.body["details"]["needed"], role, "{}", operation.id);
    }
}

/// The resources as an operator sees them.
async fn snapshot(api: &Api, resources: &Resources) -> Value {
    let caller = As::OperatorOf(resources.tenant);
    let mut seen = Vec::new();
    for (resource, id) in [
        ("connections", resources.connection),
        ("jobs", resources.job),
        ("signals", resources.signal),
        ("webhook-deliveries", resources.delivery),
    ] {
        seen.push(api.get(&format!("/v1/{resource}/{id}"), caller).await.ok());
    }
    Value::Array(seen)
}
