//! Order and page tokens of files.list.
//!
//! A token has the sort keys of the last file on its page, so that files that come or go do not
//! move others past it.

use std::cmp::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::query::Candidate;
use crate::usage::hash;

#[derive(Debug, Clone, Copy)]
enum Key {
    Created,
    Modified,
    SharedWithMe,
    Name,
    Folder,
    Size,
    Starred,
}

/// A parsed `orderBy`.
pub(super) struct Order {
    keys: Vec<(Key, bool)>,
}

/// Sort keys and id of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    keys: Vec<String>,
    id: String,
}

#[derive(Serialize, Deserialize)]
struct Token {
    after: Position,
    /// Hash of the query and the order.
    list: u64,
}

impl Order {
    /// Parses a comma list of keys, each with an optional `desc`; `None` if a key is unknown.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let keys = text.split(',').filter(|part| !part.trim().is_empty());
        let keys = keys.map(|part| {
            let mut words = part.split_ascii_whitespace();
            let key = match words.next()? {
                "createdTime" => Key::Created,
                "modifiedTime" | "modifiedByMeTime" | "recency" | "viewedByMeTime" => Key::Modified,
                "sharedWithMeTime" => Key::SharedWithMe,
                "name" | "name_natural" => Key::Name,
                "folder" => Key::Folder,
                "quotaBytesUsed" => Key::Size,
                "starred" => Key::Starred,
                _ => return None,
            };
            match (words.next(), words.next()) {
                (None, None) => Some((key, false)),
                (Some("desc"), None) => Some((key, true)),
                _ => None,
            }
        });
        Some(Self {
            keys: keys.collect::<Option<_>>()?,
        })
    }

    pub(super) fn position(&self, candidate: &Candidate<'_>) -> Position {
        let file = candidate.file;
        let keys = self.keys.iter().map(|(key, _)| match key {
            Key::Created => sortable(file.created),
            Key::Modified => sortable(file.modified),
            Key::SharedWithMe => sortable(candidate.shared_with_me.unwrap_or(i64::MIN)),
            Key::Name => file.name.to_lowercase(),
            Key::Folder => u8::from(!file.is_folder()).to_string(),
            Key::Size => format!("{:020}", file.version),
            Key::Starred => u8::from(!file.starred_by.contains(candidate.sub)).to_string(),
        });
        Position {
            keys: keys.collect(),
            id: file.id.clone(),
        }
    }

    pub(super) fn compare(&self, left: &Position, right: &Position) -> Ordering {
        let mut pairs = left.keys.iter().zip(&right.keys).zip(&self.keys);
        let first = pairs.find_map(|((left, right), (_, is_descending))| {
            let order = left.cmp(right);
            let order = if *is_descending {
                order.reverse()
            } else {
                order
            };
            Some(order).filter(|order| order.is_ne())
        });
        first.unwrap_or_else(|| left.id.cmp(&right.id))
    }
}

/// Digits whose order is that of the number.
fn sortable(number: i64) -> String {
    format!("{:020}", number.cast_unsigned() ^ (1 << 63))
}

/// Token of the page after a file. `list` names the query and the order.
pub(super) fn token(after: Position, list: &str) -> String {
    let token = Token {
        after,
        list: hash(list),
    };
    let text = serde_json::to_string(&token).unwrap_or_default();
    format!("~!!~{}", URL_SAFE_NO_PAD.encode(text))
}

/// The position in a token of this list.
pub(super) fn parse_token(token: &str, list: &str) -> Option<Position> {
    let text = URL_SAFE_NO_PAD.decode(token.strip_prefix("~!!~")?).ok()?;
    let token: Token = serde_json::from_slice(&text).ok()?;
    (token.list == hash(list)).then_some(token.after)
}
