//! Character references of HTML, which Zoho puts into texts.

use std::borrow::Cow;

/// Maximum length of a reference, without `&` and `;`.
const MAX_LENGTH: usize = 10;

/// Resolves the character references of a text, once.
///
/// Other texts stay: `&` alone, an unknown name, a number without a character.
pub(in crate::connectors) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        resolved.push_str(before);
        let end = after.find(';').filter(|end| *end <= MAX_LENGTH);
        if let Some((character, end)) = end.and_then(|end| Some((character(&after[..end])?, end))) {
            resolved.push(character);
            rest = &after[end + 1..];
        } else {
            resolved.push('&');
            rest = after;
        }
    }
    resolved.push_str(rest);
    Cow::Owned(resolved)
}

/// The character of a reference.
fn character(reference: &str) -> Option<char> {
    if let Some(number) = reference.strip_prefix('#') {
        let hex = number.strip_prefix(['x', 'X']);
        let digits = hex.unwrap_or(number);
        let radix = if hex.is_some() { 16 } else { 10 };
        let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
        let code = is_number.then(|| u32::from_str_radix(digits, radix).ok())??;
        return char::from_u32(code).filter(|character| *character != '\0');
    }
    Some(match reference {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn references_are_resolved_once() {
        for (text, expected) in [
            ("no reference", "no reference"),
            ("&lt;ada@example.com&gt;", "<ada@example.com>"),
            ("R&amp;D", "R&D"),
            ("&amp;lt;", "&lt;"),
            ("&quot;Ada&quot; &#39;L&#x27; &apos;", "\"Ada\" 'L' '"),
            ("a&nbsp;b", "a\u{a0}b"),
            ("&#233;t&#233;", "été"),
            ("AT&T; R & D", "AT&T; R & D"),
            ("&", "&"),
            (
                "&#;&#x;&#-1;&#1114112;&#0;&#xD800;",
                "&#;&#x;&#-1;&#1114112;&#0;&#xD800;",
            ),
            ("&unknown;&LT;", "&unknown;&LT;"),
        ] {
            assert_eq!(unescape(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn escaped_text_is_restored(text in ".{0,40}") {
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
            prop_assert_eq!(unescape(&escaped), text);
        }
    }
}
