//! Keyset pagination of lists ordered by id, newest first.
//!
//! Ids are UUIDs of version 7, so the order by id is the order of creation, and every page costs
//! one index scan.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// Rows per page when the client does not set `limit`.
pub const DEFAULT_LIMIT: u32 = 50;
/// Maximum number of rows per page.
pub const MAX_LIMIT: u32 = 200;

/// The start and the length of a page.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest {
    /// The id before which the page starts; `None` starts at the newest row.
    pub before: Option<Uuid>,
    /// The number of rows, between 1 and [`MAX_LIMIT`].
    pub limit: u32,
}

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// The rows, newest first.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` at the end.
    pub next_cursor: Option<String>,
}

/// A cursor that was not created by this API.
#[derive(Debug, thiserror::Error)]
#[error("malformed cursor")]
pub struct MalformedCursor;

impl PageRequest {
    /// Parses a client's `cursor` and `limit`.
    pub fn parse(cursor: Option<&str>, limit: Option<u32>) -> Result<Self, MalformedCursor> {
        let before = cursor.map(decode).transpose()?;
        Ok(Self {
            before,
            limit: limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT),
        })
    }

    /// The number of rows to fetch: one more than the page, to see whether another page follows.
    pub fn fetch_limit(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Builds the page from the fetched rows, dropping the extra one.
    pub fn page<T>(&self, mut rows: Vec<T>, id: impl Fn(&T) -> Uuid) -> Page<T> {
        let has_more = rows.len() > self.limit as usize;
        rows.truncate(self.limit as usize);
        let next_cursor = if has_more {
            rows.last().map(|row| encode(id(row)))
        } else {
            None
        };
        Page {
            items: rows,
            next_cursor,
        }
    }
}

fn encode(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

fn decode(cursor: &str) -> Result<Uuid, MalformedCursor> {
    let bytes = URL_SAFE_NO_PAD
        .decode(cursor)
        .map_err(|_| MalformedCursor)?;
    Uuid::from_slice(&bytes).map_err(|_| MalformedCursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_decodes_to_its_row() {
        let id = Uuid::now_v7();
        let request = PageRequest::parse(Some(&encode(id)), Some(1000)).expect("own cursor");
        assert_eq!(request.before, Some(id));
        assert_eq!(request.limit, MAX_LIMIT);
    }

    #[test]
    fn foreign_cursor_is_rejected() {
        for cursor in ["", "x", "AAAA", "!!!!!!!!!!!!!!!!!!!!!!"] {
            assert!(
                PageRequest::parse(Some(cursor), None).is_err(),
                "{cursor:?}"
            );
        }
    }
}
