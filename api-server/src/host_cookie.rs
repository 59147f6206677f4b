//! Secret cookies of this host.

use axum::http::header::{COOKIE, InvalidHeaderValue};
use axum::http::{HeaderMap, HeaderValue};
use url::Url;

/// A cookie that scripts cannot read and that no other host can set over https.
pub(crate) struct HostCookie {
    /// The name over https: its prefix binds the cookie to this host.
    pub(crate) secure_name: &'static str,
    /// The name over http.
    pub(crate) plain_name: &'static str,
    /// The value of `SameSite`.
    pub(crate) same_site: &'static str,
}

impl HostCookie {
    /// The values that a request has, of which other sites may have set all but one.
    pub(crate) fn values<'h>(
        &self,
        headers: &'h HeaderMap,
        public_url: &Url,
    ) -> impl Iterator<Item = &'h str> {
        let name = self.name(public_url);
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(move |(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// The header that sets the cookie for a number of seconds.
    pub(crate) fn set(
        &self,
        public_url: &Url,
        value: &str,
        max_age_seconds: u32,
    ) -> Result<HeaderValue, InvalidHeaderValue> {
        let secure = if is_secure(public_url) {
            "; Secure"
        } else {
            ""
        };
        let mut header = HeaderValue::from_str(&format!(
            "{}={value}; Path=/; Max-Age={max_age_seconds}; HttpOnly; SameSite={}{secure}",
            self.name(public_url),
            self.same_site,
        ))?;
        header.set_sensitive(true);
        Ok(header)
    }

    fn name(&self, public_url: &Url) -> &'static str {
        if is_secure(public_url) {
            self.secure_name
        } else {
            self.plain_name
        }
    }
}

fn is_secure(public_url: &Url) -> bool {
    public_url.scheme() == "https"
}
