//! The connect flow, walked as a person's browser walks it, at the simulated GitHub.

mod approval;
mod browser;
mod code;
mod link;
mod repeated;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tests::harness::{OPERATOR_TOKEN, System, Tenant};
use url::Url;
use uuid::Uuid;

use self::browser::{Browser, location, param, with_param};
use crate::server::{Answer, read};

async fn start() -> System {
    System::with_fast_provider()
        .workers(0)
        .simulator(|config| config.accounts = 3)
        .start()
        .await
}

/// A link of the tenant.
async fn link(tenant: &Tenant<'_>, body: Value) -> Url {
    let made = tenant.post("/v1/connect/github", &body).await;
    let url: Url = made["authorize_url"]
        .as_str()
        .expect("a URL")
        .parse()
        .expect("a URL");
    assert_eq!(param(&url, "state").as_deref(), made["state"].as_str());
    url
}

/// Connections of a tenant by status.
async fn connections(tenant: &Tenant<'_>, status: &str) -> usize {
    let list = tenant.get("/v1/connections").await;
    let all = list["connections"].as_array().expect("a list");
    all.iter()
        .filter(|connection| connection["status"] == status)
        .count()
}

#[tokio::test]
async fn a_person_connects_an_account_and_its_past_is_read() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::of(&system, &person);
    let callback = browser
        .install(&link(&acme, json!({})).await, &account)
        .await;
    let answer = browser.finish(&callback).await.ok();
    let connection = &answer["connection"];
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
    let noted: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit_log WHERE target = $1 AND action = 'connection.connected'",
    )
    .bind(id)
    .fetch_one(system.db.pool())
    .await
    .expect("a number");
    assert_eq!(noted, 1);

    // The same account again is the same connection.
    let callback = browser
        .install(&link(&acme, json!({})).await, &account)
        .await;
    let again = browser.finish(&callback).await.ok();
    assert_eq!(again["connection"]["id"], connection["id"]);
    assert_eq!(connections(&acme, "active").await, 1);
}

#[tokio::test]
async fn the_browser_goes_back_to_where_it_came_from() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::of(&system, &person);
    let body = json!({ "return_to": "http://127.0.0.1:9/done?team=a%20b" });
    let callback = browser.install(&link(&acme, body).await, &account).await;
    let answer = browser.finish(&callback).await;
    let back = location(&answer, &callback);
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
        let refused = problem(
            acme.request(Method::POST, "/v1/connect/github", Some(&body))
                .await,
        );
        refused.await.is_problem(403, "return_to_not_allowed");
    }
    for bad in [
        json!(7),
        json!("javascript:alert(1)"),
        json!("/done"),
        json!("http://a\u{0}"),
    ] {
        let body = json!({ "return_to": bad });
        let refused = problem(
            acme.request(Method::POST, "/v1/connect/github", Some(&body))
                .await,
        );
        refused.await.is_problem(422, "invalid_body");
    }
}

#[tokio::test]
async fn another_browser_is_refused_and_disturbs_nothing() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::of(&system, &person);
    let opened = link(&acme, json!({})).await;
    let callback = browser.install(&opened, &account).await;

    let mut other = Browser::of(&system, &person);
    other.get(&callback).await.is_problem(403, "invalid_state");
    // With a cookie of its own, from a flow of its own.
    other.proceed(&link(&acme, json!({})).await).await;
    other.get(&callback).await.is_problem(403, "invalid_state");
    // It may begin a flow at the same link, which the first to end uses up.
    let late = other.install(&opened, &account).await;
    assert_eq!(connections(&acme, "active").await, 0);

    assert_eq!(browser.finish(&callback).await.status, 200);
    other.finish(&late).await.is_problem(403, "invalid_state");
    assert_eq!(connections(&acme, "active").await, 1);
}

#[tokio::test]
async fn a_state_ends_after_ten_minutes_and_fits_its_provider_alone() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::of(&system, &person);
    let opened = link(&acme, json!({})).await;
    let callback = browser.install(&opened, &account).await;
    for table in ["oauth_states", "connect_links"] {
        let later = format!("UPDATE {table} SET expires_at = expires_at - interval '10 minutes'");
        sqlx::query(sqlx::AssertSqlSafe(later))
            .execute(system.db.pool())
            .await
            .expect("the time has passed");
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
async fn a_forged_installation_gives_nothing() {
    let system = start().await;
    let (acme, mallory) = (system.tenant("Acme").await, system.tenant("Mallory").await);
    let mut accounts = system.accounts().await;
    let (account, person) = accounts.remove(0);
    let (own_account, thief) = accounts.remove(0);
    assert_ne!(person, thief);
    let mut owner = Browser::of(&system, &person);
    let first_leg = owner.install(&link(&acme, json!({})).await, &account).await;
    let installation = param(&first_leg, "installation_id").expect("an installation");

    let mut browser = Browser::of(&system, &thief);
    let redirect = browser
        .install(&link(&mallory, json!({})).await, &own_account)
        .await;
    let forged = with_param(&redirect, "installation_id", &installation);
    browser
        .finish(&forged)
        .await
        .is_problem(400, "access_denied");
    assert_eq!(
        mallory.get("/v1/connections").await["connections"],
        json!([])
    );
    assert_eq!(
        owner.finish(&first_leg).await.status,
        200,
        "its owner connects it all the same"
    );
}

#[tokio::test]
async fn who_declines_goes_back_without_a_connection() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::of(&system, &person);
    let with_return = json!({ "return_to": "http://localhost:9/done" });
    for body in [with_return, json!({})] {
        let first_leg = browser
            .install(&link(&acme, body.clone()).await, &account)
            .await;
        let consent = browser.led_by(&first_leg).await;
        let mut fields: Vec<(String, String)> = consent.query_pairs().into_owned().collect();
        fields.push(("authorize".to_owned(), "0".to_owned()));
        let answer = browser.send(Method::POST, &consent, &fields).await;
        let denied = location(&answer, &consent);
        assert_eq!(param(&denied, "error").as_deref(), Some("access_denied"));
        let answer = browser.get(&denied).await;
        if body.get("return_to").is_some() {
            let back = location(&answer, &denied);
            assert_eq!(back.as_str(), "http://localhost:9/done?error=access_denied");
        } else {
            answer.is_problem(400, "access_denied");
            let theirs = param(&denied, "error_description").expect("the provider's words");
            assert!(
                !answer.body.to_string().contains(&theirs),
                "they are not repeated"
            );
        }
    }
    assert_eq!(acme.get("/v1/connections").await["connections"], json!([]));
}

