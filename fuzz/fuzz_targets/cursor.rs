//! Values that clients return: cursors of lists and of the feed, and encrypted values.
//!
//! A valid cursor must serialize to the same text, because each position has one text. Only values
//! that the target encrypted decrypt.

#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use shared::config::CryptoConfig;
use shared::crypto::{Keyring, SealContext};
use shared::db::page::PageRequest;
use shared::model::TenantId;
use shared::signals::FeedCursor;
use uuid::Uuid;
use zeroize::Zeroizing;

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    Keyring::new(&CryptoConfig {
        current: Zeroizing::new([7; 32]),
        previous: vec![Zeroizing::new([8; 32])],
    })
});

const TENANT: TenantId = TenantId(Uuid::from_u128(7));
const OTHER: TenantId = TenantId(Uuid::from_u128(8));

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    check_list_cursor(&text);
    check_feed_cursor(&text, data);
    check_sealed_value(data);
});

fn check_list_cursor(text: &str) {
    let Ok(request) = PageRequest::parse(Some(text), Some(1)) else {
        return;
    };
    let position = request.before.expect("a cursor has a position");
    let page = request.page(vec![position, position], |id| *id);
    assert_eq!(page.next_cursor.as_deref(), Some(text));
}

fn check_feed_cursor(text: &str, data: &[u8]) {
    assert!(
        FeedCursor::open(&KEYRING, TENANT, text).is_none(),
        "{text} was never issued"
    );
    // With a valid tag, any bytes may be a cursor of an older version.
    let bound = [&TENANT.0.as_bytes()[..], data].concat();
    let tag = KEYRING.mac("feed-cursor", &bound);
    let text = URL_SAFE_NO_PAD.encode([data, &tag[..]].concat());
    assert!(
        FeedCursor::open(&KEYRING, OTHER, &text).is_none(),
        "{text} belongs to another tenant"
    );
    if let Some(cursor) = FeedCursor::open(&KEYRING, TENANT, &text) {
        assert_eq!(cursor.seal(&KEYRING, TENANT), text);
    }
}

fn check_sealed_value(data: &[u8]) {
    let context = SealContext {
        tenant: TENANT,
        connection: Uuid::from_u128(9),
        holder: "",
        field: "context",
    };
    assert!(
        KEYRING.open(&context, data).is_err(),
        "it was never encrypted"
    );
    let mut tampered = KEYRING.seal(&context, &String::from_utf8_lossy(data).into_owned().into());
    let position = data.len() % tampered.len();
    tampered[position] ^= 1;
    assert!(KEYRING.open(&context, &tampered).is_err(), "it was changed");
}
