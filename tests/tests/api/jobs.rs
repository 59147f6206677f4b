//! Jobs: listed, retried, cancelled.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Api, As, ids};

#[tokio::test]
async fn queued_and_finished_jobs_are_one_list() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let connection = api.connection(&acme).await;
    let mut created = Vec::new();
    for _ in 0..3 {
        created.push(api.queued_job(&acme, connection).await);
        created.push(api.dead_job(&acme, connection).await);
    }
    created.reverse();

    let mut seen = Vec::new();
    let mut path = "/v1/jobs?limit=4".to_owned();
    loop {
        let page = api.get(&path, acme.auth()).await.ok();
        seen.extend(ids(&page["jobs"]));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/jobs?limit=4&cursor={cursor}");
    }
    assert_eq!(seen, created);

    let count = async |query: &str| {
        let list = api
            .get(&format!("/v1/jobs?{query}"), acme.auth())
            .await
            .ok();
        ids(&list["jobs"]).len()
    };
    assert_eq!(count("state=dead").await, 3);
    assert_eq!(count("state=queued&kind=sync_connection").await, 3);
    assert_eq!(count("kind=refresh_token").await, 0);
    assert_eq!(
        count(&format!("connection_id={connection}&provider=github")).await,
        6
    );
    assert_eq!(count(&format!("connection_id={}", Uuid::now_v7())).await, 0);
}

#[tokio::test]
async fn dead_job_shows_its_error_and_retries_once() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let connection = api.connection(&acme).await;
    let dead = api.dead_job(&acme, connection).await;
    let shown = api.get(&format!("/v1/jobs/{dead}"), acme.auth()).await.ok();
    assert_eq!(shown["state"], "dead");
    assert_eq!(shown["error"]["code"], "permission");
    assert_eq!(shown["attempts"], 3);
    assert_eq!(shown["next_run_at"], Value::Null);
    assert!(shown["finished_at"].is_string());

    let retry = format!("/v1/jobs/{dead}/retry");
    let response = api.post(&retry, acme.auth(), &json!({})).await;
    assert_eq!(response.status, 202);
    let again = response.ok();
    assert_eq!(again["job"]["state"], "queued");
    assert_eq!(again["job"]["mode"], "full");
    assert_eq!(again["job"]["attempts"], 0);
    let twice = api.post(&retry, acme.auth(), &json!({})).await.ok();
    assert_eq!(
        twice["job"]["id"], again["job"]["id"],
        "one job for two retries"
    );

    let new = again["job"]["id"].as_str().expect("an id");
    let response = api
        .post(&format!("/v1/jobs/{new}/retry"), acme.auth(), &json!({}))
        .await;
    response.is_problem(409, "job_not_dead");
}

#[tokio::test]
async fn queued_job_is_cancelled_and_running_one_notified() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let connection = api.connection(&acme).await;
    let waiting = api.queued_job(&acme, connection).await;
    let response = api
        .post(
            &format!("/v1/jobs/{waiting}/cancel"),
            acme.auth(),
            &json!({}),
        )
        .await;
    assert_eq!(response.status, 200);
    assert_eq!(response.ok()["job"]["state"], "cancelled");
    let response = api
        .post(
            &format!("/v1/jobs/{waiting}/cancel"),
            acme.auth(),
            &json!({}),
        )
        .await;
    response.is_problem(409, "job_finished");

    let running = api.queued_job(&acme, connection).await;
    api.sql(
        "UPDATE jobs SET state = 'running' WHERE tenant_id = $1 AND id = $2",
        acme.id,
        running,
    )
    .await;
    let response = api
        .post(
            &format!("/v1/jobs/{running}/cancel"),
            acme.auth(),
            &json!({}),
        )
        .await;
    assert_eq!(response.status, 202);
    let job = response.ok();
    assert_eq!(job["job"]["state"], "running");
    assert_eq!(job["job"]["cancel_requested"], true);
}

#[tokio::test]
async fn foreign_job_is_not_found() {
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let connection = api.connection(&acme).await;
    let (waiting, dead) = (
        api.queued_job(&acme, connection).await,
        api.dead_job(&acme, connection).await,
    );
    for id in [waiting, dead, Uuid::now_v7()] {
        let path = format!("/v1/jobs/{id}");
        api.get(&path, other.auth())
            .await
            .is_problem(404, "job_not_found");
        api.get(&path, As::Anonymous)
            .await
            .is_problem(401, "unauthorized");
        for verb in ["retry", "cancel"] {
            let path = format!("{path}/{verb}");
            api.post(&path, other.auth(), &json!({}))
                .await
                .is_problem(404, "job_not_found");
        }
    }
    let list = api.get("/v1/jobs", other.auth()).await.ok();
    assert_eq!(list["jobs"], json!([]));
    let state = &api
        .get(&format!("/v1/jobs/{waiting}"), acme.auth())
        .await
        .ok()["state"];
    assert_eq!(state, "queued");
}

#[tokio::test]
async fn invalid_filters_are_listed() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = "/v1/jobs?state=asleep&kind=x&connection_id=1&provider=A&limit=0&cursor=x&colour=1";
    let response = api.get(path, acme.auth()).await;
    response.is_problem(400, "invalid_parameters");
    let fields = response.fields();
    for name in [
        "state",
        "kind",
        "connection_id",
        "provider",
        "limit",
        "cursor",
        "colour",
    ] {
        assert!(fields.contains(&name), "{name} is missing in {fields:?}");
    }
}

#[tokio::test]
async fn operator_sees_jobs_of_the_nil_tenant() {
    let api = Api::start().await;
    let job = Uuid::now_v7();
    api.sql(
        "INSERT INTO jobs (tenant_id, id, kind, provider, priority, payload) \
         VALUES ($1, $2, 'apply_retention', '', 70, '{\"kind\":\"apply_retention\"}')",
        Uuid::nil(),
        job,
    )
    .await;
    let list = api.get("/v1/jobs", As::OperatorOf(Uuid::nil())).await.ok();
    assert_eq!(ids(&list["jobs"]), [job]);
    let response = api
        .get("/v1/connections", As::OperatorOf(Uuid::nil()))
        .await;
    response.is_problem(404, "tenant_not_found");
}
