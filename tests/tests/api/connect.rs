//! The connect flow of a browser, with the simulated GitHub.

mod approval;
mod browser;
mod code;
mod link;
mod pages;
mod repeated;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tests::harness::{OPERATOR_TOKEN, System, Tenant};
use url::Url;
use uuid::Uuid;

use self::browser::{Browser, location, param, with_param};
use crate::server::{ApiResponse, read};

async fn start() -> System {
    System::with_fast_provider()
        .workers(0)
        .simulator(|config| config.accounts = 3)
        .start()
        .await
}

/// Creates a connect link of the tenant.
async fn link(tenant: &Tenant<'_>, body: Value) -> Url {
    let created = tenant.post("/v1/connect/github", &body).await;
    let url: Url = created["authorize_url"]
        .as_str()
        .expect("a URL")
        .parse()
        .expect("a URL");
    assert_eq!(param(&url, "state").as_deref(), created["state"].as_str());
    url
}

/// The number of a tenant's connections with a status.
async fn connections(tenant: &Tenant<'_>, status: &str) -> usize {
    let list = tenant.get("/v1/connections").await;
    let all = list["connections"].as_array().expect("a list");
    all.iter()
        .filter(|connection| connection["status"] == status)
        .count()
}

#[tokio::test]
async fn connected_account_starts_its_backfill() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::signed_in(&system, &person);
    let callback = browser
        .install_app(&link(&acme, json!({})).await, &account)
        .await;
    let response = browser.complete_flow(&callback).await.ok();
    let connection = &response["connection"];
    assert_eq!(connection["status"], "active");
    assert_eq!(connection["account"]["name"], json!(account));
    assert!(
        connection["scopes"]
            .as_array()
            .is_some_and(|scopes| !scopes.is_empty())
    );

    let id = connection["id"].as_str().expect("an id");
    let jobs = acme.get(&format!("/v1/jobs?connection_id={id}")).await;
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(1));
    assert_eq!(jobs["jobs"][0]["mode"], "full");
    let audit_entries: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit_log WHERE target = $1 AND action = 'connection.connected'",
    )
    .bind(id)
    .fetch_one(system.db.pool())
    .await
    .expect("a number");
    assert_eq!(audit_entries, 1);

    // Another flow for the same account returns the same connection.
    let callback = browser
        .install_app(&link(&acme, json!({})).await, &account)
        .await;
    let again = browser.complete_flow(&callback).await.ok();
    assert_eq!(again["connection"]["id"], connection["id"]);
    assert_eq!(connections(&acme, "active").await, 1);
}

#[tokio::test]
async fn browser_is_redirected_to_return_to() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::signed_in(&system, &person);
    let body = json!({ "return_to": "http://127.0.0.1:9/done?team=a%20b" });
    let callback = browser
        .install_app(&link(&acme, body).await, &account)
        .await;
    let response = browser.complete_flow(&callback).await;
    let back = location(&response, &callback);
    assert_eq!((back.port(), back.path()), (Some(9), "/done"));
    assert_eq!(param(&back, "team").as_deref(), Some("a b"));
    assert_eq!(param(&back, "status").as_deref(), Some("connected"));
    let id = param(&back, "connection_id").expect("an id");
    assert_eq!(
        acme.get(&format!("/v1/connections/{id}")).await["status"],
        "active"
    );

    for bad in [
        "https://elsewhere.example.com/",
        "https://127.0.0.1.example.com/",
    ] {
        let body = json!({ "return_to": bad });
        let rejected = problem(
            acme.request(Method::POST, "/v1/connect/github", Some(&body))
                .await,
        );
        rejected.await.is_problem(403, "return_to_not_allowed");
    }
    for bad in [
        json!(7),
        json!("javascript:alert(1)"),
        json!("/done"),
        json!("http://a\u{0}"),
    ] {
        let body = json!({ "return_to": bad });
        let rejected = problem(
            acme.request(Method::POST, "/v1/connect/github", Some(&body))
                .await,
        );
        rejected.await.is_problem(422, "invalid_body");
    }
}

