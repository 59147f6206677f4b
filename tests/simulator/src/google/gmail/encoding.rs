//! Encoded words of mail headers (RFC 2047), and dates (RFC 5322).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, FixedOffset, Utc};

/// Maximum number of bytes of text in one encoded word.
const MAX_WORD: usize = 30;

/// Encoding of a header's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// UTF-8 without encoded words, as RFC 6532 allows.
    Plain,
    Base64,
    Quoted,
    /// Quoted, in ISO-8859-1 where that has all characters.
    Latin,
}

impl Encoding {
    /// Encodes a text, in several adjacent words if it is long.
    pub(crate) fn encode(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Base64 => words(text, |part| {
                format!("=?UTF-8?B?{}?=", STANDARD.encode(part))
            }),
            Self::Quoted => words(text, |part| {
                format!("=?utf-8?q?{}?=", quoted(part.as_bytes()))
            }),
            Self::Latin => {
                let latin: Option<Vec<u8>> = text
                    .chars()
                    .map(|one| u8::try_from(u32::from(one)).ok())
                    .collect();
                match latin {
                    Some(bytes) => format!("=?ISO-8859-1?Q?{}?=", quoted(&bytes)),
                    None => Self::Quoted.encode(text),
                }
            }
        }
    }
}

/// Encodes the parts of a text and joins them with folding white space.
fn words(text: &str, encode: impl Fn(&str) -> String) -> String {
    let (mut parts, mut start) = (Vec::new(), 0);
    for (at, one) in text.char_indices() {
        if at + one.len_utf8() - start > MAX_WORD {
            parts.push(encode(&text[start..at]));
            start = at;
        }
    }
    parts.push(encode(&text[start..]));
    parts.join(" ")
}

fn quoted(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b' ' => "_".to_owned(),
        byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
        byte => format!("={byte:02X}"),
    };
    bytes.iter().map(one).collect()
}

/// A date as mail headers write it, in the zone with this offset in minutes.
pub(crate) fn mail_date(seconds: i64, offset_minutes: i32) -> String {
    let date = DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default();
    match FixedOffset::east_opt(offset_minutes * 60) {
        Some(zone) => date.with_timezone(&zone).to_rfc2822(),
        None => date.to_rfc2822(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_follow_their_standard() {
        let text = "Prüfung ✓";
        assert_eq!(Encoding::Plain.encode(text), text);
        assert_eq!(
            Encoding::Base64.encode(text),
            "=?UTF-8?B?UHLDvGZ1bmcg4pyT?="
        );
        assert_eq!(
            Encoding::Quoted.encode(text),
            "=?utf-8?q?Pr=C3=BCfung_=E2=9C=93?="
        );
        assert_eq!(Encoding::Latin.encode(text), Encoding::Quoted.encode(text));
        assert_eq!(
            Encoding::Latin.encode("Prüfung"),
            "=?ISO-8859-1?Q?Pr=FCfung?="
        );
    }

    #[test]
    fn long_text_is_split_between_characters() {
        let encoded = Encoding::Base64.encode(&"ü".repeat(40));
        assert_eq!(encoded.split(' ').count(), 3);
        for word in encoded.split(' ') {
            assert!(word.len() <= 75, "{word}");
            let body = word.trim_start_matches("=?UTF-8?B?").trim_end_matches("?=");
            let bytes = STANDARD.decode(body).expect("base64");
            assert!(String::from_utf8(bytes).is_ok(), "whole characters");
        }
    }

    #[test]
    fn date_states_its_zone() {
        assert_eq!(
            mail_date(1_795_428_000, 0),
            "Mon, 23 Nov 2026 10:00:00 +0000"
        );
        assert_eq!(
            mail_date(1_795_428_000, -480),
            "Mon, 23 Nov 2026 02:00:00 -0800"
        );
    }
}
