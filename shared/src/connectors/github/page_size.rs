//! Sizes of pages, which shrink while GitHub fails to return larger ones.

use url::Url;

use super::client::{ApiError, Response};
use crate::connectors::ConnectorError;

/// Rows per page, from the default to the size after many failures.
///
/// Each size divides the ones before it, so that a walk can change the size between pages.
const PAGE_SIZES: [u64; 5] = [100, 50, 25, 5, 1];

/// Failures after which pages have the smallest size.
pub(super) const MAX_SIZE_FAILURES: u32 = 5;

/// Changes the page size in a list's URL; each failure but the first makes pages smaller.
///
/// It selects the largest size at which the page begins at the same row.
pub(super) fn with_page_size(url: &Url, failures: u32) -> Url {
    let Some(size) = page_size(url) else {
        return url.clone();
    };
    let page = number(url, "page");
    let first_row = page.unwrap_or(1).saturating_sub(1).saturating_mul(size);
    let smaller = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let sizes = PAGE_SIZES.iter().skip(smaller.min(PAGE_SIZES.len() - 1));
    let Some(new_size) = sizes.copied().find(|size| first_row.is_multiple_of(*size)) else {
        return url.clone();
    };
    resized(url, new_size, page.map(|_| first_row / new_size + 1))
}

/// Changes the page size in the URL of a list that is read backwards; see [`with_page_size`].
///
/// The page ends at the same row or after it: rows that are read again yield the same facts.
pub(super) fn with_page_size_backwards(url: &Url, failures: u32) -> Url {
    let Some(size) = page_size(url) else {
        return url.clone();
    };
    let smaller = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let new_size = PAGE_SIZES[smaller.min(PAGE_SIZES.len() - 1)];
    let page = number(url, "page");
    let end = |page: u64| page.saturating_mul(size).div_ceil(new_size);
    resized(url, new_size, page.map(end))
}

/// Returns the number of rows that a list's URL requests per page.
pub(super) fn page_size(url: &Url) -> Option<u64> {
    number(url, "per_page").filter(|size| *size > 0)
}

fn number(url: &Url, name: &str) -> Option<u64> {
    let (_, value) = url.query_pairs().find(|(key, _)| key == name)?;
    value.parse().ok()
}

/// Replaces the page size and, if there is one, the page number of a URL.
fn resized(url: &Url, new_size: u64, new_page: Option<u64>) -> Url {
    if page_size(url) == Some(new_size) {
        return url.clone();
    }
    let pairs: Vec<(String, String)> = url
        .query_pairs()
        .map(|(key, value)| match (&*key, new_page) {
            ("per_page", _) => (key.into_owned(), new_size.to_string()),
            ("page", Some(page)) => (key.into_owned(), page.to_string()),
            _ => (key.into_owned(), value.into_owned()),
        })
        .collect();
    let mut resized = url.clone();
    resized.query_pairs_mut().clear().extend_pairs(pairs);
    resized
}

/// The page size of a list that is read at once, without a cursor between its pages.
#[derive(Debug, Default)]
pub(super) struct Pages {
    failures: u32,
}

impl Pages {
    /// Fetches a page, in smaller sizes while the server fails; later pages keep the size that works.
    pub(super) async fn get<F>(
        &mut self,
        url: &Url,
        fetch: impl Fn(Url) -> F,
    ) -> Result<Response, ApiError>
    where
        F: Future<Output = Result<Response, ApiError>>,
    {
        loop {
            let resized = with_page_size(url, self.failures);
            let outcome = fetch(resized.clone()).await;
            let is_server_error = |error: &ApiError| {
                let is_5xx = error.status.is_some_and(|status| status.is_server_error());
                is_5xx && matches!(error.cause, ConnectorError::Transient(_))
            };
            match outcome {
                Err(error) if is_server_error(&error) && page_size(&resized) > Some(1) => {
                    self.failures += 1;
                }
                outcome => return outcome,
            }
        }
    }
}
