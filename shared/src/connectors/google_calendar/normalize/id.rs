//! Ids of events, which state the relation of an instance or a part to its series.

/// Id of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventId<'a> {
    /// The whole id.
    pub(super) full: &'a str,
    /// The id of its series, or the whole id.
    pub(super) base: &'a str,
}

impl<'a> EventId<'a> {
    /// Splits an id at the suffix of an instance or of a later part of a series.
    ///
    /// The suffixes are `_20250324T123000Z` and `_R20250326T123000`. Ids of imported events begin with `_`, so only a suffix counts.
    pub(super) fn parse(full: &'a str) -> Self {
        let base = match full.rsplit_once('_') {
            Some((base, suffix)) if !base.is_empty() && is_start(instance_of(suffix)) => base,
            _ => full,
        };
        Self { full, base }
    }

    /// Whether it is a later part of a series, which an edit of "this and following" makes.
    pub(super) fn is_part(self) -> bool {
        let suffix = self.full.strip_prefix(self.base);
        suffix.is_some_and(|suffix| suffix.starts_with("_R"))
    }
}

/// A suffix without the mark of a part.
fn instance_of(suffix: &str) -> &str {
    suffix.strip_prefix('R').unwrap_or(suffix)
}

/// Whether a text is a date (`20250324`), or a date and a time (`20250324T123000Z`).
fn is_start(text: &str) -> bool {
    let is_number = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    match text.split_once('T') {
        None => is_number(text, 8),
        Some((date, time)) => {
            is_number(date, 8) && is_number(time.strip_suffix('Z').unwrap_or(time), 6)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn suffix_is_cut_at_the_end_only() {
        for (full, base, is_part) in [
            ("68k0p6ackplecqs9", "68k0p6ackplecqs9", false),
            ("68k0p6_20250324T123000Z", "68k0p6", false),
            ("68k0p6_20250324T123000", "68k0p6", false),
            ("68k0p6_20250324", "68k0p6", false),
            ("68k0p6_R20250326T123000", "68k0p6", true),
            ("68k0p6_R20250326", "68k0p6", true),
            ("_ehin6t1dd5mn0rr", "_ehin6t1dd5mn0rr", false),
            ("_ehin6t1dd5mn0rr_20250324", "_ehin6t1dd5mn0rr", false),
            ("_20250324T123000Z", "_20250324T123000Z", false),
            ("68k0p6_20250324t123000z", "68k0p6_20250324t123000z", false),
            ("68k0p6_2025032", "68k0p6_2025032", false),
            ("68k0p6_RR20250324", "68k0p6_RR20250324", false),
            ("68k0p6_20250324TZ", "68k0p6_20250324TZ", false),
            ("68k0p6_20250324_x", "68k0p6_20250324_x", false),
            ("moonphase+1362433980000", "moonphase+1362433980000", false),
            ("", "", false),
        ] {
            let id = EventId::parse(full);
            assert_eq!((id.base, id.is_part()), (base, is_part), "{full}");
        }
    }

    proptest! {
        #[test]
        fn instance_of_any_series_has_its_base(base in "[a-v0-9_]{1,20}[a-v]", part in any::<bool>()) {
            let suffix = if part { "R20250326T123000" } else { "20250324T123000Z" };
            let full = format!("{base}_{suffix}");
            let id = EventId::parse(&full);
            prop_assert_eq!(id.base, base);
            prop_assert_eq!(id.is_part(), part);
        }

        #[test]
        fn base_is_a_prefix_of_any_id(full in ".{0,40}") {
            prop_assert!(full.starts_with(EventId::parse(&full).base));
        }
    }
}
