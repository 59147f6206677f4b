//! Examples of the bodies of requests and successful responses.
//!
//! `scripts/verify-api` checks them against the schemas.

use serde_json::{Value, json};
use utoipa::openapi::path::Operation;
use utoipa::openapi::{Content, RefOr};
use uuid::Uuid;

const T0: &str = "2026-11-23T10:00:00Z";
const T1: &str = "2026-11-23T10:04:31Z";
const T2: &str = "2026-11-23T10:05:00Z";
const CURSOR: &str = "AZ4QJ0k7cZyzgeCv_1xK3A";
const FEED_CURSOR: &str = "AQAAAAAAAAAqZ3Jv9S1Yk0b7mQxN2uF4c8dLw5eTRA";
const TOKEN: &str = "q1Zr8mC5vX0uT2yB7nK4pL9wE3sD6gH1jF0aQ8iO5zU";

/// An id whose last digits are `number`.
pub(super) fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0198_c4f0_7a11_7c52_9d5e_0000_0000_0000 + number)
}

/// Adds the examples of an operation's bodies.
pub(super) fn add(operation_id: &str, operation: &mut Operation) {
    if let (Some(example), Some(RefOr::T(body))) =
        (request(operation_id), &mut operation.request_body)
    {
        for content in body.content.values_mut() {
            set(content, example.clone());
        }
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else {
            continue;
        };
        if !status.starts_with('2') {
            continue;
        }
        for (kind, content) in &mut response.content {
            let example = match kind.as_str() {
                "text/html" => Some("<!DOCTYPE html><html lang=\"en\">…</html>".into()),
                _ => success(operation_id),
            };
            if let Some(example) = example {
                set(content, example);
            }
        }
    }
}

fn set(content: &mut RefOr<Content>, example: Value) {
    if let RefOr::T(content) = content {
        content.example = Some(example);
    }
}

/// The body of a request. Optional fields that would change the result are absent, because Swagger
/// UI sends the example.
fn request(operation_id: &str) -> Option<Value> {
    Some(match operation_id {
        "create_tenant" => json!({ "name": "Acme" }),
        "create_api_key" => json!({ "name": "Story Hunter" }),
        "create_connect_link" | "create_connection_webhook" => json!({}),
        "sync_connection" | "sync_provider" => json!({ "mode": "incremental" }),
        "update_connection" => json!({ "poll_interval_seconds": 300 }),
        "start_connect" => json!({ "state": TOKEN, "confirm": TOKEN }),
        _ => return None,
    })
}

/// The body of a successful response.
fn success(operation_id: &str) -> Option<Value> {
    Some(match operation_id {
        "get_liveness" => json!({ "status": "alive" }),
        "get_readiness" | "get_health" => json!({ "status": "ready" }),
        "get_metrics" => "# TYPE poblysh_signals_total counter\n\
             poblysh_signals_total{source=\"github\",kind=\"pr_merged\"} 42\n"
            .into(),
        "list_providers" => json!({ "providers": [provider()] }),
        "create_tenant" | "get_tenant" => tenant(),
        "list_tenants" => page("tenants", tenant()),
        "create_api_key" => merge(api_key(), json!({ "key": "pbk_8fK2xA…" })),
        "list_api_keys" => page("api_keys", api_key()),
        "create_connect_link" => json!({
            "id": id(0xd1),
            "authorize_url": format!("http://127.0.0.1:8080/v1/connect/github/start?state={TOKEN}"),
            "state": TOKEN,
            "expires_at": T2,
        }),
        "finish_connect" => json!({ "connection": connection() }),
        "list_connections" => page("connections", connection()),
        "get_connection" => merge(connection(), json!({ "streams": stream_counts() })),
        "update_connection" => connection(),
        "list_connection_streams" => page("streams", stream()),
        "create_connection_webhook" => json!({
            "url": format!("https://hooks.example.com/webhooks/jira/{}", id(0xc1)),
            "secret": "q2V0w4…",
            "armed_until": null,
            "previous_secret_expires_at": null,
        }),
        "sync_connection" | "retry_job" | "cancel_job" | "replay_delivery" => {
            job_response(operation_id)
        }
        "get_job" => job(),
        "sync_provider" => json!({ "jobs": [job()] }),
        "list_jobs" => page("jobs", job()),
        "list_signals" => json!({
            "signals": [signal()],
            "next_cursor": FEED_CURSOR,
            "has_more": false,
            "completeness": completeness(),
        }),
        "get_signal" => signal(),
        "list_signal_kinds" => json!({ "kinds": [kind()] }),
        "stream_signals" => {
            format!("id: {FEED_CURSOR}\nevent: signal\ndata: {}\n\n", signal()).into()
        }
        "list_deliveries" => page("deliveries", delivery()),
        "get_delivery" => merge(
            delivery(),
            json!({ "headers": { "x-github-event": "issues" }, "body_bytes": 7132 }),
        ),
        "list_unmatched_accounts" => page("unmatched_accounts", unmatched_account()),
        "get_overview" => overview(),
        _ => return None,
    })
}

/// A last page of a list.
fn page(name: &str, item: Value) -> Value {
    let next = if name == "connections" {
        json!(CURSOR)
    } else {
        Value::Null
    };
    json!({ name: [item], "next_cursor": next })
}

