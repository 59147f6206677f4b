//! Order of changes of a list, which sync tokens refer to.

use std::collections::{BTreeMap, HashMap};

/// Changes of a list: one position per row, that of its latest change.
#[derive(Debug, Default)]
pub(crate) struct ChangeLog {
    last: u64,
    /// Tokens of earlier positions are no longer accepted.
    oldest: u64,
    /// Pages of incremental lists that are still served before all tokens expire.
    pages_left: Option<u32>,
    rows: BTreeMap<u64, String>,
    positions: HashMap<String, u64>,
}

impl ChangeLog {
    /// Moves a row to the end.
    pub(crate) fn touch(&mut self, id: &str) {
        self.last += 1;
        if let Some(former) = self.positions.insert(id.to_owned(), self.last) {
            self.rows.remove(&former);
        }
        self.rows.insert(self.last, id.to_owned());
    }

    /// Forgets a row. Tokens that would miss its removal are no longer accepted.
    pub(crate) fn forget(&mut self, id: &str) {
        if let Some(position) = self.positions.remove(id) {
            self.rows.remove(&position);
            self.oldest = self.oldest.max(position);
        }
    }

    /// Ends the validity of all tokens.
    fn expire(&mut self) {
        self.last += 1;
        self.oldest = self.last;
    }

    /// Ends the validity of all tokens after some more pages of incremental lists.
    pub(crate) fn expire_after(&mut self, pages: u32) {
        if pages == 0 {
            self.expire();
        } else {
            self.pages_left = Some(pages);
        }
    }

    /// Serves a page of an incremental list; `false` if its token is no longer accepted.
    pub(crate) fn serve_page(&mut self, position: u64) -> bool {
        match self.pages_left {
            Some(0) => {
                self.pages_left = None;
                self.expire();
            }
            left => self.pages_left = left.map(|pages| pages - 1),
        }
        self.accepts(position)
    }

    /// Position of the latest change.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// Whether a token of this position is accepted.
    pub(crate) const fn accepts(&self, position: u64) -> bool {
        position >= self.oldest && position <= self.last
    }

    /// Rows with their positions after `after`, up to and including `end`, in order.
    pub(crate) fn between(&self, after: u64, end: u64) -> impl Iterator<Item = (u64, &str)> {
        self.rows
            .range(after.saturating_add(1)..)
            .take_while(move |(position, _)| **position <= end)
            .map(|(position, id)| (*position, id.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(log: &ChangeLog, after: u64) -> Vec<&str> {
        log.between(after, log.last()).map(|(_, id)| id).collect()
    }

    #[test]
    fn later_change_moves_row_to_the_end() {
        let mut log = ChangeLog::default();
        for id in ["a", "b", "a"] {
            log.touch(id);
        }
        assert_eq!(rows(&log, 0), ["b", "a"]);
        assert_eq!(rows(&log, 2), ["a"]);
        assert!(rows(&log, log.last()).is_empty());
    }

    #[test]
    fn tokens_end_with_expiry_and_forgotten_rows() {
        let mut log = ChangeLog::default();
        log.touch("a");
        log.touch("b");
        log.forget("a");
        assert!(!log.accepts(0) && log.accepts(1) && log.accepts(2));
        log.expire_after(1);
        assert!(log.serve_page(2) && !log.serve_page(2));
        assert!(log.accepts(log.last()));
        assert!(!log.accepts(log.last() + 1), "a token of the future");
    }
}
