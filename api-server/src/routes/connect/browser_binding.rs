//! The binding of a connect flow to a browser.

use axum::http::header::InvalidHeaderValue;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use shared::crypto::{constant_time_eq, hmac_sha256, random_token, sha256};
use url::Url;

use crate::host_cookie::HostCookie;

const COOKIE: HostCookie = HostCookie {
    secure_name: "__Host-poblysh_connect",
    plain_name: "poblysh_connect",
    same_site: "Lax",
};
/// The number of random bytes in the cookie.
const COOKIE_BYTES: usize = 32;
/// The length of the cookie in base64url.
const COOKIE_LENGTH: usize = 43;
/// The time for which a browser can continue its flow, and see the outcome again.
///
/// A state is valid for ten minutes, and the response to it is stored for an hour after that.
const COOKIE_MAX_AGE_SECONDS: u32 = 4200;

/// A browser, identified by a secret cookie.
pub(super) struct BrowserBinding(SecretString);

impl BrowserBinding {
    /// The browser that sent a request; `None` without the cookie.
    ///
    /// Concurrent flows in one browser share the cookie.
    pub(super) fn from_headers(headers: &HeaderMap, public_url: &Url) -> Option<Self> {
        let mut found = COOKIE
            .values(headers, public_url)
            .filter(|value| value.len() == COOKIE_LENGTH);
        let value = found.next()?;
        // A second cookie of this name was set by another site.
        found.next().is_none().then(|| Self(value.into()))
    }

    /// A browser with a new cookie.
    pub(super) fn new() -> Self {
        Self(random_token(COOKIE_BYTES))
    }

    /// The hash of the cookie, which the database stores.
    pub(super) fn hash(&self) -> [u8; 32] {
        sha256(self.0.expose_secret().as_bytes())
    }

    /// The confirmation of a link's page, derived from the cookie and the link's token.
    pub(super) fn confirmation(&self, token: &str) -> String {
        let key = self.0.expose_secret().as_bytes();
        URL_SAFE_NO_PAD.encode(hmac_sha256(key, token.as_bytes()))
    }

    /// Whether a form's confirmation belongs to this browser and link.
    pub(super) fn verify_confirmation(&self, token: &str, confirmation: &str) -> bool {
        constant_time_eq(self.confirmation(token).as_bytes(), confirmation.as_bytes())
    }

    /// The header `Set-Cookie`.
    pub(super) fn set_cookie(&self, public_url: &Url) -> Result<HeaderValue, InvalidHeaderValue> {
        COOKIE.set(public_url, self.0.expose_secret(), COOKIE_MAX_AGE_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    fn sent(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::COOKIE,
            HeaderValue::from_str(cookie).expect("a header"),
        );
        headers
    }

    #[test]
    fn browser_is_recognized_by_its_cookie() {
        for public in [
            url("https://connect.example.com"),
            url("http://127.0.0.1:8080"),
        ] {
            let browser = BrowserBinding::new();
            let set = browser.set_cookie(&public).expect("a header");
            let pair = set
                .to_str()
                .expect("ASCII")
                .split(';')
                .next()
                .expect("a pair")
                .to_owned();
            let again = BrowserBinding::from_headers(&sent(&format!("a=b; {pair}")), &public)
                .expect("known");
            assert_eq!(again.hash(), browser.hash());
            assert!(
                BrowserBinding::from_headers(&sent(&format!("{pair}; {pair}")), &public).is_none()
            );
        }
        assert!(
            BrowserBinding::from_headers(&sent("poblysh_connect=x"), &url("http://127.0.0.1"))
                .is_none()
        );
    }

    #[test]
    fn confirmation_is_valid_for_one_browser_and_link() {
        let (one, other) = (BrowserBinding::new(), BrowserBinding::new());
        let confirmation = one.confirmation("a link");
        assert!(one.verify_confirmation("a link", &confirmation));
        assert!(!one.verify_confirmation("another", &confirmation));
        assert!(!other.verify_confirmation("a link", &confirmation));
        assert!(!one.verify_confirmation("a link", ""));
    }

    #[test]
    fn https_cookie_is_bound_to_the_host() {
        let set = BrowserBinding::new()
            .set_cookie(&url("https://connect.example.com"))
            .expect("header");
        let text = set.to_str().expect("ASCII");
        assert!(text.starts_with("__Host-"), "{text}");
        for attribute in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/;"] {
            assert!(text.contains(attribute), "{text} lacks {attribute}");
        }
        assert!(!text.contains("Domain"));
    }
}
