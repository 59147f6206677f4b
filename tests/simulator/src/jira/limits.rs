//! Limits: points per hour of the app and of a site, and requests per second.
//!
//! A request costs one point, plus one for each object in the response, or two for a person.
//! Points reset at each hour of UTC of the simulated clock. Headers state the reset in terms of
//! the system clock, which is the client's. Source: "Rate limiting" at developer.atlassian.com.

use std::collections::HashMap;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::Jira;
use super::rest::gateway_error;
use super::settings::Settings;
use crate::clock::Clock;

const HOUR: i64 = 3_600;

/// Names of the quotas in the usage statistics.
pub(crate) const APP: &str = "app";
pub(crate) const SITE: &str = "site";

/// Used points and requests.
#[derive(Default)]
pub(crate) struct Usage {
    /// Current hour.
    hour: i64,
    app: u64,
    sites: HashMap<String, u64>,
    /// Current second and its requests, by site and endpoint.
    bursts: HashMap<(String, String), (i64, u64)>,
}

/// A quota of points.
struct Quota {
    policy: &'static str,
    reason: &'static str,
    limit: u64,
    used: u64,
}

impl Quota {
    const fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// Whether less than a fifth remains.
    const fn is_near_limit(&self) -> bool {
        self.remaining() * 5 < self.limit
    }
}

impl Usage {
    /// Resets the points at a new hour.
    fn roll_over(&mut self, now: i64) {
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
        let tenant = settings.site_points_per_hour.map(|limit| Quota {
            policy: "tenant-quota",
            reason: "jira-quota-tenant-based",
            limit,
            used: self.sites.get(site).copied().unwrap_or(0),
        });
        app.into_iter().chain(tenant).collect()
    }

    /// Adds a request's points.
    pub(crate) fn charge(&mut self, site: &str, points: u64) {
        self.app += points;
        *self.sites.entry(site.to_owned()).or_default() += points;
    }
}

/// Response 429 if a limit is exceeded. `endpoint` is the method and the path's pattern.
pub(crate) fn check(
    service: &Jira,
    usage: &mut Usage,
    site: &str,
    endpoint: &str,
) -> Option<Response> {
    let now = service.core.clock.seconds();
    usage.roll_over(now);
    let settings = service.settings();
    if let Some(reads) = settings.requests_per_second {
        let is_write = ["PUT", "DELETE"]
            .iter()
            .any(|verb| endpoint.starts_with(verb));
        let limit = if is_write { reads.div_ceil(2) } else { reads };
        let key = (site.to_owned(), endpoint.to_owned());
        let window = usage.bursts.entry(key).or_insert((now, 0));
        if window.0 != now {
            *window = (now, 0);
        }
        window.1 += 1;
        if window.1 > limit {
            return Some(too_many_requests("jira-burst-based", Some(1.0)));
        }
    }
    if settings.limits_announced {
        return None;
    }
    let exhausted = usage
        .quotas(&settings, site)
        .into_iter()
        .find(|quota| quota.remaining() == 0)?;
    let wait = HOUR - now.rem_euclid(HOUR);
    #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
    let mut response = too_many_requests(exhausted.reason, Some(wait as f64));
    let headers = response.headers_mut();
    insert(headers, "x-ratelimit-limit", &exhausted.limit.to_string());
    insert(headers, "x-ratelimit-remaining", "0");
    let next = DateTime::<Utc>::from_timestamp(Clock::system_seconds() + wait, 0);
    let next = next.unwrap_or_default();
    let next = next.to_rfc3339_opts(SecondsFormat::Secs, true);
    insert(headers, "x-ratelimit-reset", &next);
    Some(response)
}

