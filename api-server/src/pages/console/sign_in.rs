//! The page that signs in to the console.

use maud::html;

use super::ConsolePage;
use crate::pages::components::{Text, hidden, name};

/// The sentence before the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignInNotice {
    SignedOut,
    ClosedLink,
    UnknownToken,
}

impl SignInNotice {
    const fn text(self) -> &'static str {
        match self {
            Self::SignedOut => "You are signed out.",
            Self::ClosedLink => {
                "This link is used, expired or unknown. Ask for a new one, or sign in with your \
                 token."
            }
            Self::UnknownToken => {
                "This token is unknown, revoked or expired. Check that it is complete, or ask an \
                 administrator for a new one."
            }
        }
    }
}

/// The page that signs in.
#[derive(Debug)]
pub(crate) struct SignInView<'a> {
    /// The token of a link, and the name of its operator.
    pub(crate) link: Option<(&'a str, &'a str)>,
    /// The path to continue with.
    pub(crate) next: Option<&'a str>,
    pub(crate) notice: Option<SignInNotice>,
}

impl SignInView<'_> {
    /// Whether a credential was rejected.
    pub(super) fn is_rejected(&self) -> bool {
        self.notice
            .is_some_and(|notice| notice != SignInNotice::SignedOut)
    }

    pub(super) fn page(&self) -> ConsolePage {
        let content = html! {
            div class="panel signin" {
                h1 { "Sign in" }
                @if let Some(notice) = self.notice {
                    p class="notice" role=(if self.is_rejected() { "alert" } else { "status" }) {
                        (notice.text())
                    }
                }
                form method="post" action="/console/login" {
                    @if let Some(next) = self.next { (hidden("next", next)) }
                    @if let Some((token, operator)) = self.link {
                        p { "You sign in as " (name(operator)) ". The link can be used once." }
                        (hidden("link", token))
                    } @else {
                        label for="operator_token" { "Operator's token" }
                        input class="field" id="operator_token" name="operator_token"
                            type="password" autocomplete="current-password" required
                            aria-describedby="about";
                        p class="muted" id="about" {
                            "It begins with " code { (Text("pbo_")) }
                            ", or is the token of the service's settings."
                        }
                    }
                    div class="actions" {
                        button class="button" type="submit" { "Sign in" }
                    }
                }
            }
        };
        ConsolePage {
            title: "Sign in".to_owned(),
            section: None,
            content,
            live: None,
        }
    }
}
