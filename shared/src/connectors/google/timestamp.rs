//! Timestamps of Google's APIs: RFC 3339 with milliseconds.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer};

use crate::connectors::wire::plausible;

/// Timestamp whose text is UTC with milliseconds, because the text is part of dedupe keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::connectors) struct Timestamp(pub(in crate::connectors) DateTime<Utc>);

impl Timestamp {
    fn parse(text: &str) -> Option<Self> {
        let at = DateTime::parse_from_rfc3339(text).ok()?;
        plausible(at.with_timezone(&Utc)).map(Self)
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
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("invalid timestamp"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_independent_of_zone_and_precision() {
        for (input, text) in [
            ("2026-11-23T10:15:02.123Z", "2026-11-23T10:15:02.123Z"),
            ("2026-11-23T10:15:02.123999Z", "2026-11-23T10:15:02.123Z"),
            ("2026-11-23T05:15:02.123-05:00", "2026-11-23T10:15:02.123Z"),
            ("2026-11-23T10:15:02Z", "2026-11-23T10:15:02.000Z"),
        ] {
            let timestamp = Timestamp::parse(input).expect("a timestamp");
            assert_eq!(timestamp.to_string(), text, "{input}");
        }
        for invalid in ["", "yesterday", "2026-11-23", "+10000-01-01T00:00:00Z"] {
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
