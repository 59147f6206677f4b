//! Authorization codes: bound to a PKCE verifier, and used only if the flow requested them.

use serde_json::{Value, json};
use tests::harness::{System, Tenant};
use url::Url;

use super::browser::{Browser, param, with_param};
use super::{connections, link, start};

/// Creates a connect link for a provider.
async fn link_to(tenant: &Tenant<'_>, provider: &str) -> Url {
    let path = format!("/v1/connect/{provider}");
    let created = tenant.post(&path, &json!({})).await;
    let url = created["authorize_url"].as_str().expect("a URL");
    url.parse().expect("a URL")
}

/// The URL of the provider's authorization page in a new flow.
async fn authorize_page(system: &System, tenant: &Tenant<'_>, provider: &str) -> Url {
    let (account, person) = system.accounts_at(provider).await.remove(0);
    let mut browser = Browser::signed_in(system, &person);
    let link = link_to(tenant, provider).await;
    if provider == "github" {
        let callback = browser.install_app(&link, &account).await;
        browser.follow_redirect(&callback).await
    } else {
        browser.continue_from_page(&link).await
    }
}

#[tokio::test]
async fn each_authorization_has_a_new_pkce_challenge() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    for provider in ["github", "jira", "gmail", "zoho_mail"] {
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
    // Slack's PKCE is off, because an app cannot disable it again.
    let page = authorize_page(&system, &acme, "slack").await;
    assert!(param(&page, "code_challenge").is_none(), "{page}");
}

/// The number of code exchanges at GitHub.
async fn exchanges(system: &System) -> u64 {
    let url = format!("{}/_sim/stats", system.simulator.base_url());
    let response = system.client.get(url).send().await.expect("a response");
    let stats: Value = response.json().await.expect("JSON");
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
async fn code_from_an_installation_is_discarded() {
    let system = System::with_fast_provider()
        .workers(0)
        .simulator(|config| (config.accounts, config.providers.github.oauth_on_install) = (3, true))
        .start()
        .await;
    let (acme, mallory) = (system.tenant("Acme").await, system.tenant("Mallory").await);
    let mut accounts = system.accounts().await;
    let (account, person) = accounts.remove(0);
    let (own_account, thief) = accounts.remove(0);
    let mut attacker = Browser::signed_in(&system, &thief);
    let created = link(&mallory, json!({})).await;
    let theirs = attacker.install_app(&created, &own_account).await;
    let foreign = param(&theirs, "code").expect("a code of the installation");

    let mut browser = Browser::signed_in(&system, &person);
    for forged in [false, true] {
        let mut callback = browser
            .install_app(&link(&acme, json!({})).await, &account)
            .await;
        let own = param(&callback, "code").expect("a code of the installation");
        assert_ne!(own, foreign);
        if forged {
            callback = with_param(&callback, "code", &foreign);
        }
        // The code is discarded; the flow requests another one with a challenge.
        let page = browser.follow_redirect(&callback).await;
        assert!(param(&page, "code_challenge").is_some(), "{page}");
        assert_eq!(exchanges(&system).await, u64::from(forged));
        let second = browser.follow_redirect(&page).await;
        assert_eq!(browser.complete_flow(&second).await.status, 200);
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
