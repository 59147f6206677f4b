//! Extraction of a message's text from its blocks and attachments, as Slack's markup.
//!
//! A non-empty `text` is complete: Slack derives it from a person's blocks, and apps repeat their
//! blocks in it. Apps may omit it, so then blocks and attachments supply the text.
//!
//! Sources: "Blocks", "Rich text" and "Legacy secondary attachments" at docs.slack.dev.

use std::borrow::Cow;

use chrono::DateTime;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::wire::{Message, rows};
use crate::connectors::wire::read_json;

/// Placeholders that Slack sends for a message or an attachment without text.
const PLACEHOLDERS: [&str; 2] = ["This content can't be displayed.", "[no preview available]"];

/// Extracts the text of a message, given with its raw JSON; `None` if it has none.
pub(super) fn extract_text<'m>(message: &'m Message, raw: &RawValue) -> Option<Cow<'m, str>> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(default, deserialize_with = "rows")]
        blocks: Vec<Value>,
        #[serde(default, deserialize_with = "rows")]
        attachments: Vec<Value>,
    }
    let own = message.text.as_deref().filter(|text| !is_blank(text));
    if let Some(text) = own.filter(|text| !PLACEHOLDERS.contains(text)) {
        return Some(Cow::Borrowed(text));
    }
    let content: Content = read_json(raw.get()).ok()?;
    let mut lines = Vec::new();
    for block in &content.blocks {
        push_block(block, &mut lines);
    }
    for attachment in &content.attachments {
        push_attachment(attachment, &mut lines);
    }
    (!lines.is_empty()).then(|| Cow::Owned(lines.join("\n")))
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// A member of an object, if it is a non-blank string.
fn text<'v>(object: &'v Value, name: &str) -> Option<&'v str> {
    object[name].as_str().filter(|text| !is_blank(text))
}

fn list<'v>(object: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    object[name].as_array().into_iter().flatten()
}

/// Escapes plain text as markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn link(url: &str, label: Option<&str>) -> String {
    let url = url
        .replace('&', "&amp;")
        .replace('<', "%3C")
        .replace('>', "%3E")
        .replace('|', "%7C");
    match label {
        Some(label) => format!("<{url}|{}>", label.replace('\n', " ")),
        None => format!("<{url}>"),
    }
}

fn push_block(block: &Value, lines: &mut Vec<String>) {
    match block["type"].as_str().unwrap_or_default() {
        "rich_text" => list(block, "elements").for_each(|part| push_rich_text(part, lines)),
        "section" => {
            lines.extend(render_composition(&block["text"]));
            lines.extend(list(block, "fields").filter_map(render_composition));
        }
        "header" => lines.extend(render_composition(&block["text"])),
        "context" => {
            let parts: Vec<String> = list(block, "elements")
                .filter_map(|part| {
                    render_composition(part).or_else(|| text(part, "alt_text").map(escape))
                })
                .collect();
            lines.extend((!parts.is_empty()).then(|| parts.join(" ")));
        }
        "image" => {
            let title = render_composition(&block["title"]);
            lines.extend(title.or_else(|| text(block, "alt_text").map(escape)));
        }
        "video" => {
            lines.extend(render_composition(&block["title"]));
            lines.extend(render_composition(&block["description"]));
        }
        "markdown" => lines.extend(text(block, "text").map(escape)),
        "table" => lines.extend(list(block, "rows").filter_map(render_table_row)),
        _ => {}
    }
}

/// Renders a composition object.
fn render_composition(object: &Value) -> Option<String> {
    let words = text(object, "text")?;
    Some(if object["type"] == "mrkdwn" {
        words.to_owned()
    } else {
        escape(words)
    })
}

fn render_table_row(row: &Value) -> Option<String> {
    let mut cells = Vec::new();
    for cell in row.as_array()? {
        match text(cell, "text") {
            Some(words) => cells.push(escape(words)),
            None => push_block(cell, &mut cells),
        }
    }
    (!cells.is_empty()).then(|| cells.join(" | "))
}

