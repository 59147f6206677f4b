//! The grant of a person: consents, scopes, tokens and the end.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use tests::harness::{System, eventually};

use super::{Acme, SLUG, start};

const READONLY: &str = "https://www.googleapis.com/auth/drive.readonly";
const METADATA: &str = "https://www.googleapis.com/auth/drive.metadata.readonly";

/// Lets people withhold these scopes.
async fn withhold(system: &System, scopes: &[&str]) {
    let settings = json!({ "withheld_scopes": scopes });
    system.sim("google/settings", settings).await;
}

/// Lets consents issue a refresh token, or none.
async fn withhold_refresh_tokens(system: &System, withhold: bool) {
    let settings = json!({ "withhold_refresh_tokens": withhold });
    system.sim("google/settings", settings).await;
}

/// The number of revocations of grants.
async fn revocations(system: &System) -> u64 {
    let url = format!("{}/_sim/stats", system.simulator.base_url());
    let response = system.client.get(url).send().await.expect("a response");
    let stats: Value = response.json().await.expect("JSON");
    stats["counters"]["google.revocations"]
        .as_u64()
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn withheld_scope_holds_back_shared_drives_only() {
    let system = start().await;
    withhold(&system, &[READONLY]).await;
    let (account, admin) = system.accounts_at(SLUG).await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to(SLUG, &account, &admin).await;
    let acme = Acme {
        system: &system,
        tenant,
        account,
        connection,
    };
    acme.wait_for_channels(1).await;
    let file = acme.act("file.created", json!({})).await;
    eventually("the person's files are read", async || {
        acme.count_kind(&file, "file_created").await == 1
    })
    .await;
    let mut shown = Value::Null;
    eventually("the connection names the stream", async || {
        shown = acme.show().await;
        shown["held_back_by"]["stream"] == "shared_drives"
    })
    .await;
    assert_eq!(shown["status"], "active");
    let message = shown["last_error"]["message"].as_str().expect("a text");
    assert!(message.contains(READONLY), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn useless_consent_is_revoked_unless_shared() {
    let system = start().await;
    let (account, admin) = system.accounts_at(SLUG).await.remove(0);
    let globex = system.tenant("Globex").await;
    withhold(&system, &[METADATA]).await;
    let refused = globex.run_connect_flow(SLUG, &account, &admin).await;
    assert!(!refused.status().is_success(), "{}", refused.status());
    assert_eq!(revocations(&system).await, 1);

    withhold(&system, &[]).await;
    let acme = Acme::connect(&system).await;
    withhold(&system, &[METADATA]).await;
    globex.run_connect_flow(SLUG, &account, &admin).await;
    assert_eq!(
        revocations(&system).await,
        1,
        "Acme's connection uses the grant"
    );
    let file = acme.act("file.created", json!({})).await;
    acme.settle().await;
    assert_eq!(acme.count_kind(&file, "file_created").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_failing_after_consent_leaves_no_grant() {
    let system = start().await;
    let (account, admin) = system.accounts_at(SLUG).await.remove(0);
    let tenant = system.tenant("Acme").await;
    for (count, pattern) in [
        (1, "GET /google/v1/userinfo"),
        (2, "GET /google/drive/v3/about"),
    ] {
        let outage = json!({
            "target": "request", "pattern": pattern, "effect": "status", "status": 503,
        });
        system.sim("faults", outage).await;
        let failed = tenant.run_connect_flow(SLUG, &account, &admin).await;
        assert_eq!(failed.status().as_u16(), 502, "{pattern}");
        assert_eq!(revocations(&system).await, count, "{pattern}");
        system.clear_faults().await;
    }
    tenant.connect_to(SLUG, &account, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_of_a_used_link_leaves_no_grant() {
    let system = start().await;
    let (account, admin) = system.accounts_at(SLUG).await.remove(0);
    let tenant = system.tenant("Acme").await;
    let slow = json!({
        "target": "request", "pattern": "GET /google/drive/v3/about", "effect": "slow",
        "seconds": 3.0, "count": 1,
    });
    system.sim("faults", slow).await;
    let late = tenant.run_connect_flow(SLUG, &account, &admin);
    let other = async {
        eventually("the consent is given", async || {
            system.faults().await.is_empty()
        })
        .await;
        let used = sqlx::query("UPDATE connect_links SET used_at = now()");
        let used = used.execute(system.db.pool()).await.expect("an update");
        assert_eq!(used.rows_affected(), 1);
    };
    let (late, ()) = tokio::join!(late, other);
    assert_eq!(late.status().as_u16(), 403);
    assert_eq!(revocations(&system).await, 1);
    tenant.connect_to(SLUG, &account, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_consent_ends_no_racing_connection() {
    let system = start().await;
    let (account, admin) = system.accounts_at(SLUG).await.remove(0);
    let (acme, globex) = (system.tenant("Acme").await, system.tenant("Globex").await);
    let slow = json!({
        "target": "request", "pattern": "POST /google/revoke", "effect": "slow", "seconds": 3.0,
        "count": 1,
    });
    system.sim("faults", slow).await;
    withhold(&system, &[METADATA]).await;
    let rejected = globex.run_connect_flow(SLUG, &account, &admin);
    let racing = async {
        eventually("the rejected grant is being revoked", async || {
            system.faults().await.is_empty()
        })
        .await;
        withhold(&system, &[]).await;
        acme.run_connect_flow(SLUG, &account, &admin).await
    };
    let (rejected, racing) = tokio::join!(rejected, racing);
    assert!(!rejected.status().is_success(), "{}", rejected.status());
    // Its tokens end as well, so it must not count as connected.
    assert_eq!(racing.status().as_u16(), 400);
    assert_eq!(revocations(&system).await, 1);
    let connection = acme.connect_to(SLUG, &account, &admin).await;
    system.drain().await;
    let path = format!("/v1/connections/{connection}");
    let shown = acme.get(&path).await;
    assert_eq!(
        (&shown["status"], &shown["last_error"]),
        (&json!("active"), &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_grant_has_a_warning() {
    let system = start().await;
    system
        .sim("google/settings", json!({ "grant_seconds": 604_800 }))
        .await;
    let acme = Acme::connect(&system).await;
    assert_eq!(acme.show().await["warnings"], json!([]));
    let update = "UPDATE credentials SET refresh_expires_at = refresh_expires_at - interval '5 days' \
                  WHERE connection_id = $1";
    let update = sqlx::query(update).bind(acme.connection);
    let updated = update.execute(system.db.pool()).await.expect("an update");
    assert_eq!(updated.rows_affected(), 1);
    let shown = acme.show().await;
    assert_eq!(shown["warnings"][0]["code"], "grant_ends_soon", "{shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_connection_ends_channels_before_grant() {
    let system = start().await;
    let acme = Acme::connect(&system).await;
    let path = format!("/v1/connections/{}", acme.connection);
    let deleted = acme.tenant.request(Method::DELETE, &path, None).await;
    assert_eq!(deleted.status().as_u16(), 204);
    assert_eq!(acme.live_channels().await, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn first_consent_without_refresh_token_is_rejected() {
    let system = start().await;
    let (account, admin) = system.accounts_at(SLUG).await.remove(0);
    let tenant = system.tenant("Acme").await;
    withhold_refresh_tokens(&system, true).await;
    let refused = tenant.run_connect_flow(SLUG, &account, &admin).await;
    assert!(!refused.status().is_success(), "{}", refused.status());
    let text = refused.text().await.expect("a body");
    assert!(text.contains("issued no refresh token"), "{text}");
    assert_eq!(revocations(&system).await, 1);
    let list = tenant.get("/v1/connections").await;
    assert_eq!(list["connections"], json!([]));

    withhold_refresh_tokens(&system, false).await;
    tenant.connect_to(SLUG, &account, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn later_consent_keeps_stored_refresh_token() {
    let system = start().await;
    let acme = Acme::connect(&system).await;
    withhold_refresh_tokens(&system, true).await;
    let (account, admin) = system.accounts_at(SLUG).await.remove(0);
    let again = acme.tenant.connect_to(SLUG, &account, &admin).await;
    assert_eq!(again, acme.connection);
    system.drain().await;
    let expire = "UPDATE credentials SET expires_at = now() WHERE connection_id = $1";
    let expire = sqlx::query(expire).bind(acme.connection);
    expire.execute(system.db.pool()).await.expect("an update");
    let file = acme.act("file.created", json!({})).await;
    acme.settle().await;
    assert_eq!(acme.count_kind(&file, "file_created").await, 1);
    assert_eq!(acme.show().await["status"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_last_connection_revokes_the_grant() {
    let system = start().await;
    let acme = Acme::connect(&system).await;
    let (account, admin) = system.accounts_at(SLUG).await.remove(0);
    let globex = system.tenant("Globex").await;
    let calendar = globex.connect_to("google_calendar", &account, &admin).await;
    system.drain().await;
    for (tenant, connection, expected) in
        [(&acme.tenant, acme.connection, 0), (&globex, calendar, 1)]
    {
        let path = format!("/v1/connections/{connection}");
        let deleted = tenant.request(Method::DELETE, &path, None).await;
        assert_eq!(deleted.status().as_u16(), 204);
        assert_eq!(revocations(&system).await, expected);
    }
}
