//! Limits: points per hour of the whole app and of one site, and requests per second.
//!
//! A request costs a point, and one more for each object that it answers, two for a person.
//! Points begin anew with each hour of UTC, by the simulated clock; when that is, is told by
//! the machine's, because the client has no other. Source: "Rate limiting" at
//! developer.atlassian.com.

use std::collections::HashMap;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::Jira;
use super::rest::gateway;
use super::settings::Settings;
use crate::simulator::clock::Clock;

const HOUR: i64 = 3_600;

/// Names of the quotas in the statistics.
pub(crate) const APP: &str = "app";
pub(crate) const SITE: &str = "site";

/// What has been used.
#[derive(Default)]
pub(crate) struct Usage {
    /// The hour that is counted.
    hour: i64,
    app: u64,
    sites: HashMap<String, u64>,
    /// By site and endpoint: the second that is counted, and requests in it.
    bursts: HashMap<(String, String), (i64, u64)>,
}

/// One quota of points.
struct Quota {
    policy: &'static str,
    reason: &'static str,
    limit: u64,
    used: u64,
}

impl Quota {
    const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// Less than a fifth is left.
    const fn is_near(&self) -> bool {
        self.left() * 5 < self.limit
    }
}

impl Usage {
    /// Begins anew with the hour.
    fn turn(&mut self, now: i64) {
        let hour = now.div_euclid(HOUR);
        if self.hour != hour {
            *self = Self {
                hour,
                bursts: std::mem::take(&mut self.bursts),
                ..Self::default()
            };
        }
    }

    fn quotas(&self, settings: &Settings, site: &str) -> Vec<Quota> {
        let app = settings.points_per_hour.map(|limit| Quota {
            policy: "global-app-quota",
            reason: "jira-quota-global-based",
            limit,
            used: self.app,
        });
        let own = settings.site_points_per_hour.map(|limit| Quota {
            policy: "tenant-quota",
            reason: "jira-quota-tenant-based",
            limit,
            used: self.sites.get(site).copied().unwrap_or(0),
        });
        app.into_iter().chain(own).collect()
    }

    /// Writes down what a request has cost.
    pub(crate) fn charge(&mut self, site: &str, points: u64) {
        self.app += points;
        *self.sites.entry(site.to_owned()).or_default() += points;
    }
}

/// The refusal, if a limit is reached. `endpoint` is the method and the path's pattern.
pub(crate) fn refuse(
    hub: &Jira,
    usage: &mut Usage,
    site: &str,
    endpoint: &str,
) -> Option<Response> {
    let now = hub.core.clock.seconds();
    usage.turn(now);
    let settings = hub.settings();
    if let Some(reads) = settings.requests_per_second {
        let changes = ["PUT", "DELETE"]
            .iter()
            .any(|verb| endpoint.starts_with(verb));
        let most = if changes { reads.div_ceil(2) } else { reads };
        let key = (site.to_owned(), endpoint.to_owned());
        let window = usage.bursts.entry(key).or_insert((now, 0));
        if window.0 != now {
            *window = (now, 0);
        }
        window.1 += 1;
        if window.1 > most {
            return Some(limited("jira-burst-based", Some(1.0)));
        }
    }
    if settings.limits_announced {
        return None;
    }
    let spent = usage
        .quotas(&settings, site)
        .into_iter()
        .find(|quota| quota.left() == 0)?;
    let wait = HOUR - now.rem_euclid(HOUR);
    #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
    let mut response = limited(spent.reason, Some(wait as f64));
    let headers = response.headers_mut();
    insert(headers, "x-ratelimit-limit", &spent.limit.to_string());
    insert(headers, "x-ratelimit-remaining", "0");
    let next = DateTime::<Utc>::from_timestamp(Clock::system_seconds() + wait, 0);
    let next = next.unwrap_or_default();
    let next = next.to_rfc3339_opts(SecondsFormat::Secs, true);
    insert(headers, "x-ratelimit-reset", &next);
    Some(response)
}

