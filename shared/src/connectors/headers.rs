//! Headers of webhook requests: single values, identifiers, signatures.

use http::HeaderMap;

use super::VerifyError;

/// Maximum length of an identifying header. No provider sends longer ones.
const MAX_IDENTIFIER: usize = 100;

/// Returns a header's only value. Two values are contradictory claims and are rejected.
pub(super) fn single_header<'h>(
    headers: &'h HeaderMap,
    name: &'static str,
) -> Result<&'h str, VerifyError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| VerifyError::Malformed),
        (None, _) => Err(VerifyError::MissingHeader(name)),
        (Some(_), Some(_)) => Err(VerifyError::Malformed),
    }
}

/// Returns the value of an identifying header: printable, without spaces, of limited length.
pub(super) fn identifier_header<'h>(
    headers: &'h HeaderMap,
    name: &'static str,
) -> Result<&'h str, VerifyError> {
    let value = single_header(headers, name)?;
    if value.is_empty() {
        return Err(VerifyError::MissingHeader(name));
    }
    if value.len() > MAX_IDENTIFIER || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(VerifyError::Malformed);
    }
    Ok(value)
}

/// Returns the lower-case hex digits of an HMAC-SHA-256 signature, without its prefix.
pub(super) fn signature_hex<'s>(signature: &'s str, prefix: &str) -> Result<&'s str, VerifyError> {
    signature
        .strip_prefix(prefix)
        .filter(|hex| hex.len() == 64)
        .filter(|hex| {
            hex.bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
        .ok_or(VerifyError::Malformed)
}
