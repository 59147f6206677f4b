//! Jira's timestamps: `2026-11-23T10:15:02.123+0000` (offset without a colon), or RFC 3339.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer};

use crate::connectors::wire::plausible;

/// Timestamp whose text is UTC with milliseconds.
///
/// Webhooks and the REST API may use different time zones, and the text is part of dedupe keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Timestamp(pub DateTime<Utc>);

impl Timestamp {
    /// Parses either form.
    pub(in super::super) fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z")
            .or_else(|_| DateTime::parse_from_rfc3339(text))
            .ok()
            .and_then(|at| plausible(at.with_timezone(&Utc)))
            .map(Self)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("invalid Jira timestamp"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_independent_of_zone_and_form() {
        for input in [
            "2026-11-23T10:15:02.123+0000",
            "2026-11-23T05:15:02.123-0500",
            "2026-11-23T10:15:02.123Z",
            "2026-11-23T11:15:02.123+01:00",
        ] {
            let timestamp = Timestamp::parse(input).expect("a timestamp");
            assert_eq!(timestamp.to_string(), "2026-11-23T10:15:02.123Z", "{input}");
        }
        for invalid in [
            "",
            "2026-11-23",
            "yesterday",
            "2026-11-23 10:15",
            "+10000-01-01T00:00:00.000+0000",
        ] {
            assert_eq!(Timestamp::parse(invalid), None, "{invalid}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_not_panic(text in ".{0,40}") {
            Timestamp::parse(&text);
        }
    }
}