fn merge(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

fn provider() -> Value {
    json!({
        "slug": "github",
        "display_name": "GitHub",
        "auth_type": "app_installation",
        "scopes": ["issues:read", "pull_requests:read"],
        "webhooks": true,
        "polling": true,
        "configured": true,
        "webhook_url": "http://127.0.0.1:8081/webhooks/github",
    })
}

fn tenant() -> Value {
    json!({ "id": id(0xa1), "name": "Acme", "created_at": T0 })
}

fn api_key() -> Value {
    json!({
        "id": id(0xb1),
        "name": "Story Hunter",
        "hint": "pbk_8fK2xA",
        "scopes": ["signals:read", "connections:read"],
        "created_at": T0,
        "expires_at": null,
        "revoked_at": null,
        "last_used_at": T1,
    })
}

fn connection() -> Value {
    json!({
        "id": id(0xc1),
        "tenant_id": id(0xa1),
        "provider": "github",
        "status": "active",
        "status_reason": null,
        "health": {
            "state": "healthy",
            "reason": "up_to_date",
            "since": T0,
            "explanation": "The account is read on schedule.",
            "action": { "kind": "none", "who": "nobody", "url": null, "until": null },
        },
        "account": { "id": "48273311", "name": "octo-org" },
        "approval": null,
        "scopes": ["issues:read", "pull_requests:read"],
        "required_scopes": ["issues:read", "pull_requests:read"],
        "poll_interval_seconds": 300,
        "effective_poll_interval_seconds": 300,
        "last_sync_at": T1,
        "next_sync_at": T2,
        "last_error": null,
        "backfilled_at": T0,
        "warnings": [],
        "backfill": null,
        "complete_through": T1,
        "reconciled_through": T0,
        "held_back_by": null,
        "behind": null,
        "missed_count": 0,
        "missed_at": null,
        "webhooks": {
            "state": "active",
            "last_delivery_at": T1,
            "missed_24h": 0,
            "subscriptions": null,
        },
        "last_signal_at": T1,
        "created_at": T0,
        "updated_at": T1,
    })
}

fn stream_counts() -> Value {
    json!({ "total": 280, "reading": 0, "complete": 279, "denied": 1, "limited": 0, "failing": 0 })
}

fn stream() -> Value {
    json!({
        "stream": "issues:1296269",
        "state": "complete",
        "since": T0,
        "error": null,
        "reconcile_error": null,
        "required_scope": null,
        "complete_through": T1,
        "reconciled_through": T0,
        "progress": 1.0,
        "next_run_at": T2,
    })
}

fn job() -> Value {
    json!({
        "id": id(0xe1),
        "kind": "sync_connection",
        "state": "queued",
        "provider": "github",
        "connection_id": id(0xc1),
        "mode": "incremental",
        "cursor_window": format!("sync:{}:incremental", id(0xc1)),
        "attempts": 0,
        "max_attempts": 3,
        "error": null,
        "cancel_requested": false,
        "next_run_at": T1,
        "created_at": T1,
        "started_at": null,
        "finished_at": null,
    })
}

fn job_response(operation_id: &str) -> Value {
    let changes = match operation_id {
        "cancel_job" => json!({ "state": "cancelled", "next_run_at": null, "finished_at": T2 }),
        "replay_delivery" => json!({
            "kind": "process_deliveries",
            "mode": null,
            "cursor_window": null,
        }),
        _ => json!({}),
    };
    json!({ "job": merge(job(), changes) })
}

fn signal() -> Value {
    json!({
        "id": id(0xf1),
        "tenant_id": id(0xa1),
        "connection_id": id(0xc1),
        "source": "github",
        "kind": "pr_merged",
        "schema_version": 1,
        "dedupe_key": "github:pull_request:1296269:42:merged",
        "timestamp": T1,
        "timestamp_source": "provider",
        "received_at": T1,
        "actor": { "id": "583231", "name": "octocat", "type": "user" },
        "subject": {
            "type": "pull_request",
            "id": "1296269:42",
            "key": "octo/repo#42",
            "title": "Read old replies",
            "url": "https://github.com/octo/repo/pull/42",
        },
        "context": { "type": "repository", "id": "1296269", "name": "octo/repo" },
        "payload": { "normalized": { "number": 42 } },
    })
}

fn completeness() -> Value {
    json!({
        "complete_through": T1,
        "reconciled_through": T0,
        "total": 1,
        "behind": 0,
        "connections_url": "/v1/connections?behind=true",
        "connections": [],
    })
}

fn kind() -> Value {
    json!({
        "kind": "pr_merged",
        "description": "A pull request was merged.",
        "providers": ["github"],
    })
}

fn delivery() -> Value {
    json!({
        "id": id(0xd1),
        "provider": "github",
        "connection_id": id(0xc1),
        "account_id": "48273311",
        "dedupe_id": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "event": "issues.opened",
        "source": "webhook",
        "result": "verified",
        "outcome": "processed",
        "outcome_detail": null,
        "signals": 1,
        "received_at": T1,
        "processed_at": T1,
    })
}

fn unmatched_account() -> Value {
    json!({
        "provider": "github",
        "account_id": "48273311",
        "deliveries": 1204,
        "bytes": 9_437_184,
        "over_quota": 0,
        "last_received_at": T1,
    })
}

fn overview() -> Value {
    let by_health = json!({
        "healthy": 481,
        "backfilling": 12,
        "degraded": 4,
        "action_required": 3,
        "paused": 0,
        "disconnected": 0,
    });
    json!({
        "at": T1,
        "connections": {
            "total": 500,
            "need_attention": 7,
            "by_health": by_health,
            "by_provider": [{ "provider": "github", "total": 500, "by_health": by_health }],
        },
        "queue": {
            "due": 3,
            "scheduled": 41,
            "running": 8,
            "oldest_seconds": 0.4,
            "dead": 0,
            "workers": 2,
        },
        "feed": { "lag_seconds": 0.0 },
        "deliveries": [{
            "provider": "github",
            "result": "accepted",
            "requests": 18204,
            "last_at": T1,
        }],
    })
}
