//! Tests of JSON with invalid text, nulls and duplicate fields.

use proptest::prelude::*;

use super::*;
use crate::connectors::testing::json as any_json;

#[derive(Debug, Default, PartialEq, Deserialize)]
struct Row {
    id: u64,
    #[serde(default)]
    title: String,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default, deserialize_with = "text")]
    note: Option<String>,
}

#[test]
fn lone_surrogate_becomes_replacement_character() {
    for (written, read) in [
        (r"cut \ud83d", "cut \u{fffd}"),
        (r"\udc00\ud800", "\u{fffd}\u{fffd}"),
        (r"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
        (r"whole \ud83d\ude00", "whole \u{1f600}"),
        (r"no escape \\ud83d", r"no escape \ud83d"),
        (r"\\\ud83dx", "\\\u{fffd}x"),
        (r"\uD83D\n", "\u{fffd}\n"),
    ] {
        let text = format!(r#"{{"id":1,"title":"{written}","note":"{written}"}}"#);
        let row: Row = read_json(&text).expect(written);
        assert_eq!(
            (row.title.as_str(), row.note.as_deref()),
            (read, Some(read)),
            "{written}"
        );
    }
}

#[test]
fn null_counts_as_absent_and_last_duplicate_wins() {
    let row: Row =
        read_json(r#"{"id":1,"title":null,"labels":[null,"a"],"note":null}"#).expect("a row");
    assert_eq!(
        (row.title.as_str(), row.labels, row.note),
        ("", vec!["a".to_owned()], None)
    );
    let row: Row = read_json(r#"{"id":1,"id":2}"#).expect("a row");
    assert_eq!(row.id, 2);
    assert!(read_json::<Row>(r#"{"id":null}"#).is_err());
    assert!(read_json::<Row>("{\"id\":1").is_err());
}

#[test]
fn borrowed_parts_equal_received_bytes() {
    #[derive(Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        rows: Vec<&'a RawValue>,
    }
    let body: &[u8] = br#"{"rows":[{"id":1,"title":"cut \ud83d"},{"id":2}]}"#;
    let json = Json::of(body);
    let page: Page<'_> = json.read().expect("a page");
    assert_eq!(page.rows[0].get(), r#"{"id":1,"title":"cut \ud83d"}"#);
    assert!(json.is_object() && json.is_json());
}

#[test]
fn invalid_utf8_is_replaced() {
    let json = Json::of(b"{\"id\":7,\"title\":\"\xff\"}".as_slice());
    let row: Row = json.read().expect("a row");
    assert_eq!((row.id, row.title.as_str()), (7, "\u{fffd}"));
    assert!(!Json::of(b"<html>".as_slice()).is_json());
}

/// Serializes JSON with some characters replaced by lone surrogates.
fn with_lone_surrogates(value: &Value) -> String {
    value
        .to_string()
        .replace('h', r"\ud83d")
        .replace('l', r"\udc00")
}

proptest! {
    #[test]
    fn json_with_lone_surrogates_is_readable(value in any_json(&["half", "hl", "lh"])) {
        let text = with_lone_surrogates(&value);
        // The replacement may break escapes of the text.
        prop_assume!(serde_json::from_str::<IgnoredAny>(&text).is_ok());
        prop_assert!(read_json::<Value>(&text).is_ok(), "{}", text);
        let json = Json::of(text.as_bytes());
        prop_assert!(json.read::<Value>().is_ok());
    }

    #[test]
    fn valid_json_is_unchanged(value in any_json(&["a", "b"])) {
        let text = value.to_string();
        prop_assert_eq!(replace_lone_surrogates(&text), text.as_str());
        prop_assert_eq!(read_json::<Value>(&text).expect("JSON"), value);
    }

    #[test]
    fn arbitrary_text_does_not_panic(text in r#"[\\ud83DC0-9a-f"{}é ]{0,40}"#) {
        replace_lone_surrogates(&text);
        read_json::<Row>(&text).ok();
        Json::of(text.as_bytes()).read::<Row>().ok();
    }
}