#[tokio::test]
async fn an_account_belongs_to_one_tenant() {
    let system = start().await;
    let (acme, other) = (system.tenant("Acme").await, system.tenant("Other").await);
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::of(&system, &person);
    let callback = browser
        .install(&link(&acme, json!({})).await, &account)
        .await;
    let answer = browser.finish(&callback).await.ok();
    let id = answer["connection"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();

    let callback = browser
        .install(&link(&other, json!({})).await, &account)
        .await;
    browser
        .finish(&callback)
        .await
        .is_problem(409, "account_already_connected");
    assert_eq!(other.get("/v1/connections").await["connections"], json!([]));
    assert_eq!(connections(&acme, "active").await, 1);

    // Once it is disconnected, and with that uninstalled, it is free.
    let deleted = acme
        .request(Method::DELETE, &format!("/v1/connections/{id}"), None)
        .await;
    assert_eq!(deleted.status(), 204);
    let revoked: bool = sqlx::query_scalar(
        "SELECT (detail->>'revoked')::boolean FROM audit_log WHERE action = 'connection.disconnected'",
    )
    .fetch_one(system.db.pool())
    .await
    .expect("the audit line");
    assert!(revoked, "the app was uninstalled");
    let callback = browser
        .install(&link(&other, json!({})).await, &account)
        .await;
    assert_eq!(browser.finish(&callback).await.status, 200);
}

#[tokio::test]
async fn an_operator_connects_for_a_tenant_that_exists() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let begin = async |tenant: Uuid| {
        let request = system
            .client
            .post(format!("{}/v1/connect/github", system.api))
            .bearer_auth(OPERATOR_TOKEN)
            .header("X-Tenant-Id", tenant.to_string());
        read(request).await
    };
    assert_eq!(begin(acme.id).await.status, 201);
    begin(Uuid::now_v7())
        .await
        .is_problem(404, "tenant_not_found");
    begin(Uuid::nil()).await.is_problem(404, "tenant_not_found");
}

#[tokio::test]
async fn a_provider_that_fails_connects_nothing_and_keeps_nothing() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::of(&system, &person);
    let callback = browser
        .install(&link(&acme, json!({})).await, &account)
        .await;
    let fault = json!({ "target": "request", "effect": "status", "status": 502, "count": 1,
        "pattern": "POST /login/oauth/access_token" });
    system.sim("faults", fault).await;
    let failed = browser.finish(&callback).await;
    failed.is_problem(502, "provider_unavailable");
    assert_eq!(acme.get("/v1/connections").await["connections"], json!([]));

    let callback = browser
        .install(&link(&acme, json!({})).await, &account)
        .await;
    let answer = browser.finish(&callback).await.ok();
    let id = answer["connection"]["id"].as_str().expect("an id");
    // A provider that is away does not keep a connection that its tenant ends.
    let fault = json!({ "target": "request", "effect": "status", "status": 500,
        "pattern": "DELETE /app/installations/*" });
    system.sim("faults", fault).await;
    let path = format!("/v1/connections/{id}");
    let deleted = acme.request(Method::DELETE, &path, None).await;
    assert_eq!(deleted.status(), 204);
    assert_eq!(acme.get(&path).await["status"], "disconnected");
}

#[tokio::test]
async fn two_redirects_at_once_are_one_connection() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::of(&system, &person);
    let first_leg = browser
        .install(&link(&acme, json!({})).await, &account)
        .await;
    let page = browser.led_by(&first_leg).await;
    let last = browser.led_by(&page).await;
    let mut twin = browser.clone();
    let (one, two) = tokio::join!(browser.get(&last), twin.get(&last));
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (200, 200));
    assert_eq!(one.body["connection"]["id"], two.body["connection"]["id"]);
    assert_eq!(connections(&acme, "active").await, 1);
}

async fn problem(response: Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    Answer {
        status,
        headers,
        body: response.json().await.expect("JSON"),
    }
}
