//! Conversion of a comment to plain text: wiki markup in webhooks, a document in the REST API.
//!
//! The text keeps every visible word, link, date, status, mention, emoji and task. Sources:
//! "Atlassian Document Format" at developer.atlassian.com, and "Text formatting notation" of Jira.

use chrono::DateTime;
use serde_json::Value;

/// Converts either form to plain text; `None` if there is none.
pub(in super::super) fn to_plain_text(body: &Value) -> Option<String> {
    let text = match body {
        Value::String(text) => markup_to_text(text),
        Value::Object(_) => {
            let mut document = Document::default();
            document.push_node(body);
            document.text
        }
        _ => return None,
    };
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Builder of a document's text. The JSON parser limits the depth, and so the recursion.
#[derive(Default)]
struct Document {
    text: String,
}

impl Document {
    fn push_node(&mut self, node: &Value) {
        let attributes = &node["attrs"];
        let attribute = |name: &str| attributes[name].as_str().filter(|text| !text.is_empty());
        let kind = node["type"].as_str().unwrap_or_default();
        let is_block = is_block(kind);
        if is_block {
            self.begin_line();
        }
        match kind {
            "text" => self.push_text(node),
            "hardBreak" => self.text.push('\n'),
            "mention" => match (attribute("text"), attribute("id")) {
                (Some(name), _) => self.push_named(name),
                (None, Some(id)) => self.push_named(id),
                (None, None) => {}
            },
            "emoji" => self.push(attribute("text").or_else(|| attribute("shortName"))),
            "date" => self.push(format_date(&attributes["timestamp"]).as_deref()),
            "media" | "mediaInline" => {
                let words = attribute("alt").or_else(|| attribute("url"));
                self.push(words);
                self.push_link(node, words.unwrap_or_default());
            }
            // Statuses, link cards, placeholders, expandable parts, and unknown nodes.
            _ => {
                let words = attribute("title").or_else(|| attribute("text"));
                self.push(words.or_else(|| node["text"].as_str()));
                let data = &attributes["data"];
                let link = attribute("url").or_else(|| data["url"].as_str());
                if words.is_some() && link.is_some() {
                    self.text.push(' ');
                }
                self.push(link.or_else(|| data["name"].as_str()));
                if kind == "expand" || kind == "nestedExpand" {
                    self.begin_line();
                }
            }
        }
        for child in node["content"].as_array().into_iter().flatten() {
            self.push_node(child);
        }
        if is_block {
            self.begin_line();
        }
    }

    fn push(&mut self, words: Option<&str>) {
        self.text.push_str(words.unwrap_or_default());
    }

    fn push_named(&mut self, name: &str) {
        if !name.starts_with('@') {
            self.text.push('@');
        }
        self.text.push_str(name);
    }

    /// Appends a text node, with its link's address if that differs from the text.
    fn push_text(&mut self, node: &Value) {
        let text = node["text"].as_str().unwrap_or_default();
        self.text.push_str(text);
        self.push_link(node, text);
    }

    /// Appends the address of a node's link, if it differs from the node's words.
    fn push_link(&mut self, node: &Value, words: &str) {
        let marks = node["marks"].as_array().into_iter().flatten();
        let mut links = marks
            .filter(|mark| mark["type"] == "link")
            .filter_map(|mark| mark["attrs"]["href"].as_str());
        match links.find(|link| *link != words) {
            Some(link) if words.is_empty() => self.text.push_str(link),
            Some(link) => self.text.extend([" (", link, ")"]),
            None => {}
        }
    }

    fn begin_line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}

/// Whether a node begins and ends with a line break.
fn is_block(kind: &str) -> bool {
    matches!(
        kind,
        "paragraph"
            | "heading"
            | "blockquote"
            | "codeBlock"
            | "listItem"
            | "taskItem"
            | "decisionItem"
            | "blockTaskItem"
            | "panel"
            | "rule"
            | "tableRow"
            | "tableCell"
            | "tableHeader"
            | "mediaSingle"
            | "mediaGroup"
            | "caption"
            | "blockCard"
            | "embedCard"
            | "expand"
            | "nestedExpand"
            | "extension"
            | "bodiedExtension"
            | "layoutColumn"
    )
}

/// Formats a date, which is in milliseconds since 1970, as text or as a number.
fn format_date(timestamp: &Value) -> Option<String> {
    let milliseconds = match timestamp {
        Value::String(text) => text.parse().ok()?,
        other => other.as_i64()?,
    };
    let at = DateTime::from_timestamp_millis(milliseconds)?;
    Some(at.format("%Y-%m-%d").to_string())
}

/// Converts wiki markup: links become label and address, mentions become ids.
///
/// Asterisks are kept, because people also write them without meaning emphasis.
fn markup_to_text(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        plain.push_str(before);
        let link = after
            .split_once(']')
            .and_then(|(inner, following)| Some((parse_link(inner)?, following)));
        if let Some((words, following)) = link {
            plain.push_str(&words);
            rest = following;
        } else {
            plain.push('[');
            rest = after;
        }
    }
    plain.push_str(rest);
    plain
}

/// Parses a link or a mention, given without its square brackets.
fn parse_link(inner: &str) -> Option<String> {
    if let Some(person) = inner.strip_prefix('~') {
        let id = person.strip_prefix("accountid:").unwrap_or(person);
        return (!id.is_empty() && !id.contains(char::is_whitespace)).then(|| format!("@{id}"));
    }
    let is_address = |text: &str| text.contains("://") || text.starts_with("mailto:");
    let mut parts = inner.split('|');
    let (first, second) = (parts.next()?, parts.next());
    match second {
        None if is_address(first) => Some(first.to_owned()),
        Some(address) if is_address(address) && (first == address || first.is_empty()) => {
            Some(address.to_owned())
        }
        Some(address) if is_address(address) => Some(format!("{first} ({address})")),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
