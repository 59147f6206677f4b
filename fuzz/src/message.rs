//! Input format of most targets: lines, a blank line, a body.
//!
//! A line is a header, or a directive to the target, which begins with `@`. The format is
//! readable, and fixtures become seeds with a few lines before them.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Maximum headers of a request.
const MAX_HEADERS: usize = 40;

/// Parsed input.
#[derive(Debug, Clone, Copy)]
pub struct Message<'d> {
    head: &'d [u8],
    /// The bytes after the blank line.
    pub body: &'d [u8],
}

impl<'d> Message<'d> {
    /// Parses any bytes; without a blank line, all of them are the head.
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

    /// The valid headers among the lines.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in self.lines() {
            let Some((name, value)) = split_once(line, b": ") else {
                continue;
            };
            let name = HeaderName::from_bytes(name);
            let value = HeaderValue::from_bytes(value);
            if let (Ok(name), Ok(value)) = (name, value)
                && headers.len() < MAX_HEADERS
            {
                headers.append(name, value);
            }
        }
        headers
    }

    /// The value of the directive `@name: …`.
    pub fn directive(&self, name: &str) -> Option<&'d str> {
        let start = format!("@{name}: ");
        self.lines()
            .find_map(|line| line.strip_prefix(start.as_bytes()))
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The value of a directive as JSON.
    pub fn json(&self, name: &str) -> Option<serde_json::Value> {
        serde_json::from_str(self.directive(name)?).ok()
    }
}

/// Splits bytes at the first delimiter.
pub fn split_once<'d>(data: &'d [u8], delimiter: &[u8]) -> Option<(&'d [u8], &'d [u8])> {
    let position = data
        .windows(delimiter.len())
        .position(|window| window == delimiter)?;
    Some((&data[..position], &data[position + delimiter.len()..]))
}
