//! Requests of the connector to Jira's endpoints, with the expected results.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shared::connectors::{Access, CallbackOutcome, ConnectorError, SyncPage};

use super::responses::{Kind, Page};
use super::table::{Site, Statuses, changed, edited, id, text, timestamp};
use super::{CLOUD, account, jira};
use crate::exchanges::Exchange;
use crate::fixture::{Facts, Fixture, compare};
use crate::server::RecordedResponse;

const SITE: &str = "https://acme.atlassian.net";

/// Path of a resource of the site.
fn path_of(path: &str) -> String {
    format!("/api/ex/jira/{CLOUD}/rest/{path}")
}

/// A fixture with these responses, and empty lists at other paths.
async fn fixture(mut responses: BTreeMap<String, RecordedResponse>) -> Fixture {
    let empty = RecordedResponse::of(&json!({
        "values": [], "issues": [], "comments": [], "isLast": true, "lastPage": true, "total": 0,
    }));
    let no_statuses = || RecordedResponse::of(&json!([]));
    responses
        .entry(path_of("api/3/status"))
        .or_insert_with(no_statuses);
    let access = Access {
        account: account(Some(SITE)),
        token: "token".into(),
        user_token: None,
    };
    Fixture::start(responses, empty, access, jira).await
}

async fn fixture_of<const N: usize>(responses: [(String, RecordedResponse); N]) -> Fixture {
    fixture(responses.into_iter().collect()).await
}

