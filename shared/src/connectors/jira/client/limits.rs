//! Rate limit headers of Jira.
//!
//! Three limits apply independently, all with status 429: points per hour of the app, points per
//! hour of a site, and bursts per endpoint. Once 80 % of a quota are used, each response states
//! the remaining points ("Rate limiting" at developer.atlassian.com).

use chrono::{DateTime, Duration, DurationRound, Utc};
use http::HeaderMap;

use crate::connectors::response;
use crate::http::LimitObservation;
use crate::model::LimitScope;

/// Names of the headers, after and before the limits are enforced for an app.
const HEADERS: [(&str, &str); 2] = [
    ("ratelimit", "ratelimit-policy"),
    ("beta-ratelimit", "beta-ratelimit-policy"),
];

/// The end of a limit, and its scope.
pub(super) fn blocked_until(
    headers: &HeaderMap,
    now: DateTime<Utc>,
) -> (DateTime<Utc>, LimitScope) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let reason = text("ratelimit-reason").unwrap_or_default();
    let (scope, quota) = match reason {
        "jira-quota-global-based" => (LimitScope::Provider, true),
        "jira-quota-tenant-based" => (LimitScope::Account, true),
        "jira-burst-based" => (LimitScope::Operation, false),
        _ => (LimitScope::Account, false),
    };
    let stated = response::retry_at(headers, now);
    let reset = text("x-ratelimit-reset").and_then(parse_reset);
    // Quotas reset at the full hour.
    let next_hour = now
        .duration_trunc(Duration::hours(1))
        .map_or(now, |hour| hour + Duration::hours(1));
    let unstated = if quota {
        next_hour
    } else {
        now + response::DEFAULT_RETRY_AFTER
    };
    let until = stated.or(reset).unwrap_or(unstated);
    (response::clamp_retry_at(until, now), scope)
}

/// Parses ISO 8601, sometimes without seconds.
fn parse_reset(text: &str) -> Option<DateTime<Utc>> {
    let with_seconds = text.replacen('Z', ":00Z", 1);
    [text, with_seconds.as_str()].into_iter().find_map(|text| {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|at| at.with_timezone(&Utc))
    })
}

/// Remaining points that a response states, for the app and for the site.
pub(super) fn observations(headers: &HeaderMap, now: DateTime<Utc>) -> Vec<LimitObservation> {
    let mut seen = Vec::new();
    for (usage, policy) in HEADERS {
        for (name, parameters) in items(headers, usage) {
            let (Some(remaining), Some(seconds)) =
                (number(&parameters, "r"), number(&parameters, "t"))
            else {
                continue;
            };
            let limit = items(headers, policy)
                .into_iter()
                .find(|(known, _)| *known == name)
                .and_then(|(_, parameters)| number(&parameters, "q"));
            let window = i64::try_from(seconds).ok().and_then(Duration::try_seconds);
            seen.push(LimitObservation {
                scope: if name.contains("global") {
                    LimitScope::Provider
                } else {
                    LimitScope::Account
                },
                limit,
                remaining: Some(remaining),
                reset_at: window.and_then(|window| now.checked_add_signed(window)),
                ..LimitObservation::default()
            });
        }
    }
    seen
}

type Item<'h> = (&'h str, Vec<(&'h str, &'h str)>);

/// The items of a structured list: `"name";r=11000;t=600, "other";r=5;t=600`.
fn items<'h>(headers: &'h HeaderMap, name: &str) -> Vec<Item<'h>> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next()?.trim_matches('"');
            Some((
                name,
                parts.filter_map(|part| part.split_once('=')).collect(),
            ))
        })
        .collect()
}

fn number(parameters: &[(&str, &str)], name: &str) -> Option<u64> {
    let (_, value) = parameters.iter().find(|(known, _)| *known == name)?;
    value.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-23T10:20:00Z".parse().expect("a time")
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    name.parse().expect("a name"),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn limit_reason_determines_the_scope() {
        for (pairs, seconds, scope) in [
            (
                &[("ratelimit-reason", "jira-quota-global-based")][..],
                2400,
                LimitScope::Provider,
            ),
            (
                &[
                    ("ratelimit-reason", "jira-quota-tenant-based"),
                    ("retry-after", "90"),
                ],
                90,
                LimitScope::Account,
            ),
            (
                &[("ratelimit-reason", "jira-burst-based")],
                60,
                LimitScope::Operation,
            ),
            (
                &[
                    ("ratelimit-reason", "jira-cost-based"),
                    ("retry-after", "0"),
                ],
                1,
                LimitScope::Account,
            ),
            (&[], 60, LimitScope::Account),
            (
                &[
                    ("ratelimit-reason", "jira-quota-global-based"),
                    ("x-ratelimit-reset", "2026-11-23T10:30Z"),
                ],
                600,
                LimitScope::Provider,
            ),
        ] {
            let (until, found) = blocked_until(&headers(pairs), now());
            assert_eq!(
                (until - now(), found),
                (Duration::seconds(seconds), scope),
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn remaining_points_are_read_for_app_and_site() {
        let stated = headers(&[
            (
                "ratelimit-policy",
                r#""global-app-quota";q=65000;w=3600, "tenant-quota";q=100000;w=3600"#,
            ),
            (
                "ratelimit",
                r#""global-app-quota";r=11000;t=600, "tenant-quota";r=90000;t=600"#,
            ),
        ]);
        let seen = observations(&stated, now());
        let summary = |one: &LimitObservation| (one.scope, one.limit, one.remaining);
        assert_eq!(
            seen.iter().map(summary).collect::<Vec<_>>(),
            [
                (LimitScope::Provider, Some(65_000), Some(11_000)),
                (LimitScope::Account, Some(100_000), Some(90_000)),
            ]
        );
        assert_eq!(seen[0].reset_at, Some(now() + Duration::minutes(10)));
        // Below 80 % the headers state only the reset time.
        let low_usage = headers(&[("beta-ratelimit", r#""global-app-quota";t=600"#)]);
        assert!(observations(&low_usage, now()).is_empty());
    }

    proptest! {
        #[test]
        fn arbitrary_headers_do_not_panic(text in "[ -~]{0,60}") {
            let mut headers = HeaderMap::new();
            for name in ["ratelimit", "ratelimit-policy", "x-ratelimit-reset", "retry-after"] {
                headers.insert(name, HeaderValue::from_str(&text).expect("printable"));
            }
            observations(&headers, now());
            blocked_until(&headers, now());
        }
    }
}
