//! Which browser a connect flow belongs to.

use axum::http::header::{COOKIE, InvalidHeaderValue};
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use shared::crypto::{constant_time_eq, hmac_sha256, random_token, sha256};
use url::Url;

/// Random bytes in the cookie.
const COOKIE_BYTES: usize = 32;
/// Their length in base64url.
const COOKIE_CHARS: usize = 43;
/// As long as a flow may take.
const COOKIE_SECONDS: u32 = 600;

/// A browser, known by a cookie that only it and we have seen.
pub(super) struct Browser(SecretString);

impl Browser {
    /// The browser that sent this request, if it has been here before. Flows that run at
    /// the same time in one browser share its cookie.
    pub(super) fn known(headers: &HeaderMap, public_url: &Url) -> Option<Self> {
        let name = name(public_url);
        let mut found = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(key, value)| *key == name && value.len() == COOKIE_CHARS);
        let (_, value) = found.next()?;
        // Two of the same name: somebody has put one beside ours.
        found.next().is_none().then(|| Self(value.into()))
    }

    /// A browser that comes for the first time.
    pub(super) fn new() -> Self {
        Self(random_token(COOKIE_BYTES))
    }

    /// What is kept of it.
    pub(super) fn hash(&self) -> [u8; 32] {
        sha256(self.0.expose_secret().as_bytes())
    }

    /// What only a page that this browser was shown can send for a link: nobody else knows
    /// the cookie that it is made of.
    pub(super) fn confirmation(&self, token: &str) -> String {
        let key = self.0.expose_secret().as_bytes();
        URL_SAFE_NO_PAD.encode(hmac_sha256(key, token.as_bytes()))
    }

    /// Whether a form's confirmation is this browser's for a link.
    pub(super) fn confirms(&self, token: &str, confirmation: &str) -> bool {
        constant_time_eq(self.confirmation(token).as_bytes(), confirmation.as_bytes())
    }

    /// Tells the browser who it is.
    pub(super) fn set_cookie(&self, public_url: &Url) -> Result<HeaderValue, InvalidHeaderValue> {
        let name = name(public_url);
        let secure = if is_secure(public_url) {
            "; Secure"
        } else {
            ""
        };
        let mut value = HeaderValue::from_str(&format!(
            "{name}={}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax{secure}",
            self.0.expose_secret()
        ))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Over HTTPS, the prefix makes browsers refuse such a cookie from any other host.
fn name(public_url: &Url) -> &'static str {
    if is_secure(public_url) {
        "__Host-poblysh_connect"
    } else {
        "poblysh_connect"
    }
}

fn is_secure(public_url: &Url) -> bool {
    public_url.scheme() == "https"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    fn sent(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_str(cookie).expect("a header"));
        headers
    }

    #[test]
    fn a_browser_is_known_again_by_its_cookie() {
        for public in [
            url("https://connect.example.com"),
            url("http://127.0.0.1:8080"),
        ] {
            let browser = Browser::new();
            let set = browser.set_cookie(&public).expect("a header");
            let pair = set
                .to_str()
                .expect("ASCII")
                .split(';')
                .next()
                .expect("a pair")
                .to_owned();
            let again = Browser::known(&sent(&format!("a=b; {pair}")), &public).expect("known");
            assert_eq!(again.hash(), browser.hash());
            assert!(Browser::known(&sent(&format!("{pair}; {pair}")), &public).is_none());
        }
        assert!(Browser::known(&sent("poblysh_connect=x"), &url("http://127.0.0.1")).is_none());
    }

    #[test]
    fn a_confirmation_fits_one_browser_and_one_link() {
        let (one, other) = (Browser::new(), Browser::new());
        let confirmation = one.confirmation("a link");
        assert!(one.confirms("a link", &confirmation));
        assert!(!one.confirms("another", &confirmation));
        assert!(!other.confirms("a link", &confirmation));
        assert!(!one.confirms("a link", ""));
    }

    #[test]
    fn over_https_the_cookie_is_bound_to_the_host() {
        let set = Browser::new()
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
