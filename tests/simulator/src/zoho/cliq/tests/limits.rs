//! Limits with their locks, and requests without access.

use serde_json::{Value, json};

use super::{SCOPES, fixture, fixture_with, grant, service};
use crate::Config;

#[tokio::test]
async fn call_beyond_the_limit_locks_one_endpoint() {
    let fixture = fixture_with(Config::default()).await;
    let (chat, _) = fixture.channel("organization").await;
    let path = format!("chats/{chat}/messages");
    for _ in 0..15 {
        fixture.read(&path, &[]).await;
    }
    for _ in 0..3 {
        let (status, body) = fixture.get(&path, &[]).await;
        let message = "You have exceeded the URL throttle limits.";
        let expected = json!({ "code": "request_limit_exceeded", "message": message });
        assert_eq!((status, body), (400, expected));
    }
    fixture.read("chats", &[]).await;
    let other = grant(
        service(&fixture.simulator),
        &fixture.colleague(0).1,
        &SCOPES,
    );
    assert_eq!(
        fixture.get_with(&other, &path, &[]).await.0,
        200,
        "another person"
    );
    let url = format!("{}/_sim/zoho/locks", fixture.simulator.base_url());
    let locks = async || -> Value {
        let response = fixture.client.get(&url).send().await.expect("a response");
        response.json().await.expect("JSON")
    };
    let lock = &locks().await["locks"][0];
    assert_eq!(lock["endpoint"], "chats/{id}/messages");
    assert_eq!(
        (&lock["locks"], &lock["calls_in_lock"]),
        (&json!(1), &json!(2))
    );
    let clock = &service(&fixture.simulator).zoho.core.clock;
    clock.advance(290);
    assert_eq!(fixture.get(&path, &[]).await.0, 400);
    clock.advance(11);
    fixture.read(&path, &[]).await;
    assert_eq!(locks().await["locks"][0]["calls_in_lock"], 3);
    assert_eq!(locks().await["locks"][0]["locked"], false);
    let usage = fixture.simulator.usage("zoho_cliq", &fixture.login);
    assert_eq!(usage.refused, 4);
    assert_eq!(usage.limits["chats/{id}/messages"].quota, Some(15));
}

#[tokio::test]
async fn search_is_locked_in_its_own_form() {
    let fixture = fixture_with(Config::default()).await;
    for _ in 0..50 {
        fixture.read("v3/messages/search", &[]).await;
    }
    let (status, body) = fixture.get("v3/messages/search", &[]).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (429, &json!("rate_limit_exceeded"))
    );
    let url = format!("{}/_sim/limits", fixture.simulator.base_url());
    fixture.client.delete(url).send().await.expect("a response");
    fixture.read("v3/messages/search", &[]).await;
}

#[tokio::test]
async fn requests_without_access_are_rejected() {
    let fixture = fixture().await;
    let response = fixture.send(None, "v2/channels", &[]).await;
    assert_eq!(response.status(), 401);
    assert_eq!(
        response.headers()["content-type"],
        "text/html;charset=UTF-8"
    );
    assert_eq!(response.text().await.expect("a body").trim(), "");
    let (status, body) = fixture.get_with("1000.a.b", "channels", &[]).await;
    assert_eq!((status, &body["code"]), (401, &json!("oauthtoken_invalid")));
    let url = format!("{}/zoho/eu/api/v2/channels", fixture.simulator.base_url());
    let request = fixture.client.get(url);
    let request = request.header("authorization", format!("Bearer {}", fixture.token));
    let response = request.send().await.expect("a response");
    assert_eq!(response.status(), 401, "another data centre");
    fixture
        .simulator
        .change_zoho(|settings| settings.refused_scopes = vec![SCOPES[3].to_owned()]);
    let (status, body) = fixture.get("users", &[]).await;
    assert_eq!(
        (status, &body["code"]),
        (401, &json!("oauthtoken_scope_invalid"))
    );
    fixture.read("channels", &[]).await;
}

#[tokio::test]
async fn handlers_of_version_3_are_unknown_urls() {
    let fixture = fixture().await;
    for path in ["v3/bots/b-1/handlers", "bots", "channels/a/b/c", "v3/users"] {
        let (status, body) = fixture.get(path, &[]).await;
        assert_eq!(
            (status, &body["code"]),
            (400, &json!("request_url_invalid")),
            "{path}"
        );
    }
}
