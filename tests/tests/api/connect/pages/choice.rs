//! The page on which a person picks an account.

use serde_json::json;

use super::super::browser::{Browser, param, with_param};
use super::super::{connections, start};
use super::{add_sites, consent_at_jira, jira_link, page, shows};

/// The values of the buttons that choose an account.
fn buttons(text: &str) -> Vec<&str> {
    let values = text.split(" name=\"account\" value=\"").skip(1);
    values.filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test]
async fn account_is_chosen_with_a_button() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let hostile = "\"><script>alert('x')</script>\u{202e}";
    let person = add_sites(&system, &[hostile]).await;
    let mut browser = Browser::signed_in(&system, &person).with_pages();
    let link = jira_link(&acme).await;
    let callback = consent_at_jira(&mut browser, &link).await;
    let response = browser.get(&callback).await;
    let text = page(&response, 200);
    shows(
        text,
        &["Choose what to connect", "2 accounts at Jira", "Acme"],
    );
    shows(
        text,
        &["&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"],
    );
    assert!(
        !text.contains('\u{202e}') && !text.contains("role=\"search\""),
        "{text}"
    );
    let ids: Vec<String> = buttons(text).into_iter().map(str::to_owned).collect();
    assert_eq!(ids.len(), 2, "{text}");

    // Reload and Back show the choice again; JSON has the same accounts.
    let again = browser.get(&callback).await;
    assert_eq!(again.body, response.body);
    let json = browser.clone().with_json().get(&callback).await.ok();
    let choices = json["choices"].as_array().expect("choices");
    let listed: Vec<_> = choices
        .iter()
        .map(|choice| &choice["account"]["id"])
        .collect();
    assert_eq!(json!(listed), json!(ids));

    let form = text.rsplit("<form").next().expect("a form");
    let (_, state) = form.split_once("name=\"state\" value=\"").expect("a state");
    let state = state.split('"').next().expect("its end").to_owned();
    let mut chosen = callback.clone();
    chosen.set_query(None);
    chosen
        .query_pairs_mut()
        .append_pair("state", &state)
        .append_pair("account", &ids[1]);
    assert_eq!(choices[1]["choose_url"], json!(chosen.as_str()));
    let done = browser.get(&chosen).await;
    shows(page(&done, 200), &["Jira is connected", "Acme"]);
    assert_eq!(connections(&acme, "active").await, 1);
    let reloaded = browser.get(&chosen).await;
    shows(page(&reloaded, 200), &["Jira is connected"]);
}

#[tokio::test]
async fn many_accounts_are_searched_without_scripts() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let names: Vec<String> = (0..25).map(|number| format!("Branch {number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let person = add_sites(&system, &names).await;
    let mut browser = Browser::signed_in(&system, &person).with_pages();
    let link = jira_link(&acme).await;
    let callback = consent_at_jira(&mut browser, &link).await;
    let response = browser.get(&callback).await;
    let text = page(&response, 200);
    shows(text, &["26 accounts", "role=\"search\"", "Page 1 of 2"]);
    assert_eq!(buttons(text).len(), 20);

    let mut search = callback.clone();
    let state = param(&callback, "state").expect("a state");
    search.set_query(None);
    search
        .query_pairs_mut()
        .append_pair("state", &state)
        .append_pair("search", "branch 17");
    let found = browser.get(&search).await;
    let text = page(&found, 200);
    assert_eq!(buttons(text).len(), 1, "{text}");
    shows(
        text,
        &["Branch 17", "value=\"branch 17\"", "1 of 26 accounts"],
    );
    let none = browser.get(&with_param(&search, "search", "<b>")).await;
    shows(page(&none, 200), &["No account matches", "&lt;b&gt;"]);
    let mut other = Browser::signed_in(&system, &person).with_pages();
    let foreign = other.get(&search).await;
    shows(page(&foreign, 403), &["This page has expired"]);
}
