use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Api, As, ids};

#[tokio::test]
async fn deliveries_are_listed_newest_first_and_filtered() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let mut made = Vec::new();
    for outcome in ["processed", "failed", "processed"] {
        made.push(api.delivery(acme.id, outcome).await);
    }
    made.reverse();
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
    assert_eq!(seen, made);
    let failed = api
        .get(
            "/v1/webhook-deliveries?outcome=failed&provider=github",
            acme.auth(),
        )
        .await
        .ok();
    assert_eq!(ids(&failed["deliveries"]), [made[1]]);
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
async fn only_operators_see_a_body() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = format!(
        "/v1/webhook-deliveries/{}",
        api.delivery(acme.id, "processed").await
    );
    let shown = api.get(&path, acme.auth()).await.ok();
    assert_eq!(shown["headers"]["x-github-event"], "issues");
    assert_eq!(shown["verdict"], "verified");
    assert_eq!(shown["outcome"], "processed");
    assert_eq!(shown["body_bytes"], 19);
    assert_eq!(shown.get("body_base64"), None);
    let whole = api.get(&path, As::OperatorOf(acme.id)).await.ok();
    assert_eq!(whole["body_base64"], "eyJhY3Rpb24iOiJvcGVuZWQifQ==");
}

#[tokio::test]
async fn a_replayed_delivery_is_processed_again_by_one_job() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.delivery(acme.id, "failed").await;
    let path = format!("/v1/webhook-deliveries/{id}");
    let answer = api
        .post(&format!("{path}/replay"), acme.auth(), &json!({}))
        .await;
    assert_eq!(answer.status, 202);
    let job = answer.ok();
    assert_eq!(job["job"]["kind"], "process_deliveries");
    let again = api
        .post(&format!("{path}/replay"), acme.auth(), &json!({}))
        .await
        .ok();
    assert_eq!(again["job"]["id"], job["job"]["id"]);
    assert_eq!(api.get(&path, acme.auth()).await.ok()["outcome"], "pending");
}

#[tokio::test]
async fn what_matches_no_connection_is_the_operators_to_see() {
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
async fn another_tenants_delivery_does_not_exist() {
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let id = api.delivery(acme.id, "failed").await;
    for id in [id, Uuid::now_v7(), Uuid::new_v4()] {
        let path = format!("/v1/webhook-deliveries/{id}");
        api.get(&path, other.auth())
            .await
            .is_problem(404, "delivery_not_found");
        api.get(&path, As::Nobody)
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
