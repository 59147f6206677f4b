//! Ids of messages and threads.

/// An id as the API writes it.
pub(crate) fn hex(id: u64) -> String {
    format!("{id:x}")
}

/// Parses the id of a message or thread.
pub(crate) fn parse_hex(text: &str) -> Option<u64> {
    let id = u64::from_str_radix(text, 16).ok()?;
    (hex(id) == text).then_some(id)
}

/// Mixes the bits of an id, so that its parts can choose independently.
pub(crate) const fn mix(id: u64) -> u64 {
    let mut value = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_read_only_in_its_own_spelling() {
        assert_eq!(parse_hex("19dda5888dc95981"), Some(0x19dd_a588_8dc9_5981));
        for text in ["", "0x1", "19DDA5888DC95981", "01", "+1", "zz"] {
            assert_eq!(parse_hex(text), None, "{text}");
        }
    }
}
