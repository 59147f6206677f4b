//! Sign-in by token and by link, the session's cookie, and its end.

use serde_json::{Value, json};
use tests::harness::OPERATOR_TOKEN;
use uuid::Uuid;

use super::{Browser, start};
use crate::server::{Api, As};

async fn execute(api: &Api, statement: &'static str) {
    let done = sqlx::query(statement).execute(api.db.pool()).await;
    assert!(done.expect("executed").rows_affected() > 0, "{statement}");
}

async fn link(api: &Api, operator: Uuid) -> String {
    let path = format!("/v1/operators/{operator}/login-links");
    let created = api.post(&path, As::Operator, &Value::Null).await;
    assert_eq!(created.status, 201);
    let created = created.ok();
    let url = created["url"].as_str().expect("a URL");
    let path = url
        .strip_prefix("http://127.0.0.1:8080")
        .expect("the public URL");
    path.to_owned()
}

fn token_of(link: &str) -> &str {
    link.strip_prefix("/console/login?link=").expect("a link")
}

#[tokio::test]
async fn token_starts_a_session_with_strict_cookie() {
    let api = start().await;
    let (_, token) = api.named_operator("Ada <i>", "viewer").await;
    let mut browser = Browser::new(&api);
    let asked = browser.get("/console/jobs?state=dead").await;
    let login = asked.redirect();
    assert_eq!(
        login,
        "/console/login?next=%2Fconsole%2Fjobs%3Fstate%3Ddead"
    );
    let form = browser.get(login).await;
    form.is(200)
        .shows(&["Operator's token", "value=\"/console/jobs?state=dead\""]);
    let fields = [
        ("operator_token", token.as_str()),
        ("next", "/console/jobs?state=dead"),
    ];
    let entered = browser.send_form("/console/login", &fields).await;
    assert_eq!(entered.redirect(), "/console/jobs?state=dead");
    let cookie = entered.headers["set-cookie"].to_str().expect("text");
    assert!(cookie.starts_with("poblysh_console="), "{cookie}");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=86400"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(
        !cookie.contains("Secure"),
        "the public URL is http: {cookie}"
    );
    let home = browser.get("/console").await;
    home.is(200)
        .shows(&["Ada &lt;i&gt;", "(viewer)", "Sign out"]);
    home.lacks(&["<i>", &token]);
    let policy = home.headers["content-security-policy"]
        .to_str()
        .expect("text");
    for directive in [
        "default-src 'none'",
        "script-src 'self'",
        "form-action 'self'",
    ] {
        assert!(policy.contains(directive), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(home.headers["cache-control"], "no-store");
    let stored: Vec<u8> = sqlx::query_scalar("SELECT session_hash FROM operator_sessions")
        .fetch_one(api.db.pool())
        .await
        .expect("a session");
    let value = browser
        .cookie
        .as_deref()
        .and_then(|pair| pair.split_once('='));
    assert_ne!(
        stored,
        value.expect("a cookie").1.as_bytes(),
        "only a hash is stored"
    );
}

#[tokio::test]
async fn cookie_is_secure_behind_https() {
    let api = Api::with(&[
        ("POBLYSH_CONSOLE", "on"),
        ("POBLYSH_PUBLIC_API_URL", "https://connect.example.com"),
        ("POBLYSH_PUBLIC_WEBHOOK_URL", "https://hooks.example.com"),
    ])
    .await;
    let response = api
        .client
        .post(format!("{}/console/login", api.url))
        .header("origin", "https://connect.example.com")
        .form(&[("operator_token", OPERATOR_TOKEN)])
        .send()
        .await
        .expect("a response");
    let cookie = response.headers()["set-cookie"].to_str().expect("text");
    assert!(cookie.starts_with("__Host-poblysh_console="), "{cookie}");
    assert!(
        cookie.contains("; Secure") && !cookie.contains("Domain"),
        "{cookie}"
    );
}

#[tokio::test]
async fn login_link_is_consumed_by_its_button_once() {
    let api = start().await;
    let (id, _) = api.named_operator("Ada", "operator").await;
    let link = link(&api, id).await;
    let mut browser = Browser::new(&api);
    for _ in 0..3 {
        let page = browser.get(&link).await;
        page.is(200)
            .shows(&["You sign in as", "Ada", "can be used once"]);
        assert_eq!(browser.cookie, None, "opening the page changes nothing");
    }
    let fields = [("link", token_of(&link))];
    let entered = browser.send_form("/console/login", &fields).await;
    assert_eq!(entered.redirect(), "/console");
    browser
        .get("/console")
        .await
        .is(200)
        .shows(&["Ada", "(operator)"]);
    let mut other = Browser::new(&api);
    let again = other.send_form("/console/login", &fields).await;
    again
        .is(403)
        .shows(&["This link is used, expired or unknown"]);
    assert_eq!(other.cookie, None);
    let closed = other.get(&link).await;
    closed
        .is(403)
        .shows(&["This link is used, expired or unknown"]);
    closed.lacks(&["Ada"]);
}

#[tokio::test]
async fn closed_links_start_no_session() {
    let api = start().await;
    let (id, _) = api.named_operator("Ada", "operator").await;
    let expired = link(&api, id).await;
    execute(&api, "UPDATE operator_login_links SET expires_at = now()").await;
    let revoked = link(&api, id).await;
    api.delete(&format!("/v1/operators/{id}"), As::Operator)
        .await;
    let unknown = "A".repeat(43);
    let mut browser = Browser::new(&api);
    for token in [
        token_of(&expired),
        token_of(&revoked),
        &unknown,
        "short",
        "",
    ] {
        let page = browser
            .send_form("/console/login", &[("link", token)])
            .await;
        page.is(403)
            .shows(&["This link is used, expired or unknown"]);
        assert_eq!(browser.cookie, None, "{token}");
    }
    let path = format!("/v1/operators/{id}/login-links");
    let refused = api.post(&path, As::Operator, &Value::Null).await;
    refused.is_problem(409, "operator_not_valid");
}

#[tokio::test]
async fn sessions_end_by_time_and_by_sign_out() {
    let api = start().await;
    let (_, token) = api.named_operator("Ada", "viewer").await;
    for end in [
        "UPDATE operator_sessions SET active_at = now() - interval '8 hours'",
        "UPDATE operator_sessions SET expires_at = now()",
    ] {
        let mut browser = Browser::signed_in(&api, &token).await;
        browser.get("/console").await.is(200);
        execute(&api, end).await;
        let asked = browser.get("/console").await;
        assert!(asked.redirect().starts_with("/console/login"), "{end}");
    }
    let limit: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM max(expires_at - created_at))::float8 FROM operator_sessions",
    )
    .fetch_one(api.db.pool())
    .await
    .expect("a number");
    assert!(limit <= 86_400.0, "{limit}");

    let mut browser = Browser::signed_in(&api, &token).await;
    let cookie = browser.cookie.clone();
    let left = browser.post("/console/logout", &[]).await;
    assert_eq!(left.redirect(), "/console/login?signed_out=true");
    assert_eq!(browser.cookie, None, "the cookie is deleted");
    browser.cookie = cookie;
    let stolen = browser.get("/console").await;
    assert!(stolen.redirect().starts_with("/console/login"));
    let page = browser.get("/console/login?signed_out=true").await;
    page.is(200).shows(&["You are signed out."]);
}