/// Appends a paragraph of rich text; each item of a list becomes a line.
fn push_rich_text(part: &Value, lines: &mut Vec<String>) {
    if part["type"] == "rich_text_list" {
        list(part, "elements").for_each(|item| push_rich_text(item, lines));
        return;
    }
    let words: String = list(part, "elements").filter_map(render_element).collect();
    lines.extend((!is_blank(&words)).then_some(words));
}

/// Renders an element of a paragraph.
fn render_element(element: &Value) -> Option<String> {
    let member = |name: &str| element[name].as_str();
    Some(match member("type")? {
        "text" => escape(member("text")?),
        "link" => {
            let label = text(element, "text").map(escape);
            link(member("url")?, label.as_deref())
        }
        "user" => format!("<@{}>", member("user_id")?),
        "usergroup" => format!("<!subteam^{}>", member("usergroup_id")?),
        "channel" => format!("<#{}>", member("channel_id")?),
        "broadcast" => format!("<!{}>", member("range")?),
        "emoji" => format!(":{}:", member("name")?),
        "color" => escape(member("value")?),
        "date" => match text(element, "fallback") {
            Some(words) => escape(words),
            None => DateTime::from_timestamp(element["timestamp"].as_i64()?, 0)?
                .format("%FT%TZ")
                .to_string(),
        },
        _ => return None,
    })
}

