//! Times as Calendar writes them: changes in microseconds, starts and ends of events.

use chrono::{DateTime, Days, FixedOffset, Months, NaiveDate, SecondsFormat, Utc};
use serde_json::{Value, json};

/// A time zone without daylight saving time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) name: &'static str,
    /// Hours from UTC.
    pub(crate) hours: i32,
}

/// Time zones of people and calendars.
pub(crate) const ZONES: [Zone; 3] = [
    Zone {
        name: "America/Phoenix",
        hours: -7,
    },
    Zone {
        name: "Africa/Lagos",
        hours: 1,
    },
    Zone {
        name: "UTC",
        hours: 0,
    },
];

impl Zone {
    /// The zone with this name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        ZONES.into_iter().find(|zone| zone.name == name)
    }

    fn local(self, seconds: i64) -> DateTime<FixedOffset> {
        let offset = FixedOffset::east_opt(self.hours * 3_600).expect("a zone is within a day");
        utc(seconds).with_timezone(&offset)
    }

    /// First second of the day of `seconds`.
    pub(crate) fn midnight(self, seconds: i64) -> i64 {
        let offset = i64::from(self.hours) * 3_600;
        (seconds + offset).div_euclid(86_400) * 86_400 - offset
    }
}

fn utc(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

/// `2025-03-23T12:18:43.196Z`, from microseconds since the epoch.
pub(crate) fn millis_text(micros: i64) -> String {
    DateTime::<Utc>::from_timestamp_micros(micros)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Entity tag of a row that changed at this time: twice its microseconds, in quotes.
pub(crate) fn etag(micros: i64) -> String {
    format!("\"{}\"", micros * 2)
}

/// Start or end of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// A day of an all-day event.
    Day(NaiveDate),
    /// A moment in the zone of the event.
    At { seconds: i64, zone: Zone },
}

impl When {
    /// The day of a moment, in a zone.
    pub(crate) fn day(seconds: i64, zone: Zone) -> Self {
        Self::Day(zone.local(seconds).date_naive())
    }

    /// Seconds since the epoch; a day begins at midnight UTC.
    pub(crate) fn seconds(self) -> i64 {
        match self {
            Self::Day(day) => day
                .and_hms_opt(0, 0, 0)
                .unwrap_or_default()
                .and_utc()
                .timestamp(),
            Self::At { seconds, .. } => seconds,
        }
    }

    pub(crate) const fn is_day(self) -> bool {
        matches!(self, Self::Day(_))
    }

    /// The same time `days` later.
    pub(crate) fn plus_days(self, days: u64) -> Self {
        match self {
            Self::Day(day) => Self::Day(day.checked_add_days(Days::new(days)).unwrap_or(day)),
            Self::At { seconds, zone } => Self::At {
                seconds: seconds + i64::try_from(days).unwrap_or(0) * 86_400,
                zone,
            },
        }
    }

    /// The same time `months` later.
    pub(crate) fn plus_months(self, months: u32) -> Self {
        match self {
            Self::Day(day) => Self::Day(day.checked_add_months(Months::new(months)).unwrap_or(day)),
            Self::At { seconds, zone } => {
                let later = utc(seconds).checked_add_months(Months::new(months));
                Self::At {
                    seconds: later.map_or(seconds, |later| later.timestamp()),
                    zone,
                }
            }
        }
    }

    /// The time `seconds` later; a day stays as it is.
    pub(crate) const fn plus_seconds(self, more: i64) -> Self {
        match self {
            Self::Day(_) => self,
            Self::At { seconds, zone } => Self::At {
                seconds: seconds + more,
                zone,
            },
        }
    }

    /// The last moment before the day of this time.
    pub(crate) fn end_of_previous_day(self) -> Self {
        match self {
            Self::Day(day) => Self::Day(day.pred_opt().unwrap_or(day)),
            Self::At { seconds, zone } => Self::At {
                seconds: zone.midnight(seconds) - 1,
                zone,
            },
        }
    }

    /// `20250324T123000Z` in UTC, or `20250324` for a day.
    pub(crate) fn stamp(self) -> String {
        match self {
            Self::Day(day) => day.format("%Y%m%d").to_string(),
            Self::At { seconds, .. } => utc(seconds).format("%Y%m%dT%H%M%SZ").to_string(),
        }
    }

    /// The object of `start`, `end` and `originalStartTime`, shown in `shown_in` or its own zone.
    pub(crate) fn json(self, shown_in: Option<Zone>) -> Value {
        match self {
            Self::Day(day) => json!({ "date": day.to_string() }),
            Self::At { seconds, zone } => {
                let local = shown_in.unwrap_or(zone).local(seconds);
                json!({
                    "dateTime": local.to_rfc3339_opts(SecondsFormat::Secs, true),
                    "timeZone": zone.name,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHOENIX: Zone = ZONES[0];

    #[test]
    fn change_times_have_milliseconds_and_doubled_etags() {
        // A recorded pair: `updated` 2025-03-23T12:18:43.196Z, etag "3485464646392798".
        let micros = 3_485_464_646_392_798 / 2;
        assert_eq!(millis_text(micros), "2025-03-23T12:18:43.196Z");
        assert_eq!(etag(micros), "\"3485464646392798\"");
    }

    #[test]
    fn times_show_local_time_and_stamp_utc() {
        let at = When::At {
            seconds: 1_742_819_400,
            zone: PHOENIX,
        };
        assert_eq!(
            at.json(None),
            json!({ "dateTime": "2025-03-24T05:30:00-07:00", "timeZone": "America/Phoenix" })
        );
        assert_eq!(at.stamp(), "20250324T123000Z");
        assert_eq!(at.end_of_previous_day().stamp(), "20250324T065959Z");
    }

    #[test]
    fn days_have_neither_time_nor_zone() {
        let day = When::day(1_742_774_400, PHOENIX);
        assert_eq!(day.json(None), json!({ "date": "2025-03-23" }));
        assert_eq!(day.plus_days(2).stamp(), "20250325");
        assert_eq!(day.end_of_previous_day().stamp(), "20250322");
    }
}
