//! Replacement of NUL characters in text and JSON, which Postgres cannot store.
//!
//! JSON of a provider or a client may contain NUL. Postgres rejects it in a bound text, and stored
//! JSON with an escaped NUL fails when it is read. One character would then fail a whole batch.
//! Foreign text is therefore bound through [`sanitize`], and foreign JSON through [`Json`] of this
//! module; clippy forbids sqlx's own type.

use std::borrow::Cow;

use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr};
use sea_orm::{ColIdx, DbErr, QueryResult, TryGetError, TryGetable};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// A value that is stored as JSON, with NUL replaced by U+FFFD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Json<T>(pub(crate) T);

#[expect(clippy::disallowed_types, reason = "the only use of sqlx's own type")]
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
        let json = RawValue::from_string(sanitize_json(&text).into_owned())?;
        <Box<RawValue> as Encode<'_, Postgres>>::encode_by_ref(&json, buffer)
    }
}

impl<'r, T: Deserialize<'r> + 'r> Decode<'r, Postgres> for Json<T> {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Unchecked::<T>::decode(value).map(|json| Self(json.0))
    }
}

impl From<Json<Value>> for sea_orm::Value {
    fn from(json: Json<Value>) -> Self {
        Self::Json(Some(Box::new(sanitize_value(json.0))))
    }
}

impl<T: DeserializeOwned> TryGetable for Json<T> {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let value = Value::try_get_by(row, index)?;
        let value = T::deserialize(value).map_err(|error| DbErr::Json(error.to_string()))?;
        Ok(Self(value))
    }
}

impl ValueType for Json<Value> {
    fn try_from(value: sea_orm::Value) -> Result<Self, ValueTypeErr> {
        <Value as ValueType>::try_from(value).map(Self)
    }

    fn type_name() -> String {
        <Value as ValueType>::type_name()
    }

    fn array_type() -> ArrayType {
        <Value as ValueType>::array_type()
    }

    fn column_type() -> ColumnType {
        <Value as ValueType>::column_type()
    }
}

impl Nullable for Json<Value> {
    fn null() -> sea_orm::Value {
        Value::null()
    }
}

/// Replaces NUL by U+FFFD in a text.
pub(crate) fn sanitize(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Replaces NUL by U+FFFD in several texts.
pub(crate) fn sanitize_all<S: AsRef<str>>(texts: &[S]) -> Vec<Cow<'_, str>> {
    texts.iter().map(|text| sanitize(text.as_ref())).collect()
}

/// Replaces NUL by U+FFFD in the texts of a JSON value.
fn sanitize_value(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains('\0') => sanitize(&text).into(),
        Value::Array(items) => items.into_iter().map(sanitize_value).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (sanitize(&name).into_owned(), sanitize_value(value)))
            .collect(),
        other => other,
    }
}

/// Replaces escaped NUL by escaped U+FFFD in a JSON text.
pub(crate) fn sanitize_json(text: &str) -> Cow<'_, str> {
    const NUL: &str = "\\u0000";
    if !text.contains(NUL) {
        return Cow::Borrowed(text);
    }
    let mut sanitized = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        sanitized.push_str(before);
        if let Some(after) = escape.strip_prefix(NUL) {
            sanitized.push_str("\\ufffd");
            rest = after;
        } else {
            // Copy the backslash and the character it escapes, which may be a backslash.
            let end = escape
                .char_indices()
                .nth(2)
                .map_or(escape.len(), |(end, _)| end);
            sanitized.push_str(&escape[..end]);
            rest = &escape[end..];
        }
    }
    sanitized.push_str(rest);
    Cow::Owned(sanitized)
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
            assert_eq!(sanitize_json(text), expected);
        }
    }

    #[test]
    fn bound_value_has_no_nul() {
        let value = serde_json::json!({ "a\0": ["\0", { "b": "c\0d" }, 1, null] });
        let expected =
            serde_json::json!({ "a\u{fffd}": ["\u{fffd}", { "b": "c\u{fffd}d" }, 1, null] });
        assert_eq!(
            sea_orm::Value::from(Json(value)),
            sea_orm::Value::Json(Some(Box::new(expected)))
        );
    }
}
