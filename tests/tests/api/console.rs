//! The operator's console: sign-in, sessions, forms, and its pages.

mod attacks;
mod pages;
mod sign_in;

use reqwest::header::{COOKIE, HeaderMap, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Method, StatusCode};

use crate::server::Api;

/// The origin of the API's public URL in tests.
const OWN_ORIGIN: &str = "http://127.0.0.1:8080";

/// Starts an API with the console.
async fn start() -> Api {
    Api::with(&[("POBLYSH_CONSOLE", "on")]).await
}

/// A page as the browser received it.
#[derive(Debug)]
struct Page {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Page {
    /// Asserts that the page has each of these texts.
    #[track_caller]
    fn shows(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(self.text.contains(text), "lacks {text:?}: {}", self.text);
        }
        self
    }

    #[track_caller]
    fn lacks(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(!self.text.contains(text), "has {text:?}: {}", self.text);
        }
        self
    }

    #[track_caller]
    fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The target of a redirect after a form.
    #[track_caller]
    fn redirect(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.text);
        self.headers[LOCATION].to_str().expect("text")
    }
}

/// A browser of an operator, with its cookie.
struct Browser<'a> {
    api: &'a Api,
    cookie: Option<String>,
}

impl<'a> Browser<'a> {
    fn new(api: &'a Api) -> Self {
        Self { api, cookie: None }
    }

    /// A browser that signed in with a token.
    async fn signed_in(api: &'a Api, token: &str) -> Self {
        let mut browser = Self::new(api);
        let page = browser
            .send_form("/console/login", &[("operator_token", token)])
            .await;
        assert_eq!(page.redirect(), "/console");
        browser
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Page {
        let request = match &self.cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        };
        let response = request.send().await.expect("a response");
        let (status, headers) = (response.status(), response.headers().clone());
        if let Some(set) = headers.get(SET_COOKIE) {
            let pair = set.to_str().expect("text").split(';').next();
            let pair = pair.expect("a pair");
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        let text = response.text().await.expect("a body");
        Page {
            status,
            headers,
            text,
        }
    }

    async fn get(&mut self, path: &str) -> Page {
        let url = format!("{}{path}", self.api.url);
        let request = self.api.client.request(Method::GET, url);
        self.send(request.header("accept", "text/html")).await
    }

    /// Sends a form of this origin without a token of a session.
    async fn send_form(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let url = format!("{}{path}", self.api.url);
        let request = self.api.client.request(Method::POST, url);
        self.send(request.header(ORIGIN, OWN_ORIGIN).form(fields))
            .await
    }

    /// The token of the session's forms, as a page has it.
    async fn form_token(&mut self) -> String {
        let page = self.get("/console").await;
        let (_, rest) = page
            .text
            .split_once("name=\"token\" value=\"")
            .expect("a form");
        rest.split('"').next().expect("a value").to_owned()
    }

    /// Sends a form as the page's button does.
    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.form_token().await;
        let mut all = vec![("token", token.as_str())];
        all.extend_from_slice(fields);
        self.send_form(path, &all).await
    }
}
