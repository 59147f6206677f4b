//! Values of mail headers: addresses (RFC 5322) and encoded words (RFC 2047).

use mail_parser::parsers::MessageStream;
use mail_parser::{Addr, HeaderValue};

/// Maximum length of a value, in bytes; the rest is ignored.
///
/// Providers accept up to 2,000 recipients in a message, which are rarely in one header.
const MAX_LENGTH: usize = 64 * 1024;

/// A person or a list in an address header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mailbox {
    /// The address, as its sender spells it.
    pub(super) address: Option<String>,
    /// The name beside it.
    pub(super) name: Option<String>,
}

/// Parses a list of addresses, groups included.
pub(super) fn parse_mailboxes(value: &str) -> Vec<Mailbox> {
    let line = to_line(value);
    match MessageStream::new(line.as_bytes()).parse_address() {
        HeaderValue::Address(addresses) => {
            let addresses = addresses
                .into_list()
                .into_iter()
                .map(|one| to_mailbox(&one));
            addresses
                .filter(|mailbox| mailbox.address.is_some() || mailbox.name.is_some())
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Decodes the encoded words of a text, such as a subject; `None` if it is empty.
pub(super) fn decode_text(value: &str) -> Option<String> {
    let line = to_line(value);
    match MessageStream::new(line.as_bytes()).parse_unstructured() {
        HeaderValue::Text(text) => nonempty(&text),
        _ => None,
    }
}

/// The value unfolded to one line (RFC 5322, 2.2.3), which ends the parser's input.
fn to_line(value: &str) -> String {
    let end = value.floor_char_boundary(MAX_LENGTH);
    let unfolded = value[..end].replace('\r', "").replace("\n ", " ");
    let mut line = unfolded.replace("\n\t", " ").replace(['\n', '\0'], " ");
    line.push('\n');
    line
}

fn to_mailbox(parsed: &Addr<'_>) -> Mailbox {
    let is_address = |text: &String| {
        let has_parts = text.split('@').filter(|part| !part.is_empty()).count() >= 2;
        has_parts && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    let address = parsed.address.as_deref().and_then(nonempty);
    Mailbox {
        address: address.filter(is_address),
        name: parsed.name.as_deref().and_then(nonempty),
    }
}

fn nonempty(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
