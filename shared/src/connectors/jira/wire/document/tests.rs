//! Tests of the plain text of documents and wiki markup.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn doc(content: &Value) -> Value {
    json!({ "type": "doc", "version": 1, "content": content })
}

#[test]
fn document_becomes_plain_text() {
    let document = doc(&json!([
        { "type": "paragraph", "content": [
            { "type": "text", "text": "Ask " },
            { "type": "mention", "attrs": { "id": "712020:a", "text": "@ada" } },
            { "type": "hardBreak" },
            { "type": "text", "text": "now", "marks": [{ "type": "strong" }] },
        ] },
        { "type": "paragraph", "content": [{ "type": "text", "text": "Thanks" }] },
    ]));
    assert_eq!(
        to_plain_text(&document).as_deref(),
        Some("Ask @ada\nnow\nThanks")
    );
    assert_eq!(
        to_plain_text(&json!("as it is")).as_deref(),
        Some("as it is")
    );
    assert_eq!(to_plain_text(&json!(7)), None);
    assert_eq!(to_plain_text(&doc(&json!([]))), None);
}

#[test]
fn jira_adf_text_lost_is_none() {
    let document = doc(&json!([
        { "type": "paragraph", "content": [
            { "type": "text", "text": "Read " },
            { "type": "inlineCard", "attrs": { "url": "https://docs.example/valve" } },
            { "type": "text", "text": " before " },
            { "type": "date", "attrs": { "timestamp": "1795392000000" } },
            { "type": "text", "text": " " },
            { "type": "status", "attrs": { "text": "LEAKING", "color": "red" } },
            { "type": "text", "text": " " },
            { "type": "emoji", "attrs": { "shortName": ":fire:" } },
        ] },
        { "type": "taskList", "content": [
            { "type": "taskItem", "attrs": { "state": "TODO" }, "content": [{ "type": "text", "text": "close" }] },
            { "type": "taskItem", "attrs": { "state": "DONE" }, "content": [{ "type": "text", "text": "open" }] },
        ] },
        { "type": "decisionList", "content": [
            { "type": "decisionItem", "content": [{ "type": "text", "text": "we buy" }] },
        ] },
        { "type": "blockCard", "attrs": { "url": "https://board.example/7" } },
        { "type": "embedCard", "attrs": { "url": "https://video.example/8", "layout": "wide" } },
        { "type": "bulletList", "content": [
            { "type": "listItem", "content": [{ "type": "paragraph", "content": [
                { "type": "text", "text": "manual", "marks": [
                    { "type": "link", "attrs": { "href": "https://docs.example/manual" } },
                ] },
            ] }] },
        ] },
        { "type": "table", "content": [{ "type": "tableRow", "content": [
            { "type": "tableHeader", "content": [{ "type": "paragraph", "content": [{ "type": "text", "text": "a" }] }] },
            { "type": "tableCell", "content": [{ "type": "paragraph", "content": [{ "type": "text", "text": "b" }] }] },
        ] }] },
        { "type": "expand", "attrs": { "title": "More" }, "content": [
            { "type": "paragraph", "content": [{ "type": "text", "text": "inside" }] },
        ] },
        { "type": "mediaSingle", "content": [{ "type": "media", "attrs": { "alt": "a photo", "id": "x" } }] },
        { "type": "codeBlock", "content": [{ "type": "text", "text": "let x = 1;" }] },
        { "type": "paragraph", "content": [
            { "type": "mention", "attrs": { "id": "712020:b" } },
            { "type": "text", "text": " done" },
        ] },
    ]));
    assert_eq!(
        to_plain_text(&document).as_deref(),
        Some(
            "Read https://docs.example/valve before 2026-11-23 LEAKING :fire:\nclose\nopen\nwe buy\n\
             https://board.example/7\nhttps://video.example/8\nmanual (https://docs.example/manual)\n\
             a\nb\nMore\ninside\na photo\nlet x = 1;\n@712020:b done"
        )
    );
    let card = doc(&json!([{ "type": "paragraph", "content": [
        { "type": "inlineCard", "attrs": { "url": "https://docs.example/" } },
    ] }]));
    assert_eq!(
        to_plain_text(&card).as_deref(),
        Some("https://docs.example/")
    );
}

#[test]
fn wiki_markup_becomes_plain_text() {
    for (markup, expected) in [
        (
            "see [the page|https://docs.example/x] now",
            "see the page (https://docs.example/x) now",
        ),
        ("[https://docs.example/x]", "https://docs.example/x"),
        (
            "[https://a.example|https://a.example|smart-link]",
            "https://a.example",
        ),
        ("[~accountid:712020:ada] ok", "@712020:ada ok"),
        ("an array[0] and [brackets]", "an array[0] and [brackets]"),
        ("[no end", "[no end"),
    ] {
        assert_eq!(
            to_plain_text(&json!(markup)).as_deref(),
            Some(expected),
            "{markup}"
        );
    }
}

/// Strategy of arbitrary document nodes.
fn node() -> impl Strategy<Value = Value> {
    let leaf = (
        "[a-z]{1,6}",
        prop::sample::select(vec!["text", "inlineCard", "status", "unheard"]),
    )
        .prop_map(|(word, kind)| match kind {
            "text" => json!({ "type": "text", "text": word }),
            "inlineCard" => json!({ "type": kind, "attrs": { "url": word } }),
            _ => json!({ "type": kind, "attrs": { "text": word } }),
        });
    leaf.prop_recursive(5, 30, 4, |inner| {
        let kinds = vec![
            "paragraph",
            "taskItem",
            "panel",
            "table",
            "tableCell",
            "unheard",
            "expand",
        ];
        (
            prop::collection::vec(inner, 0..4),
            prop::sample::select(kinds),
        )
            .prop_map(|(content, kind)| json!({ "type": kind, "content": content }))
    })
}

fn words(node: &Value) -> Vec<String> {
    let own = [&node["text"], &node["attrs"]["url"], &node["attrs"]["text"]];
    let own = own
        .into_iter()
        .filter_map(|word| Some(word.as_str()?.to_owned()));
    let within = node["content"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(words);
    own.chain(within).collect()
}

proptest! {
    #[test]
    fn text_contains_every_word_of_the_document(content in prop::collection::vec(node(), 0..4)) {
        let document = doc(&json!(content));
        let text = to_plain_text(&document).unwrap_or_default();
        let mut from = 0;
        for word in words(&document) {
            let at = text[from..].find(&word);
            prop_assert!(at.is_some(), "{word} of {text}");
            from += at.unwrap_or(0) + word.len();
        }
    }

    #[test]
    fn arbitrary_markup_does_not_panic(text in r"[\[\]|~a-z:/ é]{0,40}") {
        to_plain_text(&json!(text));
    }
}
