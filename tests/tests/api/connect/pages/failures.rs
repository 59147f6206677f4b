//! The pages of flows that cannot continue.

use reqwest::Method;
use serde_json::json;

use super::super::browser::{Browser, location, param, with_param, without_query};
use super::super::{connections, link, start};
use super::{add_sites, consent_at_jira, fail_exchange, failure, jira_link, page, shows};

#[tokio::test]
async fn declined_consent_can_start_again() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::signed_in(&system, &person).with_pages();
    let opened = link(&acme, json!({})).await;
    let first_step = browser.install_app(&opened, &account).await;
    let consent = browser.follow_redirect(&first_step).await;
    let mut fields: Vec<(String, String)> = consent.query_pairs().into_owned().collect();
    fields.push(("authorize".to_owned(), "0".to_owned()));
    let response = browser.send(Method::POST, &consent, &fields).await;
    let denied = location(&response, &consent);
    let hostile = with_param(&denied, "error_description", "<script>alert(1)</script>");
    // The second request is a reload.
    for _ in 0..2 {
        let response = browser.get(&hostile).await;
        let text = page(&response, 400);
        shows(
            text,
            &[
                "GitHub was not connected",
                "declined at GitHub",
                "nothing was read",
            ],
        );
        shows(text, &["Start again", &format!("href=\"{opened}\"")]);
        let json = browser.clone().with_json().get(&hostile).await;
        json.is_problem(400, "access_denied");
    }
    let callback = browser.install_app(&opened, &account).await;
    let done = browser.complete_flow(&callback).await;
    shows(page(&done, 200), &["GitHub is connected"]);
}

#[tokio::test]
async fn failing_provider_has_a_page_per_reason() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let person = add_sites(&system, &[]).await;
    let mut browser = Browser::signed_in(&system, &person).with_pages();
    let without_token = json!({ "effect": "replace", "find": "access_token", "put": "no_token" });
    for (fault, status, code, words) in [
        (
            failure(502),
            502,
            "provider_unavailable",
            "Jira does not answer",
        ),
        (
            without_token,
            502,
            "provider_refused",
            "Jira did not accept the request",
        ),
        (failure(429), 503, "provider_rate_limited", "Jira is busy"),
    ] {
        let opened = jira_link(&acme).await;
        let callback = consent_at_jira(&mut browser, &opened).await;
        fail_exchange(&system, fault).await;
        for _ in 0..2 {
            let response = browser.get(&callback).await;
            let text = page(&response, status);
            shows(text, &[words, "Try again", &format!("href=\"{opened}\"")]);
            let has_reference = text.contains("Reference for support");
            assert_eq!(has_reference, code == "provider_refused", "{text}");
            let json = browser.clone().with_json().get(&callback).await;
            json.is_problem(status, code);
        }
    }
    assert_eq!(connections(&acme, "active").await, 0);
}

#[tokio::test]
async fn account_of_another_team_is_named() {
    let system = start().await;
    let (acme, other) = (system.tenant("Acme").await, system.tenant("Other").await);
    let (account, person) = system.accounts().await.remove(0);
    acme.connect(&account, &person).await;
    let mut browser = Browser::signed_in(&system, &person).with_pages();
    let callback = browser
        .install_app(&link(&other, json!({})).await, &account)
        .await;
    let first_step = browser.follow_redirect(&callback).await;
    let last = browser.follow_redirect(&first_step).await;
    for _ in 0..2 {
        let response = browser.get(&last).await;
        let text = page(&response, 409);
        shows(
            text,
            &[
                "This account is already connected",
                &account,
                "Choose another account",
            ],
        );
        assert!(
            !text.contains("Acme"),
            "the other team is not named: {text}"
        );
        let json = browser.clone().with_json().get(&last).await;
        json.is_problem(409, "account_already_connected");
    }
}

#[tokio::test]
async fn unusable_links_have_pages() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (_, person) = system.accounts().await.remove(0);
    let mut browser = Browser::signed_in(&system, &person).with_pages();
    let opened = link(&acme, json!({})).await;
    browser.get(&opened).await;
    sqlx::query("UPDATE connect_links SET expires_at = now() - interval '1 second'")
        .execute(system.db.pool())
        .await
        .expect("an update");
    let expired = browser.get(&opened).await;
    shows(page(&expired, 403), &["This link has expired", "new link"]);
    let unknown = with_param(&opened, "state", &"A".repeat(43));
    let response = browser.get(&unknown).await;
    shows(page(&response, 403), &["This page has expired", "new link"]);
    for cut in [with_param(&opened, "state", "AAA"), without_query(&opened)] {
        let response = browser.get(&cut).await;
        shows(page(&response, 400), &["This address is not complete"]);
    }
    let mut nowhere = opened.clone();
    nowhere.set_path("/v1/connect/unheard_of/start");
    let response = browser.get(&nowhere).await;
    shows(page(&response, 404), &["This page does not exist"]);
    nowhere.set_path("/v1/connect/github/callback");
    nowhere.set_query(None);
    let response = browser.get(&nowhere).await;
    shows(page(&response, 400), &["This address is not complete"]);

    // A form without the cookie of its page, as where cookies are blocked.
    let opened = link(&acme, json!({})).await;
    let fields = browser.load_form(&opened).await;
    let mut other = Browser::signed_in(&system, &person).with_pages();
    let response = other
        .send(Method::POST, &without_query(&opened), &fields)
        .await;
    let text = page(&response, 403);
    shows(text, &["Please start again", &format!("href=\"{opened}\"")]);
    let json = other
        .with_json()
        .send(Method::POST, &without_query(&opened), &fields)
        .await;
    json.is_problem(403, "invalid_state");
    // The API's own errors stay JSON.
    let mut api = opened.clone();
    api.set_path("/v1/connect/github");
    browser
        .send(Method::POST, &api, &[])
        .await
        .is_problem(401, "unauthorized");
}

#[tokio::test]
async fn return_to_is_repeated_after_a_failure() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::signed_in(&system, &person).with_pages();
    let opened = link(&acme, json!({ "return_to": "http://localhost:9/done" })).await;
    let first_step = browser.install_app(&opened, &account).await;
    let consent = browser.follow_redirect(&first_step).await;
    let mut callback = first_step.clone();
    let state = param(&consent, "state").expect("a state");
    callback.set_query(None);
    callback
        .query_pairs_mut()
        .append_pair("state", &state)
        .append_pair("error", "access_denied");
    for _ in 0..2 {
        let response = browser.get(&callback).await;
        let back = location(&response, &callback);
        assert_eq!(back.as_str(), "http://localhost:9/done?error=access_denied");
    }
}
