//! The stylesheet and the script of the console, named after their digests.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::crypto::sha256;

use crate::pages::style::Style;

/// The rules of the console, after those of all pages.
const RULES: &str = include_str!("console.css");
/// The script that replaces the live part of a page.
const SCRIPT: &str = include_str!("live.js");
/// The number of characters of a digest in a path.
const DIGEST_CHARS: usize = 16;

/// The path under which assets are served.
pub(crate) const ASSETS: &str = "/console/assets/";

/// A file that is part of the program.
#[derive(Debug)]
pub(crate) struct Asset {
    /// The path, which changes with the content.
    pub(super) path: String,
    content_type: &'static str,
    text: String,
}

impl Asset {
    fn new(name: &str, extension: &str, content_type: &'static str, text: String) -> Self {
        let digest = URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()));
        Self {
            path: format!("{ASSETS}{name}-{}.{extension}", &digest[..DIGEST_CHARS]),
            content_type,
            text,
        }
    }

    /// The response with the file, which browsers never request again.
    pub(crate) fn respond(&self) -> Response {
        let mut response = Response::new(Body::from(self.text.clone()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        );
        response
    }
}

/// The assets of the console.
#[derive(Debug)]
pub(crate) struct ConsoleAssets {
    pub(super) style: Asset,
    pub(super) script: Asset,
}

impl ConsoleAssets {
    pub(in crate::pages) fn new(style: &Style) -> Self {
        let text = format!("{}\n{RULES}", style.text);
        Self {
            style: Asset::new("console", "css", "text/css; charset=utf-8", text),
            script: Asset::new(
                "live",
                "js",
                "text/javascript; charset=utf-8",
                SCRIPT.to_owned(),
            ),
        }
    }

    /// The asset with this path.
    pub(crate) fn find(&self, path: &str) -> Option<&Asset> {
        [&self.style, &self.script]
            .into_iter()
            .find(|asset| asset.path == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::brand::Brand;

    #[test]
    fn paths_change_with_the_content() {
        let assets = ConsoleAssets::new(&Style::new(&Brand::default()));
        let paths = [&assets.style.path, &assets.script.path];
        assert!(
            paths.iter().all(|path| path.starts_with(ASSETS)),
            "{paths:?}"
        );
        assert_ne!(
            Asset::new("a", "js", "text/javascript", "1".to_owned()).path,
            Asset::new("a", "js", "text/javascript", "2".to_owned()).path
        );
        assert!(assets.find(&assets.script.path).is_some());
        assert!(assets.find("/console/assets/live.js").is_none());
    }

    #[test]
    fn script_is_small() {
        assert!(SCRIPT.lines().count() <= 150);
    }
}
