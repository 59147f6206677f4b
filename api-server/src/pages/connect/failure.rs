//! The page of a connect flow that cannot continue.

use maud::{Markup, html};
use shared::problem::Problem;

use crate::pages::components::{Icon, Text, button_link, name};
use crate::pages::{FormTarget, Page};

/// The circumstances of a failure, which its page shows and its JSON does not.
#[derive(Debug, Clone, Default)]
pub(crate) struct FailureContext {
    /// The provider's name.
    pub(crate) provider: Option<&'static str>,
    /// The team that asked.
    pub(crate) team: Option<String>,
    /// The name of the account that was chosen.
    pub(crate) account: Option<String>,
    /// The reason why the connect link cannot be opened.
    pub(crate) link: Option<ClosedLink>,
    /// The address at which the person starts again.
    pub(crate) start: Option<String>,
}

/// The reason why a connect link cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClosedLink {
    /// It has led to a connection.
    Used,
    /// Its time is over.
    Expired,
}

/// The values of the page.
pub(super) struct FailureView<'a> {
    pub(super) product: &'a str,
    pub(super) problem: &'a Problem,
    pub(super) context: &'a FailureContext,
    /// The id of the request, for support.
    pub(super) request: Option<&'a str>,
}

/// The texts of a failure.
struct Texts {
    title: String,
    content: Markup,
    /// The label of the button that starts again.
    again: &'static str,
    /// Whether support needs the id of the request.
    has_reference: bool,
}

impl Texts {
    const fn new(title: String, content: Markup) -> Self {
        Self {
            title,
            content,
            again: "Try again",
            has_reference: false,
        }
    }

    const fn again(mut self, label: &'static str) -> Self {
        self.again = label;
        self
    }

    const fn with_reference(mut self) -> Self {
        self.has_reference = true;
        self
    }
}

