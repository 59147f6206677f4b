//! The page size of a stream, reduced while pages fail.

/// Consecutive pages in a reduced size before a larger one is tried.
const PAGES_BEFORE_TRIAL: u32 = 10;
/// Maximum number of times that a page size is halved.
const MAX_HALVINGS: u32 = 8;

/// The size of a stream's pages, in halvings of the default one.
///
/// From the second consecutive failure of a page on, each attempt halves the size. The size that
/// works is stored. After ten pages, one page is tried in the next larger size; a failed trial
/// changes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PageSize {
    /// Consecutive transient failures of the next page.
    pub failures: u32,
    /// The size that works, as the number of times that the default size is halved.
    pub halvings: u32,
    /// Consecutive pages that were read in that size.
    pub good_pages: u32,
}

impl PageSize {
    /// Whether the next page is requested in a larger size than the one that works.
    #[must_use]
    pub const fn is_trial(&self) -> bool {
        self.halvings > 0 && self.failures == 0 && self.good_pages >= PAGES_BEFORE_TRIAL
    }

    /// Whether reading one more page changes nothing that must be stored.
    #[must_use]
    pub const fn is_stable(&self) -> bool {
        self.failures == 0 && !self.is_trial()
    }

    /// The next page's size as [`crate::connectors::SyncRequest::failures`].
    ///
    /// It is the number of consecutive failures that lead from the default size to this one.
    #[must_use]
    pub fn equivalent_failures(&self) -> u32 {
        match self.next_halvings() {
            0 => self.failures.min(1),
            halvings => halvings + 1,
        }
    }

    /// The page size after a page was read.
    #[must_use]
    pub fn after_page(self) -> Self {
        let halvings = self.next_halvings();
        let good_pages = if halvings == 0 {
            0
        } else if self.failures > 0 || self.is_trial() {
            // The failures may have been an outage, so try a larger size next.
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

    /// The page size after a transient failure.
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

    /// The values of the columns `page_halvings` and `good_pages`.
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
    fn first_failure_keeps_the_page_size() {
        let mut size = PageSize::default();
        let mut requested = vec![size.equivalent_failures()];
        for _ in 0..4 {
            size = size.after_failure();
            requested.push(size.equivalent_failures());
        }
        assert_eq!(requested, [0, 1, 2, 3, 4]);
        let mut size = halved(2, 0);
        let mut requested = vec![size.equivalent_failures()];
        for _ in 0..3 {
            size = size.after_failure();
            requested.push(size.equivalent_failures());
        }
        assert_eq!(requested, [3, 3, 4, 5]);
    }

    #[test]
    fn working_page_size_is_kept_and_grows_again() {
        // Pages of the default size always fail.
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
        // Two failures at first, an immediate trial, and one more after every ten good pages.
        assert_eq!(failed, 5);
    }

    #[test]
    fn page_size_recovers_immediately_after_an_outage() {
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
    fn failed_trial_is_not_counted_as_failure() {
        let size = halved(3, PAGES_BEFORE_TRIAL);
        assert!(size.is_trial());
        assert_eq!(size.equivalent_failures(), 3);
        let size = size.after_failure();
        assert_eq!(size, halved(3, 0));
        assert_eq!(size.equivalent_failures(), 4);
    }
}
