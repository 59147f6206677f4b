//! Successful responses: typed bodies, links and `ETag`s.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use url::Url;

use crate::connectors::ConnectorError;
use crate::connectors::response;
use crate::connectors::wire::Json;
use crate::http::ProviderResponse;

/// A response of GitHub.
pub(in super::super) struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Json<Bytes>,
    /// URL after redirects.
    pub url: Url,
}

impl From<ProviderResponse> for Response {
    fn from(response: ProviderResponse) -> Self {
        let ProviderResponse {
            status,
            headers,
            body,
            url,
        } = response;
        Self {
            status,
            headers,
            body: Json::of(body),
            url,
        }
    }
}

impl Response {
    /// Returns whether the caller's stored response is still current.
    pub(in super::super) fn not_modified(&self) -> bool {
        self.status == StatusCode::NOT_MODIFIED
    }

    /// Parses the body.
    pub(in super::super) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ConnectorError> {
        response::json(&self.body, self.url.path())
    }

    /// Returns the `ETag`.
    pub(in super::super) fn etag(&self) -> Option<String> {
        self.header(header::ETAG.as_str()).map(ToOwned::to_owned)
    }

    /// Returns a header's value, if it is text.
    pub(in super::super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    }

    /// Parses the `Link` headers.
    pub(in super::super) fn links(&self) -> Links {
        let mut links = Links::default();
        for value in self.headers.get_all(header::LINK) {
            if let Ok(text) = value.to_str() {
                links.add_header(text, &self.url);
            }
        }
        links
    }
}

/// Relations of the `Link` header, the only source of page URLs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Links {
    /// The next page.
    pub next: Option<Url>,
    /// The previous page.
    pub prev: Option<Url>,
    /// The last page; absent on that page.
    pub last: Option<Url>,
}

impl Links {
    /// Adds the relations of a header such as `<url>; rel="next", <url>; rel="last"`.
    ///
    /// Malformed parts are skipped.
    fn add_header(&mut self, header: &str, base: &Url) {
        let mut rest = header;
        while let Some((_, after)) = rest.split_once('<') {
            let Some((target, after)) = after.split_once('>') else {
                return;
            };
            let (parameters, following) = match after.find('<') {
                Some(at) => after.split_at(at),
                None => (after, ""),
            };
            rest = following;
            let Ok(url) = base.join(target) else { continue };
            let slot = match relation(parameters) {
                Some("next") => &mut self.next,
                Some("prev") => &mut self.prev,
                Some("last") => &mut self.last,
                _ => continue,
            };
            *slot = Some(url);
        }
    }
}

fn relation(parameters: &str) -> Option<&str> {
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("rel")
            .then(|| value.trim().trim_end_matches(',').trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Links {
        let base = Url::parse("https://api.github.com/repos/o/r/issues").expect("a URL");
        let mut links = Links::default();
        links.add_header(header, &base);
        links
    }

    #[test]
    fn relations_are_parsed_in_any_order() {
        let links = read(
            "<https://api.github.com/repositories/1/issues?page=1>; rel=\"prev\", \
             <https://api.github.com/repositories/1/issues?a=1,2&page=3>; rel=\"next\", \
             <https://api.github.com/repositories/1/issues?page=9>; rel=\"last\", \
             <https://api.github.com/repositories/1/issues?page=1>; rel=\"first\"",
        );
        assert_eq!(
            links.next.as_ref().and_then(Url::query),
            Some("a=1,2&page=3")
        );
        assert_eq!(links.prev.as_ref().and_then(Url::query), Some("page=1"));
        assert_eq!(links.last.as_ref().and_then(Url::query), Some("page=9"));
    }

    #[test]
    fn malformed_header_has_no_relations() {
        for text in [
            "",
            "next",
            "<https://x",
            "<>",
            "<http://>; rel=\"next\"",
            "<a>; rel",
        ] {
            assert_eq!(read(text), Links::default(), "{text}");
        }
    }
}
