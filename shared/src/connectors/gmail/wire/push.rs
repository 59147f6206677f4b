//! A Pub/Sub push with Gmail's notification in it.

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};
use serde::Deserialize;

use crate::connectors::wire::{lenient, text};

/// Base64 with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Maximum length of a message's id.
const MAX_ID: usize = 100;
/// Maximum length of an address (RFC 5321, 4.5.3.1).
const MAX_ADDRESS: usize = 320;

/// The parts of a push that say which mailbox has changed.
///
/// The position in the notification is not used: the mailbox is read from the stored one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Push {
    /// Pub/Sub's id of the message, the same in every attempt to deliver it.
    pub(in super::super) message_id: Option<String>,
    /// The mailbox's address in lower case.
    pub(in super::super) address: Option<String>,
}

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default, deserialize_with = "lenient")]
    message: Option<Message>,
}

/// Pub/Sub spells fields in both ways, sometimes in one message.
#[derive(Default, Deserialize)]
struct Message {
    #[serde(default, deserialize_with = "text")]
    data: Option<String>,
    #[serde(rename = "messageId", default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(rename = "message_id", default, deserialize_with = "text")]
    id_in_snake_case: Option<String>,
}

#[derive(Default, Deserialize)]
struct Notification {
    #[serde(rename = "emailAddress", default, deserialize_with = "text")]
    address: Option<String>,
}

impl Push {
    /// Reads a push; a part that is not readable is absent.
    pub(in super::super) fn parse(body: &[u8]) -> Self {
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let message = body.message.unwrap_or_default();
        let notification = message.data.as_deref().and_then(decode);
        let is_id =
            |id: &String| id.len() <= MAX_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
        Self {
            message_id: message
                .id
                .filter(is_id)
                .or_else(|| message.id_in_snake_case.filter(is_id)),
            address: notification.and_then(|notification| to_route(&notification.address?)),
        }
    }
}

/// The route of a mailbox: its address in lower case.
pub(in super::super) fn to_route(address: &str) -> Option<String> {
    let is_address = address.contains('@') && address.len() <= MAX_ADDRESS;
    is_address.then(|| address.trim().to_lowercase())
}

fn decode(data: &str) -> Option<Notification> {
    let standard: String = data
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    let json = LENIENT.decode(standard).ok()?;
    serde_json::from_slice(&json).ok()
}
