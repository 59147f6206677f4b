//! Callbacks that a browser sends twice.

use serde_json::json;
use tests::harness::eventually;

use super::browser::Browser;
use super::{connections, link, start};

#[tokio::test]
async fn field_connect_callback_twice_gets_the_same_answer() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    for body in [json!({}), json!({ "return_to": "http://127.0.0.1:9/done" })] {
        let mut browser = Browser::of(&system, &person);
        let opened = link(&acme, body).await;
        let first_leg = browser.install(&opened, &account).await;
        let second_page = browser.led_by(&first_leg).await;
        assert_eq!(browser.led_by(&first_leg).await, second_page);
        let second_leg = browser.led_by(&second_page).await;
        let done = browser.get(&second_leg).await;
        let again = browser.get(&second_leg).await;
        assert_eq!(again.status, done.status, "{}", again.body);
        assert_eq!(again.body, done.body);
        assert_eq!(again.headers.get("location"), done.headers.get("location"));
        assert_eq!(browser.led_by(&first_leg).await, second_page);
        // Another browser learns nothing of it, and the link is used up.
        let mut other = Browser::of(&system, &person);
        other
            .get(&second_leg)
            .await
            .is_problem(403, "invalid_state");
        browser.get(&opened).await.is_problem(403, "invalid_state");
    }
    assert_eq!(connections(&acme, "active").await, 1);
}

#[tokio::test]
async fn field_connect_callback_twice_survives_an_aborted_request() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::of(&system, &person);
    let opened = link(&acme, json!({})).await;
    let first_leg = browser.install(&opened, &account).await;
    let second_page = browser.led_by(&first_leg).await;
    let second_leg = browser.led_by(&second_page).await;
    let slow = json!({
        "target": "request", "pattern": "GET /user/installations", "effect": "slow",
        "seconds": 2.0, "count": 1,
    });
    system.sim("faults", slow).await;
    // The rule is gone once a request has met it: then the browser leaves.
    let mut leaving = browser.clone();
    tokio::select! {
        answer = leaving.get(&second_leg) => panic!("it was answered: {}", answer.body),
        () = eventually("the grant is being proved", async || {
            system.faults().await.is_empty()
        }) => {}
    }
    let done = browser.get(&second_leg).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(connections(&acme, "active").await, 1);
}
