//! Tests of redelivery with a server.

use chrono::Duration;
use serde_json::json;
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, ResponseTemplate};

use super::{github, html, not_found, now};
use crate::connectors::Connector;

fn entry(id: u64, guid: &str, minutes_ago: i64, code: i64) -> serde_json::Value {
    let at = now() - Duration::minutes(minutes_ago);
    json!({
        "id": id, "guid": guid, "delivered_at": at.to_rfc3339(), "redelivery": false,
        "status": if code == 200 { "OK" } else { "failed" }, "status_code": code,
        "event": "issues", "action": "opened", "installation_id": 5,
    })
}

#[tokio::test]
async fn failed_deliveries_since_time_are_redelivered() {
    let (server, github, _) = github().await;
    let next = format!("{}/api/v3/app/hook/deliveries?cursor=v2", server.uri());
    Mock::given(method("GET"))
        .and(path("/api/v3/app/hook/deliveries"))
        .and(query_param("per_page", "100"))
        .respond_with(
            ResponseTemplate::new(200)
                .insert_header("link", format!("<{next}>; rel=\"next\"").as_str())
                .set_body_json(json!([
                    entry(40, "again", 1, 200),
                    entry(39, "down", 2, 503),
                    entry(38, "fine", 3, 200),
                ])),
        )
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(query_param("cursor", "v2"))
        .respond_with(
            ResponseTemplate::new(200)
                // A third page would be older and is not requested.
                .insert_header("link", "<https://elsewhere.example/3>; rel=\"next\"")
                .set_body_json(json!([
                    entry(37, "again", 30, 500),
                    entry(36, "deleted", 50, 0),
                    entry(35, "too-old", 70, 500),
                ])),
        )
        .mount(&server)
        .await;
    for (id, response) in [(39, ResponseTemplate::new(202)), (36, not_found())] {
        Mock::given(method("POST"))
            .and(path(format!("/api/v3/app/hook/deliveries/{id}/attempts")))
            .respond_with(response)
            .expect(1)
            .mount(&server)
            .await;
    }
    let since = now() - Duration::minutes(60);
    assert_eq!(github.redeliver_webhooks(since).await.expect("a count"), 1);
    let posts = server.received_requests().await.expect("requests");
    assert_eq!(
        posts
            .iter()
            .filter(|call| call.method == http::Method::POST)
            .count(),
        2
    );
}

#[tokio::test]
async fn unreadable_entry_does_not_affect_others() {
    let (server, github, _) = github().await;
    let mut textual = entry(38, "as text", 2, 503);
    textual["id"] = json!("38");
    textual["status_code"] = json!("503");
    let rows = json!([null, { "id": {} }, { "id": 40, "guid": 7 }, textual]);
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_json(rows))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/api/v3/app/hook/deliveries/38/attempts"))
        .respond_with(ResponseTemplate::new(202))
        .expect(1)
        .mount(&server)
        .await;
    let since = now() - Duration::minutes(60);
    assert_eq!(github.redeliver_webhooks(since).await.expect("a count"), 1);
}

#[tokio::test]
async fn pages_of_log_shrink_while_they_fail() {
    let (server, github, _) = github().await;
    for size in ["100", "50"] {
        Mock::given(method("GET"))
            .and(query_param("per_page", size))
            .respond_with(html(502))
            .mount(&server)
            .await;
    }
    Mock::given(method("GET"))
        .and(query_param("per_page", "25"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([])))
        .mount(&server)
        .await;
    assert_eq!(github.redeliver_webhooks(now()).await.expect("a count"), 0);
    let (server, github, _) = super::github().await;
    let everything = Mock::given(method("GET")).respond_with(html(502));
    everything.mount(&server).await;
    let error = github.redeliver_webhooks(now()).await;
    assert_eq!(error.expect_err("an outage").code(), "transient");
}

#[tokio::test]
async fn masked_404_is_no_deleted_delivery() {
    let (server, github, _) = github().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([entry(39, "down", 2, 503)])))
        .mount(&server)
        .await;
    let masked = Mock::given(method("POST")).respond_with(html(404));
    masked.mount(&server).await;
    let since = now() - Duration::minutes(60);
    assert!(github.redeliver_webhooks(since).await.is_err());
}

#[tokio::test]
async fn rejected_app_token_is_transient() {
    let (server, github, _) = github().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(401))
        .mount(&server)
        .await;
    let error = github
        .redeliver_webhooks(now())
        .await
        .expect_err("an error");
    assert_eq!(error.code(), "transient");
}
