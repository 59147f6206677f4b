//! Attacks on the console: forged forms, foreign sessions, reads that would change something.

use reqwest::Method;
use reqwest::header::{COOKIE, ORIGIN};
use uuid::Uuid;

use super::{Browser, OWN_ORIGIN, start};
use crate::server::{Api, As, Team};

/// The forms of the console, with fields that the handler accepts.
async fn forms(api: &Api, acme: &Team) -> Vec<(String, Vec<(&'static str, String)>)> {
    let connection = api.connection(acme).await;
    let job = api.dead_job(acme, connection).await;
    let queued = api.queued_job(acme, connection).await;
    let delivery = api.delivery(acme.id, "failed").await;
    let tenant = acme.id;
    let of_connection = format!("/console/connections/{tenant}/{connection}");
    let key = Uuid::now_v7();
    let none = Vec::new;
    let field = |name, value: &str| vec![(name, value.to_owned())];
    vec![
        (format!("{of_connection}/sync"), none()),
        (format!("{of_connection}/full-sync"), none()),
        (format!("{of_connection}/pause"), none()),
        (format!("{of_connection}/resume"), none()),
        (format!("{of_connection}/reconnect"), none()),
        (
            format!("{of_connection}/disconnect"),
            field("confirm", "yes"),
        ),
        (format!("/console/jobs/{tenant}/{job}/retry"), none()),
        (format!("/console/jobs/{tenant}/{queued}/cancel"), none()),
        (
            format!("/console/deliveries/{tenant}/{delivery}/body"),
            field("reason", "Ticket 4711"),
        ),
        (
            format!("/console/deliveries/{tenant}/{delivery}/replay"),
            none(),
        ),
        ("/console/tenants".to_owned(), field("name", "Forged")),
        (
            format!("/console/tenants/{tenant}/keys"),
            vec![
                ("name", "forged".to_owned()),
                ("scope", "jobs:read".to_owned()),
            ],
        ),
        (
            format!("/console/tenants/{tenant}/keys/{key}/revoke"),
            none(),
        ),
        ("/console/logout".to_owned(), none()),
    ]
}

/// The rows that an act would change.
async fn snapshot(api: &Api) -> String {
    sqlx::query_scalar(
        "SELECT concat_ws(';', (SELECT string_agg(status::text, ',') FROM connections), \
             (SELECT count(*) FROM jobs), (SELECT count(*) FROM audit_log), \
             (SELECT count(*) FROM tenants), (SELECT count(*) FROM api_keys), \
             (SELECT count(*) FROM connect_links), \
             (SELECT string_agg(outcome::text, ',') FROM deliveries), \
             (SELECT count(*) FROM operator_sessions WHERE ended_at IS NULL))",
    )
    .fetch_one(api.db.pool())
    .await
    .expect("a text")
}

#[tokio::test]
async fn forged_forms_change_nothing() {
    let api = start().await;
    let acme = api.team("Acme").await;
    let forms = forms(&api, &acme).await;
    let (_, token) = api.named_operator("Ada", "admin").await;
    let (_, other) = api.named_operator("Mallory", "admin").await;
    let mut browser = Browser::signed_in(&api, &token).await;
    let foreign = Browser::signed_in(&api, &other).await.form_token().await;
    let own = browser.form_token().await;
    let cookie = browser.cookie.clone().expect("a cookie");
    let before = snapshot(&api).await;
    let attacks: [(&str, Option<&str>, Option<&str>); 7] = [
        ("no token", Some(OWN_ORIGIN), None),
        ("an empty token", Some(OWN_ORIGIN), Some("")),
        ("another session's token", Some(OWN_ORIGIN), Some(&foreign)),
        ("no origin", None, Some(&own)),
        (
            "another origin",
            Some("https://evil.example.com"),
            Some(&own),
        ),
        ("an opaque origin", Some("null"), Some(&own)),
        ("another port", Some("http://127.0.0.1:8081"), Some(&own)),
    ];
    for (path, fields) in &forms {
        for (attack, origin, token) in attacks {
            let mut fields = fields.clone();
            fields.extend(token.map(|token| ("token", token.to_owned())));
            let mut request = api
                .client
                .request(Method::POST, format!("{}{path}", api.url))
                .header(COOKIE, &cookie)
                .form(&fields);
            if let Some(origin) = origin {
                request = request.header(ORIGIN, origin);
            }
            let response = request.send().await.expect("a response");
            assert_eq!(response.status(), 403, "{path} with {attack}");
            let text = response.text().await.expect("a body");
            assert!(text.contains("forged_form"), "{path} with {attack}: {text}");
        }
    }
    assert_eq!(snapshot(&api).await, before);
}

#[tokio::test]
async fn forms_without_a_session_change_nothing() {
    let api = start().await;
    let acme = api.team("Acme").await;
    let forms = forms(&api, &acme).await;
    let before = snapshot(&api).await;
    let mut browser = Browser::new(&api);
    for cookie in [None, Some(format!("poblysh_console={}", "A".repeat(43)))] {
        browser.cookie = cookie;
        for (path, fields) in &forms {
            let fields: Vec<(&str, &str)> = fields
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let page = browser.send_form(path, &fields).await;
            assert_eq!(page.redirect(), "/console/login?next=%2Fconsole", "{path}");
        }
    }
    // A bearer token is no session, and a session is no credential of the API.
    let page = api.get("/console", As::Operator).await;
    assert_eq!(page.status, 303);
    assert_eq!(snapshot(&api).await, before);
}

#[tokio::test]
async fn forms_require_the_role_of_the_api() {
    let api = start().await;
    let acme = api.team("Acme").await;
    let forms = forms(&api, &acme).await;
    let (_, viewer) = api.named_operator("Vera", "viewer").await;
    let (_, operator) = api.named_operator("Otto", "operator").await;
    let before = {
        let mut browser = Browser::signed_in(&api, &viewer).await;
        let before = snapshot(&api).await;
        for (path, fields) in forms.iter().filter(|(path, _)| path != "/console/logout") {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let page = browser.post(path, &fields).await;
            page.is(403).shows(&["insufficient_role"]);
        }
        before
    };
    assert_eq!(snapshot(&api).await, before);
    let mut browser = Browser::signed_in(&api, &operator).await;
    for (path, fields) in &forms {
        let is_admins = path.ends_with("/disconnect") || path.starts_with("/console/tenants");
        if is_admins {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let page = browser.post(path, &fields).await;
            page.is(403).shows(&["insufficient_role"]);
        }
    }
}

#[tokio::test]
async fn pages_change_nothing_and_hide_unknown_objects() {
    let api = start().await;
    let acme = api.team("Acme").await;
    let other = api.team("Other").await;
    let forms = forms(&api, &acme).await;
    let (_, token) = api.named_operator("Ada", "admin").await;
    let mut browser = Browser::signed_in(&api, &token).await;
    let before = snapshot(&api).await;
    for (path, _) in &forms {
        // The list of tenants is a page and the target of a form.
        let expected = if path == "/console/tenants" { 200 } else { 405 };
        browser.get(path).await.is(expected);
    }
    assert_eq!(snapshot(&api).await, before);
    let connection = api.connection(&acme).await;
    for path in [
        format!("/console/connections/{}/{connection}", other.id),
        format!("/console/connections/{}/{}", acme.id, Uuid::now_v7()),
        format!("/console/deliveries/{}/{}", acme.id, Uuid::now_v7()),
        format!("/console/signals/{}/{}", acme.id, Uuid::now_v7()),
        format!("/console/tenants/{}", Uuid::now_v7()),
        "/console/unknown".to_owned(),
        "/console/assets/unknown.js".to_owned(),
    ] {
        assert_eq!(browser.get(&path).await.status, 404, "{path}");
    }
    for path in [
        "/console/jobs?state=unknown",
        "/console/connections?health=ill",
        "/console/audit-log?action=x",
        "/console/deliveries?tenant=1",
        "/console?x=1",
    ] {
        browser
            .get(path)
            .await
            .is(400)
            .shows(&["invalid_parameters"]);
    }
    let outside = browser
        .get("/console/login?next=%2F%2Fevil.example.com")
        .await;
    outside.is(400);
}