fn push_attachment(attachment: &Value, lines: &mut Vec<String>) {
    let is_message = attachment["is_share"] == true || attachment["is_msg_unfurl"] == true;
    // A link preview; the message already contains the address.
    if attachment["from_url"].is_string() && !is_message {
        return;
    }
    let before = lines.len();
    lines.extend(text(attachment, "pretext").map(str::to_owned));
    for block in list(attachment, "blocks") {
        push_block(block, lines);
    }
    if let Some(title) = text(attachment, "title") {
        lines.push(match text(attachment, "title_link") {
            Some(url) => link(url, Some(title)),
            None => title.to_owned(),
        });
    }
    lines.extend(text(attachment, "text").map(str::to_owned));
    for field in list(attachment, "fields") {
        let parts = [text(field, "title"), text(field, "value")];
        let words: Vec<&str> = parts.into_iter().flatten().collect();
        lines.extend((!words.is_empty()).then(|| words.join(": ")));
    }
    if lines.len() == before {
        let fallback = text(attachment, "fallback").filter(|text| !PLACEHOLDERS.contains(text));
        lines.extend(fallback.map(str::to_owned));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::connectors::slack::normalize::read;
    use crate::connectors::slack::text::{NameResolver, to_plain_text};

    /// Resolver of a workspace without known names.
    struct Nameless;

    impl NameResolver for Nameless {
        fn user(&self, _: &str) -> Option<String> {
            None
        }

        fn channel(&self, _: &str) -> Option<String> {
            None
        }
    }

    fn extract(message: &Value) -> Option<String> {
        let raw = serde_json::value::to_raw_value(message).expect("JSON");
        let message = read(&raw).expect("a message");
        extract_text(&message, &raw).map(Cow::into_owned)
    }

    fn section(parts: &Value) -> Value {
        json!({ "type": "rich_text_section", "elements": parts })
    }

    #[test]
    fn text_field_takes_precedence_over_blocks() {
        let block = json!({ "type": "section", "text": { "type": "mrkdwn", "text": "more" } });
        assert_eq!(
            extract(&json!({ "text": "short", "blocks": [block] })).as_deref(),
            Some("short")
        );
        for empty in [json!(""), json!(" \n"), json!(null), json!(PLACEHOLDERS[0])] {
            let message = json!({ "text": empty, "blocks": [block] });
            assert_eq!(extract(&message).as_deref(), Some("more"), "{empty}");
        }
        assert_eq!(extract(&json!({ "text": "" })), None);
    }

    #[test]
    fn block_types_render_as_markup() {
        let plain = |text: &str| json!({ "type": "plain_text", "text": text });
        let rich = |parts: Value| json!({ "type": "rich_text", "elements": parts });
        for (block, text) in [
            (
                json!({ "type": "header", "text": plain("a <b> & c") }),
                "a &lt;b&gt; &amp; c",
            ),
            (
                json!({ "type": "section", "text": { "type": "mrkdwn", "text": "*a* <@U1>" },
                        "fields": [plain("one"), plain("two")] }),
                "*a* <@U1>\none\ntwo",
            ),
            (
                json!({ "type": "context", "elements": [
                    { "type": "image", "image_url": "https://e.example/i", "alt_text": "green" },
                    { "type": "mrkdwn", "text": "passed" }] }),
                "green passed",
            ),
            (
                json!({ "type": "image", "alt_text": "a chart", "title": plain("Load") }),
                "Load",
            ),
            (json!({ "type": "image", "alt_text": "a chart" }), "a chart"),
            (
                json!({ "type": "video", "title": plain("Tour"), "description": plain("Short") }),
                "Tour\nShort",
            ),
            (
                json!({ "type": "markdown", "text": "# A > B" }),
                "# A &gt; B",
            ),
            (
                json!({ "type": "table", "rows": [
                    [{ "type": "raw_text", "text": "pump" },
                     rich(json!([section(&json!([{ "type": "text", "text": "runs" }]))]))],
                    [{ "type": "raw_text", "text": "" }]] }),
                "pump | runs",
            ),
            (
                rich(json!([
                    section(&json!([
                        { "type": "user", "user_id": "U1" }, { "type": "text", "text": " <see> " },
                        { "type": "link", "url": "https://e.example/?a&b", "text": "this|that" },
                        { "type": "emoji", "name": "tada" }, { "type": "broadcast", "range": "here" },
                        { "type": "usergroup", "usergroup_id": "S1" },
                        { "type": "channel", "channel_id": "C1" },
                        { "type": "date", "timestamp": 1_796_083_200, "format": "{date}" },
                        { "type": "unheard_of" }])),
                    { "type": "rich_text_list", "elements": [
                        section(&json!([{ "type": "text", "text": "one" }])),
                        section(&json!([{ "type": "text", "text": "two" }]))] },
                    { "type": "rich_text_preformatted",
                      "elements": [{ "type": "text", "text": "let x;" }] }])),
                "<@U1> &lt;see&gt; <https://e.example/?a&amp;b|this|that>:tada:<!here><!subteam^S1>\
                 <#C1>2026-12-01T00:00:00Z\none\ntwo\nlet x;",
            ),
        ] {
            assert_eq!(
                extract(&json!({ "blocks": [block] })).as_deref(),
                Some(text),
                "{block}"
            );
        }
        for block in [
            json!({ "type": "divider" }),
            json!({ "type": "actions" }),
            json!("odd"),
        ] {
            assert_eq!(extract(&json!({ "blocks": [block] })), None, "{block}");
        }
    }

    #[test]
    fn attachments_render_as_markup() {
        for (attachment, text) in [
            (
                json!({ "pretext": "Build", "title": "#7", "title_link": "https://ci.example/7",
                        "text": "failed", "fields": [{ "title": "Branch", "value": "main" }],
                        "fallback": "#7 failed" }),
                Some("Build\n<https://ci.example/7|#7>\nfailed\nBranch: main"),
            ),
            (json!({ "fallback": "#7 failed" }), Some("#7 failed")),
            (json!({ "fallback": PLACEHOLDERS[1] }), None),
            (
                json!({ "fallback": PLACEHOLDERS[1], "blocks": [
                    { "type": "section", "text": { "type": "mrkdwn", "text": "ok" } }] }),
                Some("ok"),
            ),
            (
                json!({ "title": "A page", "from_url": "https://e.example/" }),
                None,
            ),
            (
                json!({ "text": "shared", "from_url": "https://a.slack.com/p1", "is_share": true }),
                Some("shared"),
            ),
        ] {
            let message = json!({ "text": "", "attachments": [attachment] });
            assert_eq!(extract(&message).as_deref(), text, "{attachment}");
        }
    }

    proptest! {
        #[test]
        fn block_text_survives_escaping(words in "[ -~]{1,40}") {
            prop_assume!(!is_blank(&words));
            let block = section(&json!([{ "type": "text", "text": words }]));
            let message = json!({ "blocks": [{ "type": "rich_text", "elements": [block] }] });
            let markup = extract(&message).expect("a text");
            prop_assert_eq!(to_plain_text(&markup, &Nameless), words);
        }
    }
}
