//! HTML pages: layout, components and the brand that an operator sets.
//!
//! Pages work without scripts. Their policy allows the stylesheet by its digest and loads nothing.
//! A view is a function that takes plain values and returns a [`Page`]; [`Pages::respond`] adds the
//! layout and the headers. Texts of people, tenants and providers are escaped where they are shown.

mod brand;
mod colour;
mod components;
pub(crate) mod connect;
pub(crate) mod console;
mod negotiation;
mod style;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use console::ConsoleAssets;
use style::Style;

pub(crate) use brand::Brand;
pub(crate) use components::{Text, hidden};
pub(crate) use negotiation::prefers_html;

/// The layout of all pages, with the operator's brand.
#[derive(Debug)]
pub(crate) struct Pages {
    brand: Brand,
    style: Style,
    console: ConsoleAssets,
}

/// The content of a page.
pub(crate) struct Page {
    /// The title, as plain text.
    title: String,
    content: Markup,
    form: FormTarget,
}

/// The targets that the forms of a page may have.
///
/// Browsers apply `form-action` to the redirects after a form as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormTarget {
    /// The page has no form.
    None,
    /// This server and, after a redirect, any server over https.
    Https,
    /// The same, also over http: for development and for a `return_to` on this machine.
    Http,
}

impl FormTarget {
    const fn sources(self) -> &'static str {
        match self {
            Self::None => "'none'",
            Self::Https => "'self' https:",
            Self::Http => "'self' http: https:",
        }
    }
}

impl Pages {
    pub(crate) fn new(brand: Brand) -> Self {
        let style = Style::new(&brand);
        let console = ConsoleAssets::new(&style);
        Self {
            brand,
            style,
            console,
        }
    }

    /// The product's name for people.
    pub(crate) fn product(&self) -> &str {
        &self.brand.name
    }

    /// The stylesheet and the script of the console.
    pub(crate) const fn console_assets(&self) -> &ConsoleAssets {
        &self.console
    }

    /// The response with a page.
    pub(crate) fn respond(&self, page: &Page) -> Response {
        self.respond_with(StatusCode::OK, HeaderMap::new(), page)
    }

    /// The response with a page, a status and further headers.
    pub(crate) fn respond_with(
        &self,
        status: StatusCode,
        headers: HeaderMap,
        page: &Page,
    ) -> Response {
        let mut response = Response::new(Body::from(self.layout(page).into_string()));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_SECURITY_POLICY, self.policy(page.form));
        response
    }

    fn policy(&self, form: FormTarget) -> HeaderValue {
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; form-action {}; frame-ancestors 'none'; \
             base-uri 'none'",
            self.style.digest,
            form.sources()
        );
        // It is ASCII; without a header the middleware's stricter policy applies.
        HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'",
        ))
    }

    fn layout(&self, page: &Page) -> Markup {
        let product = Text(&self.brand.name);
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    title { (Text(&page.title)) " · " (product) }
                    style { (PreEscaped(&self.style.text)) }
                }
                body {
                    header { p { (product) } }
                    main { (page.content) }
                    @if let Some(support) = &self.brand.support {
                        footer {
                            p { "Questions? " a href=(Text(support.as_str())) { "Contact support" } }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::crypto::sha256;

    use super::*;

    fn pages() -> Pages {
        Pages::new(Brand::default())
    }

    fn page(form: FormTarget) -> Page {
        Page {
            title: "<b>".to_owned(),
            content: html! { p { "text" } },
            form,
        }
    }

    #[test]
    fn policy_allows_no_scripts_and_no_frames() {
        let response = pages().respond(&page(FormTarget::Https));
        let policy = response.headers()[CONTENT_SECURITY_POLICY]
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
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn policy_names_the_stylesheet_of_the_page() {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let pages = pages();
        let text = pages.layout(&page(FormTarget::None)).into_string();
        let (_, rest) = text.split_once("<style>").expect("a stylesheet");
        let (style, rest) = rest.split_once("</style>").expect("its end");
        assert!(
            !rest.contains("<style") && !text.contains(" style="),
            "{text}"
        );
        let digest = STANDARD.encode(sha256(style.as_bytes()));
        let policy = pages.policy(FormTarget::None);
        let policy = policy.to_str().expect("text");
        assert!(
            policy.contains(&format!("style-src 'sha256-{digest}'")),
            "{policy}"
        );
        assert!(policy.contains("form-action 'none'"), "{policy}");
    }

    #[test]
    fn title_and_support_link_are_escaped() {
        let brand = Brand {
            support: url::Url::parse("https://example.com/?a=1&b=2").ok(),
            ..Brand::default()
        };
        let text = Pages::new(brand)
            .layout(&page(FormTarget::None))
            .into_string();
        assert!(
            text.contains("<title>&lt;b&gt; · Poblysh Connectors</title>"),
            "{text}"
        );
        assert!(
            text.contains("href=\"https://example.com/?a=1&amp;b=2\""),
            "{text}"
        );
        assert!(
            !pages()
                .layout(&page(FormTarget::None))
                .into_string()
                .contains("<footer")
        );
    }
}
