//! What the tests say when they pass: how many payloads there were, and what they gave.

use std::collections::BTreeMap;
use std::io::Write as _;

/// Straight to the terminal: what matters here is said even when the test passes.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").expect("a standard output");
}

/// How often each event gave what.
#[derive(Default)]
pub(crate) struct Tally {
    counts: BTreeMap<String, BTreeMap<String, usize>>,
    skipped: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Tally {
    /// Counts one payload.
    pub(crate) fn count(&mut self, event: &str, gave: &str) {
        let gave = if gave.is_empty() { "none" } else { gave };
        let kinds = self.counts.entry(event.to_owned()).or_default();
        *kinds.entry(gave.to_owned()).or_default() += 1;
    }

    /// Counts one that is not looked at, and why.
    pub(crate) fn skip(&mut self, why: &str) {
        *self.skipped.entry(why.to_owned()).or_default() += 1;
    }

    /// Notes a payload that gave something else than it must.
    pub(crate) fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// Says the counts, and fails where something was wrong.
    pub(crate) fn finish(self, what: &str) {
        let total: usize = self.counts.values().flat_map(BTreeMap::values).sum();
        say(&format!("{total} {what}:"));
        for (event, kinds) in self.counts {
            let kinds: Vec<String> = kinds
                .iter()
                .map(|(kind, count)| format!("{kind} {count}"))
                .collect();
            say(&format!("  {event}: {}", kinds.join(", ")));
        }
        if !self.skipped.is_empty() {
            let total: usize = self.skipped.values().sum();
            say(&format!("{total} more were left out:"));
        }
        for (why, count) in self.skipped {
            say(&format!("  {why}: {count}"));
        }
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
    }
}

/// Says a list of names, each with a word on it.
pub(crate) fn list(what: &str, entries: &BTreeMap<String, String>) {
    if entries.is_empty() {
        return;
    }
    say(&format!("{what}: {}", entries.len()));
    for (name, word) in entries {
        say(&format!("  {name}: {word}"));
    }
}
