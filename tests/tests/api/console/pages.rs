//! The pages of the console, and the acts that their forms lead to.

use serde_json::json;
use uuid::Uuid;

use super::{Browser, start};
use crate::server::{Api, As};

async fn set_health(api: &Api, id: Uuid, state: &str, reason: &str) {
    sqlx::query("UPDATE connections SET health = $2, health_reason = $3 WHERE id = $1")
        .bind(id)
        .bind(state)
        .bind(reason)
        .execute(api.db.pool())
        .await
        .expect("stored");
}

#[tokio::test]
async fn home_says_how_many_connections_need_attention() {
    let api = start().await;
    let acme = api.team("Acme").await;
    let (_, token) = api.named_operator("Ada", "viewer").await;
    let mut browser = Browser::signed_in(&api, &token).await;
    let empty = browser.get("/console").await;
    empty.is(200).shows(&["No account is connected."]);
    for (state, reason) in [
        ("healthy", "up_to_date"),
        ("degraded", "rate_limited"),
        ("action_required", "grant_refused"),
        ("disconnected", "disconnected"),
    ] {
        let id = api.connection(&acme).await;
        set_health(&api, id, state, reason).await;
        api.dead_job(&acme, id).await;
    }
    sqlx::query(
        "INSERT INTO webhook_results (provider, connection_id, result, hour, requests) \
         VALUES ('github', $1, 'accepted', date_trunc('hour', now() - interval '2 hours'), 600)",
    )
    .bind(Uuid::nil())
    .execute(api.db.pool())
    .await
    .expect("stored");
    let home = browser.get("/console").await;
    home.is(200).shows(&[
        "2 of 3 connections need attention.",
        "/console/connections?health=degraded",
        "/console/connections?health=action_required&amp;provider=github",
        "Oldest due job",
        "href=\"/console/jobs?state=dead\">4<",
        "none is running",
        "Feed lag",
        "Deliveries per minute",
        "<td class=\"number\">10.0</td>",
        "data-live=\"/console/live/home\"",
    ]);
    for asset in ["console-", "live-"] {
        let (_, rest) = home
            .text
            .split_once(&format!("/console/assets/{asset}"))
            .expect(asset);
        let path = format!(
            "/console/assets/{asset}{}",
            rest.split('"').next().expect("an end")
        );
        let loaded = browser.get(&path).await;
        loaded.is(200);
        let cached = loaded.headers["cache-control"].to_str().expect("text");
        assert!(cached.contains("immutable"), "{cached}");
    }
}

