//! Timestamps in GitHub's formats: RFC 3339 with any offset, or Unix seconds.
//!
//! Unix seconds occur in the repository of a push and in installations.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::connectors::wire::plausible;

/// A timestamp, formatted in UTC with a precision of one second.
///
/// Webhooks and the REST API differ in offset and fraction; the normal form gives a fact the same
/// identity in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Timestamp(pub DateTime<Utc>);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

impl Timestamp {
    fn from_value(value: &Value) -> Option<Self> {
        let at = match value {
            Value::String(text) => DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc),
            Value::Number(seconds) => Utc.timestamp_opt(seconds.as_i64()?, 0).single()?,
            _ => return None,
        };
        plausible(at).map(Self)
    }
}

/// Deserializes an optional timestamp; `None` if it is missing or has an unknown form.
pub(in super::super) fn lenient<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    Ok(Timestamp::from_value(&Value::deserialize(deserializer)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn offsets_and_fractions_do_not_change_the_text() {
        for written in [
            json!("2021-11-22T12:44:07Z"),
            json!("2021-11-22T13:44:07.000+01:00"),
            json!("2021-11-22T12:44:07.999Z"),
            json!(1_637_585_047),
        ] {
            let timestamp = Timestamp::from_value(&written).expect("a time");
            assert_eq!(timestamp.to_string(), "2021-11-22T12:44:07Z", "{written}");
        }
    }

    #[test]
    fn invalid_timestamp_is_none() {
        for written in [
            json!("yesterday"),
            json!(null),
            json!({}),
            json!(1e300),
            json!(i64::MAX),
            // Beyond what RFC 3339 can write.
            json!(253_402_300_800_i64),
            json!(-62_167_219_201_i64),
            json!("+10000-01-01T00:00:00Z"),
        ] {
            assert_eq!(Timestamp::from_value(&written), None, "{written}");
        }
    }
}
