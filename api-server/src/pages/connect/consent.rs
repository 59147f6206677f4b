//! The page of a connect link: who asks for what.

use maud::html;

use crate::pages::components::{Text, hidden, name};
use crate::pages::{FormTarget, Page};

/// The values of a connect link's page.
pub(crate) struct ConsentView<'a> {
    /// The product's name.
    pub(crate) product: &'a str,
    /// The team that asks.
    pub(crate) team: &'a str,
    /// The provider's name.
    pub(crate) provider: &'a str,
    /// Whether a request of this link waits for an owner's approval.
    pub(crate) is_pending: bool,
    /// The account of the pending request, once the provider has named it.
    pub(crate) account: Option<&'a str>,
    /// The data to be read.
    pub(crate) reads: &'a [&'a str],
    /// The requested permissions, as the provider names them.
    pub(crate) scopes: &'a [&'a str],
    /// The path to which the form is posted.
    pub(crate) action: &'a str,
    /// The token of the link.
    pub(crate) token: &'a str,
    /// The confirmation of this browser.
    pub(crate) confirm: &'a str,
    /// The targets of the redirects after the form.
    pub(crate) form: FormTarget,
}

impl ConsentView<'_> {
    /// The page.
    pub(crate) fn page(&self) -> Page {
        let provider = self.provider;
        let content = html! {
            h1 { "Connect " (provider) }
            p.lead {
                "The team " (name(self.team)) " asks to read data from "
                @if let Some(account) = self.account { "the account " (name(account)) " at " }
                (provider) " through " (name(self.product)) "."
            }
            @if self.is_pending {
                p.notice {
                    "This request waits for an owner or administrator of "
                    @match self.account {
                        Some(account) => { (name(account)) },
                        None => { "the account" },
                    }
                    ". If that is you, continue. Otherwise send this page’s address to one of them."
                }
            }
            h2 { "The team will be able to read" }
            ul { @for item in self.reads { li { (item) } } }
            p { "Nothing at " (provider) " is changed. The team can disconnect the account at any time." }
            form method="post" action=(Text(self.action)) {
                (hidden("state", self.token))
                (hidden("confirm", self.confirm))
                div.actions { button.button type="submit" { "Continue to " (provider) } }
            }
            p.muted {
                "Continue only if you know this team and expected this request. "
                "If you close this page, nothing happens."
            }
            details {
                summary { "Permissions that " (provider) " will list" }
                ul { @for scope in self.scopes { li { code { (scope) } } } }
            }
        };
        Page {
            title: format!("Connect {provider}"),
            content,
            form: self.form,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(account: Option<&'static str>) -> String {
        let view = ConsentView {
            product: "Connectors",
            team: "Acme <script>",
            provider: "Example",
            is_pending: account.is_some(),
            account,
            reads: &["issues"],
            scopes: &["issues:read"],
            action: "/v1/connect/example/start",
            token: "token",
            confirm: "confirm",
            form: FormTarget::Https,
        };
        view.page().content.into_string()
    }

    #[test]
    fn team_and_account_are_named_and_escaped() {
        let text = view(None);
        assert!(
            text.contains("Acme &lt;script&gt;") && !text.contains("<script"),
            "{text}"
        );
        assert!(
            text.contains("from Example through") && !text.contains("waits for"),
            "{text}"
        );
        let text = view(Some("octo\"><img>"));
        assert!(text.contains("octo&quot;&gt;&lt;img&gt;"), "{text}");
        assert!(text.contains("waits for an owner"), "{text}");
    }
}
