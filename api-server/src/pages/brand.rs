//! The name, colour and support link of pages, as the operator sets them.

use shared::config::{Reader, is_loopback};
use url::Url;

use super::colour::{Colour, LIGHT_BACKGROUND, MIN_CONTRAST};

/// The name without a setting.
const DEFAULT_NAME: &str = "Poblysh Connectors";
/// The colour without a setting.
const DEFAULT_COLOUR: Colour = Colour::new(0x1d, 0x4e, 0xd8);
/// The maximum length of the name.
const MAX_NAME_CHARS: usize = 60;

/// The name, colour and support link of pages.
#[derive(Debug, Clone)]
pub(crate) struct Brand {
    /// The product's name for people.
    pub(super) name: String,
    /// The colour of buttons and links.
    pub(super) colour: Colour,
    /// The page or the mail address for help.
    pub(super) support: Option<Url>,
}

impl Default for Brand {
    fn default() -> Self {
        Self {
            name: DEFAULT_NAME.to_owned(),
            colour: DEFAULT_COLOUR,
            support: None,
        }
    }
}

impl Brand {
    /// Reads `PAGES_NAME`, `PAGES_COLOUR` and `PAGES_SUPPORT_URL`.
    pub(crate) fn from_reader(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        Self {
            name: read_name(reader).unwrap_or(default.name),
            colour: read_colour(reader).unwrap_or(default.colour),
            support: read_support(reader),
        }
    }
}

fn read_name(reader: &mut Reader<'_>) -> Option<String> {
    const NAME: &str = "PAGES_NAME";
    let name = reader.optional_string(NAME)?;
    if name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        let expected =
            format!("must have at most {MAX_NAME_CHARS} characters, and no control characters");
        reader.problem(NAME, expected);
    }
    Some(name.trim().to_owned())
}

fn read_colour(reader: &mut Reader<'_>) -> Option<Colour> {
    const NAME: &str = "PAGES_COLOUR";
    let text = reader.optional_string(NAME)?;
    let Some(colour) = Colour::parse(&text) else {
        reader.problem(NAME, "must be a colour of the form #rrggbb");
        return None;
    };
    let contrast = colour.contrast(LIGHT_BACKGROUND);
    if contrast < MIN_CONTRAST {
        let reason = format!(
            "has a contrast of {contrast:.1}:1 with the background of pages; choose a darker \
             colour, with at least {MIN_CONTRAST}:1"
        );
        reader.problem(NAME, reason);
    }
    Some(colour)
}

fn read_support(reader: &mut Reader<'_>) -> Option<Url> {
    const NAME: &str = "PAGES_SUPPORT_URL";
    let text = reader.optional_string(NAME)?;
    let url = Url::parse(&text).ok().filter(|url| match url.scheme() {
        "https" => url.username().is_empty() && url.password().is_none(),
        "http" => is_loopback(url),
        "mailto" => url.path().contains('@'),
        _ => false,
    });
    if url.is_none() {
        reader.problem(
            NAME,
            "must begin with https:// or be mailto: with an address",
        );
    }
    url
}

#[cfg(test)]
mod tests {
    use shared::config::{ConfigError, Env};

    use super::*;

    fn brand(settings: &[(&str, &str)]) -> Result<Brand, ConfigError> {
        let env = Env::from_pairs(settings.iter().copied());
        let mut reader = Reader::new(&env);
        let brand = Brand::from_reader(&mut reader);
        reader.finish().map(|()| brand)
    }

    #[test]
    fn settings_replace_the_defaults() {
        let brand = brand(&[
            ("POBLYSH_PAGES_NAME", " Example "),
            ("POBLYSH_PAGES_COLOUR", "#7C2D12"),
            ("POBLYSH_PAGES_SUPPORT_URL", "mailto:help@example.com"),
        ])
        .expect("valid settings");
        assert_eq!(brand.name, "Example");
        assert_eq!(brand.colour.to_string(), "#7c2d12");
        assert_eq!(
            brand.support.expect("a link").as_str(),
            "mailto:help@example.com"
        );
    }

    #[test]
    fn default_colour_passes_its_own_check() {
        let default = Brand::default();
        assert!(default.colour.contrast(LIGHT_BACKGROUND) >= MIN_CONTRAST);
        assert_eq!(brand(&[]).expect("no settings").name, DEFAULT_NAME);
    }

    #[test]
    fn invalid_settings_are_rejected_by_name() {
        let long = "a".repeat(MAX_NAME_CHARS + 1);
        for (name, value) in [
            ("POBLYSH_PAGES_NAME", long.as_str()),
            ("POBLYSH_PAGES_NAME", "a\nb"),
            ("POBLYSH_PAGES_COLOUR", "blue"),
            ("POBLYSH_PAGES_COLOUR", "#1d4ed"),
            ("POBLYSH_PAGES_COLOUR", "#ffcc00"),
            ("POBLYSH_PAGES_COLOUR", "#767676"),
            ("POBLYSH_PAGES_SUPPORT_URL", "example.com/help"),
            ("POBLYSH_PAGES_SUPPORT_URL", "http://example.com/help"),
            ("POBLYSH_PAGES_SUPPORT_URL", "https://user@example.com/"),
            ("POBLYSH_PAGES_SUPPORT_URL", "javascript:alert(1)"),
            ("POBLYSH_PAGES_SUPPORT_URL", "mailto:help"),
        ] {
            let error = brand(&[(name, value)]).expect_err(value).to_string();
            assert!(error.contains(name), "{value:?}: {error}");
        }
    }
}
