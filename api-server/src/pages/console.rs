//! The layout of the operator's console, and its pages without an operator: sign-in and problems.
//!
//! Every page works without a script. The script of a page with live parts only replaces them; it
//! and the stylesheet are embedded, named after their digests, and cached for good.

mod asset;
mod problem;
mod sign_in;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use maud::{DOCTYPE, Markup, html};
use shared::model::OperatorRole;

use super::Pages;
use super::components::{Text, hidden};

pub(crate) use asset::{ASSETS, ConsoleAssets};
pub(crate) use problem::ProblemView;
pub(crate) use sign_in::{SignInNotice, SignInView};

/// The policy of the console's pages: own assets, own forms, nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
);

/// The name of the form field with the session's token.
pub(crate) const FORM_TOKEN: &str = "token";

/// The operator who is signed in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignedIn<'a> {
    pub(crate) name: &'a str,
    pub(crate) role: OperatorRole,
    /// The token of the session's forms.
    pub(crate) form_token: &'a str,
}

impl SignedIn<'_> {
    /// Whether the operator may send a form that needs this role.
    pub(crate) fn may(&self, role: OperatorRole) -> bool {
        self.role >= role
    }

    /// The hidden field with the session's token.
    pub(crate) fn token(&self) -> Markup {
        hidden(FORM_TOKEN, self.form_token)
    }
}

/// A section of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Home,
    Connections,
    Jobs,
    Deliveries,
    Signals,
    Tenants,
    AuditLog,
}

impl Section {
    const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Home, "Home", "/console"),
        (Self::Connections, "Connections", "/console/connections"),
        (Self::Jobs, "Jobs", "/console/jobs"),
        (Self::Deliveries, "Deliveries", "/console/deliveries"),
        (Self::Signals, "Signals", "/console/signals"),
        (Self::Tenants, "Tenants", "/console/tenants"),
        (Self::AuditLog, "Audit log", "/console/audit-log"),
    ];
}

/// The content of a page of the console.
pub(crate) struct ConsolePage {
    /// The title, as plain text.
    pub(crate) title: String,
    pub(crate) section: Option<Section>,
    pub(crate) content: Markup,
    /// The path of the live updates of the page's live part.
    pub(crate) live: Option<String>,
}

impl Pages {
    /// The response with a page for a signed-in operator.
    pub(crate) fn respond_console(&self, operator: SignedIn<'_>, page: &ConsolePage) -> Response {
        let body = self.console_layout(Some(operator), page);
        respond(StatusCode::OK, HeaderMap::new(), body)
    }

    /// The response with the page that signs in.
    pub(crate) fn respond_sign_in(&self, view: &SignInView<'_>) -> Response {
        let body = self.console_layout(None, &view.page());
        let status = if view.is_rejected() {
            StatusCode::FORBIDDEN
        } else {
            StatusCode::OK
        };
        respond(status, HeaderMap::new(), body)
    }

    /// The response with a problem as a page; status and headers stay.
    pub(crate) fn respond_problem(
        &self,
        status: StatusCode,
        headers: HeaderMap,
        view: &ProblemView<'_>,
    ) -> Response {
        respond(status, headers, self.console_layout(None, &view.page()))
    }

    fn console_layout(&self, operator: Option<SignedIn<'_>>, page: &ConsolePage) -> Markup {
        let product = Text(&self.brand.name);
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    title { (Text(&page.title)) " · " (product) " console" }
                    link rel="stylesheet" href=(self.console.style.path);
                    @if page.live.is_some() {
                        script src=(self.console.script.path) defer {}
                    }
                }
                body class="console" {
                    a class="skip" href="#content" { "Skip to the content" }
                    header {
                        p { a href="/console" { (product) } " console" }
                        @if let Some(operator) = operator {
                            (navigation(page.section))
                            (account(operator))
                        }
                    }
                    main id="content" data-live=[page.live.as_deref()] { (page.content) }
                }
            }
        }
    }
}

fn navigation(current: Option<Section>) -> Markup {
    html! {
        nav aria-label="Console" {
            ul {
                @for (section, label, path) in Section::ALL {
                    @let is_current = current == Some(section);
                    li { a href=(path) aria-current=[is_current.then_some("page")] { (label) } }
                }
            }
        }
    }
}

fn account(operator: SignedIn<'_>) -> Markup {
    html! {
        form class="account" method="post" action="/console/logout" {
            (operator.token())
            span { bdi { (Text(operator.name)) } " (" (operator.role.as_str()) ")" }
            button class="small" type="submit" { "Sign out" }
        }
    }
}

fn respond(status: StatusCode, headers: HeaderMap, page: Markup) -> Response {
    let mut response = Response::new(Body::from(page.into_string()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    response
}