fn facts(found: impl IntoIterator<Item = (&'static str, String)>) -> Facts {
    found
        .into_iter()
        .map(|(kind, key)| (kind.to_owned(), format!("jira:{CLOUD}:{key}")))
        .collect()
}

/// Requests a page through the connector and checks the result; returns its summary.
pub(super) async fn check_page(page: &Page, statuses: &Statuses) -> String {
    match page.kind {
        Kind::Boards => boards(page).await,
        Kind::Comments => comments(page).await,
        Kind::Issues => issues(page, statuses).await,
        Kind::Person => person(page).await,
        Kind::Projects => projects(page).await,
        Kind::Sites => sites(page).await,
        Kind::Sprints => sprints(page).await,
        Kind::Statuses => site_statuses(page).await,
        Kind::Versions => versions(page).await,
        Kind::Worklogs => worklogs(page).await,
    }
}

/// Error of a search with this response.
pub(super) async fn sync_error(exchange: &Exchange) -> ConnectorError {
    let fixture = fixture_of([(path_of("api/3/search/jql"), exchange.response())]).await;
    let page = fixture.page("issues", None).await;
    page.expect_err("an error response")
}

/// A page of the root stream: the second one with the boards, or the first one.
async fn root_page(fixture: &Fixture, is_second: bool) -> SyncPage {
    let first = fixture.page("projects", None).await.expect("a page");
    if !is_second {
        return first;
    }
    fixture
        .page("projects", Some(first.cursor))
        .await
        .expect("a page")
}

fn streams(page: &Page, found: &SyncPage, name: &str, expected: impl Fn(&Value) -> bool) -> String {
    let keys: BTreeSet<&str> = found
        .streams
        .iter()
        .map(|stream| stream.key.as_str())
        .collect();
    let mut count = 0;
    for row in &page.rows {
        let key = format!("{name}:{}", id(&row["id"]).expect("an id"));
        assert_eq!(
            keys.contains(key.as_str()),
            expected(row),
            "{}: {key}",
            page.source
        );
        count += usize::from(expected(row));
    }
    format!("{count} streams")
}

async fn boards(page: &Page) -> String {
    let fixture =
        fixture_of([(path_of("agile/1.0/board"), RecordedResponse::of(&page.body))]).await;
    let found = root_page(&fixture, true).await;
    streams(page, &found, "sprints", |board| board["type"] != "kanban")
}

async fn projects(page: &Page) -> String {
    let fixture = fixture_of([(
        path_of("api/3/project/search"),
        RecordedResponse::of(&page.body),
    )])
    .await;
    streams(page, &root_page(&fixture, false).await, "versions", |_| {
        true
    })
}

async fn site_statuses(page: &Page) -> String {
    let fixture = fixture_of([(path_of("api/3/status"), RecordedResponse::of(&page.body))]).await;
    let found = root_page(&fixture, false).await;
    assert_eq!(
        found.directory_updates.len(),
        page.rows.len(),
        "{}",
        page.source
    );
    for (entry, row) in found.directory_updates.iter().zip(&page.rows) {
        assert_eq!(
            Some(&entry.key.id),
            id(&row["id"]).as_ref(),
            "{}",
            page.source
        );
        assert_eq!(entry.name.as_deref(), text(&row["name"]), "{}", page.source);
        let category = &row["statusCategory"]["key"];
        assert_eq!(&entry.detail["category"], category, "{}", page.source);
    }
    format!("{} statuses", page.rows.len())
}

async fn sprints(page: &Page) -> String {
    let fixture = fixture_of([(
        path_of("agile/1.0/board/1/sprint"),
        RecordedResponse::of(&page.body),
    )])
    .await;
    let found = fixture.page("sprints:1", None).await.expect("a page");
    let expected = page.rows.iter().flat_map(|sprint| {
        let state = text(&sprint["state"]).unwrap_or_default();
        let key = |suffix: &str| format!("sprint:{}:{suffix}", id(&sprint["id"]).expect("an id"));
        let has_date = |date: &str| timestamp(&sprint[date]).is_some();
        [
            has_date("createdDate").then(|| ("sprint_created", key("created"))),
            (has_date("startDate") && state != "future")
                .then(|| ("sprint_started", key("started"))),
            (has_date("completeDate") && state == "closed")
                .then(|| ("sprint_closed", key("closed"))),
        ]
    });
    compare(&page.source, &found, &facts(expected.flatten()))
}

async fn versions(page: &Page) -> String {
    let fixture = fixture_of([(
        path_of("api/3/project/1/version"),
        RecordedResponse::of(&page.body),
    )])
    .await;
    let found = fixture.page("versions:1", None).await.expect("a page");
    // A released version without a release date yields no facts: its age is unknown.
    let expected = page.rows.iter().flat_map(|version| {
        let is_released = version["released"] == true;
        let has_release_date = text(&version["releaseDate"]).is_some();
        let id = id(&version["id"]).expect("an id");
        let key = |suffix: &str| format!("version:{id}:{suffix}");
        [
            (has_release_date || !is_released).then(|| ("version_created", key("created"))),
            (has_release_date && is_released).then(|| ("version_released", key("released"))),
        ]
    });
    compare(&page.source, &found, &facts(expected.flatten()))
}

async fn worklogs(page: &Page) -> String {
    let numbers = page.rows.iter().map(|row| {
        let number: u64 = id(&row["id"]).expect("an id").parse().expect("a number");
        json!({ "worklogId": number, "updatedTime": 0 })
    });
    let updated = json!({ "values": numbers.collect::<Vec<_>>(), "until": 1, "lastPage": true });
    let fixture = fixture_of([
        (
            path_of("api/3/worklog/updated"),
            RecordedResponse::of(&updated),
        ),
        (
            path_of("api/3/worklog/list"),
            RecordedResponse::of(&page.body),
        ),
    ])
    .await;
    let found = fixture.page("worklogs", None).await.expect("a page");
    let expected = page
        .rows
        .iter()
        .filter(|row| timestamp(&row["created"]).is_some());
    let expected = expected.map(|row| {
        let id = id(&row["id"]).expect("an id");
        ("work_logged", format!("worklog:{id}:created"))
    });
    compare(&page.source, &found, &facts(expected))
}

/// Facts of a comment in a list.
fn comment_facts(comment: &Value) -> Vec<(&'static str, String)> {
    let (created, updated) = (
        timestamp(&comment["created"]),
        timestamp(&comment["updated"]),
    );
    let id = id(&comment["id"]).expect("an id");
    let mut facts = Vec::new();
    if created.is_some() {
        facts.push(("issue_commented", format!("comment:{id}:created")));
    }
    if updated > created {
        facts.extend(edited(comment).expect("an identity"));
    }
    facts
}

async fn comments(page: &Page) -> String {
    let total = page.rows.len().max(1);
    let issue = json!({
        "id": "1", "key": "ENG-1", "fields": { "comment": { "total": total, "comments": [] } },
    });
    let fixture = fixture_of([
        (
            path_of("api/3/search/jql"),
            RecordedResponse::of(&json!({ "issues": [issue] })),
        ),
        (
            path_of("api/3/issue/1/comment"),
            RecordedResponse::of(&page.body),
        ),
    ])
    .await;
    let found = fixture.page("issues", None).await.expect("a page");
    let expected = page.rows.iter().flat_map(comment_facts);
    compare(&page.source, &found, &facts(expected))
}

/// Facts of an issue in a list.
fn issue_facts(issue: &Value, site: &Site) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if timestamp(&issue["fields"]["created"]).is_some() {
        let id = id(&issue["id"]).expect("an id");
        facts.push(("issue_created", format!("issue:{id}:created")));
    }
    for change in histories(issue) {
        if timestamp(&change["created"]).is_some() {
            facts.extend(changed(issue, change, site).expect("an identity"));
        }
    }
    let comments = issue["fields"]["comment"]["comments"].as_array();
    facts.extend(comments.into_iter().flatten().flat_map(comment_facts));
    facts
}

