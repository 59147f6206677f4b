//! The pages of a link and of the connection to which it leads.

use serde_json::{Value, json};
use tests::harness::System;

use super::super::browser::Browser;
use super::super::{link, start};
use super::{page, shows};

#[tokio::test]
async fn connected_page_survives_reload_and_back() {
    let system = start().await;
    let acme = system.tenant("Acme <i>").await;
    let (account, person) = system.accounts().await.remove(0);
    let mut browser = Browser::signed_in(&system, &person).with_pages();
    let opened = link(&acme, json!({})).await;
    let consent = browser.get(&opened).await;
    let text = page(&consent, 200);
    shows(
        text,
        &[
            "Connect GitHub",
            "Acme &lt;i&gt;",
            "Poblysh Connectors",
            "issues, pull requests",
        ],
    );
    shows(text, &["members:read", "Continue to GitHub"]);
    let first_step = browser.install_app(&opened, &account).await;
    let second_page = browser.follow_redirect(&first_step).await;
    let last = browser.follow_redirect(&second_page).await;
    let done = browser.get(&last).await;
    shows(
        page(&done, 200),
        &["GitHub is connected", "Acme &lt;i&gt;", &account],
    );

    // Reload, and Back to the page of the link; hours later as well.
    for later in [
        None,
        Some("UPDATE oauth_states SET expires_at = now() - interval '9 minutes'"),
    ] {
        if let Some(later) = later {
            let changed = sqlx::query(later).execute(system.db.pool()).await;
            assert!(changed.expect("an update").rows_affected() > 0);
        }
        for url in [&last, &opened] {
            let again = browser.get(url).await;
            shows(page(&again, 200), &["GitHub is connected", &account]);
        }
    }
    // Another browser sees that the link was used, and not by whom.
    let mut other = Browser::signed_in(&system, &person).with_pages();
    let response = other.get(&opened).await;
    let text = page(&response, 403);
    shows(
        text,
        &["This link was already used", "ask the people who sent it"],
    );
    assert!(!text.contains(&account), "{text}");
    for url in [&last, &opened] {
        let json = other.clone().with_json().get(url).await;
        json.is_problem(403, "invalid_state");
    }
    // JSON is the same for a client that does not ask for pages.
    let json = browser.clone().with_json().get(&last).await.ok();
    assert_eq!(json["connection"]["account"]["name"], json!(account));
    browser
        .with_json()
        .get(&opened)
        .await
        .is_problem(403, "invalid_state");
}

#[tokio::test]
async fn waiting_page_names_owner_and_link() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let (login, admin, member) = organization(&system).await;
    let mut browser = Browser::signed_in(&system, &member).with_pages();
    let opened = link(&acme, json!({})).await;
    let callback = browser.install_app(&opened, &login).await;
    let response = browser.complete_flow(&callback).await;
    let text = page(&response, 200);
    shows(
        text,
        &[
            "An owner must agree",
            "owner or administrator",
            "GitHub",
            "Acme",
        ],
    );
    shows(
        text,
        &["href=\"mailto:?subject=", &format!(">{opened}</textarea>")],
    );

    // Back shows the link's page with the pending request; the owner continues from there.
    let back = browser.get(&opened).await;
    shows(
        page(&back, 200),
        &["This request waits for an owner", "Continue to GitHub"],
    );
    let mut owner = Browser::signed_in(&system, &admin).with_pages();
    let callback = owner.install_app(&opened, &login).await;
    let done = owner.complete_flow(&callback).await;
    shows(page(&done, 200), &["GitHub is connected", &login]);

    // The member's page shows the approval.
    let now = browser.get(&opened).await;
    shows(page(&now, 200), &["GitHub is connected", &login]);
    for (status, words) in [
        ("paused", "GitHub is connected, and paused"),
        ("suspended", "GitHub is suspended"),
        ("needs_reauth", "GitHub must be connected again"),
        ("disconnected", "GitHub is not connected"),
    ] {
        sqlx::query("UPDATE connections SET status = $1::connection_status")
            .bind(status)
            .execute(system.db.pool())
            .await
            .expect("an update");
        let now = browser.get(&opened).await;
        shows(page(&now, 200), &[words, &login]);
    }
}

/// An organization with its admin and a member who is not.
async fn organization(system: &System) -> (String, String, String) {
    for number in 0..3 {
        let account = system.account_of("github", number).await;
        let text = |value: &Value| value.as_str().expect("a login").to_owned();
        let mut members = account["members"].as_array().into_iter().flatten();
        if let Some(member) = members.find(|one| **one != account["admin"]) {
            return (
                text(&account["login"]),
                text(&account["admin"]),
                text(member),
            );
        }
    }
    panic!("no organization has two members")
}

#[tokio::test]
async fn brand_is_on_every_page() {
    let system = System::with_fast_provider()
        .workers(0)
        .env("POBLYSH_PAGES_NAME", "Ex & Co")
        .env("POBLYSH_PAGES_COLOUR", "#7c2d12")
        .env("POBLYSH_PAGES_SUPPORT_URL", "mailto:help@example.com")
        .start()
        .await;
    let acme = system.tenant("Acme").await;
    let (_, person) = system.accounts().await.remove(0);
    let mut browser = Browser::signed_in(&system, &person).with_pages();
    let opened = link(&acme, json!({})).await;
    let mut unknown = opened.clone();
    unknown.set_query(Some(&format!("state={}", "A".repeat(43))));
    for (url, status) in [(&opened, 200), (&unknown, 403)] {
        let response = browser.get(url).await;
        let text = page(&response, status);
        shows(
            text,
            &[
                "· Ex &amp; Co</title>",
                "--brand:#7c2d12",
                "href=\"mailto:help@example.com\"",
            ],
        );
        assert!(!text.contains("Poblysh"), "{text}");
    }
}
