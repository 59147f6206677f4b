//! Repeated callbacks of a browser.

use serde_json::json;
use tests::harness::eventually;

use super::browser::Browser;
use super::{connections, link, start};

#[tokio::test]
async fn connect_callback_twice_gets_one_response() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    for body in [json!({}), json!({ "return_to": "http://127.0.0.1:9/done" })] {
        let mut browser = Browser::signed_in(&system, &person);
        let opened = link(&acme, body).await;
        let first_step = browser.install_app(&opened, &account).await;
        let second_page = browser.follow_redirect(&first_step).await;
        assert_eq!(browser.follow_redirect(&first_step).await, second_page);
        let second_step = browser.follow_redirect(&second_page).await;
        let done = browser.get(&second_step).await;
        let again = browser.get(&second_step).await;
        assert_eq!(again.status, done.status, "{}", again.body);
        assert_eq!(again.body, done.body);
        assert_eq!(again.headers.get("location"), done.headers.get("location"));
        assert_eq!(browser.follow_redirect(&first_step).await, second_page);
        // Another browser is rejected, and the link is consumed.
        let mut other = Browser::signed_in(&system, &person);
        other
            .get(&second_step)
            .await
            .is_problem(403, "invalid_state");
        browser.get(&opened).await.is_problem(403, "invalid_state");
    }
    assert_eq!(connections(&acme, "active").await, 1);
}

#[tokio::test]
async fn connect_callback_twice_survives_an_aborted_request() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::signed_in(&system, &person);
    let opened = link(&acme, json!({})).await;
    let first_step = browser.install_app(&opened, &account).await;
    let second_page = browser.follow_redirect(&first_step).await;
    let second_step = browser.follow_redirect(&second_page).await;
    let slow = json!({
        "target": "request", "pattern": "GET /user/installations", "effect": "slow",
        "seconds": 2.0, "count": 1,
    });
    system.sim("faults", slow).await;
    // The fault is removed when a request matches it; then the browser disconnects.
    let mut leaving = browser.clone();
    tokio::select! {
        response = leaving.get(&second_step) => panic!("unexpected response: {}", response.body),
        () = eventually("the callback calls the provider", async || {
            system.faults().await.is_empty()
        }) => {}
    }
    let done = browser.get(&second_step).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(connections(&acme, "active").await, 1);
}
