//! Times in the API's forms.

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};

use crate::zoho::data_center::DataCenter;

/// A time in whole seconds with the offset of the data centre: `2026-11-23T15:30:00+05:30`.
pub(super) fn text(millis: i64, data_center: DataCenter) -> String {
    let (_, offset) = data_center.time_zone();
    let zone = i32::try_from(offset).ok().and_then(FixedOffset::east_opt);
    let zone = zone.unwrap_or(FixedOffset::east_opt(0).expect("no offset"));
    let time = DateTime::<Utc>::from_timestamp_millis(millis).unwrap_or_default();
    let time = time.with_timezone(&zone);
    time.format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// A time of version 3, in milliseconds: `2026-11-23T10:00:00.000Z`.
pub(super) fn search_text(millis: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(millis)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Milliseconds of a parameter: a number of them, or an ISO 8601 time.
///
/// A space is a `+` that was not percent-encoded.
pub(super) fn parse(text: &str) -> Option<i64> {
    if let Ok(millis) = text.parse() {
        return Some(millis);
    }
    let text = text.replace(' ', "+");
    let time = DateTime::parse_from_rfc3339(&text).ok()?;
    Some(time.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_offset_of_their_data_center() {
        let millis = 1_795_428_000_789;
        let india = text(millis, DataCenter::In);
        assert_eq!(india, "2026-11-23T15:30:00+05:30");
        assert_eq!(text(millis, DataCenter::Us), "2026-11-23T03:00:00-07:00");
        assert_eq!(search_text(millis), "2026-11-23T10:00:00.789Z");
        let seconds = Some(1_795_428_000_000);
        assert_eq!(parse(&india), seconds);
        assert_eq!(parse(&india.replace('+', " ")), seconds);
        assert_eq!(parse("1795428000789"), Some(millis));
        assert_eq!(parse("yesterday"), None);
    }
}
