//! What we gave out and get back: cursors of lists and of the feed, and sealed values.
//!
//! Whatever opens must lead back to the same text: a place has one name. Nothing opens that
//! was not sealed, which is known because the target sealed it, or did not.

#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use shared::config::CryptoConfig;
use shared::crypto::{Keyring, SealContext};
use shared::db::page::PageRequest;
use shared::ids::TenantId;
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
    of_a_list(&text);
    of_the_feed(&text, data);
    sealed(data);
});

fn of_a_list(text: &str) {
    let Ok(request) = PageRequest::parse(Some(text), Some(1)) else {
        return;
    };
    let place = request.before.expect("a cursor is a place");
    let page = request.page(vec![place, place], |id| *id);
    assert_eq!(page.next_cursor.as_deref(), Some(text));
}

fn of_the_feed(text: &str, data: &[u8]) {
    assert!(
        FeedCursor::open(&KEYRING, TENANT, text).is_none(),
        "{text} was never given out"
    );
    // With a tag of ours, any bytes are as good as a cursor of an older version of us.
    let bound = [&TENANT.0.as_bytes()[..], data].concat();
    let tag = KEYRING.mac("feed-cursor", &bound);
    let text = URL_SAFE_NO_PAD.encode([data, &tag[..]].concat());
    assert!(
        FeedCursor::open(&KEYRING, OTHER, &text).is_none(),
        "{text} is another tenant's"
    );
    if let Some(cursor) = FeedCursor::open(&KEYRING, TENANT, &text) {
        assert_eq!(cursor.seal(&KEYRING, TENANT), text);
    }
}

fn sealed(data: &[u8]) {
    let context = SealContext {
        tenant: TENANT,
        connection: Uuid::from_u128(9),
        field: "carry",
    };
    assert!(KEYRING.open(&context, data).is_err(), "it was never sealed");
    let mut theirs = KEYRING.seal(&context, &String::from_utf8_lossy(data).into_owned().into());
    let place = data.len() % theirs.len();
    theirs[place] ^= 1;
    assert!(KEYRING.open(&context, &theirs).is_err(), "it was changed");
}
