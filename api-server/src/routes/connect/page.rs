//! HTML pages of the connect flow, with their Content-Security-Policy.

use std::sync::LazyLock;

use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use shared::crypto::sha256;

const STYLE: &str = "body{font-family:system-ui;max-width:34rem;margin:3rem auto;padding:0 1rem;\
    line-height:1.5}a.choice{display:block;padding:.75rem 1rem;margin:.5rem 0;border:1px solid;\
    border-radius:.5rem;text-decoration:none}button{font:inherit;padding:.6rem 1.2rem;\
    border-radius:.5rem;border:1px solid;cursor:pointer}";

/// The digest of [`STYLE`], which the policy allows as the only style.
static STYLE_DIGEST: LazyLock<String> = LazyLock::new(|| STANDARD.encode(sha256(STYLE.as_bytes())));

/// The targets that a page's form may have.
///
/// Browsers apply `form-action` to the redirects after a form as well.
#[derive(Debug, Clone, Copy)]
pub(super) enum FormTarget {
    /// The page has no form.
    None,
    /// This server and, after a redirect, a provider, over https.
    Https,
    /// The same over http, for development.
    Http,
}

/// Whether the client accepts HTML.
pub(super) fn accepts_html(headers: &HeaderMap) -> bool {
    let accepts = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|text| text.to_ascii_lowercase().contains("text/html"))
    };
    headers.get_all(ACCEPT).iter().any(accepts)
}

/// Builds a page.
///
/// Title and body are HTML, in which the caller escapes all values.
pub(super) fn page(title: &str, body: &str, form: FormTarget) -> Response {
    let form_action = match form {
        FormTarget::None => "'none'",
        FormTarget::Https => "'self' https:",
        FormTarget::Http => "'self' http: https:",
    };
    let digest = &*STYLE_DIGEST;
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; form-action {form_action}; \
         frame-ancestors 'none'; base-uri 'none'"
    );
    let text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n\
         {body}\n</body></html>\n"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, policy.as_str()),
    ];
    (headers, text).into_response()
}

/// Escapes a text for HTML and for attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Control characters and direction marks can disguise a name.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => {}
            other if other.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(
            escape("\"><script>alert('1')</script>&"),
            "&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;"
        );
        assert_eq!(escape("Acme\u{202e}moc.live\u{0}"), "Acmemoc.live ");
    }

    #[test]
    fn page_allows_no_scripts_and_no_frames() {
        let page = page("Connect", "<p>text</p>", FormTarget::Https);
        let policy = page.headers()[CONTENT_SECURITY_POLICY]
            .to_str()
            .expect("text");
        assert!(!policy.contains("unsafe"), "{policy}");
        for directive in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self' https:",
        ] {
            assert!(policy.contains(directive), "{policy} lacks {directive}");
        }
        assert_eq!(page.headers()[CACHE_CONTROL], "no-store");
    }
}
