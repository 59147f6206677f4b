//! An answer that can be used: its body as typed values, its links, its tag.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use url::Url;

use crate::connectors::ConnectorError;
use crate::connectors::support;
use crate::connectors::wire::Json;
use crate::http::ProviderResponse;

/// What GitHub answered.
pub(in super::super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Json<Bytes>,
    /// Where the answer came from, after redirects.
    pub url: Url,
}

impl From<ProviderResponse> for Answer {
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

impl Answer {
    /// Whether what the caller has is still current.
    pub(in super::super) fn not_modified(&self) -> bool {
        self.status == StatusCode::NOT_MODIFIED
    }

    /// The body as JSON; borrowed parts borrow from this answer.
    pub(in super::super) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ConnectorError> {
        support::json(&self.body, self.url.path())
    }

    /// The answer's tag.
    pub(in super::super) fn etag(&self) -> Option<String> {
        self.header(header::ETAG.as_str()).map(ToOwned::to_owned)
    }

    /// A header's value, if it is text.
    pub(in super::super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    }

    /// Where the list goes on.
    pub(in super::super) fn links(&self) -> Links {
        let mut links = Links::default();
        for value in self.headers.get_all(header::LINK) {
            if let Ok(text) = value.to_str() {
                links.read(text, &self.url);
            }
        }
        links
    }
}

/// The `Link` header's relations. Page URLs are taken from here and never built.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Links {
    /// The page after this one.
    pub next: Option<Url>,
    /// The page before this one.
    pub prev: Option<Url>,
    /// The last page; absent on the last page itself.
    pub last: Option<Url>,
}

impl Links {
    /// Takes in `<url>; rel="next", <url>; rel="last"`. What is malformed is left out.
    fn read(&mut self, header: &str, base: &Url) {
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
        links.read(header, &base);
        links
    }

    #[test]
    fn relations_are_found_in_any_order() {
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
    fn a_malformed_header_has_no_relations() {
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
