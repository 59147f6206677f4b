//! Every operation of the OpenAPI document, called by an operator of each role.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::isolation::{Operation, PUBLIC, Resources, create_resources, operations};
use crate::server::{Api, As};

/// The roles, the lowest first.
const ROLES: [&str; 3] = ["viewer", "operator", "admin"];

/// The lowest role of each operation that is not public.
const LOWEST_ROLE: [(&str, &str); 37] = [
    ("cancel_job", "operator"),
    ("change_jobs", "operator"),
    ("create_api_key", "admin"),
    ("create_connect_link", "operator"),
    ("create_connection_webhook", "admin"),
    ("create_login_link", "admin"),
    ("create_operator", "admin"),
    ("create_tenant", "admin"),
    ("delete_connection", "admin"),
    ("get_connection", "viewer"),
    ("get_delivery", "viewer"),
    ("get_job", "viewer"),
    ("get_operator", "viewer"),
    ("get_overview", "viewer"),
    ("get_signal", "viewer"),
    ("get_tenant", "viewer"),
    ("list_api_keys", "viewer"),
    ("list_audit_log", "viewer"),
    ("list_connection_streams", "viewer"),
    ("list_connections", "viewer"),
    ("list_deliveries", "viewer"),
    ("list_events", "viewer"),
    ("list_jobs", "viewer"),
    ("list_operators", "viewer"),
    ("list_signals", "viewer"),
    ("list_tenants", "viewer"),
    ("list_unmatched_accounts", "viewer"),
    ("replay_deliveries", "operator"),
    ("replay_delivery", "operator"),
    ("retry_job", "operator"),
    ("revoke_api_key", "admin"),
    ("revoke_operator", "admin"),
    ("stream_signals", "viewer"),
    ("sync_connection", "operator"),
    ("sync_provider", "operator"),
    ("update_connection", "operator"),
    ("update_operator", "admin"),
];

fn rank(role: &str) -> usize {
    let rank = ROLES.iter().position(|known| *known == role);
    rank.expect("a role")
}

/// The status, and the body of a problem. A stream of events has no end, so it is not read.
async fn call(
    api: &Api,
    operation: &Operation,
    resources: &Resources,
    caller: As<'_>,
) -> (StatusCode, Value) {
    let path = operation.resource_path(resources);
    let mut request = api.request(operation.method.clone(), &path, caller);
    if operation.has_body {
        request = request.json(&json!({}));
    }
    let response = request.send().await.expect("a response");
    let status = response.status();
    let body = if status.is_success() {
        Value::Null
    } else {
        response.json().await.expect("a problem")
    };
    (status, body)
}

#[tokio::test]
async fn operations_require_their_lowest_role() {
    let api = Api::start().await;
    let resources = create_resources(&api).await;
    let lowest = std::collections::BTreeMap::from(LOWEST_ROLE);
    let operations = operations();
    let listed: Vec<&str> = operations
        .iter()
        .map(|operation| operation.id.as_str())
        .filter(|id| !PUBLIC.contains(id))
        .collect();
    assert_eq!(
        listed.len(),
        lowest.len(),
        "an operation without a row: {listed:?}"
    );
    for role in ROLES {
        let (_, token) = api.named_operator(&format!("Of role {role}"), role).await;
        let caller = As::Token(&token, resources.tenant);
        for operation in &operations {
            let id = operation.id.as_str();
            if PUBLIC.contains(&id) {
                continue;
            }
            let needed = lowest.get(id).unwrap_or_else(|| panic!("{id} has no row"));
            let (status, body) = call(&api, operation, &resources, caller).await;
            if rank(role) < rank(needed) {
                assert_eq!(status, 403, "{role} {id}: {body}");
                assert_eq!(body["code"], "insufficient_role", "{role} {id}");
                assert_eq!(body["details"]["needed"], *needed, "{role} {id}");
            } else {
                assert!(
                    !matches!(status.as_u16(), 401 | 403) && !status.is_server_error(),
                    "{role} {id}: {status} {body}"
                );
            }
        }
    }
}

#[tokio::test]
async fn viewer_reads_no_bodies_and_no_raw_data() {
    let api = Api::start().await;
    let resources = create_resources(&api).await;
    let mut paths = vec![format!("/v1/webhook-deliveries/{}", resources.delivery)];
    let raw = [
        "/v1/signals?include=raw".to_owned(),
        format!("/v1/signals/{}?include=raw", resources.signal),
        "/v1/signals/stream?include=raw".to_owned(),
    ];
    paths.extend(raw.clone());
    let (_, viewer) = api.named_operator("Vera", "viewer").await;
    let (_, operator) = api.named_operator("Otto", "operator").await;
    let with_reason = |path: &str, token: &str| {
        let caller = As::Token(token, resources.tenant);
        let request = api.request(reqwest::Method::GET, path, caller);
        request.header("X-Audit-Reason", "Ticket 4711")
    };
    for path in &paths {
        let refused = crate::server::read(with_reason(path, &viewer)).await;
        refused.is_problem(403, "insufficient_role");
        let allowed = with_reason(path, &operator).send().await;
        assert_eq!(allowed.expect("a response").status(), 200, "{path}");
    }
    for path in &raw {
        let caller = As::Token(&operator, resources.tenant);
        let refused = api.get(path, caller).await;
        refused.is_problem(400, "audit_reason_required");
    }
    let log = api
        .get("/v1/audit-log", As::OperatorOf(resources.tenant))
        .await
        .ok();
    let entries = log["entries"].as_array().expect("a list");
    let reads: Vec<_> = entries
        .iter()
        .filter(|entry| entry["detail"]["reason"] == "Ticket 4711")
        .map(|entry| (&entry["action"], &entry["actor"]["name"]))
        .collect();
    let otto = json!("Otto");
    let actions = [
        json!("signal.raw_read"),
        json!("signal.raw_read"),
        json!("signal.raw_read"),
        json!("delivery.body_read"),
    ];
    let expected: Vec<_> = actions.iter().map(|action| (action, &otto)).collect();
    assert_eq!(reads, expected);
}
