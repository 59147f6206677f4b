//! Slack's timestamps: seconds and microseconds, such as `1732356000.123456`.
//!
//! They are also the ids of messages, so they are not parsed as floats, which lose digits.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MICROS: i64 = 1_000_000;
/// Length of a timestamp without its decimal point.
const DIGITS: usize = 16;

/// Time in microseconds, and the id of a message within its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) struct Ts(i64);

impl Ts {
    /// The timestamp of a time, not before 1970.
    pub(in super::super) fn of(at: DateTime<Utc>) -> Self {
        Self(at.timestamp_micros().max(0))
    }

    /// The time of a timestamp.
    pub(in super::super) fn at(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    /// The preceding timestamp; saturates at zero.
    pub(in super::super) const fn before(self) -> Self {
        Self(if self.0 > 0 { self.0 - 1 } else { 0 })
    }

    /// The digits without the decimal point, as in deep links.
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

/// Error of parsing a timestamp.
#[derive(Debug, thiserror::Error)]
#[error("invalid Slack timestamp")]
pub(in super::super) struct ParseTsError;

impl FromStr for Ts {
    type Err = ParseTsError;

    fn from_str(text: &str) -> Result<Self, ParseTsError> {
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let (seconds, fraction) = match text.split_once('.') {
            Some(parts) => parts,
            // Some events omit the decimal point: `1515449522000016`.
            None if text.len() == DIGITS => {
                text.split_at_checked(DIGITS - 6).ok_or(ParseTsError)?
            }
            None => (text, ""),
        };
        if seconds.is_empty() || seconds.len() > 11 || fraction.len() > 6 {
            return Err(ParseTsError);
        }
        if !digits(seconds) || !digits(fraction) {
            return Err(ParseTsError);
        }
        let seconds: i64 = seconds.parse().map_err(|_| ParseTsError)?;
        // The fraction is decimal: `.5` is half a second.
        let micros: i64 = format!("{fraction:0<6}")
            .parse()
            .map_err(|_| ParseTsError)?;
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
    fn invalid_timestamps_are_rejected() {
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
    fn decimal_point_is_optional() {
        let with: Ts = "1515449522.000016".parse().expect("a timestamp");
        let without: Ts = "1515449522000016".parse().expect("a timestamp");
        assert_eq!(without, with);
        assert_eq!(without.to_string(), "1515449522.000016");
    }

    #[test]
    fn timestamp_zero_round_trips() {
        let first = Ts::of(DateTime::UNIX_EPOCH);
        for ts in [first, first.before(), Ts::of(DateTime::<Utc>::MIN_UTC)] {
            assert_eq!(ts.to_string().parse::<Ts>().ok(), Some(first));
        }
    }

    #[test]
    fn digits_omit_the_decimal_point() {
        let ts: Ts = "1700000000.000200".parse().expect("a timestamp");
        assert_eq!(ts.digits(), "1700000000000200");
        assert_eq!(ts.before().to_string(), "1700000000.000199");
    }

    proptest! {
        #[test]
        fn timestamp_round_trips(seconds in 0_i64..=9_999_999_999, micros in 0_i64..1_000_000) {
            let text = format!("{seconds}.{micros:06}");
            let ts: Ts = text.parse().expect("a timestamp");
            prop_assert_eq!(ts.to_string(), text);
            prop_assert_eq!(Ts::of(ts.at()), ts);
        }

        #[test]
        fn timestamps_sort_by_time(a in 0_i64..4_000_000_000_000_000, b in 0_i64..4_000_000_000_000_000) {
            prop_assert_eq!(Ts(a) < Ts(b), Ts(a).at() < Ts(b).at());
        }

        #[test]
        fn arbitrary_text_does_not_panic(text in ".{0,30}") {
            text.parse::<Ts>().ok();
        }
    }
}
