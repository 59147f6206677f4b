//! Authorization codes: bound to a verifier that only we know, and used only where we asked for them.

use serde_json::{Value, json};
use tests::harness::{System, Tenant};
use url::Url;

use super::browser::{Browser, param, with_param};
use super::{connections, link, start};

/// A link of the tenant's to connect this provider.
async fn link_to(tenant: &Tenant<'_>, provider: &str) -> Url {
    let path = format!("/v1/connect/{provider}");
    let made = tenant.post(&path, &json!({})).await;
    let url = made["authorize_url"].as_str().expect("a URL");
    url.parse().expect("a URL")
}

/// The page at the provider where a person gives the code that a new flow asks for.
async fn authorize_page(system: &System, tenant: &Tenant<'_>, provider: &str) -> Url {
    let (account, person) = system.accounts_at(provider).await.remove(0);
    let mut browser = Browser::of(system, &person);
    let link = link_to(tenant, provider).await;
    if provider == "github" {
        let callback = browser.install(&link, &account).await;
        browser.led_by(&callback).await
    } else {
        browser.proceed(&link).await
    }
}

#[tokio::test]
async fn codes_are_asked_for_with_a_challenge_of_their_own() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    for provider in ["github", "jira"] {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let page = authorize_page(&system, &acme, provider).await;
            let challenge = param(&page, "code_challenge").expect(provider);
            assert_eq!(challenge.len(), 43, "{page}");
            let method = param(&page, "code_challenge_method");
            assert_eq!(method.as_deref(), Some("S256"), "{page}");
            assert!(!seen.contains(&challenge), "{provider}: used twice");
            seen.push(challenge);
        }
    }
    // At Slack it cannot be turned off again once an app has turned it on.
    let page = authorize_page(&system, &acme, "slack").await;
    assert!(param(&page, "code_challenge").is_none(), "{page}");
}

/// How often a code was exchanged at GitHub.
async fn exchanges(system: &System) -> u64 {
    let url = format!("{}/_sim/stats", system.simulator.base_url());
    let answer = system.client.get(url).send().await.expect("an answer");
    let stats: Value = answer.json().await.expect("JSON");
    let routes = stats["routes"].as_object().expect("routes");
    let exchanges = routes
        .iter()
        .filter(|(route, _)| route.ends_with("/login/oauth/access_token"));
    exchanges
        .flat_map(|(_, by_status)| by_status.as_object().into_iter().flatten())
        .filter_map(|(_, count)| count.as_u64())
        .sum()
}

#[tokio::test]
async fn code_that_came_with_an_installation_is_discarded() {
    let system = System::with_fast_provider()
        .workers(0)
        .simulator(|config| (config.accounts, config.oauth_on_install) = (3, true))
        .start()
        .await;
    let (acme, mallory) = (system.tenant("Acme").await, system.tenant("Mallory").await);
    let mut accounts = system.accounts().await;
    let (account, person) = accounts.remove(0);
    let (own_account, thief) = accounts.remove(0);
    let mut attacker = Browser::of(&system, &thief);
    let made = link(&mallory, json!({})).await;
    let theirs = attacker.install(&made, &own_account).await;
    let foreign = param(&theirs, "code").expect("a code came with the installation");

    let mut browser = Browser::of(&system, &person);
    for forged in [false, true] {
        let mut callback = browser
            .install(&link(&acme, json!({})).await, &account)
            .await;
        let own = param(&callback, "code").expect("a code came with the installation");
        assert_ne!(own, foreign);
        if forged {
            callback = with_param(&callback, "code", &foreign);
        }
        // Neither is used: the person is asked again, for a code that is bound to this flow.
        let page = browser.led_by(&callback).await;
        assert!(param(&page, "code_challenge").is_some(), "{page}");
        assert_eq!(exchanges(&system).await, u64::from(forged));
        let second = browser.led_by(&page).await;
        assert_eq!(browser.finish(&second).await.status, 200);
        assert_eq!(exchanges(&system).await, u64::from(forged) + 1);
    }
    assert_eq!(connections(&acme, "active").await, 1);
    let administrators: Vec<Option<String>> = sqlx::query_scalar(
        "SELECT DISTINCT detail->>'administrator' FROM audit_log \
         WHERE action = 'connection.connected'",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("the audit log");
    assert!(
        matches!(administrators.as_slice(), [Some(_)]),
        "{administrators:?}"
    );
}
