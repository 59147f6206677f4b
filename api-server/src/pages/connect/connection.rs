//! The page at the end of a connect flow: the state of its connection.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use url::form_urlencoded;

use crate::pages::components::{Icon, Text, button_link, name};
use crate::pages::{FormTarget, Page};

/// The values of the page.
pub(crate) struct ConnectionView<'a> {
    /// The product's name.
    pub(crate) product: &'a str,
    /// The team that asked.
    pub(crate) team: &'a str,
    /// The provider's name.
    pub(crate) provider: &'a str,
    /// The name of the account; `None` until the provider has named it.
    pub(crate) account: Option<&'a str>,
    /// The state of the connection.
    pub(crate) state: ConnectionState<'a>,
}

/// The state of a connection, as its page shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ConnectionState<'a> {
    /// The account is connected.
    Connected,
    /// An owner of the account must approve.
    Waiting {
        /// The link that the owner opens.
        link: Option<&'a str>,
        /// When the request expires.
        expires_at: DateTime<Utc>,
    },
    /// No owner approved in time.
    RequestExpired,
    /// The connection is paused.
    Paused,
    /// The provider suspended the grant.
    Suspended,
    /// The grant has ended.
    NeedsReauth,
    /// The connection has ended.
    Disconnected,
}

impl ConnectionView<'_> {
    /// The page.
    pub(crate) fn page(&self) -> Page {
        let provider = self.provider;
        let (icon, title) = match self.state {
            ConnectionState::Connected => (Icon::Done, format!("{provider} is connected")),
            ConnectionState::Waiting { .. } => (Icon::Waiting, "An owner must agree".to_owned()),
            ConnectionState::RequestExpired => (Icon::Failed, "The request has expired".to_owned()),
            ConnectionState::Paused => (
                Icon::Waiting,
                format!("{provider} is connected, and paused"),
            ),
            ConnectionState::Suspended => (Icon::Failed, format!("{provider} is suspended")),
            ConnectionState::NeedsReauth => {
                (Icon::Failed, format!("{provider} must be connected again"))
            }
            ConnectionState::Disconnected => (Icon::Failed, format!("{provider} is not connected")),
        };
        let content = html! {
            (icon)
            h1 { (title) }
            (self.explanation())
        };
        Page {
            title,
            content,
            form: FormTarget::None,
        }
    }

    fn explanation(&self) -> Markup {
        let (provider, team) = (self.provider, name(self.team));
        match self.state {
            ConnectionState::Connected => html! {
                p.lead { "The team " (team) " can now read " (self.account()) " through " (name(self.product)) "." }
                p { "Data from before today arrives over the next minutes or hours. There is nothing more to do: you can close this page." }
            },
            ConnectionState::Waiting { link, expires_at } => self.waiting(link, expires_at),
            ConnectionState::RequestExpired => html! {
                p.lead { "No owner of " (self.account()) " agreed in time. Nothing was read." }
                p { "To try again, ask the team " (team) " for a new link." }
            },
            ConnectionState::Paused => html! {
                p.lead { "The team " (team) " has paused reading from " (self.account()) ". It can resume at any time." }
            },
            ConnectionState::Suspended => html! {
                p.lead { (provider) " has suspended the access to " (self.account()) ". Nothing is read until an administrator there ends the suspension." }
            },
            ConnectionState::NeedsReauth => html! {
                p.lead { (provider) " no longer accepts the access to " (self.account()) "." }
                p { "To connect it again, ask the team " (team) " for a new link." }
            },
            ConnectionState::Disconnected => html! {
                p.lead { "The connection to " (self.account()) " has ended. Nothing more is read." }
                p { "To connect it again, ask the team " (team) " for a new link." }
            },
        }
    }

    fn waiting(&self, link: Option<&str>, expires_at: DateTime<Utc>) -> Markup {
        let provider = self.provider;
        html! {
            p.lead {
                "Your request is saved. " (provider) " did not confirm that you are an owner or administrator of "
                (self.account()) ", so one of them must agree. Nothing is read until then."
            }
            h2 { "What to do now" }
            ol {
                li { "Send the link below to an owner or administrator of " (self.account()) "." }
                li { "They open it, continue, and sign in at " (provider) ". That is all." }
            }
            @if let Some(link) = link {
                label for="link" { "Link to send" }
                textarea.field.copy #link readonly rows="4" spellcheck="false" { (Text(link)) }
                div.actions { (button_link(&self.mail(link), "Write an e-mail")) }
            } @else {
                p { "It is the link that you opened at the beginning." }
            }
            p.muted {
                "The link works until " time datetime=(expires_at.to_rfc3339()) {
                    (expires_at.format("%-d %B %Y, %H:%M UTC"))
                } "."
            }
        }
    }

    fn account(&self) -> Markup {
        html! {
            @if let Some(account) = self.account {
                "the " (self.provider) " account " (name(account))
            } @else {
                "the account that was chosen at " (self.provider)
            }
        }
    }

    /// The address of a new mail to the owner.
    fn mail(&self, link: &str) -> String {
        let (provider, team) = (self.provider, Text(self.team).plain());
        let account = self.account.map(|account| Text(account).plain());
        let account = account.map_or_else(String::new, |account| format!(" {account}"));
        let subject = format!("Please connect {provider} for {team}");
        let body = format!(
            "Hello,\n\nthe team {team} would like to read data from our {provider} account{account} \
             through {product}. An owner or administrator must agree. Please open this link, check \
             what is read, and continue:\n\n{link}\n",
            product = self.product
        );
        format!(
            "mailto:?subject={}&body={}",
            encode(&subject),
            encode(&body)
        )
    }
}

/// Percent-encodes a text; mail programs show a plus sign as it is.
fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn text(account: Option<&str>, state: ConnectionState<'_>) -> String {
        let view = ConnectionView {
            product: "Connectors",
            team: "R&D <b> + 'x'",
            provider: "Example",
            account,
            state,
        };
        view.page().content.into_string()
    }

    #[test]
    fn each_state_names_account_and_escapes_it() {
        for state in [
            ConnectionState::Connected,
            ConnectionState::RequestExpired,
            ConnectionState::Paused,
            ConnectionState::Suspended,
            ConnectionState::NeedsReauth,
            ConnectionState::Disconnected,
        ] {
            let text = text(Some("<img src=x>"), state);
            assert!(
                text.contains("&lt;img src=x&gt;") && !text.contains("<img"),
                "{text}"
            );
            assert!(text.starts_with("<svg"), "{text}");
        }
    }

    #[test]
    fn waiting_page_has_the_link_and_a_mail() {
        let expires_at = Utc
            .with_ymd_and_hms(2026, 12, 8, 9, 5, 0)
            .single()
            .expect("a time");
        let link = "https://connect.example.com/v1/connect/example/start?state=abc&x=1";
        let waiting = ConnectionState::Waiting {
            link: Some(link),
            expires_at,
        };
        let text = text(None, waiting);
        assert!(
            text.contains(
                ">https://connect.example.com/v1/connect/example/start?state=abc&amp;x=1</textarea>"
            ),
            "{text}"
        );
        assert!(text.contains("8 December 2026, 09:05 UTC"), "{text}");
        let (_, mail) = text.split_once("href=\"mailto:").expect("a mail");
        let mail = mail.split('"').next().expect("its address");
        assert!(mail.contains("R%26D%20%3Cb%3E%20%2B%20%27x%27"), "{mail}");
        assert!(mail.contains("state%3Dabc%26x%3D1"), "{mail}");
        assert!(!mail.contains('+'), "{mail}");
    }
}
