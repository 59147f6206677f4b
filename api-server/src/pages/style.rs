//! The stylesheet of pages, and the digest by which their policy allows it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use shared::crypto::sha256;

use super::brand::Brand;
use super::colour::DARK_BACKGROUND;

/// The rules that no setting changes.
const RULES: &str = include_str!("style.css");

/// The stylesheet with the brand's colours.
#[derive(Debug)]
pub(super) struct Style {
    pub(super) text: String,
    /// SHA-256 of the text, in base64.
    pub(super) digest: String,
}

impl Style {
    pub(super) fn new(brand: &Brand) -> Self {
        let light = brand.colour;
        let dark = light.lighten_on(DARK_BACKGROUND);
        let text = format!(
            ":root{{--brand:{light};--on-brand:#fff}}\n\
             @media(prefers-color-scheme:dark){{:root{{--brand:{dark};--on-brand:#15171b}}}}\n\
             {RULES}"
        );
        let digest = STANDARD.encode(sha256(text.as_bytes()));
        Self { text, digest }
    }
}

#[cfg(test)]
mod tests {
    use super::super::colour::{Colour, LIGHT_BACKGROUND, MIN_CONTRAST};
    use super::*;

    /// The values of a custom property, in light and in dark mode.
    fn values(name: &str) -> Vec<Colour> {
        let declaration = format!("--{name}:");
        let values = RULES.split(&declaration).skip(1);
        values
            .map(|rest| Colour::parse(&rest[..7]).expect("a colour"))
            .collect()
    }

    #[test]
    fn texts_are_readable_in_both_modes() {
        let backgrounds = [values("page"), values("card")].concat();
        assert!(backgrounds.contains(&LIGHT_BACKGROUND) && backgrounds.contains(&DARK_BACKGROUND));
        for name in ["text", "muted", "good", "wait", "bad"] {
            for (mode, colour) in values(name).into_iter().enumerate() {
                for background in [values("page")[mode], values("card")[mode]] {
                    let contrast = colour.contrast(background);
                    assert!(contrast >= MIN_CONTRAST, "{name} {colour}: {contrast:.2}");
                }
            }
        }
        // Borders of fields and buttons need 3:1 (success criterion 1.4.11).
        for (mode, edge) in values("edge").into_iter().enumerate() {
            assert!(edge.contrast(values("card")[mode]) >= 3.0, "{edge}");
        }
    }

    #[test]
    fn brand_is_readable_in_dark_mode() {
        let style = Style::new(&Brand::default());
        let dark = Brand::default().colour.lighten_on(DARK_BACKGROUND);
        assert!(style.text.contains(&dark.to_string()));
        let on_brand = Colour::parse("#15171b").expect("a colour");
        assert!(dark.contrast(on_brand) >= MIN_CONTRAST);
        assert!(
            !style.text.contains("</"),
            "the text is not escaped in a page"
        );
    }
}
