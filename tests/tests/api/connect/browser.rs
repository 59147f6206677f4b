//! A person's browser, step by step.

use std::collections::BTreeMap;

use reqwest::Method;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use tests::harness::System;
use url::Url;

use crate::server::{Answer, read};

/// A browser that follows no redirect by itself.
#[derive(Clone)]
pub(super) struct Browser<'a> {
    system: &'a System,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl<'a> Browser<'a> {
    /// A browser in which `person` is signed in at the provider.
    pub(super) fn of(system: &'a System, person: &str) -> Self {
        let provider = system.simulator.address().to_string();
        let session = BTreeMap::from([("user_session".to_owned(), person.to_owned())]);
        Self {
            system,
            cookies: BTreeMap::from([(provider, session)]),
        }
    }

    pub(super) async fn send(
        &mut self,
        method: Method,
        url: &Url,
        form: &[(String, String)],
    ) -> Answer {
        let jar = self.cookies.entry(url.authority().to_owned()).or_default();
        let cookies: Vec<String> = jar
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let mut request = self.system.client.request(method.clone(), url.clone());
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        if method == Method::POST {
            request = request.form(form);
        }
        let answer = read(request).await;
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let pair = cookie
                .to_str()
                .expect("text")
                .split(';')
                .next()
                .unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a pair");
            jar.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    pub(super) async fn get(&mut self, url: &Url) -> Answer {
        self.send(Method::GET, url, &[]).await
    }

    /// Opens a page that leads elsewhere, and answers where.
    pub(super) async fn led_by(&mut self, url: &Url) -> Url {
        let answer = self.get(url).await;
        location(&answer, url)
    }

    /// Looks at the page of a link and answers the fields of its form.
    pub(super) async fn form(&mut self, link: &Url) -> Vec<(String, String)> {
        let page = self.get(link).await;
        assert_eq!(page.status, 200, "{}", page.body);
        form_fields(page.body.as_str().expect("a page"))
    }

    /// Continues from the page of a link; answers where it leads.
    pub(super) async fn proceed(&mut self, link: &Url) -> Url {
        let fields = self.form(link).await;
        let answer = self.send(Method::POST, &without_query(link), &fields).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        target(&answer, link)
    }

    /// Opens the link and chooses an account on the provider's page; answers the redirect
    /// to our callback.
    pub(super) async fn install(&mut self, link: &Url, account: &str) -> Url {
        let page = self.proceed(link).await;
        let fields = [
            ("account".to_owned(), account.to_owned()),
            ("state".to_owned(), param(&page, "state").expect("a state")),
        ];
        let answer = self.send(Method::POST, &page, &fields).await;
        location(&answer, &page)
    }

    /// Walks the rest of the flow from a redirect to our callback on.
    pub(super) async fn finish(&mut self, callback: &Url) -> Answer {
        let mut url = callback.clone();
        for _ in 0..4 {
            let answer = self.get(&url).await;
            let here = url.authority() == callback.authority();
            if answer.status != 302 {
                return answer;
            }
            let next = location(&answer, &url);
            if here && next.authority() != self.system.simulator.address().to_string() {
                return answer;
            }
            url = next;
        }
        panic!("the flow does not end");
    }
}

pub(super) fn location(answer: &Answer, from: &Url) -> Url {
    assert_eq!(answer.status, 302, "{from}: {}", answer.body);
    target(answer, from)
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

fn target(answer: &Answer, from: &Url) -> Url {
    let text = answer.headers[LOCATION].to_str().expect("text");
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
