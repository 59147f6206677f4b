//! Jira's endpoints: what comes out when the connector asks, and what must.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shared::connectors::{Access, CallbackOutcome, ConnectorError, SyncPage};

use super::answers::{Kind, Page};
use super::table::{Site, Statuses, changed, edited, id, moment, text};
use super::{CLOUD, account, jira};
use crate::answers::Exchange;
use crate::scene::{Facts, Scene, compare};
use crate::server::Answer;

const SITE: &str = "https://acme.atlassian.net";

/// Where a resource of the site is.
fn at(path: &str) -> String {
    format!("/api/ex/jira/{CLOUD}/rest/{path}")
}

/// Jira, which gives these answers at these paths, and empty lists at every other.
async fn scene(mut given: BTreeMap<String, Answer>) -> Scene {
    let nothing = Answer::of(&json!({
        "values": [], "issues": [], "comments": [], "isLast": true, "lastPage": true, "total": 0,
    }));
    let no_statuses = || Answer::of(&json!([]));
    given.entry(at("api/3/status")).or_insert_with(no_statuses);
    let access = Access {
        account: account(Some(SITE)),
        token: "token".into(),
        person: None,
    };
    Scene::start(given, nothing, access, jira).await
}

async fn scene_of<const N: usize>(given: [(String, Answer); N]) -> Scene {
    scene(given.into_iter().collect()).await
}

fn facts(found: impl IntoIterator<Item = (&'static str, String)>) -> Facts {
    found
        .into_iter()
        .map(|(kind, key)| (kind.to_owned(), format!("jira:{CLOUD}:{key}")))
        .collect()
}

/// Has the connector ask for a page, and says what came out.
pub(super) async fn ask(page: &Page, statuses: &Statuses) -> String {
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

/// How a search is refused with this answer.
pub(super) async fn refused(exchange: &Exchange) -> ConnectorError {
    let scene = scene_of([(at("api/3/search/jql"), exchange.answer())]).await;
    let page = scene.page("issues", None).await;
    page.expect_err("a refusal")
}

/// The second page of the root stream, where the boards are, or the first one.
async fn root(scene: &Scene, second: bool) -> SyncPage {
    let first = scene.page("projects", None).await.expect("a page");
    if !second {
        return first;
    }
    scene
        .page("projects", Some(first.cursor))
        .await
        .expect("a page")
}

fn streams(page: &Page, found: &SyncPage, name: &str, wanted: impl Fn(&Value) -> bool) -> String {
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
            wanted(row),
            "{}: {key}",
            page.place
        );
        count += usize::from(wanted(row));
    }
    format!("{count} streams")
}

async fn boards(page: &Page) -> String {
    let scene = scene_of([(at("agile/1.0/board"), Answer::of(&page.body))]).await;
    let found = root(&scene, true).await;
    streams(page, &found, "sprints", |board| board["type"] != "kanban")
}

async fn projects(page: &Page) -> String {
    let scene = scene_of([(at("api/3/project/search"), Answer::of(&page.body))]).await;
    streams(page, &root(&scene, false).await, "versions", |_| true)
}

async fn site_statuses(page: &Page) -> String {
    let scene = scene_of([(at("api/3/status"), Answer::of(&page.body))]).await;
    let found = root(&scene, false).await;
    assert_eq!(found.learned.len(), page.rows.len(), "{}", page.place);
    for (entry, row) in found.learned.iter().zip(&page.rows) {
        assert_eq!(
            Some(&entry.key.id),
            id(&row["id"]).as_ref(),
            "{}",
            page.place
        );
        assert_eq!(entry.name.as_deref(), text(&row["name"]), "{}", page.place);
        let category = &row["statusCategory"]["key"];
        assert_eq!(&entry.detail["category"], category, "{}", page.place);
    }
    format!("{} statuses", page.rows.len())
}

async fn sprints(page: &Page) -> String {
    let scene = scene_of([(at("agile/1.0/board/1/sprint"), Answer::of(&page.body))]).await;
    let found = scene.page("sprints:1", None).await.expect("a page");
    let must = page.rows.iter().flat_map(|sprint| {
        let state = text(&sprint["state"]).unwrap_or_default();
        let key = |word: &str| format!("sprint:{}:{word}", id(&sprint["id"]).expect("an id"));
        let when = |date: &str| moment(&sprint[date]).is_some();
        [
            when("createdDate").then(|| ("sprint_created", key("created"))),
            (when("startDate") && state != "future").then(|| ("sprint_started", key("started"))),
            (when("completeDate") && state == "closed").then(|| ("sprint_closed", key("closed"))),
        ]
    });
    compare(&page.place, &found, &facts(must.flatten()))
}

async fn versions(page: &Page) -> String {
    let scene = scene_of([(at("api/3/project/1/version"), Answer::of(&page.body))]).await;
    let found = scene.page("versions:1", None).await.expect("a page");
    // Of one that was released on a day that is not known, it is not known whether it is old.
    let must = page.rows.iter().flat_map(|version| {
        let is_released = version["released"] == true;
        let is_recent = text(&version["releaseDate"]).is_some();
        let id = id(&version["id"]).expect("an id");
        let key = |word: &str| format!("version:{id}:{word}");
        [
            (is_recent || !is_released).then(|| ("version_created", key("created"))),
            (is_recent && is_released).then(|| ("version_released", key("released"))),
        ]
    });
    compare(&page.place, &found, &facts(must.flatten()))
}

