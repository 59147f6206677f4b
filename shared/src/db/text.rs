//! Text and JSON, as Postgres can hold them.
//!
//! Neither can hold NUL, which a provider's or a client's JSON may contain: a bound text is refused,
//! and stored JSON fails when it is read. One such character would keep out everything that is
//! written with it. So whatever does not come from ourselves is bound as [`storable`] text or as
//! [`Json`] of this module; sqlx's own is refused by clippy.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// A value that is stored as JSON, with U+FFFD in the place of NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Json<T>(pub(crate) T);

#[expect(clippy::disallowed_types, reason = "this is the way around it")]
type Unchecked<T> = sqlx::types::Json<T>;

impl<T> Type<Postgres> for Json<T> {
    fn type_info() -> PgTypeInfo {
        <Unchecked<T> as Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        <Unchecked<T> as Type<Postgres>>::compatible(ty)
    }
}

impl<T: Serialize> Encode<'_, Postgres> for Json<T> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let text = serde_json::to_string(&self.0)?;
        let json = RawValue::from_string(storable_json(&text).into_owned())?;
        <Box<RawValue> as Encode<'_, Postgres>>::encode_by_ref(&json, buffer)
    }
}

impl<'r, T: Deserialize<'r> + 'r> Decode<'r, Postgres> for Json<T> {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Unchecked::<T>::decode(value).map(|json| Self(json.0))
    }
}

/// The same text with U+FFFD in the place of NUL.
pub(crate) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The same of several texts.
pub(crate) fn storable_all<S: AsRef<str>>(texts: &[S]) -> Vec<Cow<'_, str>> {
    texts.iter().map(|text| storable(text.as_ref())).collect()
}

/// The same JSON text with U+FFFD in the place of an escaped NUL.
pub(crate) fn storable_json(text: &str) -> Cow<'_, str> {
    const NUL: &str = "\\u0000";
    if !text.contains(NUL) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        cleaned.push_str(before);
        if let Some(behind) = escape.strip_prefix(NUL) {
            cleaned.push_str("\\ufffd");
            rest = behind;
        } else {
            // A backslash and what it escapes, which may be another backslash.
            let end = escape
                .char_indices()
                .nth(2)
                .map_or(escape.len(), |(end, _)| end);
            cleaned.push_str(&escape[..end]);
            rest = &escape[end..];
        }
    }
    cleaned.push_str(rest);
    Cow::Owned(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_nul_is_replaced_and_other_text_kept() {
        for (text, expected) in [
            (r#"{"a":"b"}"#, r#"{"a":"b"}"#),
            (r#"{"a":"\u0000b"}"#, r#"{"a":"\ufffdb"}"#),
            (r#"{"a":"\\u0000"}"#, r#"{"a":"\\u0000"}"#),
            (r#"{"a":"\\\u0000\n"}"#, r#"{"a":"\\\ufffd\n"}"#),
            (r#"{"\u0000":"\u00000"}"#, r#"{"\ufffd":"\ufffd0"}"#),
        ] {
            assert_eq!(storable_json(text), expected);
        }
    }
}
