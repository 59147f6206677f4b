//! Settings of connectors: whether an app is configured, and URLs below a base URL.

use url::Url;

use crate::config::Reader;

/// Builds a URL from a base, which may have a path (`/api/v3`), and segments to encode.
pub(super) fn url_below(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

/// Returns whether the operator configured an app: at least one of its settings is set.
///
/// An incomplete configuration is a mistake, so each missing setting becomes a problem.
pub(super) fn is_app_configured(
    reader: &mut Reader<'_>,
    app: &str,
    required: &[&'static str],
    optional: &[&'static str],
) -> bool {
    if !required
        .iter()
        .chain(optional)
        .any(|name| reader.is_set(name))
    {
        return false;
    }
    for name in required {
        if reader.is_set(name) {
            continue;
        }
        reader.problem(
            name,
            format!("is not set, though other settings of the {app} are"),
        );
    }
    true
}
