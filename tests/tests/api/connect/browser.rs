//! A browser that walks through the connect flow.

use std::collections::BTreeMap;

use reqwest::Method;
use reqwest::header::{ACCEPT, COOKIE, LOCATION, SET_COOKIE};
use tests::harness::System;
use url::Url;

use crate::server::{ApiResponse, read};

/// The header `Accept` of a browser that opens a page.
const PAGES: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// A browser that does not follow redirects automatically.
#[derive(Clone)]
pub(super) struct Browser<'a> {
    system: &'a System,
    accept: Option<&'static str>,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl<'a> Browser<'a> {
    /// A browser in which `person` is signed in at the provider.
    pub(super) fn signed_in(system: &'a System, person: &str) -> Self {
        let provider = system.simulator.address().to_string();
        let session = BTreeMap::from([("user_session".to_owned(), person.to_owned())]);
        Self {
            system,
            accept: None,
            cookies: BTreeMap::from([(provider, session)]),
        }
    }

    /// The same browser, which asks for pages and not for JSON.
    pub(super) fn with_pages(mut self) -> Self {
        self.accept = Some(PAGES);
        self
    }

    /// The same browser, which asks for JSON.
    pub(super) fn with_json(mut self) -> Self {
        self.accept = Some("application/json");
        self
    }

    pub(super) async fn send(
        &mut self,
        method: Method,
        url: &Url,
        form: &[(String, String)],
    ) -> ApiResponse {
        let jar = self.cookies.entry(url.authority().to_owned()).or_default();
        let cookies: Vec<String> = jar
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let mut request = self.system.client.request(method.clone(), url.clone());
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        if let Some(accept) = self.accept {
            request = request.header(ACCEPT, accept);
        }
        if method == Method::POST {
            request = request.form(form);
        }
        let response = read(request).await;
        for cookie in response.headers.get_all(SET_COOKIE) {
            let pair = cookie
                .to_str()
                .expect("text")
                .split(';')
                .next()
                .unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a pair");
            jar.insert(name.to_owned(), value.to_owned());
        }
        response
    }

    pub(super) async fn get(&mut self, url: &Url) -> ApiResponse {
        self.send(Method::GET, url, &[]).await
    }

    /// Requests a page that redirects; returns the target.
    pub(super) async fn follow_redirect(&mut self, url: &Url) -> Url {
        let response = self.get(url).await;
        location(&response, url)
    }

    /// Loads the page of a link; returns the fields of its form.
    pub(super) async fn load_form(&mut self, link: &Url) -> Vec<(String, String)> {
        let page = self.get(link).await;
        assert_eq!(page.status, 200, "{}", page.body);
        form_fields(page.body.as_str().expect("a page"))
    }

    /// Submits the form of a link's page; returns the target.
    pub(super) async fn continue_from_page(&mut self, link: &Url) -> Url {
        let fields = self.load_form(link).await;
        let response = self.send(Method::POST, &without_query(link), &fields).await;
        assert_eq!(response.status, 303, "{}", response.body);
        target(&response, link)
    }

    /// Opens the link and picks an account at the provider; returns the callback's URL.
    pub(super) async fn install_app(&mut self, link: &Url, account: &str) -> Url {
        let page = self.continue_from_page(link).await;
        let fields = [
            ("account".to_owned(), account.to_owned()),
            ("state".to_owned(), param(&page, "state").expect("a state")),
        ];
        let response = self.send(Method::POST, &page, &fields).await;
        location(&response, &page)
    }

    /// Follows the flow from the callback to its end.
    pub(super) async fn complete_flow(&mut self, callback: &Url) -> ApiResponse {
        let mut url = callback.clone();
        for _ in 0..4 {
            let response = self.get(&url).await;
            let here = url.authority() == callback.authority();
            if response.status != 302 {
                return response;
            }
            let next = location(&response, &url);
            if here && next.authority() != self.system.simulator.address().to_string() {
                return response;
            }
            url = next;
        }
        panic!("the flow does not end");
    }
}

pub(super) fn location(response: &ApiResponse, from: &Url) -> Url {
    assert_eq!(response.status, 302, "{from}: {}", response.body);
    target(response, from)
}

/// The hidden fields of the page's form.
fn form_fields(page: &str) -> Vec<(String, String)> {
    let attribute = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    let inputs = page.split("<input").skip(1);
    inputs
        .filter_map(|rest| {
            let tag = rest.split('>').next()?;
            Some((attribute(tag, "name")?, attribute(tag, "value")?))
        })
        .collect()
}

pub(super) fn without_query(url: &Url) -> Url {
    let mut bare = url.clone();
    bare.set_query(None);
    bare
}

fn target(response: &ApiResponse, from: &Url) -> Url {
    let text = response.headers[LOCATION].to_str().expect("text");
    from.join(text).expect("a URL")
}

pub(super) fn param(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

pub(super) fn with_param(url: &Url, name: &str, value: &str) -> Url {
    let pairs: Vec<(String, String)> = url
        .query_pairs()
        .map(|(key, old)| {
            let new = if key == name {
                value.to_owned()
            } else {
                old.into_owned()
            };
            (key.into_owned(), new)
        })
        .collect();
    let mut changed = url.clone();
    changed.query_pairs_mut().clear().extend_pairs(pairs);
    changed
}
