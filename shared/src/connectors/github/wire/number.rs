//! Numbers and flags, also as text: `"id": "583231"` identifies the same object as `"id": 583231`.

use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Parses a JSON number or a text that contains one.
fn parse<T: FromStr>(raw: &RawValue) -> Option<T> {
    let text = raw.get();
    let quoted = || text.strip_prefix('"')?.strip_suffix('"');
    quoted().unwrap_or(text).trim().parse().ok()
}

/// Deserializes a required id.
pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    parse(&raw).ok_or_else(|| D::Error::custom("not an id"))
}

/// Deserializes a number; `None` for any other value.
pub(super) fn number<'de, T: FromStr, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(parse(&Box::<RawValue>::deserialize(deserializer)?))
}

/// Deserializes a number that is a part of a key: an unreadable one is an error.
///
/// Without it, the key would be another fact's.
pub(super) fn part_of_key<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    match raw.get() {
        "null" | "\"\"" => Ok(None),
        _ => match parse(&raw) {
            Some(number) => Ok(Some(number)),
            None => Err(D::Error::custom("not a number")),
        },
    }
}

/// Deserializes a flag; `None` for any other value.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(match raw.get() {
        "true" | "\"true\"" | "1" | "\"1\"" => Some(true),
        "false" | "\"false\"" | "0" | "\"0\"" => Some(false),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Row {
        #[serde(deserialize_with = "id")]
        id: u64,
        #[serde(default, deserialize_with = "number")]
        number: Option<u64>,
        #[serde(default, deserialize_with = "part_of_key")]
        attempt: Option<u64>,
        #[serde(default, deserialize_with = "flag")]
        draft: Option<bool>,
    }

    #[test]
    fn numbers_and_flags_may_be_text() {
        let text = r#"{"id":"583231","number":"7","attempt":"2","draft":"false"}"#;
        let row: Row = serde_json::from_str(text).expect("a row");
        let expected = Row {
            id: 583_231,
            number: Some(7),
            attempt: Some(2),
            draft: Some(false),
        };
        assert_eq!(row, expected);
        let odd = r#"{"id":5,"number":[],"attempt":null,"draft":{}}"#;
        let row: Row = serde_json::from_str(odd).expect("a row");
        assert_eq!((row.number, row.attempt, row.draft), (None, None, None));
    }

    #[test]
    fn unreadable_identity_is_an_error() {
        for text in [
            "{}",
            r#"{"id":null}"#,
            r#"{"id":"five"}"#,
            r#"{"id":-5}"#,
            r#"{"id":5,"attempt":"two"}"#,
            r#"{"id":5,"attempt":{}}"#,
        ] {
            assert!(serde_json::from_str::<Row>(text).is_err(), "{text}");
        }
    }
}
