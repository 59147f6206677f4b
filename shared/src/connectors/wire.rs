//! Reading what providers send: leniently.
//!
//! A field that is not of the documented form is a field that is missing, and what a fact
//! needs is demanded where the fact is made. Which fields there are is each provider's `wire`
//! to say.

use chrono::{DateTime, Datelike, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::ConnectorError;

/// Why a payload gives no fact. It names the place and never quotes the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// The body is not a JSON object.
    #[error("the payload is not a JSON object")]
    NotAnObject,
    /// A field without which there is no fact.
    #[error("the payload has no field `{0}`")]
    Missing(&'static str),
}

impl From<WireError> for ConnectorError {
    fn from(error: WireError) -> Self {
        Self::Permanent(error.into())
    }
}

/// A time as RFC 3339 can write it, from year 0 to 9999. What lies beyond is no time at which
/// anything happened, and nobody could read it.
pub(super) fn plausible(at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (0..=9999).contains(&at.year()).then_some(at)
}

/// Text, where there is text.
pub(super) fn text<'de, D: Deserializer<'de>>(de: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(de)? {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    })
}

/// An id: text or a number, as the object has it.
pub(super) fn id<'de, D: Deserializer<'de>>(de: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(de)? {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(number) if number.is_u64() => Some(number.to_string()),
        _ => None,
    })
}

/// Anything that can be read, and nothing where it cannot.
pub(super) fn lenient<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    de: D,
) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(de)?).ok())
}

/// Anything that can be read, and its default where it cannot.
pub(super) fn or_default<'de, T: DeserializeOwned + Default, D: Deserializer<'de>>(
    de: D,
) -> Result<T, D::Error> {
    Ok(lenient(de)?.unwrap_or_default())
}

/// The rows of a list that can be read: one that cannot holds up no other.
pub(super) fn rows<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    de: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Value>::deserialize(de)?
        .into_iter()
        .filter_map(|row| serde_json::from_value(row).ok())
        .collect())
}
