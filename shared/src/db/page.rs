//! Keyset pagination of lists that are ordered by id, newest first.
//!
//! Ids are UUIDs of version 7, so the order by id is the order of creation, and page
//! 10,000 is found through the same index as page 1.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// How many rows a list gives when the client does not say.
pub const DEFAULT_LIMIT: u32 = 50;
/// How many rows a list gives at the most.
pub const MAX_LIMIT: u32 = 200;

/// Where a page of a list starts and how long it is.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest {
    /// Rows older than this one; `None` starts at the newest.
    pub before: Option<Uuid>,
    /// Between 1 and [`MAX_LIMIT`].
    pub limit: u32,
}

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// The rows, newest first.
    pub items: Vec<T>,
    /// Where the next page starts; `None` at the end.
    pub next_cursor: Option<String>,
}

/// A cursor that we did not make.
#[derive(Debug, thiserror::Error)]
#[error("the cursor is not one of ours")]
pub struct MalformedCursor;

impl PageRequest {
    /// Reads a client's `cursor` and `limit`.
    pub fn parse(cursor: Option<&str>, limit: Option<u32>) -> Result<Self, MalformedCursor> {
        let before = cursor.map(decode).transpose()?;
        Ok(Self {
            before,
            limit: limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT),
        })
    }

    /// Rows to ask Postgres for: one more than the page shows whether another follows.
    pub fn fetch_limit(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Cuts the extra row off and turns it into the next cursor.
    pub fn page<T>(&self, mut rows: Vec<T>, id: impl Fn(&T) -> Uuid) -> Page<T> {
        let more = rows.len() > self.limit as usize;
        rows.truncate(self.limit as usize);
        let next_cursor = if more {
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
    fn a_cursor_leads_back_to_its_row() {
        let id = Uuid::now_v7();
        let request = PageRequest::parse(Some(&encode(id)), Some(1000)).expect("own cursor");
        assert_eq!(request.before, Some(id));
        assert_eq!(request.limit, MAX_LIMIT);
    }

    #[test]
    fn a_foreign_cursor_is_refused() {
        for cursor in ["", "x", "AAAA", "!!!!!!!!!!!!!!!!!!!!!!"] {
            assert!(
                PageRequest::parse(Some(cursor), None).is_err(),
                "{cursor:?}"
            );
        }
    }
}
