//! The page behind a connect link: it names who asks, binds nobody, and is submitted by the
//! person who saw it.

use reqwest::Method;
use serde_json::json;

use super::browser::{Browser, param, without_query};
use super::{connections, link, start};

#[tokio::test]
async fn link_page_names_team_and_scopes_and_binds_nothing() {
    let system = start().await;
    let team = system.tenant("Acme <b>&\"'").await;
    let (account, person) = system.accounts().await.remove(0);
    let opened = link(&team, json!({})).await;
    let mut watcher = Browser::of(&system, &person);
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
    assert_eq!(flows, 0, "looking begins nothing");

    // Somebody else has looked at it, and it works all the same.
    let mut browser = Browser::of(&system, &person);
    let callback = browser.install(&opened, &account).await;
    assert_eq!(browser.finish(&callback).await.status, 200);
}

#[tokio::test]
async fn state_at_the_provider_is_unknown_to_the_links_maker() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (account, person) = system.accounts().await.remove(0);
    let opened = link(&acme, json!({})).await;
    let made = param(&opened, "state").expect("the link's token");
    let mut browser = Browser::of(&system, &person);
    let page = browser.proceed(&opened).await;
    let seen = param(&page, "state").expect("a state");
    assert_ne!(seen, made);
    assert_ne!(
        param(&browser.proceed(&opened).await, "state"),
        Some(seen),
        "each time another"
    );
    // The link's token is no state.
    let mut forged = browser.install(&opened, &account).await;
    forged = super::with_param(&forged, "state", &made);
    browser.get(&forged).await.is_problem(403, "invalid_state");
}

#[tokio::test]
async fn form_counts_only_from_the_browser_that_saw_it() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (_, person) = system.accounts().await.remove(0);
    let opened = link(&acme, json!({})).await;
    let action = without_query(&opened);
    let mut attacker = Browser::of(&system, &person);
    let fields = attacker.form(&opened).await;

    // A page of the attacker submits its own form in a victim's browser.
    let mut victim = Browser::of(&system, &person);
    victim
        .send(Method::POST, &action, &fields)
        .await
        .is_problem(403, "invalid_state");
    victim.form(&opened).await;
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
    // A confirmation of one link is none of another.
    let other = link(&acme, json!({})).await;
    let mut mixed = attacker.form(&other).await;
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