async fn worklogs(page: &Page) -> String {
    let numbers = page.rows.iter().map(|row| {
        let number: u64 = id(&row["id"]).expect("an id").parse().expect("a number");
        json!({ "worklogId": number, "updatedTime": 0 })
    });
    let updated = json!({ "values": numbers.collect::<Vec<_>>(), "until": 1, "lastPage": true });
    let scene = scene_of([
        (at("api/3/worklog/updated"), Answer::of(&updated)),
        (at("api/3/worklog/list"), Answer::of(&page.body)),
    ])
    .await;
    let found = scene.page("worklogs", None).await.expect("a page");
    let must = page
        .rows
        .iter()
        .filter(|row| moment(&row["created"]).is_some());
    let must = must.map(|row| {
        let id = id(&row["id"]).expect("an id");
        ("work_logged", format!("worklog:{id}:created"))
    });
    compare(&page.place, &found, &facts(must))
}

/// The facts of a comment in a list.
fn of_comment(comment: &Value) -> Vec<(&'static str, String)> {
    let (created, updated) = (moment(&comment["created"]), moment(&comment["updated"]));
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
    let scene = scene_of([
        (
            at("api/3/search/jql"),
            Answer::of(&json!({ "issues": [issue] })),
        ),
        (at("api/3/issue/1/comment"), Answer::of(&page.body)),
    ])
    .await;
    let found = scene.page("issues", None).await.expect("a page");
    let must = page.rows.iter().flat_map(of_comment);
    compare(&page.place, &found, &facts(must))
}

/// The facts of an issue in a list.
fn of_issue(issue: &Value, site: &Site) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if moment(&issue["fields"]["created"]).is_some() {
        let id = id(&issue["id"]).expect("an id");
        facts.push(("issue_created", format!("issue:{id}:created")));
    }
    for change in histories(issue) {
        if moment(&change["created"]).is_some() {
            facts.extend(changed(issue, change, site).expect("an identity"));
        }
    }
    let comments = issue["fields"]["comment"]["comments"].as_array();
    facts.extend(comments.into_iter().flatten().flat_map(of_comment));
    facts
}

fn histories(issue: &Value) -> impl Iterator<Item = &Value> {
    let histories = issue["changelog"]["histories"].as_array();
    histories.into_iter().flatten()
}

/// The site's statuses, as Jira lists them.
fn listed(site: &Site) -> Value {
    let category = |done: bool| if done { "done" } else { "new" };
    let statuses = site.0.iter().map(
        |(id, done)| json!({ "id": id, "name": id, "statusCategory": { "key": category(*done) } }),
    );
    statuses.collect()
}

async fn issues(page: &Page, statuses: &Statuses) -> String {
    let site = statuses.of_changes(page.rows.iter().flat_map(histories));
    let mut given = BTreeMap::from([
        (at("api/3/search/jql"), Answer::of(&page.body)),
        (at("api/3/status"), Answer::of(&listed(&site))),
    ]);
    // What an answer holds a part of is asked for, and there is no more than that part.
    for issue in &page.rows {
        let id = id(&issue["id"]).expect("an id");
        let changes: Vec<&Value> = histories(issue).collect();
        let log = json!({ "values": changes, "total": changes.len() });
        given.insert(at(&format!("api/3/issue/{id}/changelog")), Answer::of(&log));
        let comments = issue["fields"]["comment"]["comments"].as_array();
        let comments = comments.cloned().unwrap_or_default();
        let talk = json!({ "total": comments.len(), "comments": comments });
        given.insert(at(&format!("api/3/issue/{id}/comment")), Answer::of(&talk));
    }
    let found = scene(given)
        .await
        .page("issues", None)
        .await
        .expect("a page");
    let must = page.rows.iter().flat_map(|issue| of_issue(issue, &site));
    compare(&page.place, &found, &facts(must))
}

/// A connect flow that finds these sites and this person.
async fn connect(sites: &Value, person: &Value) -> CallbackOutcome {
    let tokens = json!({ "access_token": "token", "refresh_token": "next", "expires_in": 3600 });
    let ids = sites
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|site| id(&site["id"]));
    let mut given: BTreeMap<String, Answer> = ids
        .map(|id| {
            (
                format!("/api/ex/jira/{id}/rest/api/3/myself"),
                Answer::of(person),
            )
        })
        .collect();
    given.insert("/auth/oauth/token".to_owned(), Answer::of(&tokens));
    given.insert(
        "/api/oauth/token/accessible-resources".to_owned(),
        Answer::of(sites),
    );
    let outcome = scene(given).await.connect().await;
    outcome.expect("an outcome")
}

async fn sites(page: &Page) -> String {
    let person = json!({ "accountId": "a-1", "timeZone": "Europe/Berlin" });
    let covers_jira = |site: &&Value| site["scopes"].to_string().contains("jira");
    let wanted: BTreeSet<String> = page
        .rows
        .iter()
        .filter(covers_jira)
        .filter_map(|site| id(&site["id"]))
        .collect();
    let found: BTreeSet<String> = match connect(&page.body, &person).await {
        CallbackOutcome::Connected(grant) => BTreeSet::from([grant.account.id]),
        CallbackOutcome::Choose { accounts, .. } => {
            accounts.into_iter().map(|choice| choice.id).collect()
        }
        _ => BTreeSet::new(),
    };
    assert_eq!(found, wanted, "{}", page.place);
    format!("{} sites", found.len())
}

async fn person(page: &Page) -> String {
    let site = json!([{
        "id": CLOUD, "name": "acme", "url": SITE, "scopes": ["read:jira-work"],
    }]);
    let outcome = connect(&site, &page.body).await;
    let CallbackOutcome::Connected(grant) = outcome else {
        panic!("{}: {outcome:?}", page.place);
    };
    let settings = &grant.account.settings;
    assert_eq!(
        settings["account_id"], page.body["accountId"],
        "{}",
        page.place
    );
    assert_eq!(
        settings["time_zone"], page.body["timeZone"],
        "{}",
        page.place
    );
    "an account".to_owned()
}
