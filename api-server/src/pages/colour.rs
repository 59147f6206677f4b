//! Colours in sRGB and their contrast.
//!
//! Source: WCAG 2.2, "relative luminance", "contrast ratio" and success criterion 1.4.3.

use std::fmt;

/// The minimum contrast of text with its background.
pub(super) const MIN_CONTRAST: f64 = 4.5;

/// The darkest background of text in light mode, as in `style.css`.
pub(super) const LIGHT_BACKGROUND: Colour = Colour::new(0xf4, 0xf5, 0xf7);
/// The lightest background of text in dark mode, as in `style.css`.
pub(super) const DARK_BACKGROUND: Colour = Colour::new(0x1e, 0x21, 0x27);

/// The steps from a colour to white.
const LIGHTENING_STEPS: u16 = 20;

/// A colour in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Colour([u8; 3]);

impl Colour {
    pub(super) const fn new(red: u8, green: u8, blue: u8) -> Self {
        Self([red, green, blue])
    }

    /// Parses `#rrggbb`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        let is_hex = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
        let [_, red, green, blue] = number.to_be_bytes();
        Some(Self([red, green, blue]))
    }

    /// The contrast with another colour, from 1 to 21.
    pub(super) fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// The first colour on the way to white that is readable on a dark background.
    pub(super) fn lighten_on(self, background: Self) -> Self {
        (0..=LIGHTENING_STEPS)
            .map(|step| self.mix_with_white(step))
            .find(|mixed| mixed.contrast(background) >= MIN_CONTRAST)
            .unwrap_or(Self([u8::MAX; 3]))
    }

    fn mix_with_white(self, step: u16) -> Self {
        Self(self.0.map(|channel| {
            let rest = u16::from(u8::MAX - channel) * step / LIGHTENING_STEPS;
            u8::try_from(u16::from(channel) + rest).unwrap_or(u8::MAX)
        }))
    }

    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|channel| {
            let share = f64::from(channel) / 255.0;
            if share <= 0.04045 {
                share / 12.92
            } else {
                ((share + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(formatter, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(text: &str) -> Colour {
        Colour::parse(text).expect("a colour")
    }

    #[test]
    fn only_six_hex_digits_are_a_colour() {
        assert_eq!(colour("#0A1b2c").to_string(), "#0a1b2c");
        for bad in [
            "", "#", "0a1b2c", "#0a1b2", "#0a1b2c3", "#0a1b2g", "#+a1b2c", "red", "#fff", "#äää",
        ] {
            assert_eq!(Colour::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn contrast_matches_published_ratios() {
        for (one, two, ratio) in [
            ("#000000", "#ffffff", 21.0),
            ("#ffffff", "#ffffff", 1.0),
            ("#767676", "#ffffff", 4.54),
            ("#777777", "#ffffff", 4.48),
            ("#0000ff", "#ffffff", 8.59),
        ] {
            let found = colour(one).contrast(colour(two));
            assert!((found - ratio).abs() < 0.01, "{one} on {two}: {found}");
            assert!((colour(two).contrast(colour(one)) - found).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn dark_colours_become_readable_on_dark() {
        let background = colour("#1d2025");
        for text in ["#000000", "#1d4ed8", "#7c2d12", "#14532d"] {
            let lightened = colour(text).lighten_on(background);
            assert!(lightened.contrast(background) >= MIN_CONTRAST, "{text}");
        }
        let light = colour("#ffd866");
        assert_eq!(light.lighten_on(background), light);
    }
}
