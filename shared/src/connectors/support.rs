//! What several connectors do in the same way.

use http::HeaderMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::{Callback, CallbackOutcome, ConnectorError, SyncRequest, VerifyError};

/// Longer values of identifying headers are no provider's.
const MOST_HEADER: usize = 100;

/// A path below a base that may itself have a path (`/api/v3`); segments are encoded.
pub(super) fn below(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

/// The code that a redirect brings; without one, what the flow ends with.
pub(super) fn code<'c>(
    callback: &'c Callback,
    provider: &str,
) -> Result<&'c str, Result<CallbackOutcome, ConnectorError>> {
    if let Some(error) = callback.param("error") {
        return Err(match error {
            "access_denied" => Ok(CallbackOutcome::denied(format!(
                "The consent was declined at {provider}."
            ))),
            other => {
                let word: String = other.chars().take(80).collect();
                Err(operator_fault(format!(
                    "{provider} sent the browser back: {word}"
                )))
            }
        });
    }
    callback
        .param("code")
        .filter(|code| !code.is_empty())
        .ok_or_else(|| {
            Ok(CallbackOutcome::denied(format!(
                "{provider} sent no authorization; please begin again."
            )))
        })
}

/// What a code that is no longer good ends a flow with.
pub(super) fn code_is_over() -> CallbackOutcome {
    CallbackOutcome::denied(
        "The authorization has expired or was used already; please begin again.",
    )
}

/// Whether a body sets out to be a JSON object.
pub(super) fn is_object(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{")
}

/// The one value of a header; two of them would be two claims.
pub(super) fn single<'h>(
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

/// A header that names something: printable, without spaces, not long.
pub(super) fn identifier<'h>(
    headers: &'h HeaderMap,
    name: &'static str,
) -> Result<&'h str, VerifyError> {
    let value = single(headers, name)?;
    if value.is_empty() {
        return Err(VerifyError::MissingHeader(name));
    }
    if value.len() > MOST_HEADER || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(VerifyError::Malformed);
    }
    Ok(value)
}

/// The hex of an HMAC-SHA-256 behind its prefix, lower case as every provider writes it.
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

/// The request's cursor; `None` for a stream never read. One that cannot be understood,
/// because another version wrote it, starts the stream over.
pub(super) fn load_cursor<C: DeserializeOwned>(
    request: &SyncRequest,
) -> Result<Option<C>, ConnectorError> {
    match &request.cursor {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(cursor) => serde_json::from_value(cursor.clone())
            .map(Some)
            .map_err(|error| ConnectorError::CursorExpired(error.into())),
    }
}

/// A cursor as it is stored.
pub(super) fn save_cursor<C: Serialize>(cursor: &C) -> Result<serde_json::Value, ConnectorError> {
    serde_json::to_value(cursor).map_err(|error| ConnectorError::Permanent(error.into()))
}

/// A fault that only the operator, or a change of our code, can mend.
pub(super) fn operator_fault(why: impl Into<String>) -> ConnectorError {
    ConnectorError::Permanent(why.into().into())
}
