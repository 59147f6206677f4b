//! What the served rows must become, by the Signal catalogue's table.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::world::{World, kind_of};

/// A fact, as the feed must tell it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) kind: String,
    pub(super) at: DateTime<Utc>,
    /// Whom the row names: number, name and type.
    pub(super) actor: (Option<String>, Option<String>, String),
    pub(super) subject: String,
    /// Of what has one of its own.
    pub(super) title: Option<String>,
    pub(super) url: Option<String>,
    /// The repository's number.
    pub(super) context: String,
}

/// Every fact of the rows that did not happen before the floor, by its key.
pub(super) fn of(world: &World, floor: DateTime<Utc>) -> BTreeMap<String, Fact> {
    let mut facts = BTreeMap::new();
    for repository in world.repositories.values() {
        for (name, list) in &repository.lists {
            for row in list.rows() {
                let told = of_row(kind_of(name), row);
                let told = told.into_iter().filter(|(_, fact)| fact.at >= floor);
                for (key, mut fact) in told {
                    fact.context = repository.id().to_string();
                    let key = format!("github:{key}");
                    assert!(
                        facts.insert(key.clone(), fact).is_none(),
                        "two rows are {key}"
                    );
                }
            }
        }
    }
    facts
}

/// What a row of a list tells: keys and facts.
fn of_row(list: &str, row: &Value) -> Vec<(String, Fact)> {
    let id = &row["id"];
    match list {
        "issues" if row["pull_request"].is_null() => {
            let mut told = vec![(
                format!("issue:{id}:created"),
                fact("issue_created", row, "created_at", "user"),
            )];
            if row["state"] == "closed" {
                told.push((
                    format!("issue:{id}:closed:{}", utc(row, "closed_at")),
                    fact("issue_closed", row, "closed_at", "closed_by"),
                ));
            }
            told
        }
        "issues/comments" => {
            let is_on_pull = row["html_url"].as_str().is_some_and(|url| {
                let page = url.split('#').next().unwrap_or_default();
                page.rsplit('/').nth(1) == Some("pull")
            });
            let kind = if is_on_pull {
                "pr_commented"
            } else {
                "issue_commented"
            };
            vec![(
                format!("comment:{id}:created"),
                fact(kind, row, "created_at", "user"),
            )]
        }
        "pulls" => of_pull(row),
        "pulls/comments" => vec![(
            format!("review_comment:{id}:created"),
            fact("pr_commented", row, "created_at", "user"),
        )],
        "reviews" => {
            // Its comments tell it.
            let is_empty =
                row["state"] == "COMMENTED" && row["body"].as_str().is_none_or(str::is_empty);
            let is_pending = row["submitted_at"].is_null();
            let told = (
                format!("review:{id}:submitted"),
                (!is_empty && !is_pending)
                    .then(|| fact("pr_reviewed", row, "submitted_at", "user")),
            );
            told.1.map(|fact| (told.0, fact)).into_iter().collect()
        }
        "releases" if row["draft"] != true && row["published_at"].is_string() => vec![(
            format!("release:{id}:published"),
            fact("release_published", row, "published_at", "author"),
        )],
        "actions/runs" if row["status"] == "completed" => {
            let attempt = row["run_attempt"].as_u64().unwrap_or(1);
            let by = if row["triggering_actor"].is_null() {
                "actor"
            } else {
                "triggering_actor"
            };
            vec![(
                format!("workflow_run:{id}:{attempt}"),
                fact("workflow_completed", row, "updated_at", by),
            )]
        }
        _ => Vec::new(),
    }
}

fn of_pull(row: &Value) -> Vec<(String, Fact)> {
    let id = &row["id"];
    let mut told = vec![(
        format!("pr:{id}:opened"),
        fact("pr_opened", row, "created_at", "user"),
    )];
    if row["merged_at"].is_string() {
        told.push((
            format!("pr:{id}:merged"),
            fact("pr_merged", row, "merged_at", "merged_by"),
        ));
    } else if row["state"] == "closed" {
        // A list does not say by whom.
        told.push((
            format!("pr:{id}:closed:{}", utc(row, "closed_at")),
            fact("pr_closed", row, "closed_at", "nobody"),
        ));
    }
    told
}

fn fact(kind: &str, row: &Value, at: &str, by: &str) -> Fact {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let title = TITLED.contains(&kind).then(|| {
        let titles = ["title", "name", "tag_name"].map(|field| text(&row[field]));
        titles.into_iter().flatten().find(|title| !title.is_empty())
    });
    Fact {
        kind: kind.to_owned(),
        at: time(row, at),
        actor: actor(&row[by]),
        subject: row["id"].to_string(),
        title: title.flatten(),
        url: text(&row["html_url"]).filter(|url| url.starts_with("http")),
        context: String::new(),
    }
}

/// Kinds of facts about what has a title of its own.
const TITLED: [&str; 6] = [
    "issue_created",
    "issue_closed",
    "pr_opened",
    "pr_merged",
    "pr_closed",
    "release_published",
];

/// An account as the one who acts. In place of a deleted one GitHub shows a ghost.
fn actor(account: &Value) -> (Option<String>, Option<String>, String) {
    if account.is_null() || account["login"] == "ghost" {
        return (None, None, "unknown".to_owned());
    }
    let kind = match account["type"].as_str() {
        Some("Bot") => "bot",
        Some("User") => "user",
        _ => "unknown",
    };
    let id = account["id"].as_u64().map(|id| id.to_string());
    (
        id,
        account["login"].as_str().map(str::to_owned),
        kind.to_owned(),
    )
}

fn time(row: &Value, field: &str) -> DateTime<Utc> {
    let text = row[field].as_str().expect("the row has this time");
    text.parse().expect("RFC 3339")
}

fn utc(row: &Value, field: &str) -> String {
    time(row, field).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A Signal as a fact.
pub(super) fn told(signal: &Value) -> (String, Fact) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let kind = text(&signal["kind"]).expect("a kind");
    let is_titled = TITLED.contains(&kind.as_str());
    let fact = Fact {
        kind,
        at: time(signal, "timestamp"),
        actor: (
            text(&signal["actor"]["id"]),
            text(&signal["actor"]["name"]),
            text(&signal["actor"]["type"]).expect("a type"),
        ),
        subject: text(&signal["subject"]["id"]).expect("a subject"),
        title: text(&signal["subject"]["title"]).filter(|_| is_titled),
        url: text(&signal["subject"]["url"]),
        context: text(&signal["context"]["id"]).expect("a context"),
    };
    assert_eq!(signal["timestamp_source"], "provider", "{signal:#}");
    (text(&signal["dedupe_key"]).expect("a key"), fact)
}
