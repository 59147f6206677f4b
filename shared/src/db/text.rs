//! Text, as Postgres can hold it.

use std::borrow::Cow;

/// The same text without NUL, which JSON can write and Postgres's `text` cannot hold: U+FFFD
/// stands in its place. One such character would keep out everything that is written with it.
pub(crate) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}
