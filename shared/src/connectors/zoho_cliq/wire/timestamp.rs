//! Times of Zoho Cliq: milliseconds since 1970 as a number or as text, or RFC 3339.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::connectors::wire::{plausible, read_json};

/// A time with milliseconds, which are part of dedupe keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Timestamp(i64);

impl Timestamp {
    /// The time of this many milliseconds since 1970.
    pub(in super::super) fn from_millis(milliseconds: i64) -> Option<Self> {
        plausible(DateTime::from_timestamp_millis(milliseconds)?)?;
        Some(Self(milliseconds))
    }

    /// Parses milliseconds or RFC 3339.
    pub(in super::super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(milliseconds) = text.parse() {
            return Self::from_millis(milliseconds);
        }
        let at = DateTime::parse_from_rfc3339(text).ok()?;
        Self::from_millis(at.timestamp_millis())
    }

    /// Milliseconds since 1970.
    pub(in super::super) const fn millis(self) -> i64 {
        self.0
    }

    /// The time.
    pub(in super::super) fn at(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        let unquoted: Option<String> = if text.starts_with('"') {
            read_json(text).ok()
        } else {
            Some(text.to_owned())
        };
        unquoted
            .and_then(|text| Self::parse(&text))
            .ok_or_else(|| serde::de::Error::custom("invalid timestamp"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_gives_milliseconds() {
        for (json, milliseconds) in [
            ("1569520690703", 1_569_520_690_703),
            ("\"1569520690703\"", 1_569_520_690_703),
            ("\"2019-09-26T23:28:10+05:30\"", 1_569_520_690_000),
            ("\"2019-09-26T17:58:10.703Z\"", 1_569_520_690_703),
        ] {
            let time: Timestamp = serde_json::from_str(json).expect("a time");
            assert_eq!(time.millis(), milliseconds, "{json}");
        }
        for json in [
            "\"\"",
            "\"soon\"",
            "{}",
            "1.5",
            "\"2024-01-01\"",
            "9223372036854775807",
        ] {
            assert!(serde_json::from_str::<Timestamp>(json).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_not_panic(text in ".{0,40}") {
            if let Some(time) = Timestamp::parse(&text) {
                prop_assert_eq!(time.at().timestamp_millis(), time.millis());
            }
        }
    }
}
