//! Somebody's browser: keeps cookies, follows redirects, sends the form it is shown.
//!
//! It takes the way that a person takes who connects an account, and stops where that person
//! would: at a page without a form for the account.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, RequestBuilder, Response, redirect};
use url::Url;

/// How many pages one errand may take.
const STEPS: usize = 20;

/// Fields of a form, as they are sent.
type Fields = Vec<(String, String)>;

/// A browser and its cookies. They belong to the host, whatever the port: all servers of a
/// demo share one host, as they would in a person's browser.
pub(crate) struct Browser {
    client: Client,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// A browser in which somebody is logged in at the simulated provider.
    pub(crate) fn of(login: &str) -> anyhow::Result<Self> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_secs(40))
            .build()?;
        let cookies = BTreeMap::from([("user_session".to_owned(), login.to_owned())]);
        Ok(Self { client, cookies })
    }

    /// Opens a page and goes on until an answer is neither redirect nor form; sends the form
    /// in which `account` is chosen.
    pub(crate) async fn visit(&mut self, start: Url, account: &str) -> anyhow::Result<String> {
        let mut url = start;
        let mut form: Option<Fields> = None;
        for _ in 0..STEPS {
            let request = match form.take() {
                Some(fields) => self.client.post(url.clone()).form(&fields),
                None => self.client.get(url.clone()),
            };
            let response = self.send(request).await?;
            let status = response.status();
            if status.is_redirection() {
                let location = response
                    .headers()
                    .get(LOCATION)
                    .context("a redirect to nowhere")?;
                url = url.join(location.to_str()?)?;
                continue;
            }
            let body = response.text().await?;
            if !status.is_success() {
                bail!("{} answered {status}: {body}", without_query(&url));
            }
            match choose_form(&body, account) {
                Some((action, fields)) => {
                    if let Some(action) = action {
                        url = url.join(&action)?;
                    }
                    form = Some(fields);
                }
                None => return Ok(body),
            }
        }
        bail!("the way from page to page does not end")
    }

    async fn send(&mut self, request: RequestBuilder) -> anyhow::Result<Response> {
        let sent: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let response = request.header(COOKIE, sent.join("; ")).send().await?;
        for cookie in response.headers().get_all(SET_COOKIE) {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies
                    .insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        Ok(response)
    }
}

/// A page's address as it may be shown: its query may hold a code.
fn without_query(url: &Url) -> Url {
    let mut shown = url.clone();
    shown.set_query(None);
    shown
}

/// Action and fields of the page's form whose field `account` has this value, or of the form
/// with which a person confirms a connect link.
fn choose_form(page: &str, account: &str) -> Option<(Option<String>, Fields)> {
    page.split("<form").skip(1).find_map(|rest| {
        let form = rest.split("</form>").next()?;
        let (head, inner) = form.split_once('>')?;
        let fields: Fields = inner
            .split("<input")
            .skip(1)
            .chain(inner.split("<button").skip(1))
            .filter_map(|tag| {
                let tag = tag.split('>').next()?;
                Some((
                    attribute(tag, "name")?,
                    attribute(tag, "value").unwrap_or_default(),
                ))
            })
            .collect();
        let chosen = fields
            .iter()
            .any(|(name, value)| (name == "account" && value == account) || name == "confirm");
        chosen.then(|| (attribute(head, "action"), fields))
    })
}

/// The value of a quoted attribute, its character references resolved.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let value = rest.split('"').next()?;
    let value = value
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&#x27;", "'");
    Some(
        value
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_the_wanted_account_is_chosen() {
        let page = r#"<h1>Install</h1>
            <form method="post" action="/apps/x/installations/new">
              <input type="hidden" name="state" value="a&amp;b">
              <input type="hidden" name="account" value="one"><button>Install</button></form>
            <form method="post"><input name="account" value="two"></form>"#;
        let (action, fields) = choose_form(page, "one").expect("a form");
        assert_eq!(action.as_deref(), Some("/apps/x/installations/new"));
        assert_eq!(
            fields,
            [("state", "a&b"), ("account", "one")].map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
        let (action, _) = choose_form(page, "two").expect("a form");
        assert_eq!(action, None);
        assert!(choose_form(page, "three").is_none());
        let link = r#"<form method="post" action="/start">
            <input type="hidden" name="state" value="s">
            <input type="hidden" name="confirm" value="c"><button>Go</button></form>"#;
        let (action, fields) = choose_form(link, "one").expect("a form");
        assert_eq!((action.as_deref(), fields.len()), (Some("/start"), 2));
    }
}
