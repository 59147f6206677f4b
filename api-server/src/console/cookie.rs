//! The cookie of a session in the console, and the token in its forms.

use axum::http::header::InvalidHeaderValue;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use shared::crypto::{constant_time_eq, hmac_sha256};
use shared::db::operator_sessions::SECRET_LENGTH;
use url::Url;

use crate::host_cookie::HostCookie;

const COOKIE: HostCookie = HostCookie {
    secure_name: "__Host-poblysh_console",
    plain_name: "poblysh_console",
    same_site: "Strict",
};
/// The time after which browsers delete the cookie: the longest time of a session.
const MAX_AGE_SECONDS: u32 = 86_400;
/// The purpose for which the forms' token is derived.
const FORM_CONTEXT: &[u8] = b"poblysh console form";

/// A session's secret.
#[derive(Debug)]
pub(super) struct SessionCookie(SecretString);

impl SessionCookie {
    pub(super) const fn new(secret: SecretString) -> Self {
        Self(secret)
    }

    /// The cookie of a request; `None` if there is none, or more than one.
    pub(super) fn from_headers(headers: &HeaderMap, public_url: &Url) -> Option<Self> {
        let mut found = COOKIE.values(headers, public_url);
        let value = found.next()?;
        // A second cookie of this name was set by another site.
        let is_only = found.next().is_none();
        (is_only && value.len() == SECRET_LENGTH).then(|| Self(value.into()))
    }

    pub(super) fn secret(&self) -> &str {
        self.0.expose_secret()
    }

    /// The token of the session's forms. Other sites cannot read it.
    pub(super) fn form_token(&self) -> String {
        let key = self.0.expose_secret().as_bytes();
        URL_SAFE_NO_PAD.encode(hmac_sha256(key, FORM_CONTEXT))
    }

    pub(super) fn verify_form_token(&self, token: &str) -> bool {
        constant_time_eq(self.form_token().as_bytes(), token.as_bytes())
    }

    /// The header that sets the cookie.
    pub(super) fn set(&self, public_url: &Url) -> Result<HeaderValue, InvalidHeaderValue> {
        COOKIE.set(public_url, self.0.expose_secret(), MAX_AGE_SECONDS)
    }

    /// The header that deletes the cookie.
    pub(super) fn unset(public_url: &Url) -> Result<HeaderValue, InvalidHeaderValue> {
        COOKIE.set(public_url, "", 0)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    fn found(cookies: &[&str], public: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(
                header::COOKIE,
                HeaderValue::from_str(cookie).expect("a header"),
            );
        }
        let cookie = SessionCookie::from_headers(&headers, &url(public))?;
        Some(cookie.secret().to_owned())
    }

    #[test]
    fn only_one_cookie_of_full_length_is_accepted() {
        let secret = "s".repeat(SECRET_LENGTH);
        let (plain, host) = (
            format!("a=1; poblysh_console={secret}"),
            format!("__Host-poblysh_console={secret}"),
        );
        let (http, https) = ("http://127.0.0.1:8080", "https://connect.example.com");
        assert_eq!(found(&[&plain], http).as_deref(), Some(secret.as_str()));
        assert_eq!(found(&[&host], https).as_deref(), Some(secret.as_str()));
        assert_eq!(found(&[&plain], https), None, "another site can set it");
        assert_eq!(found(&[&plain, &plain], http), None);
        assert_eq!(found(&["poblysh_console=short"], http), None);
        assert_eq!(found(&[], http), None);
    }

    #[test]
    fn cookie_is_for_this_host_and_site_only() {
        let cookie = SessionCookie::new("s".repeat(SECRET_LENGTH).into());
        let header = cookie.set(&url("https://connect.example.com"));
        let header = header.expect("a header");
        assert!(header.is_sensitive());
        let text = header.to_str().expect("text");
        assert!(text.starts_with("__Host-poblysh_console=sss"), "{text}");
        for attribute in ["Path=/;", "HttpOnly", "SameSite=Strict", "Secure"] {
            assert!(text.contains(attribute), "{text} lacks {attribute}");
        }
        assert!(!text.contains("Domain"), "{text}");
        let local = cookie.set(&url("http://127.0.0.1:8080")).expect("a header");
        assert!(!local.to_str().expect("text").contains("Secure"));
    }

    #[test]
    fn form_token_belongs_to_its_session() {
        let one = SessionCookie::new("1".repeat(SECRET_LENGTH).into());
        let other = SessionCookie::new("2".repeat(SECRET_LENGTH).into());
        assert!(one.verify_form_token(&one.form_token()));
        assert!(!one.verify_form_token(&other.form_token()));
        assert!(!one.verify_form_token(""));
    }
}
