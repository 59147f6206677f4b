//! What several connectors do in the same way.

use std::fmt::Display;

use chrono::{DateTime, Duration, Utc};
use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;

use super::rows::UnreadableRows;
use super::wire::Json;
use super::{
    Callback, CallbackOutcome, ConnectorError, DirectoryEntry, DirectoryKey, SyncPage, SyncRequest,
    VerifyError,
};
use crate::config::Reader;
use crate::signals::SignalDraft;

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

/// Whether the operator has set up an app: not when none of its settings is there. A part of
/// what is needed is a contradiction, which is noted in the reader.
pub(super) fn is_set_up(
    reader: &mut Reader<'_>,
    app: &str,
    needed: &[&'static str],
    optional: &[&'static str],
) -> bool {
    if !needed
        .iter()
        .chain(optional)
        .any(|name| reader.is_set(name))
    {
        return false;
    }
    for name in needed {
        if reader.is_set(name) {
            continue;
        }
        reader.problem(
            name,
            format!("is not set, though other settings of the {app} are"),
        );
    }
    true
}

/// An answer's body, of the form that is documented for the operation. What is no JSON at all is
/// an answer that something on the way has cut off or replaced.
pub(super) fn json<'b, T: Deserialize<'b>, B: AsRef<[u8]>>(
    body: &'b Json<B>,
    operation: &str,
) -> Result<T, ConnectorError> {
    body.read().map_err(|error: serde_json::Error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        if body.is_json() {
            operator_fault(format!(
                "the answer to {operation} is not of the documented form ({place})"
            ))
        } else {
            ConnectorError::Transient(
                format!("the answer to {operation} is not JSON ({place})").into(),
            )
        }
    })
}

/// Content of a page: facts, and the rows that could not be read.
#[derive(Debug, Default)]
pub(super) struct PageContent {
    pub(super) signals: Vec<SignalDraft>,
    pub(super) unreadable: UnreadableRows,
    /// What was learned for the directory.
    pub(super) learned: Vec<DirectoryEntry>,
}

impl PageContent {
    /// Adds what reading a row gave.
    pub(super) fn take<E: Display>(&mut self, row: &RawValue, told: Result<Vec<SignalDraft>, E>) {
        self.signals
            .extend(self.unreadable.take(row, told).into_iter().flatten());
    }

    /// A page with this content, with this cursor behind it; the last one of its run.
    pub(super) fn page(self, cursor: serde_json::Value) -> SyncPage {
        SyncPage {
            signals: self.signals,
            unreadable_rows: self.unreadable.into_rows(),
            learned: self.learned,
            ..SyncPage::empty(cursor)
        }
    }
}

/// Normalizes with what the directory knows, and if something is missing there, once more with
/// what the provider says about it. Where it says `None`, the Signals go on without. Tells what
/// was learned, too.
pub(super) async fn with_directory(
    request: &SyncRequest,
    normalize: impl Fn() -> PageContent,
    look_up: impl AsyncFnOnce(&[DirectoryKey]) -> Result<Option<Vec<DirectoryEntry>>, ConnectorError>,
) -> Result<PageContent, ConnectorError> {
    let told = normalize();
    let mut missing = request.directory.take_missing();
    if missing.is_empty() {
        return Ok(told);
    }
    let Some(mut learned) = look_up(&missing).await? else {
        return Ok(told);
    };
    missing.retain(|key| !learned.iter().any(|entry| entry.key == *key));
    learned.extend(missing.into_iter().map(DirectoryEntry::nameless));
    request.directory.add(learned.iter().cloned());
    Ok(PageContent {
        learned,
        ..normalize()
    })
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

/// So much earlier. A cursor may hold any time there is, the first one as well.
pub(super) fn earlier(at: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    at.checked_sub_signed(by)
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// How much of the time from `from` to `to` lies before `at`, from 0 to 1.
pub(super) fn part_before(at: DateTime<Utc>, from: DateTime<Utc>, to: DateTime<Utc>) -> f32 {
    let seconds = |span: Duration| span.num_seconds().max(0);
    let (done, all) = (seconds(at - from), seconds(to - from));
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    if all == 0 {
        1.0
    } else {
        (done as f32 / all as f32).clamp(0.0, 1.0)
    }
}

/// A fault that only the operator, or a change of our code, can mend.
pub(super) fn operator_fault(why: impl Into<String>) -> ConnectorError {
    ConnectorError::Permanent(why.into().into())
}
