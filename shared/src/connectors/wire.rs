//! Reading what providers send: leniently.
//!
//! JSON that is merely odd is read: half of a surrogate pair, which JSON can write and text cannot
//! hold, becomes U+FFFD, and so do bytes that are no UTF-8; null is absent. A field that is not of
//! the documented form is a field that is missing, and what a fact needs is demanded where the fact
//! is made. Which fields there are is each provider's `wire` to say.

use std::borrow::Cow;
use std::sync::OnceLock;

use chrono::{DateTime, Datelike, Utc};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::ConnectorError;
use crate::signals::is_web_url;

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

/// A body that is JSON, as a provider sent it.
///
/// Parts that are borrowed from it as [`RawValue`] are as they were sent, unless something beside
/// them was odd.
#[derive(Debug)]
pub(super) struct Json<B> {
    body: B,
    mended: OnceLock<Option<String>>,
}

impl<B: AsRef<[u8]>> Json<B> {
    /// The JSON of a body.
    pub(super) const fn of(body: B) -> Self {
        Self {
            body,
            mended: OnceLock::new(),
        }
    }

    /// Whether it sets out to be an object.
    pub(super) fn is_object(&self) -> bool {
        self.body.as_ref().trim_ascii_start().starts_with(b"{")
    }

    /// Whether it is JSON, of whatever form.
    pub(super) fn is_json(&self) -> bool {
        self.read::<IgnoredAny>().is_ok()
    }

    /// Reads the whole; borrowed parts borrow from here.
    pub(super) fn read<'t, T: Deserialize<'t>>(&'t self) -> Result<T, serde_json::Error> {
        let body = self.body.as_ref();
        serde_json::from_slice(body).or_else(|error| {
            let mend = || mend(&String::from_utf8_lossy(body));
            match self.mended.get_or_init(mend) {
                Some(text) => serde_json::from_str(text),
                None => Err(error),
            }
        })
    }
}

/// Reads a JSON text that nothing borrows from.
pub(super) fn read_json<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| match mend(text) {
        Some(text) => serde_json::from_str(&text),
        None => Err(error),
    })
}

/// The same JSON without what a strict reader stumbles over: halves of surrogate pairs, nulls,
/// names that occur twice. `None` if it is no JSON at all.
fn mend(text: &str) -> Option<String> {
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

/// Writes U+FFFD for every half of a surrogate pair.
fn replace_lone_surrogates(text: &str) -> Cow<'_, str> {
    const ESCAPE: usize = 6;
    let unit = |at: usize| -> Option<u16> {
        let digits = text.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut mended: Option<String> = None;
    let (mut from, mut at) = (0, 0);
    while let Some(found) = text[at..].find('\\') {
        at += found;
        match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + ESCAPE), Some(0xDC00..=0xDFFF)) => {
                at += 2 * ESCAPE;
            }
            Some(0xD800..=0xDFFF) => {
                let mended = mended.get_or_insert_default();
                mended.push_str(&text[from..at]);
                mended.push_str("\\ufffd");
                at += ESCAPE;
                from = at;
            }
            Some(_) => at += ESCAPE,
            // The escaped character is a byte, unless it is no JSON.
            None => {
                at += 1;
                at += text[at..].chars().next().map_or(0, char::len_utf8);
            }
        }
    }
    match mended {
        Some(mut mended) => {
            mended.push_str(&text[from..]);
            Cow::Owned(mended)
        }
        None => Cow::Borrowed(text),
    }
}

/// A time as RFC 3339 can write it, from year 0 to 9999. What lies beyond is no time at which
/// anything happened, and nobody could read it.
pub(super) fn plausible(at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (0..=9999).contains(&at.year()).then_some(at)
}

/// Text, where there is text.
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

/// A link, where there is an http(s) one.
pub(super) fn link<'de, D: Deserializer<'de>>(de: D) -> Result<Option<String>, D::Error> {
    Ok(text(de)?.filter(|url| is_web_url(url)))
}

/// The rows of a list that can be read, where there is a list.
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

/// An id: text or a number, as the object has it.
pub(super) fn id<'de, D: Deserializer<'de>>(de: D) -> Result<Option<String>, D::Error> {
    let raw = Box::<RawValue>::deserialize(de)?;
    let number = raw.get().parse::<u64>().ok();
    Ok(number
        .map(|number| number.to_string())
        .or_else(|| text_of(&raw)))
}

/// Anything that can be read, and nothing where it cannot.
pub(super) fn lenient<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    de: D,
) -> Result<Option<T>, D::Error> {
    let raw = Box::<RawValue>::deserialize(de)?;
    Ok(match raw.get() {
        "null" => None,
        text => read_json(text).ok(),
    })
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
    let rows: Vec<Box<RawValue>> = or_default(de)?;
    Ok(rows
        .iter()
        .filter_map(|row| read_json(row.get()).ok())
        .collect())
}

#[cfg(test)]
mod tests;
