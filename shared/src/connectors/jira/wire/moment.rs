//! Points in time as Jira writes them: `2026-11-23T10:15:02.123+0000`, the offset without a
//! colon, or RFC 3339.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer};

use crate::connectors::wire::plausible;

/// A point in time. Its text form is UTC with milliseconds, so that webhook and REST, in
/// whatever zone they write, name a fact alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Moment(pub DateTime<Utc>);

impl Moment {
    /// Reads either form.
    pub(in super::super) fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z")
            .or_else(|_| DateTime::parse_from_rfc3339(text))
            .ok()
            .and_then(|at| plausible(at.with_timezone(&Utc)))
            .map(Self)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a time"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zones_and_forms_do_not_change_the_text() {
        for written in [
            "2026-11-23T10:15:02.123+0000",
            "2026-11-23T05:15:02.123-0500",
            "2026-11-23T10:15:02.123Z",
            "2026-11-23T11:15:02.123+01:00",
        ] {
            let moment = Moment::parse(written).expect("a time");
            assert_eq!(moment.to_string(), "2026-11-23T10:15:02.123Z", "{written}");
        }
        for other in [
            "",
            "2026-11-23",
            "yesterday",
            "2026-11-23 10:15",
            "+10000-01-01T00:00:00.000+0000",
        ] {
            assert_eq!(Moment::parse(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            Moment::parse(&text);
        }
    }
}
