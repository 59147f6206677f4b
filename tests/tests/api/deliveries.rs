//! Webhook deliveries: listed, replayed, and unmatched ones for operators.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Api, As, ids};

#[tokio::test]
async fn deliveries_are_listed_newest_first_and_filtered() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let mut created = Vec::new();
    for outcome in ["processed", "failed", "processed"] {
        created.push(api.delivery(acme.id, outcome).await);
    }
    created.reverse();
    let mut seen = Vec::new();
    let mut path = "/v1/webhook-deliveries?limit=2".to_owned();
    loop {
        let page = api.get(&path, acme.auth()).await.ok();
        seen.extend(ids(&page["deliveries"]));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/webhook-deliveries?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, created);
    let failed = api
        .get(
            "/v1/webhook-deliveries?outcome=failed&provider=github",
            acme.auth(),
        )
        .await
        .ok();
    assert_eq!(ids(&failed["deliveries"]), [created[1]]);
    let none = api
        .get("/v1/webhook-deliveries?provider=jira", acme.auth())
        .await
        .ok();
    assert_eq!(none["deliveries"], json!([]));
    let bad = api
        .get("/v1/webhook-deliveries?outcome=lost", acme.auth())
        .await;
    bad.is_problem(400, "invalid_parameters");
}

#[tokio::test]
async fn only_operators_see_delivery_bodies() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = format!(
        "/v1/webhook-deliveries/{}",
        api.delivery(acme.id, "processed").await
    );
    let shown = api.get(&path, acme.auth()).await.ok();
    assert_eq!(shown["headers"]["x-github-event"], "issues");
    assert_eq!(shown["result"], "verified");
    assert_eq!(shown["outcome"], "processed");
    assert_eq!(shown["body_bytes"], 19);
    assert_eq!(shown.get("body_base64"), None);
    let key_with_reason = api
        .request(reqwest::Method::GET, &path, acme.auth())
        .header("X-Audit-Reason", "curiosity");
    let shown = crate::server::read(key_with_reason).await.ok();
    assert_eq!(shown.get("body_base64"), None);
    let operator = As::OperatorOf(acme.id);
    let shown = api.get(&path, operator).await.ok();
    assert_eq!(shown.get("body_base64"), None, "no reason, no body");
    let with_reason = api
        .request(reqwest::Method::GET, &path, operator)
        .header("X-Audit-Reason", "Ticket 4711: größe");
    let whole = crate::server::read(with_reason).await.ok();
    assert_eq!(whole["body_base64"], "eyJhY3Rpb24iOiJvcGVuZWQifQ==");
    for bad in ["", "ab"] {
        let request = api
            .request(reqwest::Method::GET, &path, operator)
            .header("X-Audit-Reason", bad);
        let rejected = crate::server::read(request).await;
        rejected.is_problem(400, "invalid_parameters");
    }
    let log = api.get("/v1/audit-log?action=delivery.body_read", operator);
    let log = log.await.ok();
    let reasons: Vec<&Value> = log["entries"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| &entry["detail"]["reason"])
        .collect();
    assert_eq!(reasons, ["Ticket 4711: größe"]);
}

#[tokio::test]
async fn replayed_delivery_is_processed_by_one_job() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.delivery(acme.id, "failed").await;
    let path = format!("/v1/webhook-deliveries/{id}");
    let response = api
        .post(&format!("{path}/replay"), acme.auth(), &json!({}))
        .await;
    assert_eq!(response.status, 202);
    let job = response.ok();
    assert_eq!(job["job"]["kind"], "process_deliveries");
    let again = api
        .post(&format!("{path}/replay"), acme.auth(), &json!({}))
        .await
        .ok();
    assert_eq!(again["job"]["id"], job["job"]["id"]);
    assert_eq!(api.get(&path, acme.auth()).await.ok()["outcome"], "pending");
}

