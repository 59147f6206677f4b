//! Slack's timestamps: seconds and microseconds, `1732356000.123456`. They are the ids of
//! messages, so they are never numbers with a fraction, which would change them.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MICROS: i64 = 1_000_000;
/// Digits of a timestamp that was written without its point.
const WITHOUT_POINT: usize = 16;

/// A point in time, to the microsecond; within a channel, a message's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) struct Ts(i64);

impl Ts {
    /// The timestamp of a moment; Slack has none before 1970.
    pub(in super::super) fn of(at: DateTime<Utc>) -> Self {
        Self(at.timestamp_micros().max(0))
    }

    /// The moment of a timestamp.
    pub(in super::super) fn at(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    /// The last timestamp before this one; the first has none before it.
    pub(in super::super) const fn before(self) -> Self {
        Self(if self.0 > 0 { self.0 - 1 } else { 0 })
    }

    /// The digits without the point, as deep links have them.
    pub(in super::super) fn digits(self) -> String {
        format!(
            "{}{:06}",
            self.0.div_euclid(MICROS),
            self.0.rem_euclid(MICROS)
        )
    }
}

impl fmt::Display for Ts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06}",
            self.0.div_euclid(MICROS),
            self.0.rem_euclid(MICROS)
        )
    }
}

/// A text that is no timestamp.
#[derive(Debug, thiserror::Error)]
#[error("not a timestamp")]
pub(in super::super) struct NotATs;

impl FromStr for Ts {
    type Err = NotATs;

    fn from_str(text: &str) -> Result<Self, NotATs> {
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let (seconds, fraction) = match text.split_once('.') {
            Some(parts) => parts,
            // Some events leave out the point: `1515449522000016`.
            None if text.len() == WITHOUT_POINT => {
                text.split_at_checked(WITHOUT_POINT - 6).ok_or(NotATs)?
            }
            None => (text, ""),
        };
        if seconds.is_empty() || seconds.len() > 11 || fraction.len() > 6 {
            return Err(NotATs);
        }
        if !digits(seconds) || !digits(fraction) {
            return Err(NotATs);
        }
        let seconds: i64 = seconds.parse().map_err(|_| NotATs)?;
        // `.5` means half a second, whatever its length.
        let micros: i64 = format!("{fraction:0<6}").parse().map_err(|_| NotATs)?;
        Ok(Self(seconds * MICROS + micros))
    }
}

impl<'de> Deserialize<'de> for Ts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Serialize for Ts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_timestamp_is_none() {
        for text in [
            "",
            ".",
            "1e9",
            "1700000000.1234567",
            "-1.000000",
            " 1",
            "now",
            "99999999999999",
        ] {
            assert!(text.parse::<Ts>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_timestamp_without_its_point_is_the_same_one() {
        let with: Ts = "1515449522.000016".parse().expect("a timestamp");
        let without: Ts = "1515449522000016".parse().expect("a timestamp");
        assert_eq!(without, with);
        assert_eq!(without.to_string(), "1515449522.000016");
    }

    #[test]
    fn the_first_timestamp_is_read_as_it_was_written() {
        let first = Ts::of(DateTime::UNIX_EPOCH);
        for ts in [first, first.before(), Ts::of(DateTime::<Utc>::MIN_UTC)] {
            assert_eq!(ts.to_string().parse::<Ts>().ok(), Some(first));
        }
    }

    #[test]
    fn a_deep_link_has_the_digits_alone() {
        let ts: Ts = "1700000000.000200".parse().expect("a timestamp");
        assert_eq!(ts.digits(), "1700000000000200");
        assert_eq!(ts.before().to_string(), "1700000000.000199");
    }

    proptest! {
        #[test]
        fn a_timestamp_is_written_as_it_was_read(seconds in 0_i64..=9_999_999_999, micros in 0_i64..1_000_000) {
            let text = format!("{seconds}.{micros:06}");
            let ts: Ts = text.parse().expect("a timestamp");
            prop_assert_eq!(ts.to_string(), text);
            prop_assert_eq!(Ts::of(ts.at()), ts);
        }

        #[test]
        fn timestamps_sort_as_their_times_do(a in 0_i64..4_000_000_000_000_000, b in 0_i64..4_000_000_000_000_000) {
            prop_assert_eq!(Ts(a) < Ts(b), Ts(a).at() < Ts(b).at());
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,30}") {
            text.parse::<Ts>().ok();
        }
    }
}