#[tokio::test]
async fn live_part_is_sent_when_it_changes() {
    let api = start().await;
    let (_, token) = api.named_operator("Ada", "viewer").await;
    let browser = Browser::signed_in(&api, &token).await;
    let mut response = api
        .client
        .get(format!("{}/console/live/jobs?state=dead", api.url))
        .header("cookie", browser.cookie.clone().expect("a cookie"))
        .send()
        .await
        .expect("a response");
    let mut text = String::new();
    while !text.contains("No job is dead") {
        let chunk = response.chunk().await.expect("a chunk").expect("no end");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(text.starts_with("event: update\ndata: "), "{text}");
    let acme = api.team("Acme").await;
    let connection = api.connection(&acme).await;
    let job = api.dead_job(&acme, connection).await;
    while !text.contains(&job.to_string()) {
        let chunk = response.chunk().await.expect("a chunk").expect("no end");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
}

#[tokio::test]
async fn connections_are_filtered() {
    let api = start().await;
    let (acme, other) = (api.team("Acme & Co").await, api.team("Other").await);
    let ill = api.connection(&acme).await;
    let well = api.connection(&other).await;
    set_health(&api, ill, "action_required", "grant_refused").await;
    set_health(&api, well, "healthy", "up_to_date").await;
    let (_, token) = api.named_operator("Ada", "viewer").await;
    let mut browser = Browser::signed_in(&api, &token).await;
    let (ill, well) = (format!("/{ill}"), format!("/{well}"));
    let tenant = format!("tenant={}", other.id);
    for (filter, shown, hidden) in [
        ("", vec![&ill, &well], vec![]),
        ("health=action_required", vec![&ill], vec![&well]),
        (
            "health=&status=&provider=&tenant=",
            vec![&ill, &well],
            vec![],
        ),
        ("provider=jira", vec![], vec![&ill, &well]),
        ("status=paused", vec![], vec![&ill, &well]),
        (tenant.as_str(), vec![&well], vec![&ill]),
    ] {
        let page = browser.get(&format!("/console/connections?{filter}")).await;
        page.is(200);
        for path in shown {
            page.shows(&[path.as_str()]);
        }
        for path in hidden {
            page.lacks(&[path.as_str()]);
        }
    }
    let page = browser
        .get("/console/connections?health=action_required")
        .await;
    page.shows(&[
        "octo-org",
        "Acme &amp; Co",
        "<option value=\"action_required\" selected>",
    ]);
    let first = browser.get("/console/connections?limit=1").await;
    first
        .shows(&["rel=\"next\"", well.as_str()])
        .lacks(&[ill.as_str()]);
}

#[tokio::test]
async fn connection_is_paused_synced_and_disconnected_by_forms() {
    let api = start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    set_health(&api, id, "action_required", "grant_refused").await;
    let job = api.dead_job(&acme, id).await;
    let denied = "UPDATE cursors SET listed_at = now(), failing_since = now(), failure = \
         '{\"code\":\"permission\",\"message\":\"The provider denies permission.\"}' \
         WHERE tenant_id = $1 AND connection_id = $2";
    api.sql(denied, acme.id, id).await;
    api.signal(&acme, id, "issue_created", 1).await;
    let (_, token) = api.named_operator("Ada", "admin").await;
    let mut browser = Browser::signed_in(&api, &token).await;
    let path = format!("/console/connections/{}/{id}", acme.id);
    let page = browser.get(&path).await;
    page.is(200).shows(&[
        "octo-org",
        "Health: ",
        "What helps: ",
        "connects it again",
        "1 in all: 0 complete",
        "issues:1",
        "state denied",
        &job.to_string(),
        "issue_created",
        "Pause",
        "Disconnect now",
    ]);
    let done = browser.post(&format!("{path}/pause"), &[]).await;
    assert_eq!(done.redirect(), format!("{path}?done=paused"));
    let paused = browser.get(done.redirect()).await;
    paused.shows(&[
        "The connection is paused.",
        "Resume",
        "connection.paused",
        "Ada",
    ]);
    let own = format!("/v1/connections/{id}");
    assert_eq!(api.get(&own, acme.auth()).await.ok()["status"], "paused");
    let early = browser.post(&format!("{path}/sync"), &[]).await;
    early
        .is(409)
        .shows(&["Not possible now", "The connection is not active."]);
    browser
        .post(&format!("{path}/resume"), &[])
        .await
        .redirect();
    let synced = browser.post(&format!("{path}/sync"), &[]).await;
    assert_eq!(synced.redirect(), format!("{path}?done=sync_requested"));
    let jobs = api.get("/v1/jobs?state=queued", acme.auth()).await.ok();
    assert_eq!(jobs["jobs"][0]["kind"], "sync_connection");
    let unconfirmed = browser.post(&format!("{path}/disconnect"), &[]).await;
    unconfirmed.is(403);
    let gone = browser
        .post(&format!("{path}/disconnect"), &[("confirm", "yes")])
        .await;
    assert_eq!(gone.redirect(), format!("{path}?done=disconnected"));
    assert_eq!(
        api.get(&own, acme.auth()).await.ok()["status"],
        "disconnected"
    );
    let log = api.get("/v1/audit-log", As::OperatorOf(acme.id)).await.ok();
    let entry = &log["entries"][0];
    assert_eq!(entry["action"], "connection.disconnected");
    assert_eq!(entry["actor"]["name"], "Ada");
    browser.post(&format!("{path}/unknown"), &[]).await.is(404);
}

#[tokio::test]
async fn jobs_are_retried_and_cancelled_by_forms() {
    let api = start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    let dead = api.dead_job(&acme, id).await;
    let (_, token) = api.named_operator("Otto", "operator").await;
    let mut browser = Browser::signed_in(&api, &token).await;
    let page = browser.get("/console/jobs").await;
    page.is(200).shows(&[
        &dead.to_string(),
        "The provider denies permission.",
        "Retry",
        "data-live=\"/console/live/jobs?state=dead\"",
    ]);
    let retry = format!("/console/jobs/{}/{dead}/retry", acme.id);
    let done = browser.post(&retry, &[]).await;
    assert_eq!(
        done.redirect(),
        "/console/jobs?state=queued&done=job_retried"
    );
    let queued = browser.get(done.redirect()).await;
    queued.shows(&["A new job is queued.", "Cancel"]);
    let jobs = api.get("/v1/jobs?state=queued", acme.auth()).await.ok();
    let job = jobs["jobs"][0]["id"].as_str().expect("an id");
    let cancel = format!("/console/jobs/{}/{job}/cancel", acme.id);
    browser.post(&cancel, &[]).await.redirect();
    browser.post(&cancel, &[]).await.is(409);
    let of_tenant = format!("/console/jobs?state=cancelled&tenant={}", acme.id);
    browser.get(&of_tenant).await.is(200).shows(&[job]);
    let of_all = browser.get("/console/jobs?state=succeeded").await;
    of_all.is(400).shows(&["tenant_required"]);
}

#[tokio::test]
async fn delivery_body_is_shown_for_an_audited_reason() {
    let api = start().await;
    let acme = api.team("Acme").await;
    let id = api.delivery(acme.id, "failed").await;
    let unmatched = api.delivery(Uuid::nil(), "unmatched").await;
    let (_, token) = api.named_operator("Otto", "operator").await;
    let mut browser = Browser::signed_in(&api, &token).await;
    let chosen = browser.get("/console/deliveries").await;
    chosen
        .is(200)
        .shows(&["Choose a tenant", "Acme", "match no connection"]);
    let list = format!("/console/deliveries?tenant={}&outcome=failed", acme.id);
    let path = format!("/console/deliveries/{}/{id}", acme.id);
    browser.get(&list).await.shows(&[&path, "issues.opened"]);
    let nil = format!("/console/deliveries?tenant={}", Uuid::nil());
    browser.get(&nil).await.shows(&[&unmatched.to_string()]);
    let page = browser.get(&path).await;
    page.is(200).shows(&[
        "x-github-event",
        "Process again",
        "Reason, for the audit log",
    ]);
    page.lacks(&["&quot;action&quot;"]);
    let body = format!("{path}/body");
    browser.post(&body, &[("reason", " ")]).await.is(422);
    browser.post(&body, &[]).await.is(422);
    let shown = browser.post(&body, &[("reason", "Ticket 4711")]).await;
    shown
        .is(200)
        .shows(&["&quot;action&quot;: &quot;opened&quot;"]);
    let log = api.get("/v1/audit-log?action=delivery.body_read", As::Operator);
    let entry = log.await.ok()["entries"][0].clone();
    assert_eq!(entry["detail"], json!({ "reason": "Ticket 4711" }));
    assert_eq!(
        (&entry["actor"]["name"], &entry["target"]),
        (&json!("Otto"), &json!(id))
    );
    let replayed = browser.post(&format!("{path}/replay"), &[]).await;
    assert_eq!(
        replayed.redirect(),
        format!("{path}?done=delivery_replayed")
    );
    browser
        .get(replayed.redirect())
        .await
        .shows(&["is queued", "pending"]);
}

#[tokio::test]
async fn signal_leads_to_its_delivery_and_job_and_back() {
    let api = start().await;
    let acme = api.team("Acme").await;
    let connection = api.connection(&acme).await;
    let delivery = api.delivery(acme.id, "processed").await;
    let signal = api.signal(&acme, connection, "issue_created", 1).await;
    let job = Uuid::now_v7();
    for statement in [
        "UPDATE deliveries SET connection_id = $3, processed_at = now(), \
             traceparent = '00-aa-bb-01' WHERE tenant_id = $1 AND id = $2 AND $4 = $4",
        "UPDATE signals SET traceparent = '00-aa-bb-01', received_at = \
             (SELECT received_at FROM deliveries WHERE id = $2) \
         WHERE tenant_id = $1 AND connection_id = $3 AND $4 = $4",
        "INSERT INTO job_history (tenant_id, id, kind, provider, state, priority, attempts, \
             max_attempts, payload, created_at) \
         VALUES ($1, $4, 'process_deliveries', 'github', 'succeeded', 20, 1, 3, \
             json_build_object('kind', 'process_deliveries', 'deliveries', \
                 json_build_array($2::uuid), 'connection', $3::uuid), now())",
    ] {
        let done = sqlx::query(statement)
            .bind(acme.id)
            .bind(delivery)
            .bind(connection)
            .bind(job)
            .execute(api.db.pool())
            .await;
        assert_eq!(done.expect("executed").rows_affected(), 1, "{statement}");
    }
    let (_, token) = api.named_operator("Vera", "viewer").await;
    let mut browser = Browser::signed_in(&api, &token).await;
    let signal_path = format!("/console/signals/{}/{signal}", acme.id);
    let delivery_path = format!("/console/deliveries/{}/{delivery}", acme.id);
    let list = format!("/console/signals?tenant={}&kind=issue_created", acme.id);
    browser.get(&list).await.is(200).shows(&[&signal_path]);
    let page = browser.get(&signal_path).await;
    page.is(200)
        .shows(&[&delivery_path, &job.to_string(), "issue_created"]);
    let page = browser.get(&delivery_path).await;
    page.is(200)
        .shows(&[&signal_path, &job.to_string(), "roles operator and admin"]);
    // A Signal of a poll has no delivery.
    let polled = api.signal(&acme, connection, "issue_closed", 1).await;
    let page = browser
        .get(&format!("/console/signals/{}/{polled}", acme.id))
        .await;
    page.is(200)
        .shows(&["a poll read it"])
        .lacks(&[&delivery_path]);
}

#[tokio::test]
async fn tenants_and_keys_are_managed_by_admins() {
    let api = start().await;
    let (_, token) = api.named_operator("Ada", "admin").await;
    let mut browser = Browser::signed_in(&api, &token).await;
    browser
        .post("/console/tenants", &[("name", " ")])
        .await
        .is(422);
    let created = browser.post("/console/tenants", &[("name", "Acme")]).await;
    let path = created
        .redirect()
        .split('?')
        .next()
        .expect("a path")
        .to_owned();
    browser
        .get("/console/tenants")
        .await
        .shows(&["Acme", &path]);
    let keys = format!("{path}/keys");
    let fields = [
        ("name", "Story Hunter"),
        ("scope", "jobs:read"),
        ("expires_in_days", "30"),
    ];
    let shown = browser.post(&keys, &fields).await;
    shown.is(200).shows(&["shown only once", "pbk_"]);
    let (_, rest) = shown.text.split_once("pbk_").expect("a key");
    let key = format!("pbk_{}", rest.split('<').next().expect("an end"));
    api.get("/v1/jobs", As::Key(&key)).await.ok();
    let refused = api.get("/v1/connections", As::Key(&key)).await;
    refused.is_problem(403, "insufficient_scope");
    browser.post(&keys, &[("name", "none")]).await.is(422);
    browser
        .post(&keys, &[("name", "x"), ("scope", "all")])
        .await
        .is(422);
    let page = browser.get(&path).await;
    page.shows(&["Story Hunter", "jobs:read", "Revoke"])
        .lacks(&[&key]);
    let (_, rest) = page.text.split_once(&format!("{keys}/")).expect("a form");
    let revoke = format!("{keys}/{}", rest.split('"').next().expect("an end"));
    let done = browser.post(&revoke, &[]).await;
    assert_eq!(done.redirect(), format!("{path}?done=key_revoked"));
    api.get("/v1/jobs", As::Key(&key))
        .await
        .is_problem(401, "unauthorized");
    let log = browser.get("/console/audit-log").await;
    log.is(200).shows(&[
        "api_key.revoked",
        "api_key.created",
        "tenant.created",
        "Ada",
    ]);
    let filtered = browser
        .get("/console/audit-log?action=tenant.created&tenant=&target=")
        .await;
    filtered
        .shows(&["tenant.created"])
        .lacks(&["api_key.revoked"]);
}

#[tokio::test]
async fn viewers_see_no_forms() {
    let api = start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    api.dead_job(&acme, id).await;
    let delivery = api.delivery(acme.id, "failed").await;
    let (_, token) = api.named_operator("Vera", "viewer").await;
    let mut browser = Browser::signed_in(&api, &token).await;
    for path in [
        format!("/console/connections/{}/{id}", acme.id),
        "/console/jobs".to_owned(),
        format!("/console/deliveries/{}/{delivery}", acme.id),
        "/console/tenants".to_owned(),
        format!("/console/tenants/{}", acme.id),
    ] {
        let page = browser.get(&path).await;
        let forms = page.is(200).text.matches("method=\"post\"").count();
        assert_eq!(forms, 1, "only sign-out: {path}");
    }
}