#[tokio::test]
async fn only_operators_see_unmatched_deliveries() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.delivery(Uuid::nil(), "unmatched").await;
    let list = api
        .get("/v1/webhook-deliveries", As::OperatorOf(Uuid::nil()))
        .await
        .ok();
    assert_eq!(ids(&list["deliveries"]), [id]);
    assert_eq!(list["deliveries"][0]["connection_id"], Value::Null);
    let list = api.get("/v1/webhook-deliveries", acme.auth()).await.ok();
    assert_eq!(list["deliveries"], json!([]));
    let path = format!("/v1/webhook-deliveries/{id}");
    api.get(&path, acme.auth())
        .await
        .is_problem(404, "delivery_not_found");
    let nil = Uuid::nil().to_string();
    let pretending = api
        .request(reqwest::Method::GET, &path, acme.auth())
        .header("X-Tenant-Id", nil);
    crate::server::read(pretending)
        .await
        .is_problem(404, "tenant_not_found");
}

#[tokio::test]
async fn unmatched_accounts_are_listed_for_operators() {
    const PATH: &str = "/v1/unmatched-accounts";
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    sqlx::query(
        "INSERT INTO unmatched_accounts (provider, account_id, deliveries, bytes, digests) \
         VALUES ('github', '4711', 2, 819200, 3), ('github', '4712', 1, 100, 0), \
             ('jira', 'https://acme.example:7', 5, 500, 0), ('slack', '', 1, 50, 1)",
    )
    .execute(api.db.pool())
    .await
    .expect("rows");
    let mut seen = Vec::new();
    let mut path = format!("{PATH}?limit=1");
    loop {
        let page = api.get(&path, As::Operator).await.ok();
        let accounts = page["unmatched_accounts"]
            .as_array()
            .expect("a list")
            .clone();
        assert_eq!(accounts.len(), 1);
        seen.extend(accounts);
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("{PATH}?limit=1&cursor={cursor}");
    }
    let named: Vec<_> = seen.iter().map(|account| &account["account_id"]).collect();
    let expected = json!(["4711", "4712", "https://acme.example:7", null]);
    assert_eq!(json!(named), expected);
    assert_eq!(seen[0]["provider"], "github");
    assert_eq!(
        (
            &seen[0]["deliveries"],
            &seen[0]["bytes"],
            &seen[0]["over_quota"]
        ),
        (&json!(2), &json!(819_200), &json!(3))
    );
    assert!(seen[0]["last_received_at"].is_string());
    for (query, count) in [
        ("provider=github", 2),
        ("over_quota=true", 2),
        ("over_quota=false", 4),
        ("provider=slack&over_quota=true", 1),
        ("provider=unknown", 0),
    ] {
        let page = api.get(&format!("{PATH}?{query}"), As::Operator).await.ok();
        let accounts = page["unmatched_accounts"].as_array().expect("a list");
        assert_eq!(accounts.len(), count, "{query}");
    }
    api.get(&format!("{PATH}?cursor=x"), As::Operator)
        .await
        .is_problem(404, "cursor_not_found");
    for query in ["cursor=%20", "over_quota=yes", "limit=0", "account_id=1"] {
        api.get(&format!("{PATH}?{query}"), As::Operator)
            .await
            .is_problem(400, "invalid_parameters");
    }
    api.get(PATH, acme.auth())
        .await
        .is_problem(403, "operator_only");
    api.get(PATH, As::Anonymous)
        .await
        .is_problem(401, "unauthorized");
}

#[tokio::test]
async fn foreign_delivery_is_not_found() {
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let id = api.delivery(acme.id, "failed").await;
    for id in [id, Uuid::now_v7(), Uuid::new_v4()] {
        let path = format!("/v1/webhook-deliveries/{id}");
        api.get(&path, other.auth())
            .await
            .is_problem(404, "delivery_not_found");
        api.get(&path, As::Anonymous)
            .await
            .is_problem(401, "unauthorized");
        let replay = format!("{path}/replay");
        api.post(&replay, other.auth(), &json!({}))
            .await
            .is_problem(404, "delivery_not_found");
    }
    let path = format!("/v1/webhook-deliveries/{id}");
    assert_eq!(api.get(&path, acme.auth()).await.ok()["outcome"], "failed");
}
