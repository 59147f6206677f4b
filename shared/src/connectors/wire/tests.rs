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
fn half_of_a_pair_reads_as_a_replacement_character() {
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
fn null_and_a_repeated_name_read_as_one_absent_or_present() {
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
fn borrowed_parts_are_as_they_were_sent() {
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
fn bytes_that_are_no_utf8_are_replaced() {
    let json = Json::of(b"{\"id\":7,\"title\":\"\xff\"}".as_slice());
    let row: Row = json.read().expect("a row");
    assert_eq!((row.id, row.title.as_str()), (7, "\u{fffd}"));
    assert!(!Json::of(b"<html>".as_slice()).is_json());
}

/// A text of JSON that writes some characters as halves of pairs.
fn with_halves(value: &Value) -> String {
    value
        .to_string()
        .replace('h', r"\ud83d")
        .replace('l', r"\udc00")
}

proptest! {
    #[test]
    fn any_json_with_halves_anywhere_is_read(value in any_json(&["half", "hl", "lh"])) {
        let text = with_halves(&value);
        // Escapes of the text itself and of its names may have been cut.
        prop_assume!(serde_json::from_str::<IgnoredAny>(&text).is_ok());
        prop_assert!(read_json::<Value>(&text).is_ok(), "{}", text);
        let json = Json::of(text.as_bytes());
        prop_assert!(json.read::<Value>().is_ok());
    }

    #[test]
    fn json_that_is_not_odd_is_read_as_it_is(value in any_json(&["a", "b"])) {
        let text = value.to_string();
        prop_assert_eq!(replace_lone_surrogates(&text), text.as_str());
        prop_assert_eq!(read_json::<Value>(&text).expect("JSON"), value);
    }

    #[test]
    fn no_text_makes_it_panic(text in r#"[\\ud83DC0-9a-f"{}é ]{0,40}"#) {
        replace_lone_surrogates(&text);
        read_json::<Row>(&text).ok();
        Json::of(text.as_bytes()).read::<Row>().ok();
    }
}
