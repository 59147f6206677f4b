//! Search of issues by JQL, in pages with tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Reply, SiteRequest};
use crate::jira::jql::{IssueView, Jql, JqlContext, Order};
use crate::jira::world::{Issue, World};

/// Lifetime of a page token.
const TOKEN_TTL_SECONDS: i64 = 7 * 24 * 3_600;
/// Rows per page.
const MAX_ROWS: usize = 100;
/// Rows per page if only ids are requested.
const MAX_ID_ROWS: usize = 5_000;
/// Issues in `reconcileIssues`, which bypass the index lag.
const MAX_RECONCILED_ISSUES: usize = 50;

impl Order {
    /// Sort key of an issue.
    fn sort_key(self, issue: &Issue) -> (i64, u64) {
        let first = match self {
            Self::Id => 0,
            Self::Created => issue.created,
            Self::Updated => issue.updated,
        };
        (first, issue.id)
    }
}

/// Parses the JQL of the body or the query string.
fn parse_query(request: &SiteRequest<'_>, world: &World) -> Result<(String, Jql), Reply> {
    let text = request.body["jql"]
        .as_str()
        .unwrap_or_else(|| request.text("jql"))
        .to_owned();
    let context = JqlContext {
        person: &world.people[&request.caller.person],
        now: request.service.core.clock.seconds() * 1_000,
    };
    match Jql::parse(&text, &context) {
        Ok(query) => Ok((text, query)),
        Err(reason) => Err(Reply::bad_request(&reason)),
    }
}

/// Issues of the search index that match a query, sorted.
fn search_index<'w>(
    request: &SiteRequest<'_>,
    world: &'w World,
    query: &Jql,
    reconciled: &[u64],
) -> Vec<&'w Issue> {
    let lag = request.service.settings().index_lag_seconds * 1_000;
    let now = request.service.core.clock.seconds() * 1_000;
    let site = request.find_site(world);
    let mut found: Vec<&Issue> = site
        .issues
        .values()
        .filter(|issue| lag == 0 || issue.updated + lag <= now || reconciled.contains(&issue.id))
        .filter(|issue| query.accepts(&IssueView::of(site, issue)))
        .collect();
    found.sort_by_key(|issue| query.order.sort_key(issue));
    if query.descending {
        found.reverse();
    }
    found
}

/// `search/approximate-count`.
pub(super) fn count(request: &SiteRequest<'_>, world: &World) -> Reply {
    match parse_query(request, world) {
        Ok((_, query)) => {
            Reply::ok(json!({ "count": search_index(request, world, &query, &[]).len() }))
        }
        Err(error) => error,
    }
}

/// `search/jql`, by GET or POST.
pub(super) fn jql(request: &SiteRequest<'_>, world: &World) -> Reply {
    let (text, query) = match parse_query(request, world) {
        Ok(parsed) => parsed,
        Err(error) => return error,
    };
    let now = request.service.core.clock.seconds();
    let page_token = request.body["nextPageToken"]
        .as_str()
        .unwrap_or_else(|| request.text("nextPageToken"));
    let after = match page_token {
        "" => None,
        token => match read_token(token, &text, now) {
            Some(after) => Some(after),
            None => return Reply::bad_request("The nextPageToken is invalid."),
        },
    };
    let reconciled: Vec<u64> = request
        .list("reconcileIssues")
        .iter()
        .filter_map(|id| id.parse().ok())
        .collect();
    if reconciled.len() > MAX_RECONCILED_ISSUES {
        return Reply::bad_request("At most 50 issues can be reconciled.");
    }
    let mut fields = request.list("fields");
    if fields.is_empty() {
        fields.push("id".to_owned());
    }
    let only_ids = fields.iter().all(|field| field == "id" || field == "key");
    let max_results = request.body["maxResults"]
        .as_u64()
        .and_then(|max_results| usize::try_from(max_results).ok())
        .unwrap_or_else(|| request.number("maxResults", 50))
        .clamp(1, if only_ids { MAX_ID_ROWS } else { MAX_ROWS });
    let found = search_index(request, world, &query, &reconciled);
    let start = after.map_or(0, |after| {
        let precedes_page = |issue: &&&Issue| {
            let key = query.order.sort_key(issue);
            if query.descending {
                key >= after
            } else {
                key <= after
            }
        };
        found.iter().take_while(precedes_page).count()
    });
    let page = &found[start..found.len().min(start + max_results)];
    let with_changelog = request
        .list("expand")
        .iter()
        .any(|name| name == "changelog");
    let issues: Vec<Value> = page
        .iter()
        .map(|issue| super::issues::search_result(request, world, issue, &fields, with_changelog))
        .collect();
    let last = start + page.len() >= found.len();
    let mut page_body = json!({ "issues": issues, "isLast": last });
    if let (false, Some(end)) = (last, page.last()) {
        let (first, id) = query.order.sort_key(end);
        let token = URL_SAFE_NO_PAD.encode(json!([text, first, id, now]).to_string());
        page_body["nextPageToken"] = json!(token);
    }
    Reply::ok(page_body)
}

/// Position of a page token, without the time at which it was issued.
pub(super) fn token_position(token: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
    let parts = serde_json::from_slice::<(String, i64, u64, i64)>(&bytes);
    match parts {
        Ok((_, first, id, _)) => format!("{first} {id}"),
        Err(_) => token.to_owned(),
    }
}

/// End of the previous page, if the token is for this query and not expired.
fn read_token(token: &str, query: &str, now: i64) -> Option<(i64, u64)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let parts: (String, i64, u64, i64) = serde_json::from_slice(&bytes).ok()?;
    (parts.0 == query && now - parts.3 < TOKEN_TTL_SECONDS).then_some((parts.1, parts.2))
}
