//! The text of a comment: written as it stands in webhooks, as a document in the REST API.

use serde_json::Value;

/// Deeper documents are not written by people.
const DEEPEST: usize = 40;

/// The plain text of either form.
pub(in super::super) fn plain(body: &Value) -> Option<String> {
    match body {
        Value::String(text) => Some(text.clone()),
        Value::Object(_) => {
            let mut text = String::new();
            walk(body, &mut text, 0);
            Some(text.trim_end().to_owned())
        }
        _ => None,
    }
}

fn walk(node: &Value, text: &mut String, depth: usize) {
    if depth > DEEPEST {
        return;
    }
    let kind = node["type"].as_str().unwrap_or_default();
    match kind {
        "hardBreak" => text.push('\n'),
        "mention" | "emoji" => text.push_str(node["attrs"]["text"].as_str().unwrap_or_default()),
        _ => text.push_str(node["text"].as_str().unwrap_or_default()),
    }
    for child in node["content"].as_array().into_iter().flatten() {
        walk(child, text, depth + 1);
    }
    if matches!(kind, "paragraph" | "heading" | "listItem" | "codeBlock") && !text.ends_with('\n') {
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_reads_as_its_text() {
        let document = json!({ "type": "doc", "version": 1, "content": [
            { "type": "paragraph", "content": [
                { "type": "text", "text": "Ask " },
                { "type": "mention", "attrs": { "text": "@ada" } },
                { "type": "hardBreak" },
                { "type": "text", "text": "now", "marks": [{ "type": "strong" }] },
            ] },
            { "type": "paragraph", "content": [{ "type": "text", "text": "Thanks" }] },
        ] });
        assert_eq!(plain(&document).as_deref(), Some("Ask @ada\nnow\nThanks"));
        assert_eq!(plain(&json!("as it is")).as_deref(), Some("as it is"));
        assert_eq!(plain(&json!(7)), None);
    }
}
