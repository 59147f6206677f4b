//! Expected facts of the served rows, by the Signal catalogue's table.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::world::{World, kind_of};

/// A fact as expected in the feed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) kind: String,
    pub(super) at: DateTime<Utc>,
    /// Id, name and type of the actor.
    pub(super) actor: (Option<String>, Option<String>, String),
    pub(super) subject: String,
    /// Title, for subjects that have one.
    pub(super) title: Option<String>,
    pub(super) url: Option<String>,
    /// Id of the repository.
    pub(super) context: String,
}

/// Facts of all rows since `floor`, by dedupe key.
pub(super) fn of_world(world: &World, floor: DateTime<Utc>) -> BTreeMap<String, Fact> {
    let mut facts = BTreeMap::new();
    for repository in world.repositories.values() {
        for (name, list) in &repository.lists {
            for row in list.rows() {
                let row_facts = of_row(kind_of(name), row);
                let row_facts = row_facts.into_iter().filter(|(_, fact)| fact.at >= floor);
                for (key, mut fact) in row_facts {
                    fact.context = repository.id().to_string();
                    let key = format!("github:{key}");
                    assert!(
                        facts.insert(key.clone(), fact).is_none(),
                        "two rows with {key}"
                    );
                }
            }
        }
    }
    facts
}

/// Dedupe keys and facts of a list's row.
fn of_row(list: &str, row: &Value) -> Vec<(String, Fact)> {
    let id = &row["id"];
    match list {
        "issues" if row["pull_request"].is_null() => {
            let mut facts = vec![(
                format!("issue:{id}:created"),
                fact("issue_created", row, "created_at", "user"),
            )];
            if row["state"] == "closed" {
                facts.push((
                    format!("issue:{id}:closed:{}", utc(row, "closed_at")),
                    fact("issue_closed", row, "closed_at", "closed_by"),
                ));
            }
            facts
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
            // Its comments are the facts.
            let is_empty =
                row["state"] == "COMMENTED" && row["body"].as_str().is_none_or(str::is_empty);
            let is_pending = row["submitted_at"].is_null();
            let is_fact = !is_empty && !is_pending;
            is_fact
                .then(|| {
                    let fact = fact("pr_reviewed", row, "submitted_at", "user");
                    (format!("review:{id}:submitted"), fact)
                })
                .into_iter()
                .collect()
        }
        "releases" if row["draft"] != true && row["published_at"].is_string() => vec![(
            format!("release:{id}:published"),
            fact("release_published", row, "published_at", "author"),
        )],
        "actions/runs" if row["status"] == "completed" => {
            let attempt = row["run_attempt"].as_u64().unwrap_or(1);
            let actor_field = if row["triggering_actor"].is_null() {
                "actor"
            } else {
                "triggering_actor"
            };
            vec![(
                format!("workflow_run:{id}:{attempt}"),
                fact("workflow_completed", row, "updated_at", actor_field),
            )]
        }
        _ => Vec::new(),
    }
}

fn of_pull(row: &Value) -> Vec<(String, Fact)> {
    let id = &row["id"];
    let mut facts = vec![(
        format!("pr:{id}:opened"),
        fact("pr_opened", row, "created_at", "user"),
    )];
    if row["merged_at"].is_string() {
        facts.push((
            format!("pr:{id}:merged"),
            fact("pr_merged", row, "merged_at", "merged_by"),
        ));
    } else if row["state"] == "closed" {
        // Lists do not contain the actor of a close.
        facts.push((
            format!("pr:{id}:closed:{}", utc(row, "closed_at")),
            fact("pr_closed", row, "closed_at", ""),
        ));
    }
    facts
}

fn fact(kind: &str, row: &Value, time_field: &str, actor_field: &str) -> Fact {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let title = TITLED.contains(&kind).then(|| {
        let titles = ["title", "name", "tag_name"].map(|field| text(&row[field]));
        titles.into_iter().flatten().find(|title| !title.is_empty())
    });
    Fact {
        kind: kind.to_owned(),
        at: time(row, time_field),
        actor: actor(&row[actor_field]),
        subject: row["id"].to_string(),
        title: title.flatten(),
        url: text(&row["html_url"]).filter(|url| url.starts_with("http")),
        context: String::new(),
    }
}

/// Kinds whose subject has a title.
const TITLED: [&str; 6] = [
    "issue_created",
    "issue_closed",
    "pr_opened",
    "pr_merged",
    "pr_closed",
    "release_published",
];

/// An account as actor. GitHub shows the account `ghost` instead of deleted ones.
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
    let text = row[field].as_str().expect("a time");
    text.parse().expect("RFC 3339")
}

fn utc(row: &Value, field: &str) -> String {
    time(row, field).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Dedupe key and fact of a Signal.
pub(super) fn of_signal(signal: &Value) -> (String, Fact) {
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