#[tokio::test]
async fn callback_from_another_browser_is_rejected() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::signed_in(&system, &person);
    let opened = link(&acme, json!({})).await;
    let callback = browser.install_app(&opened, &account).await;

    let mut other = Browser::signed_in(&system, &person);
    other.get(&callback).await.is_problem(403, "invalid_state");
    // With the cookie of another flow.
    other
        .continue_from_page(&link(&acme, json!({})).await)
        .await;
    other.get(&callback).await.is_problem(403, "invalid_state");
    // It may start a flow with the same link; the first flow that ends consumes the link.
    let late = other.install_app(&opened, &account).await;
    assert_eq!(connections(&acme, "active").await, 0);

    assert_eq!(browser.complete_flow(&callback).await.status, 200);
    other
        .complete_flow(&late)
        .await
        .is_problem(403, "invalid_state");
    assert_eq!(connections(&acme, "active").await, 1);
}

#[tokio::test]
async fn state_expires_and_is_bound_to_its_provider() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::signed_in(&system, &person);
    let opened = link(&acme, json!({})).await;
    let callback = browser.install_app(&opened, &account).await;
    for table in ["oauth_states", "connect_links"] {
        let later = format!("UPDATE {table} SET expires_at = expires_at - interval '10 minutes'");
        sqlx::query(sqlx::AssertSqlSafe(later))
            .execute(system.db.pool())
            .await
            .expect("an update");
    }
    for late in [&opened, &callback] {
        browser.get(late).await.is_problem(403, "invalid_state");
    }
    let unknown = with_param(&callback, "state", &"A".repeat(43));
    browser.get(&unknown).await.is_problem(403, "invalid_state");
    let malformed = with_param(&callback, "state", "x");
    browser
        .get(&malformed)
        .await
        .is_problem(400, "invalid_parameters");
    let mut nowhere = callback.clone();
    nowhere.set_path("/v1/connect/unheard_of/callback");
    browser
        .get(&nowhere)
        .await
        .is_problem(404, "provider_not_found");
}

#[tokio::test]
async fn forged_installation_is_rejected() {
    let system = start().await;
    let (acme, mallory) = (system.tenant("Acme").await, system.tenant("Mallory").await);
    let mut accounts = system.accounts().await;
    let (account, person) = accounts.remove(0);
    let (own_account, thief) = accounts.remove(0);
    assert_ne!(person, thief);
    let mut owner = Browser::signed_in(&system, &person);
    let first_step = owner
        .install_app(&link(&acme, json!({})).await, &account)
        .await;
    let installation = param(&first_step, "installation_id").expect("an installation");

    let mut browser = Browser::signed_in(&system, &thief);
    let redirect = browser
        .install_app(&link(&mallory, json!({})).await, &own_account)
        .await;
    let forged = with_param(&redirect, "installation_id", &installation);
    browser
        .complete_flow(&forged)
        .await
        .is_problem(400, "access_denied");
    assert_eq!(
        mallory.get("/v1/connections").await["connections"],
        json!([])
    );
    assert_eq!(
        owner.complete_flow(&first_step).await.status,
        200,
        "its owner can connect it"
    );
}

#[tokio::test]
async fn declined_flow_creates_no_connection() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::signed_in(&system, &person);
    let with_return = json!({ "return_to": "http://localhost:9/done" });
    for body in [with_return, json!({})] {
        let first_step = browser
            .install_app(&link(&acme, body.clone()).await, &account)
            .await;
        let consent = browser.follow_redirect(&first_step).await;
        let mut fields: Vec<(String, String)> = consent.query_pairs().into_owned().collect();
        fields.push(("authorize".to_owned(), "0".to_owned()));
        let response = browser.send(Method::POST, &consent, &fields).await;
        let denied = location(&response, &consent);
        assert_eq!(param(&denied, "error").as_deref(), Some("access_denied"));
        let response = browser.get(&denied).await;
        if body.get("return_to").is_some() {
            let back = location(&response, &denied);
            assert_eq!(back.as_str(), "http://localhost:9/done?error=access_denied");
        } else {
            response.is_problem(400, "access_denied");
            let theirs = param(&denied, "error_description").expect("a description");
            assert!(
                !response.body.to_string().contains(&theirs),
                "the provider's text is not repeated"
            );
        }
    }
    assert_eq!(acme.get("/v1/connections").await["connections"], json!([]));
}

