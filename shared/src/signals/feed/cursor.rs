//! Cursors: opaque to readers, authenticated, bound to a tenant and a generation.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::crypto::Keyring;
use crate::model::{SignalId, TenantId};

const LABEL: &str = "feed-cursor";
const TAG_BYTES: usize = 16;

/// A position in one of the two orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Position {
    /// After this row in feed order.
    Feed { tx_id: u64, seq: i64 },
    /// Before this row in time order.
    Recent {
        occurred_at: DateTime<Utc>,
        id: SignalId,
    },
}

/// A position in one of the feed's orders, in one generation of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub(super) generation: i32,
    pub(super) position: Position,
}

impl Cursor {
    /// Encodes the cursor with an authentication tag for this tenant.
    pub fn seal(&self, keyring: &Keyring, tenant: TenantId) -> String {
        let mut bytes = self.bytes();
        let tag = keyring.mac(LABEL, &with_tenant(&bytes, tenant));
        bytes.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes a cursor; `None` unless it was sealed for this tenant.
    pub fn open(keyring: &Keyring, tenant: TenantId, text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (data, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
        if !keyring.mac_matches(LABEL, &with_tenant(data, tenant), tag) {
            return None;
        }
        Self::parse(data)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(29 + TAG_BYTES);
        match self.position {
            Position::Feed { tx_id, seq } => {
                bytes.push(1);
                bytes.extend(self.generation.to_be_bytes());
                bytes.extend(tx_id.to_be_bytes());
                bytes.extend(seq.to_be_bytes());
            }
            Position::Recent { occurred_at, id } => {
                bytes.push(2);
                bytes.extend(self.generation.to_be_bytes());
                bytes.extend(occurred_at.timestamp_micros().to_be_bytes());
                bytes.extend(id.0.as_bytes());
            }
        }
        bytes
    }

    fn parse(data: &[u8]) -> Option<Self> {
        let (&order, rest) = data.split_first()?;
        let (generation, rest) = rest.split_first_chunk::<4>()?;
        let (first, second) = rest.split_first_chunk::<8>()?;
        let position = match order {
            1 => Position::Feed {
                tx_id: u64::from_be_bytes(*first),
                seq: i64::from_be_bytes(second.try_into().ok()?),
            },
            2 => Position::Recent {
                occurred_at: DateTime::from_timestamp_micros(i64::from_be_bytes(*first))?,
                id: SignalId(Uuid::from_slice(second).ok()?),
            },
            _ => return None,
        };
        Some(Self {
            generation: i32::from_be_bytes(*generation),
            position,
        })
    }
}

fn with_tenant(data: &[u8], tenant: TenantId) -> Vec<u8> {
    let mut message = tenant.0.as_bytes().to_vec();
    message.extend_from_slice(data);
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;
    use crate::config::CryptoConfig;

    fn keyring() -> Keyring {
        Keyring::new(&CryptoConfig {
            current: Zeroizing::new([7; 32]),
            previous: Vec::new(),
        })
    }

    fn position() -> impl Strategy<Value = Position> {
        prop_oneof![
            (any::<u64>(), any::<i64>()).prop_map(|(tx_id, seq)| Position::Feed { tx_id, seq }),
            (0..4_000_000_000_000_000_i64, any::<u128>()).prop_map(|(micros, id)| {
                Position::Recent {
                    occurred_at: DateTime::from_timestamp_micros(micros).expect("in range"),
                    id: SignalId(Uuid::from_u128(id)),
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn cursor_round_trips(position in position(), generation: i32, tenant: u128) {
            let tenant = TenantId(Uuid::from_u128(tenant));
            let cursor = Cursor { generation, position };
            prop_assert_eq!(Cursor::open(&keyring(), tenant, &cursor.seal(&keyring(), tenant)), Some(cursor));
        }

        #[test]
        fn changed_cursor_is_rejected(position in position(), at in 0_usize..64, flip in 1_u8..=255) {
            let tenant = TenantId(Uuid::nil());
            let text = Cursor { generation: 1, position }.seal(&keyring(), tenant);
            let mut bytes = URL_SAFE_NO_PAD.decode(text).expect("own encoding");
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert_eq!(Cursor::open(&keyring(), tenant, &URL_SAFE_NO_PAD.encode(bytes)), None);
        }

        #[test]
        fn foreign_tenants_cursor_is_rejected(position in position(), other in 1_u128..) {
            let text = Cursor { generation: 1, position }.seal(&keyring(), TenantId(Uuid::nil()));
            prop_assert_eq!(Cursor::open(&keyring(), TenantId(Uuid::from_u128(other)), &text), None);
        }

        #[test]
        fn noise_is_rejected(text in "\\PC{0,80}") {
            prop_assert_eq!(Cursor::open(&keyring(), TenantId(Uuid::nil()), &text), None);
        }
    }
}
