//! Report of the tests: counts of payloads and their results.

use std::collections::BTreeMap;
use std::io::Write as _;

/// Prints a line past the test harness's capture, so that passing tests show it too.
pub(crate) fn print(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").expect("a standard output");
}

/// Counts of results, by event.
#[derive(Default)]
pub(crate) struct Tally {
    counts: BTreeMap<String, BTreeMap<String, usize>>,
    skipped: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Tally {
    /// Counts a payload.
    pub(crate) fn count(&mut self, event: &str, result: &str) {
        let result = if result.is_empty() { "none" } else { result };
        let kinds = self.counts.entry(event.to_owned()).or_default();
        *kinds.entry(result.to_owned()).or_default() += 1;
    }

    /// Counts a payload that is not checked, with the reason.
    pub(crate) fn skip(&mut self, reason: &str) {
        *self.skipped.entry(reason.to_owned()).or_default() += 1;
    }

    /// Adds an unexpected result.
    pub(crate) fn fail(&mut self, difference: String) {
        self.failures.push(difference);
    }

    /// Prints the counts, and panics if there are unexpected results.
    pub(crate) fn finish(self, title: &str) {
        let total: usize = self.counts.values().flat_map(BTreeMap::values).sum();
        print(&format!("{total} {title}:"));
        for (event, kinds) in self.counts {
            let kinds: Vec<String> = kinds
                .iter()
                .map(|(kind, count)| format!("{kind} {count}"))
                .collect();
            print(&format!("  {event}: {}", kinds.join(", ")));
        }
        if !self.skipped.is_empty() {
            let total: usize = self.skipped.values().sum();
            print(&format!("{total} more were skipped:"));
        }
        for (reason, count) in self.skipped {
            print(&format!("  {reason}: {count}"));
        }
        assert!(self.failures.is_empty(), "{}", self.failures.join("\n"));
    }
}

/// Prints a list of names with a description of each.
pub(crate) fn list(title: &str, entries: &BTreeMap<String, String>) {
    if entries.is_empty() {
        return;
    }
    print(&format!("{title}: {}", entries.len()));
    for (name, description) in entries {
        print(&format!("  {name}: {description}"));
    }
}
