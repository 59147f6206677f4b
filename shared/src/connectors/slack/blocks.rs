//! The text of a message whose words are in its blocks or attachments, as Slack's markup.
//!
//! Where a message has a `text` of its own, that is all of it: Slack derives it from what people
//! write, and apps repeat in it what their blocks say. Apps may leave it out.
//!
//! Sources: "Blocks", "Rich text" and "Legacy secondary attachments" at docs.slack.dev.

use std::borrow::Cow;

use chrono::DateTime;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::wire::{Message, rows};
use crate::connectors::wire::read_json;

/// Texts that Slack makes up for a message or an attachment that has none.
const PLACEHOLDERS: [&str; 2] = ["This content can't be displayed.", "[no preview available]"];

/// The text of a message, `raw` being all of it; `None` where it has no words.
pub(super) fn text_of<'m>(message: &'m Message, raw: &RawValue) -> Option<Cow<'m, str>> {
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
        of_block(block, &mut lines);
    }
    for attachment in &content.attachments {
        of_attachment(attachment, &mut lines);
    }
    (!lines.is_empty()).then(|| Cow::Owned(lines.join("\n")))
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// A member that is text and says something.
fn text<'v>(object: &'v Value, name: &str) -> Option<&'v str> {
    object[name].as_str().filter(|text| !is_blank(text))
}

fn list<'v>(object: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    object[name].as_array().into_iter().flatten()
}

/// Words that are no markup, as markup.
fn escaped(text: &str) -> String {
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

fn of_block(block: &Value, lines: &mut Vec<String>) {
    match block["type"].as_str().unwrap_or_default() {
        "rich_text" => list(block, "elements").for_each(|part| of_rich_text(part, lines)),
        "section" => {
            lines.extend(composed(&block["text"]));
            lines.extend(list(block, "fields").filter_map(composed));
        }
        "header" => lines.extend(composed(&block["text"])),
        "context" => {
            let parts: Vec<String> = list(block, "elements")
                .filter_map(|part| composed(part).or_else(|| text(part, "alt_text").map(escaped)))
                .collect();
            lines.extend((!parts.is_empty()).then(|| parts.join(" ")));
        }
        "image" => {
            let title = composed(&block["title"]);
            lines.extend(title.or_else(|| text(block, "alt_text").map(escaped)));
        }
        "video" => {
            lines.extend(composed(&block["title"]));
            lines.extend(composed(&block["description"]));
        }
        "markdown" => lines.extend(text(block, "text").map(escaped)),
        "table" => lines.extend(list(block, "rows").filter_map(of_table_row)),
        _ => {}
    }
}

/// The text of a composition object.
fn composed(object: &Value) -> Option<String> {
    let words = text(object, "text")?;
    Some(if object["type"] == "mrkdwn" {
        words.to_owned()
    } else {
        escaped(words)
    })
}

fn of_table_row(row: &Value) -> Option<String> {
    let mut cells = Vec::new();
    for cell in row.as_array()? {
        match text(cell, "text") {
            Some(words) => cells.push(escaped(words)),
            None => of_block(cell, &mut cells),
        }
    }
    (!cells.is_empty()).then(|| cells.join(" | "))
}

/// A paragraph of rich text; the items of a list are on lines of their own.
fn of_rich_text(part: &Value, lines: &mut Vec<String>) {
    if part["type"] == "rich_text_list" {
        list(part, "elements").for_each(|item| of_rich_text(item, lines));
        return;
    }
    let words: String = list(part, "elements").filter_map(of_element).collect();
    lines.extend((!is_blank(&words)).then_some(words));
}

/// An element of a paragraph.
fn of_element(element: &Value) -> Option<String> {
    let member = |name: &str| element[name].as_str();
    Some(match member("type")? {
        "text" => escaped(member("text")?),
        "link" => {
            let label = text(element, "text").map(escaped);
            link(member("url")?, label.as_deref())
        }
        "user" => format!("<@{}>", member("user_id")?),
        "usergroup" => format!("<!subteam^{}>", member("usergroup_id")?),
        "channel" => format!("<#{}>", member("channel_id")?),
        "broadcast" => format!("<!{}>", member("range")?),
        "emoji" => format!(":{}:", member("name")?),
        "color" => escaped(member("value")?),
        "date" => match text(element, "fallback") {
            Some(words) => escaped(words),
            None => DateTime::from_timestamp(element["timestamp"].as_i64()?, 0)?
                .format("%FT%TZ")
                .to_string(),
        },
        _ => return None,
    })
}

fn of_attachment(attachment: &Value, lines: &mut Vec<String>) {
    let is_message = attachment["is_share"] == true || attachment["is_msg_unfurl"] == true;
    // A preview of a page whose address the message has already.
    if attachment["from_url"].is_string() && !is_message {
        return;
    }
    let before = lines.len();
    lines.extend(text(attachment, "pretext").map(str::to_owned));
    for block in list(attachment, "blocks") {
        of_block(block, lines);
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
    use crate::connectors::slack::text::{Names, plain};

    /// A workspace of which no name is known.
    struct Nameless;

    impl Names for Nameless {
        fn user(&self, _: &str) -> Option<String> {
            None
        }

        fn channel(&self, _: &str) -> Option<String> {
            None
        }
    }

    fn said(message: &Value) -> Option<String> {
        let raw = serde_json::value::to_raw_value(message).expect("JSON");
        let message = read(&raw).expect("a message");
        text_of(&message, &raw).map(Cow::into_owned)
    }

    fn section(parts: &Value) -> Value {
        json!({ "type": "rich_text_section", "elements": parts })
    }

    #[test]
    fn message_with_a_text_says_that_text() {
        let block = json!({ "type": "section", "text": { "type": "mrkdwn", "text": "more" } });
        assert_eq!(
            said(&json!({ "text": "short", "blocks": [block] })).as_deref(),
            Some("short")
        );
        for empty in [json!(""), json!(" \n"), json!(null), json!(PLACEHOLDERS[0])] {
            let message = json!({ "text": empty, "blocks": [block] });
            assert_eq!(said(&message).as_deref(), Some("more"), "{empty}");
        }
        assert_eq!(said(&json!({ "text": "" })), None);
    }

    #[test]
    fn blocks_say_what_people_see() {
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
                said(&json!({ "blocks": [block] })).as_deref(),
                Some(text),
                "{block}"
            );
        }
        for block in [
            json!({ "type": "divider" }),
            json!({ "type": "actions" }),
            json!("odd"),
        ] {
            assert_eq!(said(&json!({ "blocks": [block] })), None, "{block}");
        }
    }

    #[test]
    fn attachments_say_what_people_see() {
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
            assert_eq!(said(&message).as_deref(), text, "{attachment}");
        }
    }

    proptest! {
        #[test]
        fn words_of_a_block_stay_as_they_are(words in "[ -~]{1,40}") {
            prop_assume!(!is_blank(&words));
            let block = section(&json!([{ "type": "text", "text": words }]));
            let message = json!({ "blocks": [{ "type": "rich_text", "elements": [block] }] });
            let said = said(&message).expect("words");
            prop_assert_eq!(plain(&said, &Nameless), words);
        }
    }
}
