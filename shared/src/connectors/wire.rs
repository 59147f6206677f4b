//! Lenient parsing of providers' JSON.
//!
//! Lone surrogates, which JSON can express and UTF-8 cannot, become U+FFFD, and so do invalid UTF-8
//! bytes; null counts as absent. A field of an undocumented form counts as missing; the code that
//! builds a fact checks for the fields that it needs, and each provider's `wire` defines them.

use std::borrow::Cow;
use std::sync::OnceLock;

use chrono::{DateTime, Datelike, Utc};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::ConnectorError;
use crate::model::is_web_url;

/// Reason why a payload yields no fact. It names the field and never quotes the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// The body is not a JSON object.
    #[error("the payload is not a JSON object")]
    NotAnObject,
    /// A required field is missing.
    #[error("the payload has no field `{0}`")]
    Missing(&'static str),
}

impl From<WireError> for ConnectorError {
    fn from(error: WireError) -> Self {
        Self::Permanent(error.into())
    }
}

/// A JSON body as received.
///
/// Parts borrowed from it as [`RawValue`] are byte-identical to the body, unless it needed repair.
#[derive(Debug)]
pub(super) struct Json<B> {
    body: B,
    repaired: OnceLock<Option<String>>,
}

impl<B: AsRef<[u8]>> Json<B> {
    /// Wraps a body.
    pub(super) const fn of(body: B) -> Self {
        Self {
            body,
            repaired: OnceLock::new(),
        }
    }

    /// Returns whether the body starts like an object.
    pub(super) fn is_object(&self) -> bool {
        self.body.as_ref().trim_ascii_start().starts_with(b"{")
    }

    /// Returns whether the body is JSON of any form.
    pub(super) fn is_json(&self) -> bool {
        self.read::<IgnoredAny>().is_ok()
    }

    /// Parses the body, which is repaired if necessary.
    pub(super) fn read<'t, T: Deserialize<'t>>(&'t self) -> Result<T, serde_json::Error> {
        let body = self.body.as_ref();
        serde_json::from_slice(body).or_else(|error| {
            let repair = || repair(&String::from_utf8_lossy(body));
            match self.repaired.get_or_init(repair) {
                Some(text) => serde_json::from_str(text),
                None => Err(error),
            }
        })
    }
}

/// Parses a part of a payload or a row of a list, which an error names.
pub(super) fn read<T: DeserializeOwned>(
    field: &'static str,
    raw: &RawValue,
) -> Result<T, WireError> {
    read_json(raw.get()).map_err(|_| WireError::Missing(field))
}

/// Parses a JSON text into an owned value.
pub(super) fn read_json<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| match repair(text) {
        Some(text) => serde_json::from_str(&text),
        None => Err(error),
    })
}

/// Removes lone surrogates, nulls and duplicate names; `None` if the text is not JSON.
fn repair(text: &str) -> Option<String> {
    let mut value: Value = serde_json::from_str(&replace_lone_surrogates(text)).ok()?;
    drop_nulls(&mut value);
    Some(value.to_string())
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(elements) => {
            elements.retain(|element| !element.is_null());
            elements.iter_mut().for_each(drop_nulls);
        }
        _ => {}
    }
}

/// Replaces every lone surrogate by U+FFFD.
fn replace_lone_surrogates(text: &str) -> Cow<'_, str> {
    const ESCAPE: usize = 6;
    let unit = |at: usize| -> Option<u16> {
        let digits = text.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut replaced: Option<String> = None;
    let (mut from, mut at) = (0, 0);
    while let Some(found) = text[at..].find('\\') {
        at += found;
        match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + ESCAPE), Some(0xDC00..=0xDFFF)) => {
                at += 2 * ESCAPE;
            }
            Some(0xD800..=0xDFFF) => {
                let replaced = replaced.get_or_insert_default();
                replaced.push_str(&text[from..at]);
                replaced.push_str("\\ufffd");
                at += ESCAPE;
                from = at;
            }
            Some(_) => at += ESCAPE,
            // The escaped character is one byte in valid JSON.
            None => {
                at += 1;
                at += text[at..].chars().next().map_or(0, char::len_utf8);
            }
        }
    }
    match replaced {
        Some(mut replaced) => {
            replaced.push_str(&text[from..]);
            Cow::Owned(replaced)
        }
        None => Cow::Borrowed(text),
    }
}

/// Returns a time that RFC 3339 can represent, from year 0 to 9999.
pub(super) fn plausible(at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (0..=9999).contains(&at.year()).then_some(at)
}

/// Deserializes nonempty text; `None` for any other value.
pub(super) fn text<'de, D: Deserializer<'de>>(de: D) -> Result<Option<String>, D::Error> {
    Ok(text_of(&Box::<RawValue>::deserialize(de)?))
}

fn text_of(raw: &RawValue) -> Option<String> {
    let text: String = raw
        .get()
        .starts_with('"')
        .then(|| read_json(raw.get()).ok())??;
    (!text.is_empty()).then_some(text)
}

/// Deserializes an http(s) link; `None` for any other value.
pub(super) fn link<'de, D: Deserializer<'de>>(de: D) -> Result<Option<String>, D::Error> {
    Ok(text(de)?.filter(|url| is_web_url(url)))
}

/// Deserializes the readable rows of a list; empty for any other value.
pub(super) fn list<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    de: D,
) -> Result<Vec<T>, D::Error> {
    Ok(match Value::deserialize(de)? {
        Value::Array(rows) => rows
            .into_iter()
            .filter_map(|row| serde_json::from_value(row).ok())
            .collect(),
        _ => Vec::new(),
    })
}

/// Deserializes an id: text or a number.
pub(super) fn id<'de, D: Deserializer<'de>>(de: D) -> Result<Option<String>, D::Error> {
    let raw = Box::<RawValue>::deserialize(de)?;
    let number = raw.get().parse::<u64>().ok();
    Ok(number
        .map(|number| number.to_string())
        .or_else(|| text_of(&raw)))
}

/// Deserializes a value; `None` if it is not readable.
pub(super) fn lenient<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    de: D,
) -> Result<Option<T>, D::Error> {
    let raw = Box::<RawValue>::deserialize(de)?;
    Ok(match raw.get() {
        "null" => None,
        text => read_json(text).ok(),
    })
}

/// Deserializes a value; its default if it is not readable.
pub(super) fn or_default<'de, T: DeserializeOwned + Default, D: Deserializer<'de>>(
    de: D,
) -> Result<T, D::Error> {
    Ok(lenient(de)?.unwrap_or_default())
}

/// Deserializes the readable rows of a list; an unreadable row does not affect the others.
pub(super) fn rows<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    de: D,
) -> Result<Vec<T>, D::Error> {
    let rows: Vec<Box<RawValue>> = or_default(de)?;
    Ok(rows
        .iter()
        .filter_map(|row| read_json(row.get()).ok())
        .collect())
}

#[cfg(test)]
mod tests;
