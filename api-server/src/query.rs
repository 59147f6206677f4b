//! Strict parsing of query parameters and of values in paths.
//!
//! Every value is checked against the OpenAPI document. Unknown names are rejected, and so are repeated
//! ones of parameters with a single value; `?kind=a&kind=b` is the same list as `?kind=a,b`. The error
//! lists all problems.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use shared::db::page::{MAX_LIMIT, PageRequest};
use url::form_urlencoded;
use uuid::Uuid;

use crate::error::{ApiError, FieldProblem};
use crate::state::AppState;

/// The maximum number of values of a list.
const MAX_VALUES: usize = 100;

/// Parameters that can be parsed from a query.
pub(crate) trait FromQuery: Sized + Send {
    /// Reads the parameters; the reader collects the problems.
    fn read(query: &mut QueryReader) -> Self;
}

/// The parameters of a request.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

/// A request without parameters.
#[derive(Debug)]
pub(crate) struct NoQuery;

impl<T: FromQuery> FromRequestParts<Arc<AppState>> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<AppState>) -> Result<Self, ApiError> {
        let mut reader = QueryReader::new(parts.uri.query().unwrap_or_default());
        let read = T::read(&mut reader);
        reader.finish()?;
        Ok(Self(read))
    }
}

impl FromQuery for NoQuery {
    fn read(_: &mut QueryReader) -> Self {
        Self
    }
}

/// Reads parameters from a query string and collects problems.
#[derive(Debug)]
pub(crate) struct QueryReader {
    pairs: Vec<(String, String)>,
    problems: Vec<FieldProblem>,
}

impl QueryReader {
    pub(crate) fn new(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        Self {
            pairs,
            problems: Vec::new(),
        }
    }

    /// Fails with all problems, including unknown parameters.
    pub(crate) fn finish(mut self) -> Result<(), ApiError> {
        for (name, _) in &self.pairs {
            let shown: String = name.chars().take(100).collect();
            self.problems
                .push(FieldProblem::new(shown, "is not a parameter of this route"));
        }
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(ApiError::Parameters(self.problems))
        }
    }

    /// Reads a value with `parse`; `expected` describes valid values in the error.
    pub(crate) fn value<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.take(name)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            self.problems
                .push(FieldProblem::new(name, format!("must be {expected}")));
        }
        parsed
    }

    /// Reads a list with `parse`, comma-separated or by repeated names; empty if absent.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let expected = format!("up to {MAX_VALUES} comma-separated values, each {expected}");
        let given: Vec<String> = self.take_all(name).collect();
        if given.is_empty() {
            return Vec::new();
        }
        let text = given.join(",");
        let is_short = text.split(',').count() <= MAX_VALUES;
        let parsed = is_short.then(|| text.split(',').map(parse).collect::<Option<Vec<T>>>());
        match parsed.flatten() {
            Some(values) if !text.contains('\0') => values,
            _ => {
                let reason = format!("must be {expected}");
                self.problems.push(FieldProblem::new(name, reason));
                Vec::new()
            }
        }
    }

    /// Reads a value of an enumeration.
    pub(crate) fn enum_value<T: FromStr>(&mut self, name: &str) -> Option<T> {
        self.value(name, "one of the documented values", |text| {
            text.parse().ok()
        })
    }

    pub(crate) fn integer(&mut self, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        self.value(name, &expected, |text| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse()
                .ok()
                .filter(|number| digits && range.contains(number))
        })
    }

    pub(crate) fn uuid(&mut self, name: &str) -> Option<Uuid> {
        self.value(name, "a UUID", parse_uuid)
    }

    pub(crate) fn slug(&mut self, name: &str) -> Option<String> {
        self.value(name, "a provider's slug", |text| {
            is_slug(text).then(|| text.to_owned())
        })
    }

    pub(crate) fn date_time(&mut self, name: &str) -> Option<DateTime<Utc>> {
        self.value(name, "a time such as 2026-11-23T10:00:00Z", parse_date_time)
    }

    /// Reads the `limit` of a list.
    pub(crate) fn limit(&mut self) -> Option<u32> {
        self.integer("limit", 1..=MAX_LIMIT)
    }

    /// Reads the `cursor` of a list.
    pub(crate) fn list_cursor(&mut self) -> Option<String> {
        self.value("cursor", "a cursor of this API", |text| {
            PageRequest::parse(Some(text), None)
                .is_ok()
                .then(|| text.to_owned())
        })
    }

    /// Reads the `cursor` of unmatched accounts; its content is checked later.
    pub(crate) fn account_cursor(&mut self) -> Option<String> {
        self.value("cursor", "a cursor of this API", |text| {
            is_base64url(text, 1..=4000).then(|| text.to_owned())
        })
    }

    /// Reads the `cursor` of the feed; its authenticity is checked later.
    pub(crate) fn feed_cursor(&mut self) -> Option<String> {
        self.value("cursor", "a cursor of this API", |text| {
            is_feed_cursor(text).then(|| text.to_owned())
        })
    }

    /// Takes the only value of a name. Postgres cannot store NUL in text.
    fn take(&mut self, name: &str) -> Option<String> {
        let mut values = self.take_all(name);
        let first = values.next()?;
        let is_repeated = values.count() > 0;
        if is_repeated {
            self.problems.push(FieldProblem::new(name, "is repeated"));
            return None;
        }
        if first.contains('\0') {
            self.problems
                .push(FieldProblem::new(name, "contains a NUL character"));
            return None;
        }
        Some(first)
    }

    /// Takes all values of a name, in order.
    fn take_all(&mut self, name: &str) -> impl Iterator<Item = String> {
        let taken = self.pairs.extract_if(.., move |(key, _)| key == name);
        taken.map(|(_, value)| value)
    }
}

