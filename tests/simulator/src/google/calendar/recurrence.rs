//! Rules of series, and the ids that Calendar gives to their instances and parts.

use super::time::When;

/// Unit of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frequency {
    Daily,
    Weekly,
    Yearly,
}

/// Rule of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recurrence {
    pub(crate) frequency: Frequency,
    pub(crate) interval: u32,
    /// Last moment at which an instance may begin.
    pub(crate) until: Option<When>,
}

impl Recurrence {
    /// A rule without an end.
    pub(crate) const fn endless(frequency: Frequency, interval: u32) -> Self {
        Self {
            frequency,
            interval,
            until: None,
        }
    }

    /// The rule with these names of its unit; `None` for an unknown one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let frequency = match text {
            "daily" => Frequency::Daily,
            "weekly" => Frequency::Weekly,
            "yearly" => Frequency::Yearly,
            _ => return None,
        };
        Some(Self::endless(frequency, 1))
    }

    /// The line of `recurrence`.
    pub(crate) fn line(&self) -> String {
        let frequency = match self.frequency {
            Frequency::Daily => "DAILY",
            Frequency::Weekly => "WEEKLY",
            Frequency::Yearly => "YEARLY",
        };
        let interval = match self.interval {
            1 => String::new(),
            interval => format!(";INTERVAL={interval}"),
        };
        let until = self.until.map(|until| format!(";UNTIL={}", until.stamp()));
        format!(
            "RRULE:FREQ={frequency}{interval}{}",
            until.unwrap_or_default()
        )
    }

    /// Start of an instance by its number from zero; `None` after the end.
    pub(crate) fn occurrence(&self, first: When, number: u32) -> Option<When> {
        let steps = number.checked_mul(self.interval)?;
        let start = match self.frequency {
            Frequency::Daily => first.plus_days(steps.into()),
            Frequency::Weekly => first.plus_days(u64::from(steps) * 7),
            Frequency::Yearly => first.plus_months(steps.checked_mul(12)?),
        };
        let is_over = self
            .until
            .is_some_and(|until| start.seconds() > until.seconds());
        (!is_over).then_some(start)
    }

    /// The instances that begin before `limit`, at most `max_instances`.
    pub(crate) fn occurrences(
        self,
        first: When,
        limit: i64,
        max_instances: u32,
    ) -> impl Iterator<Item = When> {
        (0..max_instances)
            .map_while(move |number| self.occurrence(first, number))
            .take_while(move |start| start.seconds() < limit)
    }
}

/// Id of the event that an instance or part belongs to.
///
/// Only a suffix is removed: imported ids begin with an underscore.
pub(crate) fn base(id: &str) -> &str {
    match id.rsplit_once('_') {
        Some((base, suffix)) if !base.is_empty() && is_suffix(suffix) => base,
        _ => id,
    }
}

/// Whether an id is that of a later part of a split series.
pub(crate) fn is_part(id: &str) -> bool {
    id.rsplit_once('_').is_some_and(|(base, suffix)| {
        !base.is_empty() && suffix.starts_with('R') && is_suffix(suffix)
    })
}

/// Whether text is a day or a moment: `R?\d{8}(T\d{6}Z?)?`.
fn is_suffix(text: &str) -> bool {
    let text = text.strip_prefix('R').unwrap_or(text);
    let (day, time) = match text.split_once('T') {
        Some((day, time)) => (day, Some(time.strip_suffix('Z').unwrap_or(time))),
        None => (text, None),
    };
    let has_digits = |text: &str, count: usize| {
        text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    has_digits(day, 8) && time.is_none_or(|time| has_digits(time, 6))
}

/// Id of the instance that begins at `original` by the rule.
pub(crate) fn instance_id(series: &str, original: When) -> String {
    format!("{}_{}", base(series), original.stamp())
}

/// Id of the part of a split series that begins at `start`.
pub(crate) fn part_id(series: &str, start: When) -> String {
    let stamp = start.stamp();
    format!("{}_R{}", base(series), stamp.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::super::time::ZONES;
    use super::*;

    fn at(seconds: i64) -> When {
        When::At {
            seconds,
            zone: ZONES[2],
        }
    }

    #[test]
    fn base_removes_only_a_suffix() {
        for (id, expected) in [
            ("68k0p6", "68k0p6"),
            ("68k0p6_20250324T123000Z", "68k0p6"),
            ("68k0p6_20250324", "68k0p6"),
            ("68k0p6_R20250326T123000", "68k0p6"),
            ("_60q30c1g60o30e1i", "_60q30c1g60o30e1i"),
            ("_60q30c1g_20250324T123000Z", "_60q30c1g"),
            ("68k0p6_2025", "68k0p6_2025"),
            ("_20250324", "_20250324"),
        ] {
            assert_eq!(base(id), expected, "{id}");
        }
        assert!(is_part("68k0p6_R20250326T123000"));
        assert!(!is_part("68k0p6_20250326T123000Z"));
    }

    #[test]
    fn ids_of_instances_and_parts_match_recordings() {
        // 2025-03-24T12:30:00Z
        let start = at(1_742_819_400);
        let part = part_id("68k0p6", start.plus_days(2));
        assert_eq!(part, "68k0p6_R20250326T123000");
        assert_eq!(
            instance_id(&part, start.plus_days(3)),
            "68k0p6_20250327T123000Z"
        );
    }

    #[test]
    fn rule_ends_on_the_day_before_the_split() {
        let start = at(1_742_819_400);
        let mut rule = Recurrence::endless(Frequency::Daily, 1);
        assert_eq!(rule.line(), "RRULE:FREQ=DAILY");
        rule.until = Some(start.plus_days(2).end_of_previous_day());
        assert_eq!(rule.line(), "RRULE:FREQ=DAILY;UNTIL=20250325T235959Z");
        let starts: Vec<_> = rule.occurrences(start, i64::MAX, 10).collect();
        assert_eq!(starts, [start, start.plus_days(1)]);
    }
}
