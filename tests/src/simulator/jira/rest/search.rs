//! Searching issues: by JQL, in pages whose tokens say where the last one ended.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Ask, Reply};
use crate::simulator::jira::jql::{Asker, Jql, Order, Sight};
use crate::simulator::jira::world::{Issue, World};

/// How long a page's token is honoured.
const TOKEN_LIFE: i64 = 7 * 24 * 3_600;
/// Rows per page, and when nothing but ids is asked for.
const MOST: usize = 100;
const MOST_IDS: usize = 5_000;
/// Issues that are looked up past the index.
const RECONCILED: usize = 50;

impl Order {
    /// Where an issue stands.
    fn place(self, issue: &Issue) -> (i64, u64) {
        let first = match self {
            Self::Id => 0,
            Self::Created => issue.created,
            Self::Updated => issue.updated,
        };
        (first, issue.id)
    }
}

/// The question, from the body or the query.
fn question(ask: &Ask<'_>, world: &World) -> Result<(String, Jql), Reply> {
    let text = ask.given["jql"]
        .as_str()
        .unwrap_or_else(|| ask.text("jql"))
        .to_owned();
    let asker = Asker {
        person: &world.people[&ask.caller.person],
        now: ask.hub.core.clock.seconds() * 1_000,
    };
    match Jql::parse(&text, &asker) {
        Ok(question) => Ok((text, question)),
        Err(why) => Err(Reply::bad(&why)),
    }
}

/// Issues that the index shows, in the question's order.
fn found<'w>(
    ask: &Ask<'_>,
    world: &'w World,
    question: &Jql,
    reconciled: &[u64],
) -> Vec<&'w Issue> {
    let lag = ask.hub.settings().index_lag_seconds * 1_000;
    let now = ask.hub.core.clock.seconds() * 1_000;
    let place = ask.place(world);
    let mut found: Vec<&Issue> = place
        .issues
        .values()
        .filter(|issue| lag == 0 || issue.updated + lag <= now || reconciled.contains(&issue.id))
        .filter(|issue| question.accepts(&Sight::of(place, issue)))
        .collect();
    found.sort_by_key(|issue| question.order.place(issue));
    if question.descending {
        found.reverse();
    }
    found
}

/// `search/approximate-count`.
pub(super) fn count(ask: &Ask<'_>, world: &World) -> Reply {
    match question(ask, world) {
        Ok((_, question)) => Reply::ok(json!({ "count": found(ask, world, &question, &[]).len() })),
        Err(refused) => refused,
    }
}

/// `search/jql`, by GET or POST.
pub(super) fn jql(ask: &Ask<'_>, world: &World) -> Reply {
    let (text, question) = match question(ask, world) {
        Ok(read) => read,
        Err(refused) => return refused,
    };
    let now = ask.hub.core.clock.seconds();
    let given = ask.given["nextPageToken"]
        .as_str()
        .unwrap_or_else(|| ask.text("nextPageToken"));
    let after = match given {
        "" => None,
        token => match read_token(token, &text, now) {
            Some(after) => Some(after),
            None => return Reply::bad("The nextPageToken is invalid."),
        },
    };
    let reconciled: Vec<u64> = ask
        .listed("reconcileIssues")
        .iter()
        .filter_map(|id| id.parse().ok())
        .collect();
    if reconciled.len() > RECONCILED {
        return Reply::bad("At most 50 issues can be reconciled.");
    }
    let mut fields = ask.listed("fields");
    if fields.is_empty() {
        fields.push("id".to_owned());
    }
    let only_ids = fields.iter().all(|field| field == "id" || field == "key");
    let most = ask.given["maxResults"]
        .as_u64()
        .and_then(|most| usize::try_from(most).ok())
        .unwrap_or_else(|| ask.number("maxResults", 50))
        .clamp(1, if only_ids { MOST_IDS } else { MOST });
    let found = found(ask, world, &question, &reconciled);
    let start = after.map_or(0, |after| {
        let behind = |issue: &&&Issue| {
            let here = question.order.place(issue);
            if question.descending {
                here >= after
            } else {
                here <= after
            }
        };
        found.iter().take_while(behind).count()
    });
    let page = &found[start..found.len().min(start + most)];
    let log = ask.listed("expand").iter().any(|one| one == "changelog");
    let issues: Vec<Value> = page
        .iter()
        .map(|issue| super::issues::row(ask, world, issue, &fields, log))
        .collect();
    let last = start + page.len() >= found.len();
    let mut answer = json!({ "issues": issues, "isLast": last });
    if let (false, Some(end)) = (last, page.last()) {
        let (first, id) = question.order.place(end);
        let token = URL_SAFE_NO_PAD.encode(json!([text, first, id, now]).to_string());
        answer["nextPageToken"] = json!(token);
    }
    Reply::ok(answer)
}

/// The place that a token names, whenever it was given.
pub(super) fn token_place(token: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
    let parts = serde_json::from_slice::<(String, i64, u64, i64)>(&bytes);
    match parts {
        Ok((_, first, id, _)) => format!("{first} {id}"),
        Err(_) => token.to_owned(),
    }
}

/// Where a token's page ended, if it is the question's and young enough.
fn read_token(token: &str, question: &str, now: i64) -> Option<(i64, u64)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let parts: (String, i64, u64, i64) = serde_json::from_slice(&bytes).ok()?;
    (parts.0 == question && now - parts.3 < TOKEN_LIFE).then_some((parts.1, parts.2))
}
