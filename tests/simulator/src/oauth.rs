//! Browser sessions, redirects and PKCE of the providers' consent pages.
//!
//! A browser session is the cookie `user_session=<login>` and needs no password.

use aws_lc_rs::digest;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

/// Name of the browser session's cookie.
const SESSION: &str = "user_session";

/// Value of a cookie.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then(|| value.to_owned())
        })
}

/// Login of the browser session.
pub(crate) fn session(headers: &HeaderMap) -> Option<String> {
    cookie(headers, SESSION)
}

/// Escapes text for HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Page with the provider's name.
pub(crate) fn page(provider: &str, status: StatusCode, text: &str) -> Response {
    let html =
        format!("<!doctype html><title>{provider}</title><h1>Simulated {provider}</h1>{text}");
    (status, Html(html)).into_response()
}

/// Sign-in form, which posts to `action` and returns to the given page.
pub(crate) fn sign_in_form(action: &str, return_to: &str, label: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{action}\">\
         <input type=\"hidden\" name=\"return_to\" value=\"{}\">\
         <label>{label} <input name=\"login\" autofocus></label> <button>Sign in</button></form>",
        escape(return_to)
    )
}

/// Starts the browser session and returns to a page, or to `/`.
pub(crate) fn start_session(login: &str, return_to: Option<&String>) -> Response {
    let cookie = format!("{SESSION}={login}; Path=/; HttpOnly; SameSite=Lax");
    let location = return_to.map_or("/", String::as_str);
    let headers = [
        (header::SET_COOKIE, cookie.as_str()),
        (header::LOCATION, location),
    ];
    (StatusCode::FOUND, headers).into_response()
}

/// Redirects the browser to a URL with these fields added to its query.
pub(crate) fn redirect<'f>(
    mut target: Url,
    fields: impl IntoIterator<Item = (&'f str, &'f str)>,
) -> Response {
    target.query_pairs_mut().extend_pairs(fields);
    (StatusCode::FOUND, [(header::LOCATION, target.as_str())]).into_response()
}

/// S256 challenge of a PKCE verifier.
pub(crate) fn s256(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s256_matches_the_vector_of_rfc_7636() {
        let challenge = s256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
