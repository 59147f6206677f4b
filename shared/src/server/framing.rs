//! The check of request framing against request smuggling.
//!
//! hyper accepts a bare LF as a line end, and prefers `Transfer-Encoding` to `Content-Length` if a
//! request has both. A proxy in front may read either differently, and the two disagree about the
//! end of the request (RFC 9112, 2.2, 6.3 and 11.2). Such requests are rejected with 400, and their
//! socket is closed.

/// The bytes of a line that are kept, enough to recognise the headers of the framing.
const MAX_LINE_PREFIX: usize = 64;

/// The position of the next byte in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// In a head.
    Head,
    /// In a body with this many bytes left.
    Body(u64),
    /// After the last head of this socket.
    Last,
}

/// The check of the heads on one socket.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent flags of the parser"
)]
#[derive(Debug)]
pub(super) struct Framing {
    position: Position,
    /// The first bytes of the current line.
    line: Vec<u8>,
    line_length: usize,
    ends_with_cr: bool,
    is_first_line: bool,
    content_length: Option<u64>,
    has_encoding: bool,
    is_ambiguous: bool,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            position: Position::Head,
            line: Vec::with_capacity(MAX_LINE_PREFIX),
            line_length: 0,
            ends_with_cr: false,
            is_first_line: true,
            content_length: None,
            has_encoding: false,
            is_ambiguous: false,
        }
    }
}

impl Framing {
    /// Reads received bytes, and returns whether a head so far is ambiguous.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match self.position {
                Position::Last => break,
                Position::Body(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[here..];
                    let left = left - here as u64;
                    self.position = if left == 0 {
                        Position::Head
                    } else {
                        Position::Body(left)
                    };
                }
                Position::Head => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
                    bytes = rest;
                    self.read_line(line, end.is_some());
                }
            }
        }
        self.is_ambiguous
    }

    /// Whether another request may follow on this socket.
    pub(super) fn may_continue(&self) -> bool {
        self.position != Position::Last && !self.is_ambiguous
    }

    fn read_line(&mut self, part: &[u8], is_whole: bool) {
        let text = if is_whole {
            &part[..part.len() - 1]
        } else {
            part
        };
        let room = MAX_LINE_PREFIX.saturating_sub(self.line.len());
        self.line.extend_from_slice(&text[..text.len().min(room)]);
        self.line_length += text.len();
        if let Some(last) = text.last() {
            self.ends_with_cr = *last == b'\r';
        }
        if !is_whole {
            return;
        }
        if !self.ends_with_cr {
            self.is_ambiguous = true;
            self.position = Position::Last;
        } else if self.line_length > 1 {
            self.read_header();
            self.is_first_line = false;
        } else if !self.is_first_line {
            self.end_head();
        }
        self.line.clear();
        self.line_length = 0;
        self.ends_with_cr = false;
    }

    fn read_header(&mut self) {
        let Some(colon) = self.line.iter().position(|byte| *byte == b':') else {
            return;
        };
        let (name, value) = self.line.split_at(colon);
        if self.is_first_line {
            return;
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.has_encoding = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let value = value[1..].trim_ascii();
            let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(value).ok().filter(|_| is_number);
            match length.and_then(|text| text.parse().ok()) {
                Some(length) if self.content_length.is_none_or(|known| known == length) => {
                    self.content_length = Some(length);
                }
                _ => self.is_ambiguous = true,
            }
        }
    }

    fn end_head(&mut self) {
        let length = self.content_length.take();
        let has_encoding = std::mem::take(&mut self.has_encoding);
        self.is_first_line = true;
        if has_encoding && length.is_some() {
            self.is_ambiguous = true;
        }
        self.position = match length {
            _ if self.is_ambiguous || has_encoding => Position::Last,
            Some(0) | None => Position::Head,
            Some(length) => Position::Body(length),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the text is ambiguous, read at once and byte by byte.
    fn is_ambiguous(text: &str) -> bool {
        let whole = Framing::default().read(text.as_bytes());
        let mut framing = Framing::default();
        let mut parts = false;
        for byte in text.as_bytes() {
            parts = framing.read(&[*byte]);
        }
        assert_eq!(whole, parts, "{text:?}");
        whole
    }

    #[test]
    fn plain_requests_pass() {
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na\nb",
            "POST / HTTP/1.1\r\ncontent-length: 2\r\ncontent-length:2\r\n\r\n\n\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\n\na\n0\n\n",
            "GET http://a:80/ HTTP/1.1\r\n\r\n",
        ] {
            assert!(!is_ambiguous(text), "{text:?}");
        }
    }

    #[test]
    fn ambiguous_requests_are_found() {
        for text in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-ENCODING: chunked\r\ncontent-LENGTH: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.1\n\r\n",
        ] {
            assert!(is_ambiguous(text), "{text:?}");
        }
    }

    #[test]
    fn chunked_body_is_the_last_of_its_socket() {
        let mut framing = Framing::default();
        framing.read(b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
        assert!(framing.may_continue());
        framing.read(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        assert!(!framing.may_continue());
    }
}
