//! The simulated clock: the system's time plus an offset that a test moves.
//!
//! Promises whole seconds, because that is the precision providers give, and
//! never runs backwards. Everything a provider dates or expires reads this
//! clock.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SecondsFormat, Utc};

/// Time as the simulated providers see it.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset: AtomicI64,
}

impl Clock {
    /// Seconds since the epoch.
    pub(crate) fn seconds(&self) -> i64 {
        system_time().timestamp() + self.offset.load(Ordering::Relaxed)
    }

    /// Milliseconds since the epoch, for what is measured.
    pub(crate) fn milliseconds(&self) -> i64 {
        system_time().timestamp_millis() + self.offset.load(Ordering::Relaxed) * 1_000
    }

    /// Moves the clock forward and answers the new offset in seconds.
    pub(crate) fn advance(&self, seconds: u32) -> i64 {
        self.offset.fetch_add(i64::from(seconds), Ordering::Relaxed) + i64::from(seconds)
    }

    /// How far the clock is ahead of the system's, in seconds.
    pub(crate) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Seconds since the epoch by the system's clock, which a receiver shares.
    pub(crate) fn system_seconds() -> i64 {
        system_time().timestamp()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the simulator's own clock"
)]
fn system_time() -> DateTime<Utc> {
    Utc::now()
}

/// An RFC 3339 date in UTC with second precision: `2026-11-23T10:00:00Z`.
pub(crate) fn iso(seconds: i64) -> String {
    DateTime::<Utc>::from_timestamp(seconds, 0)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Reads an RFC 3339 date; a date without a time means its midnight.
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
    fn dates_are_written_with_whole_seconds_and_read_back() {
        assert_eq!(iso(1_795_428_000), "2026-11-23T10:00:00Z");
        assert_eq!(parse_iso("2026-11-23T10:00:00Z"), Some(1_795_428_000));
        assert_eq!(parse_iso("2026-11-23T12:00:00+02:00"), Some(1_795_428_000));
        assert_eq!(parse_iso("2026-11-23"), Some(1_795_392_000));
        assert_eq!(parse_iso("yesterday"), None);
    }

    #[test]
    fn advancing_moves_only_forward() {
        let clock = Clock::default();
        let before = clock.seconds();
        assert_eq!(clock.advance(3_600), 3_600);
        assert!(clock.seconds() >= before + 3_600);
        assert_eq!(clock.offset(), 3_600);
    }
}
