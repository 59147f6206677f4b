//! The text that most targets read: lines, a blank line, a body.
//!
//! A line is a header, or a word to the target that begins with `@` and so can be none. Inputs
//! stay readable that way, and fixtures become seeds by putting a few lines before them.

use http::{HeaderMap, HeaderName, HeaderValue};

/// More headers than a server takes.
const MOST_HEADERS: usize = 40;

/// An input, taken apart.
#[derive(Debug, Clone, Copy)]
pub struct Message<'d> {
    head: &'d [u8],
    /// What comes behind the blank line.
    pub body: &'d [u8],
}

impl<'d> Message<'d> {
    /// Any bytes are a message; without a blank line, all of them are its head.
    pub fn parse(data: &'d [u8]) -> Self {
        if let Some(body) = data.strip_prefix(b"\n") {
            return Self { head: b"", body };
        }
        let (head, body) = split_once(data, b"\n\n").unwrap_or((data, b""));
        Self { head, body }
    }

    /// The lines of the head.
    pub fn lines(&self) -> impl Iterator<Item = &'d [u8]> {
        self.head.split(|byte| *byte == b'\n')
    }

    /// The headers among the lines, those that HTTP does not allow left out.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in self.lines() {
            let Some((name, value)) = split_once(line, b": ") else {
                continue;
            };
            let name = HeaderName::from_bytes(name);
            let value = HeaderValue::from_bytes(value);
            if let (Ok(name), Ok(value)) = (name, value)
                && headers.len() < MOST_HEADERS
            {
                headers.append(name, value);
            }
        }
        headers
    }

    /// The word `@name: …` to the target.
    pub fn word(&self, name: &str) -> Option<&'d str> {
        let start = format!("@{name}: ");
        self.lines()
            .find_map(|line| line.strip_prefix(start.as_bytes()))
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The same, where it is JSON.
    pub fn json(&self, name: &str) -> Option<serde_json::Value> {
        serde_json::from_str(self.word(name)?).ok()
    }
}

/// Both sides of the first `at`.
pub fn split_once<'d>(data: &'d [u8], at: &[u8]) -> Option<(&'d [u8], &'d [u8])> {
    let place = data.windows(at.len()).position(|window| window == at)?;
    Some((&data[..place], &data[place + at.len()..]))
}
