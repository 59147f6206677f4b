//! Content negotiation: whether a client prefers a page to JSON.

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue};

/// Whether the client asks for HTML, and does not prefer JSON.
///
/// A client that names neither gets JSON: browsers name `text/html`.
pub(crate) fn prefers_html(headers: &HeaderMap) -> bool {
    let (mut html, mut json) = (0, 0);
    let values = headers.get_all(ACCEPT).iter();
    let ranges = values
        .filter_map(|value: &HeaderValue| value.to_str().ok())
        .flat_map(|text| text.split(','));
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(quality).unwrap_or(1000);
        match name.as_str() {
            "text/html" => html = html.max(quality),
            "application/json" | "application/problem+json" => json = json.max(quality),
            _ => {}
        }
    }
    html > 0 && html >= json
}

/// The weight of a media range in thousandths (RFC 9110, 12.4.2); 0 if malformed.
fn quality(parameter: &str) -> Option<u32> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, rest) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    let is_short = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = format!("{rest:0<3}")
        .parse::<u32>()
        .ok()
        .filter(|_| is_short);
    match (whole, thousandths) {
        ("0", Some(thousandths)) => Some(thousandths),
        ("1", Some(0)) => Some(1000),
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefers(accept: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(accept).expect("a header"));
        prefers_html(&headers)
    }

    #[test]
    fn browsers_get_pages() {
        assert!(!prefers_html(&HeaderMap::new()));
        for browser in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "TEXT/HTML",
            "text/html;q=0.9, application/json;q=0.8",
            "application/json, text/html",
            "text/html; charset=utf-8",
        ] {
            assert!(prefers(browser), "{browser}");
        }
        for other in [
            "*/*",
            "application/json",
            "application/json, text/html;q=0.9",
            "text/html;q=0",
            "text/html;q=0.000",
            "text/html;q=x",
            "text/plain",
            "",
        ] {
            assert!(!prefers(other), "{other}");
        }
    }
}