fn histories(issue: &Value) -> impl Iterator<Item = &Value> {
    let histories = issue["changelog"]["histories"].as_array();
    histories.into_iter().flatten()
}

/// Response with the site's statuses.
fn status_list(site: &Site) -> Value {
    let category = |is_done: bool| if is_done { "done" } else { "new" };
    let statuses = site.0.iter().map(
        |(id, done)| json!({ "id": id, "name": id, "statusCategory": { "key": category(*done) } }),
    );
    statuses.collect()
}

async fn issues(page: &Page, statuses: &Statuses) -> String {
    let site = statuses.of_changes(page.rows.iter().flat_map(histories));
    let mut responses = BTreeMap::from([
        (
            path_of("api/3/search/jql"),
            RecordedResponse::of(&page.body),
        ),
        (
            path_of("api/3/status"),
            RecordedResponse::of(&status_list(&site)),
        ),
    ]);
    // The connector requests the rest of partial lists. The recordings have no more than the part.
    for issue in &page.rows {
        let id = id(&issue["id"]).expect("an id");
        let changes: Vec<&Value> = histories(issue).collect();
        let changelog_page = json!({ "values": changes, "total": changes.len() });
        responses.insert(
            path_of(&format!("api/3/issue/{id}/changelog")),
            RecordedResponse::of(&changelog_page),
        );
        let comments = issue["fields"]["comment"]["comments"].as_array();
        let comments = comments.cloned().unwrap_or_default();
        let comment_page = json!({ "total": comments.len(), "comments": comments });
        responses.insert(
            path_of(&format!("api/3/issue/{id}/comment")),
            RecordedResponse::of(&comment_page),
        );
    }
    let found = fixture(responses)
        .await
        .page("issues", None)
        .await
        .expect("a page");
    let expected = page.rows.iter().flat_map(|issue| issue_facts(issue, &site));
    compare(&page.source, &found, &facts(expected))
}

/// Completes a connect flow with these sites and this person.
async fn connect(sites: &Value, person: &Value) -> CallbackOutcome {
    let tokens = json!({ "access_token": "token", "refresh_token": "next", "expires_in": 3600 });
    let ids = sites
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|site| id(&site["id"]));
    let mut responses: BTreeMap<String, RecordedResponse> = ids
        .map(|id| {
            (
                format!("/api/ex/jira/{id}/rest/api/3/myself"),
                RecordedResponse::of(person),
            )
        })
        .collect();
    responses.insert(
        "/auth/oauth/token".to_owned(),
        RecordedResponse::of(&tokens),
    );
    responses.insert(
        "/api/oauth/token/accessible-resources".to_owned(),
        RecordedResponse::of(sites),
    );
    let outcome = fixture(responses).await.connect().await;
    outcome.expect("an outcome")
}

async fn sites(page: &Page) -> String {
    let person = json!({ "accountId": "a-1", "timeZone": "Europe/Berlin" });
    let has_jira_scope = |site: &&Value| site["scopes"].to_string().contains("jira");
    let expected: BTreeSet<String> = page
        .rows
        .iter()
        .filter(has_jira_scope)
        .filter_map(|site| id(&site["id"]))
        .collect();
    let found: BTreeSet<String> = match connect(&page.body, &person).await {
        CallbackOutcome::Connected(grant) => BTreeSet::from([grant.account.id]),
        CallbackOutcome::Choose { accounts, .. } => {
            accounts.into_iter().map(|choice| choice.id).collect()
        }
        _ => BTreeSet::new(),
    };
    assert_eq!(found, expected, "{}", page.source);
    format!("{} sites", found.len())
}

async fn person(page: &Page) -> String {
    let site = json!([{
        "id": CLOUD, "name": "acme", "url": SITE, "scopes": ["read:jira-work"],
    }]);
    let outcome = connect(&site, &page.body).await;
    let CallbackOutcome::Connected(grant) = outcome else {
        panic!("{}: {outcome:?}", page.source);
    };
    let settings = &grant.account.settings;
    assert_eq!(
        settings["account_id"], page.body["accountId"],
        "{}",
        page.source
    );
    assert_eq!(
        settings["time_zone"], page.body["timeZone"],
        "{}",
        page.source
    );
    "an account".to_owned()
}
