//! Simulated clock: the system time plus an offset that tests advance.
//!
//! It has whole seconds, as the providers' timestamps have, and its offset never decreases. All
//! timestamps and expiries of the simulated providers use it.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SecondsFormat, Utc};

/// Clock of the simulated providers.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset: AtomicI64,
}

impl Clock {
    /// Seconds since the epoch.
    pub(crate) fn seconds(&self) -> i64 {
        system_time().timestamp() + self.offset.load(Ordering::Relaxed)
    }

    /// Milliseconds since the epoch, for measurements.
    pub(crate) fn milliseconds(&self) -> i64 {
        system_time().timestamp_millis() + self.offset.load(Ordering::Relaxed) * 1_000
    }

    /// Advances the clock and returns the new offset in seconds.
    pub(crate) fn advance(&self, seconds: u32) -> i64 {
        self.offset.fetch_add(i64::from(seconds), Ordering::Relaxed) + i64::from(seconds)
    }

    /// Offset from the system time, in seconds.
    pub(crate) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Seconds since the epoch of the system time, which receivers use as well.
    pub(crate) fn system_seconds() -> i64 {
        system_time().timestamp()
    }

    /// Milliseconds since the epoch of the system time.
    pub(crate) fn system_milliseconds() -> i64 {
        system_time().timestamp_millis()
    }
}

#[expect(clippy::disallowed_methods, reason = "the simulator has its own clock")]
fn system_time() -> DateTime<Utc> {
    Utc::now()
}

/// An RFC 3339 date in UTC with second precision: `2026-11-23T10:00:00Z`.
pub(crate) fn iso(seconds: i64) -> String {
    DateTime::<Utc>::from_timestamp(seconds, 0)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Parses an RFC 3339 timestamp; a date without a time means midnight UTC.
pub(crate) fn parse_iso(text: &str) -> Option<i64> {
    if let Ok(date) = DateTime::parse_from_rfc3339(text) {
        return Some(date.timestamp());
    }
    let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_round_trip_with_whole_seconds() {
        assert_eq!(iso(1_795_428_000), "2026-11-23T10:00:00Z");
        assert_eq!(parse_iso("2026-11-23T10:00:00Z"), Some(1_795_428_000));
        assert_eq!(parse_iso("2026-11-23T12:00:00+02:00"), Some(1_795_428_000));
        assert_eq!(parse_iso("2026-11-23"), Some(1_795_392_000));
        assert_eq!(parse_iso("yesterday"), None);
    }

    #[test]
    fn advance_moves_the_clock_forward() {
        let clock = Clock::default();
        let before = clock.seconds();
        assert_eq!(clock.advance(3_600), 3_600);
        assert!(clock.seconds() >= before + 3_600);
        assert_eq!(clock.offset(), 3_600);
    }
}