#[tokio::test]
async fn account_belongs_to_one_tenant() {
    let system = start().await;
    let (acme, other) = (system.tenant("Acme").await, system.tenant("Other").await);
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::signed_in(&system, &person);
    let callback = browser
        .install_app(&link(&acme, json!({})).await, &account)
        .await;
    let response = browser.complete_flow(&callback).await.ok();
    let id = response["connection"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();

    let callback = browser
        .install_app(&link(&other, json!({})).await, &account)
        .await;
    browser
        .complete_flow(&callback)
        .await
        .is_problem(409, "account_already_connected");
    assert_eq!(other.get("/v1/connections").await["connections"], json!([]));
    assert_eq!(connections(&acme, "active").await, 1);

    // After it is disconnected and uninstalled, another tenant can connect it.
    let deleted = acme
        .request(Method::DELETE, &format!("/v1/connections/{id}"), None)
        .await;
    assert_eq!(deleted.status(), 204);
    let revoked: bool = sqlx::query_scalar(
        "SELECT (detail->>'revoked')::boolean FROM audit_log WHERE action = 'connection.disconnected'",
    )
    .fetch_one(system.db.pool())
    .await
    .expect("an audit entry");
    assert!(revoked, "the app was uninstalled");
    let callback = browser
        .install_app(&link(&other, json!({})).await, &account)
        .await;
    assert_eq!(browser.complete_flow(&callback).await.status, 200);
}

#[tokio::test]
async fn operator_creates_links_for_existing_tenants_only() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let create_link = async |tenant: Uuid| {
        let request = system
            .client
            .post(format!("{}/v1/connect/github", system.api))
            .bearer_auth(OPERATOR_TOKEN)
            .header("X-Tenant-Id", tenant.to_string());
        read(request).await
    };
    assert_eq!(create_link(acme.id).await.status, 201);
    create_link(Uuid::now_v7())
        .await
        .is_problem(404, "tenant_not_found");
    create_link(Uuid::nil())
        .await
        .is_problem(404, "tenant_not_found");
}

#[tokio::test]
async fn failing_provider_creates_and_retains_no_connection() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::signed_in(&system, &person);
    let callback = browser
        .install_app(&link(&acme, json!({})).await, &account)
        .await;
    let fault = json!({ "target": "request", "effect": "status", "status": 502, "count": 1,
        "pattern": "POST /login/oauth/access_token" });
    system.sim("faults", fault).await;
    let failed = browser.complete_flow(&callback).await;
    failed.is_problem(502, "provider_unavailable");
    assert_eq!(acme.get("/v1/connections").await["connections"], json!([]));

    let callback = browser
        .install_app(&link(&acme, json!({})).await, &account)
        .await;
    let response = browser.complete_flow(&callback).await.ok();
    let id = response["connection"]["id"].as_str().expect("an id");
    // A connection is deleted even if the provider fails.
    let fault = json!({ "target": "request", "effect": "status", "status": 500,
        "pattern": "DELETE /app/installations/*" });
    system.sim("faults", fault).await;
    let path = format!("/v1/connections/{id}");
    let deleted = acme.request(Method::DELETE, &path, None).await;
    assert_eq!(deleted.status(), 204);
    assert_eq!(acme.get(&path).await["status"], "disconnected");
}

#[tokio::test]
async fn concurrent_callbacks_create_one_connection() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::signed_in(&system, &person);
    let first_step = browser
        .install_app(&link(&acme, json!({})).await, &account)
        .await;
    let page = browser.follow_redirect(&first_step).await;
    let last = browser.follow_redirect(&page).await;
    let mut twin = browser.clone();
    let (one, two) = tokio::join!(browser.get(&last), twin.get(&last));
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (200, 200));
    assert_eq!(one.body["connection"]["id"], two.body["connection"]["id"]);
    assert_eq!(connections(&acme, "active").await, 1);
}

async fn problem(response: Response) -> ApiResponse {
    let (status, headers) = (response.status(), response.headers().clone());
    ApiResponse {
        status,
        headers,
        body: response.json().await.expect("JSON"),
    }
}
