//! OAuth redirects: the authorization code, and the outcomes without one.

use super::error::permanent_error;
use super::{Callback, CallbackOutcome, ConnectorError};

/// Length to which a provider's error code is cut in messages.
const MAX_ERROR_CODE: usize = 80;

/// Returns the redirect's authorization code, or the outcome of the flow without one.
pub(super) fn authorization_code<'c>(
    callback: &'c Callback,
    provider: &str,
) -> Result<&'c str, Result<CallbackOutcome, ConnectorError>> {
    if let Some(error) = callback.param("error") {
        return Err(match error {
            "access_denied" => Ok(CallbackOutcome::denied(format!(
                "The consent was declined at {provider}."
            ))),
            other => {
                let code: String = other.chars().take(MAX_ERROR_CODE).collect();
                Err(permanent_error(format!(
                    "{provider} rejected the authorization request: {code}"
                )))
            }
        });
    }
    callback
        .param("code")
        .filter(|code| !code.is_empty())
        .ok_or_else(|| {
            Ok(CallbackOutcome::denied(format!(
                "{provider} returned no authorization code. Start again."
            )))
        })
}

/// The outcome of a flow whose authorization code has expired or was already used.
pub(super) fn expired_code() -> CallbackOutcome {
    CallbackOutcome::denied("The authorization has expired or was already used. Start again.")
}
