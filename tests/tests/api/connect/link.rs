//! The page of a connect link: it names the team, has no effect, and is bound to the browser.

use reqwest::Method;
use serde_json::json;

use super::browser::{Browser, param, without_query};
use super::{connections, link, start};

#[tokio::test]
async fn link_page_names_team_and_has_no_effect() {
    let system = start().await;
    let team = system.tenant("Acme <b>&\"'").await;
    let (account, person) = system.accounts().await.remove(0);
    let opened = link(&team, json!({})).await;
    let mut watcher = Browser::signed_in(&system, &person);
    for _ in 0..3 {
        let page = watcher.get(&opened).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(page.headers["cache-control"], "no-store");
        assert_eq!(page.headers["x-frame-options"], "DENY");
        let policy = page.headers["content-security-policy"]
            .to_str()
            .expect("text");
        for directive in ["default-src 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(directive), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let cookie = page.headers["set-cookie"].to_str().expect("text");
        for attribute in ["HttpOnly", "SameSite=Lax"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        let text = page.body.as_str().expect("a page");
        assert!(text.contains("Acme &lt;b&gt;&amp;&quot;&#39;"), "{text}");
        assert!(text.contains("GitHub"), "{text}");
        assert!(text.contains("issues, pull requests"), "{text}");
        assert!(text.contains("members:read"), "{text}");
        assert!(!text.contains("<script"), "{text}");
    }
    let flows: i64 = sqlx::query_scalar("SELECT count(*) FROM oauth_states")
        .fetch_one(system.db.pool())
        .await
        .expect("a number");
    assert_eq!(flows, 0, "viewing starts no flow");

    // The link works after another browser has viewed its page.
    let mut browser = Browser::signed_in(&system, &person);
    let callback = browser.install_app(&opened, &account).await;
    assert_eq!(browser.complete_flow(&callback).await.status, 200);
}

#[tokio::test]
async fn provider_state_differs_from_link_token() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let opened = link(&acme, json!({})).await;
    let created = param(&opened, "state").expect("the link's token");
    let mut browser = Browser::signed_in(&system, &person);
    let page = browser.continue_from_page(&opened).await;
    let seen = param(&page, "state").expect("a state");
    assert_ne!(seen, created);
    assert_ne!(
        param(&browser.continue_from_page(&opened).await, "state"),
        Some(seen),
        "a new state each time"
    );
    // The link's token is not a state.
    let mut forged = browser.install_app(&opened, &account).await;
    forged = super::with_param(&forged, "state", &created);
    browser.get(&forged).await.is_problem(403, "invalid_state");
}

#[tokio::test]
async fn form_is_accepted_from_its_browser_only() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (_, person) = system.accounts().await.remove(0);
    let opened = link(&acme, json!({})).await;
    let action = without_query(&opened);
    let mut attacker = Browser::signed_in(&system, &person);
    let fields = attacker.load_form(&opened).await;

    // The attacker's page submits a form in the victim's browser (CSRF).
    let mut victim = Browser::signed_in(&system, &person);
    victim
        .send(Method::POST, &action, &fields)
        .await
        .is_problem(403, "invalid_state");
    victim.load_form(&opened).await;
    victim
        .send(Method::POST, &action, &fields)
        .await
        .is_problem(403, "invalid_state");
    let without: Vec<(String, String)> = fields
        .iter()
        .filter(|(name, _)| name != "confirm")
        .cloned()
        .collect();
    victim
        .send(Method::POST, &action, &without)
        .await
        .is_problem(422, "invalid_body");
    // A confirmation is valid for one link only.
    let other = link(&acme, json!({})).await;
    let mut mixed = attacker.load_form(&other).await;
    for field in &mut mixed {
        if field.0 == "state" {
            field.1 = param(&opened, "state").expect("a token");
        }
    }
    attacker
        .send(Method::POST, &action, &mixed)
        .await
        .is_problem(403, "invalid_state");
    assert_eq!(connections(&acme, "active").await, 0);
}
