//! Browser of a person who connects an account.

use std::collections::BTreeMap;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Method, Response, StatusCode};

use super::System;

/// Browser that keeps cookies per host and follows redirects.
pub(super) struct Browser<'a> {
    system: &'a System,
    /// By `host:port`.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl<'a> Browser<'a> {
    pub(super) fn new(system: &'a System, person: &str) -> Self {
        let provider = system.simulator.address().to_string();
        let session = BTreeMap::from([("user_session".to_owned(), person.to_owned())]);
        Self {
            system,
            cookies: BTreeMap::from([(provider, session)]),
        }
    }

    pub(super) async fn get(&mut self, url: &str) -> Response {
        let response = self.send(Method::GET, url, &[]).await;
        self.follow_redirects(response).await
    }

    /// Opens a connect link and submits the form of its page, if there is one.
    ///
    /// All fields are sent back: a previous release may have other fields, or no page at all.
    pub(super) async fn open_link(&mut self, link: &str) -> Response {
        let page = self.get(link).await;
        let url = page.url().clone();
        if url.authority() == self.system.simulator.address().to_string() {
            return page;
        }
        assert_eq!(page.status(), StatusCode::OK, "the link's page");
        let text = page.text().await.expect("a page");
        let action = attribute(&text, "action").expect("the page has a form");
        let fields: Vec<(&str, &str)> = text
            .split("<input")
            .skip(1)
            .filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?)))
            .collect();
        let action = url.join(action).expect("a URL");
        self.post(action.as_str(), &fields).await
    }

    pub(super) async fn post(&mut self, url: &str, form: &[(&str, &str)]) -> Response {
        let response = self.send(Method::POST, url, form).await;
        self.follow_redirects(response).await
    }

    async fn follow_redirects(&mut self, mut response: Response) -> Response {
        for _ in 0..10 {
            if !response.status().is_redirection() {
                return response;
            }
            let location = response.headers()[LOCATION].to_str().expect("text");
            let next = response.url().join(location).expect("a URL");
            response = self.send(Method::GET, next.as_str(), &[]).await;
        }
        panic!("too many redirects at {}", response.url());
    }

    async fn send(&mut self, method: Method, url: &str, form: &[(&str, &str)]) -> Response {
        let host = url::Url::parse(url).expect("a URL").authority().to_owned();
        let jar = self.cookies.entry(host).or_default();
        let cookies: Vec<String> = jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = self.system.client.request(method.clone(), url);
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        if method == Method::POST {
            request = request.form(form);
        }
        let response = request.send().await.expect("a response");
        for cookie in response.headers().get_all(SET_COOKIE) {
            let pair = cookie
                .to_str()
                .expect("text")
                .split(';')
                .next()
                .unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        response
    }
}

/// Returns the first value of an attribute in HTML.
fn attribute<'a>(html: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = html.split_once(&format!(" {name}=\""))?;
    rest.split('"').next()
}