/// Adds the rate limit headers.
///
/// While limits are announced but not enforced, the newer headers have the prefix `beta-`.
pub(crate) fn add_headers(service: &Jira, usage: &Usage, site: &str, headers: &mut HeaderMap) {
    let settings = service.settings();
    let quotas = usage.quotas(&settings, site);
    let Some(tightest) = quotas.iter().min_by_key(|quota| quota.remaining()) else {
        return;
    };
    insert(headers, "x-ratelimit-limit", &tightest.limit.to_string());
    insert(
        headers,
        "x-ratelimit-remaining",
        &tightest.remaining().to_string(),
    );
    if quotas.iter().any(Quota::is_near_limit) {
        insert(headers, "x-ratelimit-nearlimit", "true");
    }
    let reset_after = HOUR - service.core.clock.seconds().rem_euclid(HOUR);
    let policies: Vec<String> = quotas
        .iter()
        .map(|quota| format!("\"{}\";q={};w={HOUR}", quota.policy, quota.limit))
        .collect();
    let states: Vec<String> = quotas
        .iter()
        .map(|quota| {
            // The remaining points are stated only near the limit.
            let remaining_part = if quota.is_near_limit() {
                format!(";r={}", quota.remaining())
            } else {
                String::new()
            };
            format!("\"{}\"{remaining_part};t={reset_after}", quota.policy)
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

/// Response 429 with a `ratelimit-reason`.
pub(crate) fn too_many_requests(reason: &'static str, seconds: Option<f64>) -> Response {
    let mut response = gateway_error(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded");
    let headers = response.headers_mut();
    headers.insert("ratelimit-reason", HeaderValue::from_static(reason));
    if let Some(seconds) = seconds
        && let Ok(value) = format!("{}", seconds.max(0.0).ceil()).parse()
    {
        headers.insert(header::RETRY_AFTER, value);
    }
    response
}

/// Points of a response.
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
    let is_person = |object: &Value| object.get("accountId").is_some();
    match rows {
        Some(rows) => {
            1 + rows
                .iter()
                .map(|row| if is_person(row) { 2 } else { 1 })
                .sum::<u64>()
        }
        None if is_person(body) => 3,
        None => 2,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Config, Core};

    #[tokio::test]
    async fn endpoint_allows_a_hundred_reads_per_second() {
        let service = Jira::start(&Config::default(), "http://a", 1, Core::new(1)).expect("Jira");
        let mut usage = Usage::default();
        let mut first_rejected = |endpoint: &str| {
            let mut responses = (0..200).map(|_| check(&service, &mut usage, "a", endpoint));
            responses.position(|response| response.is_some())
        };
        // A new second may begin during the loop.
        let reads = first_rejected("GET status");
        assert!(reads.is_none_or(|first| first >= 100), "{reads:?}");
        let writes = first_rejected("PUT webhook/refresh").expect("a rejected request");
        assert!((50..100).contains(&writes), "{writes}");
    }

    #[test]
    fn response_costs_one_point_plus_its_objects() {
        assert_eq!(cost(false, Some(&json!({ "issues": [{}, {}, {}] }))), 4);
        assert_eq!(cost(false, Some(&json!([{ "accountId": "a" }, {}]))), 4);
        assert_eq!(cost(false, Some(&json!({ "accountId": "a" }))), 3);
        assert_eq!(cost(false, Some(&json!({ "id": "1" }))), 2);
        assert_eq!(cost(true, Some(&json!({ "values": [{}, {}] }))), 1);
        assert_eq!(cost(false, None), 1);
    }

    #[test]
    fn points_reset_at_each_hour() {
        let settings = Settings {
            points_per_hour: Some(100),
            site_points_per_hour: Some(30),
            ..Settings::default()
        };
        let mut usage = Usage::default();
        usage.roll_over(7_199);
        usage.charge("a", 25);
        usage.charge("b", 60);
        let remaining = |usage: &Usage, site: &str| -> Vec<u64> {
            let quotas = usage.quotas(&settings, site);
            quotas.iter().map(Quota::remaining).collect()
        };
        assert_eq!(remaining(&usage, "a"), [15, 5]);
        assert_eq!(remaining(&usage, "b"), [15, 0]);
        usage.roll_over(7_200);
        assert_eq!(remaining(&usage, "b"), [100, 30]);
    }
}