/// Parses a UUID in its hyphenated form; the crate accepts other forms as well.
pub(crate) fn parse_uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| text.parse().ok()).flatten()
}

/// Parses an RFC 3339 time with a `T` and an offset, as JSON Schema requires.
pub(crate) fn parse_date_time(text: &str) -> Option<DateTime<Utc>> {
    let separated = matches!(text.as_bytes().get(10), Some(b'T' | b't'));
    let parsed = DateTime::parse_from_rfc3339(text).ok()?;
    separated.then(|| parsed.with_timezone(&Utc))
}

pub(crate) fn is_slug(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

pub(crate) fn is_feed_cursor(text: &str) -> bool {
    is_base64url(text, 40..=100)
}

fn is_base64url(text: &str, length: RangeInclusive<usize>) -> bool {
    length.contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use shared::model::JobState;

    use super::*;

    fn problems(query: &str, read: impl FnOnce(&mut QueryReader)) -> Vec<String> {
        let mut reader = QueryReader::new(query);
        read(&mut reader);
        match reader.finish() {
            Ok(()) => Vec::new(),
            Err(ApiError::Parameters(problems)) => problems.into_iter().map(|p| p.name).collect(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn error_lists_all_problems() {
        let names = problems(
            "limit=0&state=asleep&colour=red&provider=a&provider=b",
            |query| {
                query.limit();
                query.enum_value::<JobState>("state");
                query.slug("provider");
            },
        );
        assert_eq!(names, ["limit", "state", "provider", "colour"]);
    }

    #[test]
    fn integers_are_digits_within_range() {
        for (text, expected) in [("1", Some(1)), ("200", Some(200)), ("050", Some(50))] {
            let mut reader = QueryReader::new(&format!("limit={text}"));
            assert_eq!(reader.integer("limit", 1..=200), expected);
        }
        for bad in [
            "0",
            "201",
            "-1",
            "%2B5",
            "1.0",
            "",
            "x",
            "99999999999999999999",
            "%00",
        ] {
            let names = problems(&format!("limit={bad}"), |query| {
                query.integer("limit", 1..=200);
            });
            assert_eq!(names, ["limit"], "{bad:?}");
        }
    }

    #[test]
    fn only_hyphenated_uuids_are_parsed() {
        let id = Uuid::now_v7();
        assert_eq!(parse_uuid(&id.to_string()), Some(id));
        assert_eq!(parse_uuid(&id.to_string().to_uppercase()), Some(id));
        for other in [
            id.simple().to_string(),
            id.urn().to_string(),
            id.braced().to_string(),
        ] {
            assert_eq!(parse_uuid(&other), None, "{other}");
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        assert!(parse_date_time("2026-11-23T10:00:00Z").is_some());
        assert!(parse_date_time("2026-11-23T10:00:00.5+02:00").is_some());
        for bad in [
            "2026-11-23 10:00:00Z",
            "2026-11-23T10:00:00",
            "2026-11-23",
            "now",
            "",
        ] {
            assert!(parse_date_time(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn list_with_an_invalid_value_is_rejected() {
        let mut reader = QueryReader::new("source=github,jira");
        assert_eq!(
            reader
                .list("source", "a slug", |t| is_slug(t).then(|| t.to_owned()))
                .len(),
            2
        );
        let too_many = vec!["a"; MAX_VALUES + 1].join(",");
        for bad in ["", "github,", ",", "git-hub", "A", too_many.as_str()] {
            let names = problems(&format!("source={bad}"), |query| {
                query.list("source", "a slug", |text| is_slug(text).then_some(()));
            });
            assert_eq!(names, ["source"], "{bad}");
        }
    }

    #[test]
    fn repeated_names_form_one_list() {
        let mut reader = QueryReader::new("source=github&limit=5&source=jira,slack");
        let slug = |text: &str| is_slug(text).then(|| text.to_owned());
        assert_eq!(
            reader.list("source", "a slug", slug),
            ["github", "jira", "slack"]
        );
        assert_eq!(reader.integer("limit", 1..=200), Some(5));
        for bad in ["source=github&source=", "source=a&source=%00"] {
            let names = problems(bad, |query| {
                query.list("source", "a slug", slug);
            });
            assert_eq!(names, ["source"], "{bad}");
        }
        let many = vec!["source=a"; MAX_VALUES + 1].join("&");
        let names = problems(&many, |query| {
            query.list("source", "a slug", slug);
        });
        assert_eq!(names, ["source"]);
    }
}