/// Tells in an answer how much is left. Until limits are enforced, the newer headers are only
/// announced, under another name.
pub(crate) fn announce(hub: &Jira, usage: &Usage, site: &str, headers: &mut HeaderMap) {
    let settings = hub.settings();
    let quotas = usage.quotas(&settings, site);
    let Some(tightest) = quotas.iter().min_by_key(|quota| quota.left()) else {
        return;
    };
    insert(headers, "x-ratelimit-limit", &tightest.limit.to_string());
    insert(
        headers,
        "x-ratelimit-remaining",
        &tightest.left().to_string(),
    );
    if quotas.iter().any(Quota::is_near) {
        insert(headers, "x-ratelimit-nearlimit", "true");
    }
    let until = HOUR - hub.core.clock.seconds().rem_euclid(HOUR);
    let policies: Vec<String> = quotas
        .iter()
        .map(|quota| format!("\"{}\";q={};w={HOUR}", quota.policy, quota.limit))
        .collect();
    let states: Vec<String> = quotas
        .iter()
        .map(|quota| {
            // What is left is told only when it becomes little.
            let left = if quota.is_near() {
                format!(";r={}", quota.left())
            } else {
                String::new()
            };
            format!("\"{}\"{left};t={until}", quota.policy)
        })
        .collect();
    let (policy, state) = if settings.limits_announced {
        ("beta-ratelimit-policy", "beta-ratelimit")
    } else {
        ("ratelimit-policy", "ratelimit")
    };
    insert(headers, policy, &policies.join(", "));
    insert(headers, state, &states.join(", "));
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// 429 for a reason.
pub(crate) fn limited(reason: &'static str, seconds: Option<f64>) -> Response {
    let mut response = gateway(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded");
    let headers = response.headers_mut();
    headers.insert("ratelimit-reason", HeaderValue::from_static(reason));
    if let Some(seconds) = seconds
        && let Ok(value) = format!("{}", seconds.max(0.0).ceil()).parse()
    {
        headers.insert(header::RETRY_AFTER, value);
    }
    response
}

/// What an answer costs.
pub(crate) fn cost(writes: bool, body: Option<&Value>) -> u64 {
    let Some(body) = body.filter(|_| !writes) else {
        return 1;
    };
    let rows = [
        "issues",
        "values",
        "comments",
        "worklogs",
        "issueChangeLogs",
    ]
    .iter()
    .find_map(|name| body[*name].as_array())
    .or_else(|| body.as_array());
    let people = |object: &Value| object.get("accountId").is_some();
    match rows {
        Some(rows) => {
            1 + rows
                .iter()
                .map(|row| if people(row) { 2 } else { 1 })
                .sum::<u64>()
        }
        None if people(body) => 3,
        None => 2,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::simulator::{Config, Core};

    #[tokio::test]
    async fn endpoint_takes_a_hundred_reads_a_second() {
        let hub = Jira::start(&Config::default(), "http://a", 1, Core::new(1)).expect("Jira");
        let mut usage = Usage::default();
        let mut refused = |endpoint: &str| {
            let mut times = (0..200).map(|_| refuse(&hub, &mut usage, "a", endpoint));
            times.position(|refusal| refusal.is_some())
        };
        // A second may end on the way.
        let reads = refused("GET status");
        assert!(reads.is_none_or(|first| first >= 100), "{reads:?}");
        let changes = refused("PUT webhook/refresh").expect("more than a PUT may");
        assert!((50..100).contains(&changes), "{changes}");
    }

    #[test]
    fn an_answer_costs_a_point_and_its_objects() {
        assert_eq!(cost(false, Some(&json!({ "issues": [{}, {}, {}] }))), 4);
        assert_eq!(cost(false, Some(&json!([{ "accountId": "a" }, {}]))), 4);
        assert_eq!(cost(false, Some(&json!({ "accountId": "a" }))), 3);
        assert_eq!(cost(false, Some(&json!({ "id": "1" }))), 2);
        assert_eq!(cost(true, Some(&json!({ "values": [{}, {}] }))), 1);
        assert_eq!(cost(false, None), 1);
    }

    #[test]
    fn points_begin_anew_with_the_hour() {
        let settings = Settings {
            points_per_hour: Some(100),
            site_points_per_hour: Some(30),
            ..Settings::default()
        };
        let mut usage = Usage::default();
        usage.turn(7_199);
        usage.charge("a", 25);
        usage.charge("b", 60);
        let left = |usage: &Usage, site: &str| -> Vec<u64> {
            let quotas = usage.quotas(&settings, site);
            quotas.iter().map(Quota::left).collect()
        };
        assert_eq!(left(&usage, "a"), [15, 5]);
        assert_eq!(left(&usage, "b"), [15, 0]);
        usage.turn(7_200);
        assert_eq!(left(&usage, "b"), [100, 30]);
    }
}
