//! Every operation of the document, by every caller who must not get through.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Answer, Api, As, read};

/// An operation of the document.
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
                role: operation["security"][0]["bearer"][0]
                    .as_str()
                    .map(str::to_owned),
                has_body: operation["requestBody"].is_object(),
            });
        }
    }
    assert!(operations.len() > 25);
    operations
}

/// The tenant whose things are asked for.
struct Things {
    tenant: Uuid,
    key: Uuid,
    connection: Uuid,
    job: Uuid,
    signal: Uuid,
    delivery: Uuid,
}

impl Operation {
    /// Its path, with ids of these things.
    fn path_to(&self, things: &Things) -> String {
        let id = match self.path.split('/').nth(2).expect("a resource") {
            "connections" => things.connection,
            "jobs" => things.job,
            "signals" => things.signal,
            "webhook-deliveries" => things.delivery,
            "tenants" if self.path.contains("api-keys") => things.key,
            _ => things.tenant,
        };
        self.path
            .replace("{tenant_id}", &things.tenant.to_string())
            .replace("{id}", &id.to_string())
            .replace("{provider}", "github")
    }

    async fn call(&self, api: &Api, things: &Things, who: As<'_>) -> Answer {
        let mut request = api.request(self.method.clone(), &self.path_to(things), who);
        if self.has_body {
            request = request.json(&json!({}));
        }
        read(request).await
    }
}

async fn acme(api: &Api) -> Things {
    let team = api.team("Acme").await;
    let connection = api.connection(&team).await;
    let keys = api
        .get(&format!("/v1/tenants/{}/api-keys", team.id), As::Operator)
        .await
        .ok();
    Things {
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

/// What a browser or a supervisor may ask for without a credential, and everybody else as well.
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
async fn without_a_credential_every_operation_but_the_public_ones_is_401() {
    let api = Api::start().await;
    let things = acme(&api).await;
    let mut public = Vec::new();
    for operation in operations() {
        if operation.role.is_none() {
            public.push(operation.id);
            continue;
        }
        let strangers = [
            As::Nobody,
            As::Key("pbk_unknown"),
            As::Key("not-a-key"),
            As::Key("\u{e9}"),
        ];
        for who in strangers {
            let answer = operation.call(&api, &things, who).await;
            assert_eq!(answer.status, 401, "{}: {}", operation.id, answer.body);
            answer.is_problem(401, "unauthorized");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    public.sort();
    assert_eq!(public, PUBLIC);
}

#[tokio::test]
async fn a_foreign_tenant_sees_nothing() {
    let api = Api::start().await;
    let things = acme(&api).await;
    let stranger = api.team("Stranger").await;
    let before = snapshot(&api, &things).await;
    for operation in operations() {
        if !operation.path.contains("{id}") && !operation.path.contains("{tenant_id}") {
            continue;
        }
        let answer = operation.call(&api, &things, stranger.auth()).await;
        let expected = if operation.role.as_deref() == Some("operator") {
            403
        } else {
            404
        };
        assert_eq!(answer.status, expected, "{}: {}", operation.id, answer.body);
        let shown = answer.body.to_string();
        for id in [
            things.connection,
            things.job,
            things.signal,
            things.delivery,
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
    assert_eq!(snapshot(&api, &things).await, before, "nothing was changed");
}

#[tokio::test]
async fn every_operation_needs_the_scope_that_it_documents() {
    let api = Api::start().await;
    let things = acme(&api).await;
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
                things.tenant,
                &json!({ "name": "others", "scopes": others }),
            )
            .await;
        let answer = operation.call(&api, &things, As::Key(&key)).await;
        assert_eq!(answer.status, 403, "{}: {}", operation.id, answer.body);
        assert_eq!(answer.body["details"]["needed"], role, "{}", operation.id);
    }
}

/// What the owner sees of the tenant's things.
async fn snapshot(api: &Api, things: &Things) -> Value {
    let who = As::OperatorOf(things.tenant);
    let mut seen = Vec::new();
    for (resource, id) in [
        ("connections", things.connection),
        ("jobs", things.job),
        ("signals", things.signal),
        ("webhook-deliveries", things.delivery),
    ] {
        seen.push(api.get(&format!("/v1/{resource}/{id}"), who).await.ok());
    }
    Value::Array(seen)
}
