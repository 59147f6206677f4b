//! Names of repositories, and the repository that each name belongs to.
//!
//! Lists are requested by `owner/name`, and most of their rows do not name their repository. After a
//! repository is deleted, its name may belong to another one, whose rows must not be reported under
//! the id of the first. GitHub's list of repositories shows the owner of every name, and so do
//! redirects and the links between pages (`/repositories/{id}/…`); a name that neither has shown is
//! looked up once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use url::Url;

/// Maximum number of known names; above it, names are looked up again.
const MAX_NAMES: usize = 100_000;

/// Repositories by account and lower-case name, as GitHub last showed them.
#[derive(Debug, Default)]
pub(in super::super) struct Names(Mutex<HashMap<(String, String), u64>>);

impl Names {
    /// Notes the repository that a name belongs to.
    pub(in super::super) fn note(&self, account: &str, full_name: &str, repository: u64) {
        let mut names = self.lock();
        if names.len() >= MAX_NAMES {
            names.clear();
        }
        names.insert(key(account, full_name), repository);
    }

    /// Returns the repository that a name belongs to, if that is known.
    pub(super) fn owner(&self, account: &str, full_name: &str) -> Option<u64> {
        self.lock().get(&key(account, full_name)).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(account: &str, full_name: &str) -> (String, String) {
    (account.to_owned(), full_name.to_lowercase())
}

/// The repositories that the rows of a page name.
#[derive(Debug, Default)]
pub(super) struct RowOwners {
    is_own: bool,
    other: Option<u64>,
}

impl RowOwners {
    /// Notes the repository that a row names.
    pub(super) fn note(&mut self, own: &str, named: u64) {
        if own.parse::<u64>() == Ok(named) {
            self.is_own = true;
        } else {
            self.other = Some(named);
        }
    }

    /// Returns the repository that the page belongs to instead of the expected one.
    pub(super) fn other(&self) -> Option<u64> {
        self.other.filter(|_| !self.is_own)
    }
}

/// Returns the id of the repository in a URL of the form `…/repositories/{id}/…`.
pub(super) fn id_in_url(url: &Url) -> Option<u64> {
    let mut segments = url.path_segments()?;
    // An owner or a repository may be called `repositories`, too.
    let is_name = |segment: &&str| matches!(*segment, "repos" | "repositories");
    if segments.find(is_name)? == "repos" {
        return None;
    }
    segments.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_read_only_from_urls_by_id() {
        for (url, id) in [
            (
                "https://api.github.com/repositories/7/issues?page=2",
                Some(7),
            ),
            ("https://h/api/v3/repositories/7/pulls/1/reviews", Some(7)),
            ("https://api.github.com/repos/o/7/issues", None),
            ("https://api.github.com/repos/repositories/7/issues", None),
            (
                "https://api.github.com/installation/repositories?page=2",
                None,
            ),
        ] {
            let url = url.parse().expect("a URL");
            assert_eq!(id_in_url(&url), id, "{url}");
        }
    }

    #[test]
    fn latest_owner_of_a_name_counts() {
        let names = Names::default();
        assert_eq!(names.owner("5", "o/r"), None);
        names.note("5", "O/r", 1);
        names.note("5", "o/R", 2);
        assert_eq!(names.owner("5", "o/r"), Some(2));
        assert_eq!(names.owner("6", "o/r"), None, "another installation");
    }
}