#[tokio::test]
async fn live_updates_are_no_activity() {
    let api = start().await;
    let (_, token) = api.named_operator("Ada", "viewer").await;
    let mut browser = Browser::signed_in(&api, &token).await;
    let idle = "UPDATE operator_sessions SET active_at = now() - interval '2 hours'";
    let minutes = async || -> f64 {
        sqlx::query_scalar(
            "SELECT (extract(epoch FROM now() - active_at) / 60)::float8 FROM operator_sessions",
        )
        .fetch_one(api.db.pool())
        .await
        .expect("a number")
    };
    execute(&api, idle).await;
    let live = api
        .client
        .get(format!("{}/console/live/home", api.url))
        .header("cookie", browser.cookie.clone().expect("a cookie"))
        .send()
        .await
        .expect("a response");
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    assert!(minutes().await > 100.0);
    drop(live);
    browser.get("/console").await.is(200);
    assert!(minutes().await < 5.0, "a page is activity");
}

#[tokio::test]
async fn revoked_operator_loses_its_sessions() {
    let api = start().await;
    let (id, token) = api.named_operator("Ada", "admin").await;
    let mut browser = Browser::signed_in(&api, &token).await;
    let path = format!("/v1/operators/{id}");
    let lowered = json!({ "role": "viewer" });
    api.patch(&path, As::Operator, &lowered).await.ok();
    browser.get("/console").await.is(200).shows(&["(viewer)"]);
    let refused = browser.post("/console/tenants", &[("name", "Acme")]).await;
    refused.is(403).shows(&["requires the operator role admin"]);
    api.delete(&path, As::Operator).await;
    let asked = browser.get("/console").await;
    assert!(asked.redirect().starts_with("/console/login"));
}

#[tokio::test]
async fn bootstrap_session_ends_with_its_token() {
    let api = start().await;
    let mut browser = Browser::signed_in(&api, OPERATOR_TOKEN).await;
    browser
        .get("/console")
        .await
        .is(200)
        .shows(&["bootstrap", "(admin)"]);
    // The token in the settings changes: its digest is another one.
    execute(
        &api,
        "UPDATE operator_sessions SET token_digest = sha256('another token')",
    )
    .await;
    let asked = browser.get("/console").await;
    assert!(asked.redirect().starts_with("/console/login"));
}

#[tokio::test]
async fn unknown_tokens_are_rejected_and_throttled() {
    let api = start().await;
    let acme = api.team("Acme").await;
    let mut browser = Browser::new(&api);
    for token in ["pbo_unknown", "", acme.key.as_str()] {
        let page = browser
            .send_form("/console/login", &[("operator_token", token)])
            .await;
        page.is(403).shows(&["This token is unknown"]);
        assert_eq!(browser.cookie, None);
    }
    let mut throttled = false;
    for _ in 0..100 {
        let guess = [("operator_token", "pbo_AAAAAAAAguess")];
        let page = browser.send_form("/console/login", &guess).await;
        throttled |= page.status == 429;
    }
    assert!(throttled);
    let log = api.get("/v1/audit-log?action=operator.signed_in", As::Operator);
    assert_eq!(log.await.ok()["entries"], json!([]));
}
