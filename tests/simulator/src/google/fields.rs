//! The parameter `fields`, which selects parts of a response.
//!
//! The grammar is a comma list of paths; a path is `a`, `*`, `a/b` or `a(b,c)`. Lists are
//! selected from element by element. Source: "Partial responses" of the API guides.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A parsed selection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Selected names with their parts; an empty selection is the whole value.
    names: BTreeMap<String, Self>,
}

impl Selection {
    /// Parses the parameter; `None` if it is malformed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let selection = parse_list(&mut rest, 0)?;
        rest.is_empty().then_some(selection)
    }

    /// Keeps the selected parts of a value.
    pub(crate) fn apply(&self, value: Value) -> Value {
        if self.names.is_empty() {
            return value;
        }
        match value {
            Value::Object(fields) => {
                let mut kept = Map::new();
                for (name, value) in fields {
                    let any = self.names.get("*");
                    if let Some(parts) = self.names.get(&name).or(any) {
                        kept.insert(name, parts.apply(value));
                    }
                }
                Value::Object(kept)
            }
            Value::Array(items) => items.into_iter().map(|item| self.apply(item)).collect(),
            other => other,
        }
    }

    /// Adds the parts of another selection of the same value.
    fn merge(&mut self, other: Self) {
        if self.names.is_empty() || other.names.is_empty() {
            self.names.clear();
            return;
        }
        for (name, parts) in other.names {
            self.insert(name, parts);
        }
    }

    fn insert(&mut self, name: String, parts: Self) {
        match self.names.get_mut(&name) {
            Some(known) => known.merge(parts),
            None => {
                self.names.insert(name, parts);
            }
        }
    }
}

/// Nested lists in a selection.
const MAX_DEPTH: usize = 20;

fn parse_list(rest: &mut &str, depth: usize) -> Option<Selection> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut selection = Selection::default();
    loop {
        let (name, parts) = parse_path(rest, depth)?;
        selection.insert(name, parts);
        match rest.strip_prefix(',') {
            Some(after) => *rest = after,
            None => return Some(selection),
        }
    }
}

fn parse_path(rest: &mut &str, depth: usize) -> Option<(String, Selection)> {
    *rest = rest.trim_start();
    let is_name = |one: char| one.is_ascii_alphanumeric() || matches!(one, '_' | '-' | '*');
    let end = rest.find(|one| !is_name(one)).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    if name.is_empty() {
        return None;
    }
    *rest = after.trim_start();
    if let Some(after) = rest.strip_prefix('/') {
        *rest = after;
        if depth > MAX_DEPTH {
            return None;
        }
        let (inner, parts) = parse_path(rest, depth + 1)?;
        let mut selection = Selection::default();
        selection.insert(inner, parts);
        return Some((name.to_owned(), selection));
    }
    if let Some(after) = rest.strip_prefix('(') {
        *rest = after;
        let parts = parse_list(rest, depth + 1)?;
        *rest = rest.strip_prefix(')')?.trim_start();
        return Some((name.to_owned(), parts));
    }
    Some((name.to_owned(), Selection::default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn select(fields: &str) -> Value {
        let value = json!({
            "kind": "k", "next": "n",
            "files": [{ "id": "1", "name": "a", "user": { "me": true, "id": "u" } }],
        });
        Selection::parse(fields).expect("a selection").apply(value)
    }

    #[test]
    fn selection_keeps_the_named_parts_only() {
        assert_eq!(select("kind"), json!({ "kind": "k" }));
        assert_eq!(
            select("next,files(id,user(me))"),
            json!({ "next": "n", "files": [{ "id": "1", "user": { "me": true } }] })
        );
        assert_eq!(
            select("files/user/id"),
            json!({ "files": [{ "user": { "id": "u" } }] })
        );
        assert_eq!(select("*")["files"][0]["name"], "a");
        assert_eq!(select("files/id,files/name")["files"][0]["name"], "a");
        assert_eq!(select("files,files/id")["files"][0]["name"], "a");
    }

    #[test]
    fn malformed_selection_is_rejected() {
        let deep = "a/".repeat(100);
        for text in ["", "a(", "a(b", "a)b", "a,,b", "a(b)c", "a/", deep.as_str()] {
            assert_eq!(Selection::parse(text), None, "{text}");
        }
    }
}
