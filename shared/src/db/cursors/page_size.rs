//! In which size the pages of a stream are asked for.

/// Pages in a row that are read in a reduced size before a larger one is tried.
const PAGES_BEFORE_TRIAL: u32 = 10;
/// How often a page size is halved at most.
const MAX_HALVINGS: u32 = 8;

/// The size of a stream's pages, in halvings of the usual one.
///
/// A page that fails twice in a row is asked for in half the size, and again so. The size that
/// works is remembered. After some pages of it, one page is tried in the next larger size; a trial
/// that fails changes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PageSize {
    /// How often in a row the next page could not be read for the moment.
    pub failures: u32,
    /// How often the usual size is halved for the size that works.
    pub halvings: u32,
    /// How many pages in a row were read in that size.
    pub good_pages: u32,
}

impl PageSize {
    /// Whether the next page is asked for in a larger size than the one that works.
    #[must_use]
    pub const fn is_trial(&self) -> bool {
        self.halvings > 0 && self.failures == 0 && self.good_pages >= PAGES_BEFORE_TRIAL
    }

    /// Whether a page without news leaves nothing to be remembered of its size.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.failures == 0 && !self.is_trial()
    }

    /// The number of failures in a row that lead from the usual size to that of the next page, as
    /// [`crate::connectors::SyncRequest::failures`] has it.
    #[must_use]
    pub fn equivalent_failures(&self) -> u32 {
        match self.next_halvings() {
            0 => self.failures.min(1),
            halvings => halvings + 1,
        }
    }

    /// The size after the next page was read.
    #[must_use]
    pub fn after_page(self) -> Self {
        let halvings = self.next_halvings();
        let good_pages = if halvings == 0 {
            0
        } else if self.failures > 0 || self.is_trial() {
            // An outage may have been the cause, and larger pages may work as well.
            PAGES_BEFORE_TRIAL
        } else {
            (self.good_pages + 1).min(PAGES_BEFORE_TRIAL)
        };
        Self {
            failures: 0,
            halvings,
            good_pages,
        }
    }

    /// The size after the next page could not be read for the moment.
    #[must_use]
    pub const fn after_failure(self) -> Self {
        if self.is_trial() {
            return Self {
                good_pages: 0,
                ..self
            };
        }
        Self {
            failures: self.failures.saturating_add(1),
            ..self
        }
    }

    fn next_halvings(&self) -> u32 {
        if self.is_trial() {
            self.halvings - 1
        } else {
            (self.halvings + self.failures.saturating_sub(1)).min(MAX_HALVINGS)
        }
    }

    /// The columns `page_halvings` and `good_pages`.
    pub(super) fn columns(&self) -> (i16, i16) {
        let column = |number: u32| i16::try_from(number).unwrap_or(i16::MAX);
        (column(self.halvings), column(self.good_pages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halved(halvings: u32, good_pages: u32) -> PageSize {
        PageSize {
            failures: 0,
            halvings,
            good_pages,
        }
    }

    #[test]
    fn first_failure_leaves_the_page_size_alone() {
        let mut size = PageSize::default();
        let mut asked = vec![size.equivalent_failures()];
        for _ in 0..4 {
            size = size.after_failure();
            asked.push(size.equivalent_failures());
        }
        assert_eq!(asked, [0, 1, 2, 3, 4]);
        let mut size = halved(2, 0);
        let mut asked = vec![size.equivalent_failures()];
        for _ in 0..3 {
            size = size.after_failure();
            asked.push(size.equivalent_failures());
        }
        assert_eq!(asked, [3, 3, 4, 5]);
    }

    #[test]
    fn working_page_size_is_remembered_and_grows_again() {
        // Pages of the usual size always fail.
        let is_read = |size: PageSize| size.equivalent_failures() >= 2;
        let (mut size, mut failed) = (PageSize::default(), 0);
        for _ in 0..30 {
            while !is_read(size) {
                size = size.after_failure();
                failed += 1;
            }
            size = size.after_page();
            assert_eq!((size.failures, size.halvings), (0, 1));
        }
        // Two at first, a trial at once, and another after each ten good pages.
        assert_eq!(failed, 5);
    }

    #[test]
    fn page_size_recovers_at_once_after_an_outage() {
        let mut size = PageSize::default();
        for _ in 0..20 {
            size = size.after_failure();
        }
        let mut pages = 0;
        while size != PageSize::default() {
            size = size.after_page();
            pages += 1;
        }
        assert_eq!(pages, MAX_HALVINGS + 1);
    }

    #[test]
    fn failed_trial_counts_as_no_failure() {
        let size = halved(3, PAGES_BEFORE_TRIAL);
        assert!(size.is_trial());
        assert_eq!(size.equivalent_failures(), 3);
        let size = size.after_failure();
        assert_eq!(size, halved(3, 0));
        assert_eq!(size.equivalent_failures(), 4);
    }
}
