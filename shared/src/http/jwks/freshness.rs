//! Freshness of a response (RFC 9111, section 4.2), within bounds.

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, header};

/// Freshness of a response that states none.
const DEFAULT_MAX_AGE: TimeDelta = TimeDelta::hours(1);
/// Minimum freshness; shorter ones would cause needless calls.
const MIN_MAX_AGE: TimeDelta = TimeDelta::minutes(5);
/// Maximum freshness; a withdrawn key is not trusted longer.
const MAX_MAX_AGE: TimeDelta = TimeDelta::hours(24);

/// The time for which a response that arrived at `now` is fresh.
pub(super) fn max_age(headers: &HeaderMap, now: DateTime<Utc>) -> TimeDelta {
    let stated = cache_control(headers).or_else(|| expires_in(headers, now));
    stated
        .unwrap_or(DEFAULT_MAX_AGE)
        .clamp(MIN_MAX_AGE, MAX_MAX_AGE)
}

/// The freshness that `Cache-Control` states, less the time that the response spent in caches.
fn cache_control(headers: &HeaderMap) -> Option<TimeDelta> {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    let mut max_age = None;
    for directive in values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
    {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(TimeDelta::zero()),
            "max-age" => max_age = max_age.or_else(|| seconds(value.trim().trim_matches('"'))),
            _ => {}
        }
    }
    let age = headers.get(header::AGE).and_then(|age| age.to_str().ok());
    let age = age.and_then(|age| seconds(age.trim())).unwrap_or_default();
    max_age.map(|max_age| max_age - age)
}

fn expires_in(headers: &HeaderMap, now: DateTime<Utc>) -> Option<TimeDelta> {
    let text = headers.get(header::EXPIRES)?.to_str().ok()?;
    // An invalid date, such as "0", means that the response is stale already.
    let expires = DateTime::parse_from_rfc2822(text.trim()).map(|at| at.with_timezone(&Utc));
    Some(expires.unwrap_or(now) - now)
}

/// Parses a number of seconds; one above `u32::MAX` counts as `u32::MAX`.
fn seconds(text: &str) -> Option<TimeDelta> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| TimeDelta::seconds(text.parse::<u32>().unwrap_or(u32::MAX).into()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn minutes(headers: &[(HeaderName, &'static str)]) -> i64 {
        let now = DateTime::from_timestamp(1_700_000_000, 0).expect("a timestamp");
        let headers = headers.iter().cloned();
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
        max_age(&headers.collect::<HeaderMap>(), now).num_minutes()
    }

    #[test]
    fn stated_freshness_is_used_within_bounds() {
        for (cache_control, expected) in [
            ("public, max-age=21600, must-revalidate, no-transform", 360),
            ("MAX-AGE = \"7200\"", 120),
            ("max-age=0", 5),
            ("max-age=9999999999999999999999", 24 * 60),
            ("max-age=7200, no-store", 5),
            ("no-cache", 5),
            ("max-age=-7200", 60),
            ("public", 60),
            ("", 60),
        ] {
            let stated = minutes(&[(header::CACHE_CONTROL, cache_control)]);
            assert_eq!(stated, expected, "{cache_control}");
        }
        assert_eq!(minutes(&[]), 60);
    }

    #[test]
    fn time_in_caches_is_subtracted() {
        let max_age = (header::CACHE_CONTROL, "max-age=21600");
        assert_eq!(minutes(&[max_age.clone(), (header::AGE, "18000")]), 60);
        assert_eq!(minutes(&[max_age.clone(), (header::AGE, "99999")]), 5);
        assert_eq!(minutes(&[max_age, (header::AGE, "young")]), 360);
    }

    #[test]
    fn expiry_counts_without_cache_control() {
        let in_two_hours = (header::EXPIRES, "Wed, 15 Nov 2023 00:13:20 GMT");
        assert_eq!(minutes(std::slice::from_ref(&in_two_hours)), 120);
        assert_eq!(minutes(&[(header::EXPIRES, "0")]), 5);
        let max_age = (header::CACHE_CONTROL, "max-age=600");
        assert_eq!(minutes(&[in_two_hours, max_age]), 10);
    }
}
