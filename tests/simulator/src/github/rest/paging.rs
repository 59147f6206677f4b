//! Pages and their `Link` header.

use std::collections::HashMap;

use axum::http::Uri;

use crate::github::reply::Reply;

/// Page and query of a list request.
#[derive(Debug, Clone)]
pub(crate) struct Paging {
    /// Page number, from 1.
    pub(crate) page: usize,
    /// Page size, clamped to 1 to 100.
    pub(crate) per_page: usize,
    query: HashMap<String, String>,
    /// URL of the list without its query.
    base: String,
    /// The query without its page.
    query_without_page: String,
}

impl Paging {
    /// Parses a request's query; links start with `api` and `path`.
    pub(crate) fn new(api: &str, path: &str, uri: &Uri) -> Self {
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(uri.query().unwrap_or_default()).unwrap_or_default();
        let mut without_page = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in pairs.iter().filter(|(name, _)| name != "page") {
            without_page.append_pair(name, value);
        }
        let query: HashMap<String, String> = pairs.iter().cloned().collect();
        let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
        Self {
            page: number("page").unwrap_or(1).max(1),
            per_page: number("per_page")
                .filter(|size| *size > 0)
                .unwrap_or(30)
                .min(100),
            base: format!("{api}{path}"),
            query_without_page: without_page.finish(),
            query,
        }
    }

    /// A field of the query.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// Number of rows before this page.
    pub(crate) fn offset(&self) -> usize {
        (self.page - 1).saturating_mul(self.per_page)
    }

    /// Adds the `Link` header for a list with this total.
    pub(crate) fn link(&self, reply: Reply, total: usize) -> Reply {
        match self.header(total) {
            Some(header) => reply.with("link", &header),
            None => reply,
        }
    }

    fn header(&self, total: usize) -> Option<String> {
        let last = total.div_ceil(self.per_page).max(1);
        let to = |page: usize, rel: &str| {
            let separator = if self.query_without_page.is_empty() {
                ""
            } else {
                "&"
            };
            format!(
                "<{}?{}{separator}page={page}>; rel=\"{rel}\"",
                self.base, self.query_without_page
            )
        };
        let mut links = Vec::new();
        if self.page > 1 {
            links.push(to((self.page - 1).min(last), "prev"));
        }
        if self.page < last {
            links.push(to(self.page + 1, "next"));
            links.push(to(last, "last"));
        }
        if self.page > 1 {
            links.push(to(1, "first"));
        }
        (!links.is_empty()).then(|| links.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paging(query: &str) -> Paging {
        let uri = format!("/repos/a/b/issues?{query}").parse().expect("a URI");
        Paging::new("http://h/api/v3", "/repositories/7/issues", &uri)
    }

    #[test]
    fn single_page_has_no_links() {
        assert_eq!(paging("").header(30), None);
        assert_eq!(paging("").header(0), None);
    }

    #[test]
    fn links_are_absolute_and_keep_the_query() {
        let header = paging("state=all&per_page=2&page=2")
            .header(5)
            .expect("links");
        let to = |page: u32| {
            format!("<http://h/api/v3/repositories/7/issues?state=all&per_page=2&page={page}>")
        };
        let expected = format!(
            "{}; rel=\"prev\", {}; rel=\"next\", {}; rel=\"last\", {}; rel=\"first\"",
            to(1),
            to(3),
            to(3),
            to(1)
        );
        assert_eq!(header, expected);
    }

    #[test]
    fn last_and_later_pages_have_no_next_link() {
        let last = paging("per_page=2&page=3").header(5).expect("links");
        assert!(!last.contains("next") && !last.contains("last\""));
        let after = paging("per_page=2&page=9").header(5).expect("links");
        assert!(after.contains("page=3>; rel=\"prev\"") && !after.contains("next"));
    }

    #[test]
    fn page_size_is_clamped_without_error() {
        assert_eq!(paging("per_page=1000").per_page, 100);
        assert_eq!(paging("per_page=0").per_page, 30);
        assert_eq!(paging("per_page=x&page=-1").page, 1);
        assert_eq!(paging("per_page=10&page=4").offset(), 30);
    }

    #[test]
    fn since_with_a_colon_is_kept_in_links() {
        let header = paging("since=2026-11-23T10:00:00Z&per_page=1")
            .header(2)
            .expect("links");
        assert!(header.contains("since=2026-11-23T10%3A00%3A00Z&per_page=1&page=2"));
    }
}
