//! Browser that keeps cookies, follows redirects and submits forms.
//!
//! It runs the connect flow like a person and stops at a page without a form for the account.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, RequestBuilder, Response, redirect};
use url::Url;

/// Maximum number of pages of one visit.
const MAX_STEPS: usize = 20;

/// Fields of a form.
type Fields = Vec<(String, String)>;

/// Browser with its cookies, which all servers of a demo share because they have one host.
pub(crate) struct Browser {
    client: Client,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// Creates a browser that is logged in at the simulated provider.
    pub(crate) fn logged_in_as(login: &str) -> anyhow::Result<Self> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_secs(40))
            .build()?;
        let cookies = BTreeMap::from([("user_session".to_owned(), login.to_owned())]);
        Ok(Self { client, cookies })
    }

    /// Opens a page and continues until a response is neither a redirect nor a form.
    ///
    /// Submits the form for `account`.
    pub(crate) async fn visit(&mut self, start: Url, account: &str) -> anyhow::Result<String> {
        let mut url = start;
        let mut form: Option<Fields> = None;
        for _ in 0..MAX_STEPS {
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
                    .context("the redirect has no location")?;
                url = url.join(location.to_str()?)?;
                continue;
            }
            let body = response.text().await?;
            if !status.is_success() {
                bail!("{} responded with {status}: {body}", without_query(&url));
            }
            match find_form(&body, account) {
                Some((action, fields)) => {
                    if let Some(action) = action {
                        url = url.join(&action)?;
                    }
                    form = Some(fields);
                }
                None => return Ok(body),
            }
        }
        bail!("the flow did not end after {MAX_STEPS} pages")
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

/// A page's URL for messages, without the query, which may have a code.
fn without_query(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url
}

/// Finds the form for this account, or the form that confirms a connect link.
fn find_form(page: &str, account: &str) -> Option<(Option<String>, Fields)> {
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

/// The value of a quoted attribute with resolved character references.
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
    fn form_of_requested_account_is_chosen() {
        let page = r#"<h1>Install</h1>
            <form method="post" action="/apps/x/installations/new">
              <input type="hidden" name="state" value="a&amp;b">
              <input type="hidden" name="account" value="one"><button>Install</button></form>
            <form method="post"><input name="account" value="two"></form>"#;
        let (action, fields) = find_form(page, "one").expect("a form");
        assert_eq!(action.as_deref(), Some("/apps/x/installations/new"));
        assert_eq!(
            fields,
            [("state", "a&b"), ("account", "one")].map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
        let (action, _) = find_form(page, "two").expect("a form");
        assert_eq!(action, None);
        assert!(find_form(page, "three").is_none());
        let link = r#"<form method="post" action="/start">
            <input type="hidden" name="state" value="s">
            <input type="hidden" name="confirm" value="c"><button>Go</button></form>"#;
        let (action, fields) = find_form(link, "one").expect("a form");
        assert_eq!((action.as_deref(), fields.len()), (Some("/start"), 2));
    }
}