impl FailureView<'_> {
    /// The page.
    pub(super) fn page(&self) -> Page {
        let texts = self.texts();
        let content = html! {
            (Icon::Failed)
            h1 { (texts.title) }
            (texts.content)
            @if let Some(start) = &self.context.start {
                div.actions { (button_link(start, texts.again)) }
            }
            @if let Some(request) = self.request.filter(|_| texts.has_reference) {
                p.muted { "Reference for support: " code { (Text(request)) } }
            }
        };
        Page {
            title: texts.title,
            content,
            form: FormTarget::None,
        }
    }

    fn texts(&self) -> Texts {
        let provider = self.context.provider.unwrap_or("The provider");
        match self.problem.code {
            "access_denied" => Texts::new(
                format!("{provider} was not connected"),
                html! {
                    p.lead { (Text(&self.problem.message)) }
                    p { "Nothing was connected, and nothing was read." }
                },
            )
            .again("Start again"),
            "account_already_connected" => self.already_connected(provider),
            "invalid_state" => self.invalid_state(),
            "provider_unavailable" => Texts::new(
                format!("{provider} does not answer"),
                html! {
                    p.lead { (provider) " is out of reach at the moment, so nothing was connected. Please try again in a few minutes." }
                },
            ),
            "provider_rate_limited" => Texts::new(
                format!("{provider} is busy"),
                html! {
                    p.lead { (provider) " accepts no more requests at the moment, so nothing was connected. Please try again in a few minutes." }
                },
            ),
            "provider_refused" => Texts::new(
                format!("{provider} did not accept the request"),
                html! {
                    p.lead { "Nothing was connected. The reason is the set-up of " (name(self.product)) " at " (provider) ", not your account." }
                    p { "Please report this to the people who gave you the link, with the reference below." }
                },
            )
            .with_reference(),
            "provider_not_configured" => Texts::new(
                format!("{provider} cannot be connected yet"),
                html! {
                    p.lead { (name(self.product)) " is not set up for " (provider) ". Please report this to the people who gave you the link." }
                },
            ),
            _ => self.other(),
        }
    }

    fn already_connected(&self, provider: &str) -> Texts {
        let account = self.context.account.as_deref();
        let content = html! {
            p.lead {
                @match account {
                    Some(account) => { "The account " (name(account)) " at " (provider) },
                    None => { "This account at " (provider) },
                }
                " is connected to " (name(self.product)) " already, by another team or another connection. It can be connected only once."
            }
            p {
                "Choose another account, or ask for the present connection to be ended first"
                @if let Some(team) = &self.context.team { ", then connect it to the team " (name(team)) }
                "."
            }
        };
        Texts::new("This account is already connected".to_owned(), content)
            .again("Choose another account")
    }

    fn invalid_state(&self) -> Texts {
        let ask = |what: &str| {
            html! { p { "To connect " (what) ", ask the people who sent it for a new link." } }
        };
        match (self.context.link, &self.context.start) {
            (Some(ClosedLink::Used), _) => Texts::new(
                "This link was already used".to_owned(),
                html! {
                    p.lead { "A link connects one account, and this one has done so. There is nothing more to do." }
                    (ask("another account"))
                },
            ),
            (Some(ClosedLink::Expired), _) => Texts::new(
                "This link has expired".to_owned(),
                html! {
                    p.lead { "For safety, a link works for a short time only." }
                    (ask("an account"))
                },
            ),
            (None, Some(_)) => Texts::new(
                "Please start again".to_owned(),
                html! {
                    p.lead { "Connecting took too long, or was continued in another window. Nothing was connected on this page." }
                },
            )
            .again("Start again"),
            (None, None) => Texts::new(
                "This page has expired".to_owned(),
                html! {
                    p.lead { "The link or page is too old, was used already, or was opened in another browser." }
                    p { "Open the link that you received once more, in this browser. If that does not help, ask for a new link." }
                },
            ),
        }
    }

    /// The texts of failures that every page may have.
    fn other(&self) -> Texts {
        match self.problem.status {
            400 | 422 => Texts::new(
                "This address is not complete".to_owned(),
                html! { p.lead { "Please open the whole link that you received. Programs sometimes cut long links." } },
            ),
            404 | 405 => Texts::new(
                "This page does not exist".to_owned(),
                html! { p.lead { "Please check the link that you received." } },
            ),
            429 | 503 => Texts::new(
                "Please try again in a moment".to_owned(),
                html! { p.lead { (name(self.product)) " could not answer in time. Reload this page in a moment." } },
            ),
            _ => Texts::new(
                "An error occurred".to_owned(),
                html! {
                    p.lead { "The error is on the side of " (name(self.product)) ". Please try again." }
                    p { "If it happens again, report it to the people who gave you the link, with the reference below." }
                },
            )
            .with_reference(),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    fn text(status: u16, code: &'static str, context: &FailureContext) -> String {
        let status = StatusCode::from_u16(status).expect("a status");
        let view = FailureView {
            product: "Connectors",
            problem: &Problem::new(status, code, "Reason <script>alert(1)</script>"),
            context,
            request: Some("0198-ref"),
        };
        view.page().content.into_string()
    }

    #[test]
    fn texts_of_connectors_are_escaped() {
        let context = FailureContext {
            provider: Some("Example"),
            account: Some("<img src=x>".to_owned()),
            team: Some("<b>".to_owned()),
            start: Some("https://connect.example.com/?a=\"&b".to_owned()),
            link: None,
        };
        let declined = text(400, "access_denied", &context);
        assert!(declined.contains("Reason &lt;script&gt;") && !declined.contains("<script"));
        assert!(declined.contains("href=\"https://connect.example.com/?a=&quot;&amp;b\""));
        let taken = text(409, "account_already_connected", &context);
        assert!(
            taken.contains("&lt;img src=x&gt;") && !taken.contains("<img"),
            "{taken}"
        );
        assert!(taken.contains("&lt;b&gt;"), "{taken}");
    }

    #[test]
    fn only_failures_of_the_operator_have_a_reference() {
        let context = FailureContext::default();
        for (status, code, has_reference) in [
            (502, "provider_refused", true),
            (500, "internal", true),
            (502, "provider_unavailable", false),
            (503, "timed_out", false),
            (403, "invalid_state", false),
            (404, "provider_not_found", false),
        ] {
            let text = text(status, code, &context);
            assert_eq!(text.contains("0198-ref"), has_reference, "{code}: {text}");
            assert!(
                !text.contains("Reason"),
                "{code} shows the message of the API"
            );
        }
    }
}
