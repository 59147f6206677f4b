//! Check of an OAuth client: the exchange of a code that the provider cannot have issued.
//!
//! A provider verifies the client first. So it rejects a wrong client with another error code than
//! a wrong authorization code, and the check needs no person's consent.

use url::Url;

use super::{TokenClient, TokenEndpoint, truncated};
use crate::connectors::ConnectorError;
use crate::connectors::app_check::{Finding, chain};
use crate::connectors::response::ApiError;
use crate::http::Charge;

/// The checked part.
const SUBJECT: &str = "client";
/// A code that no provider issues.
const IMPOSSIBLE_CODE: &str = "poblysh-doctor-checks-the-client";
/// A verifier of the length that RFC 7636 requires.
const VERIFIER: &str = "poblysh-doctor-checks-the-client-0123456789abcdef";
/// Error codes of an unregistered callback URL.
const REJECTED_REDIRECT: &[&str] = &[
    "redirect_uri_mismatch",
    "bad_redirect_uri",
    "invalid_redirect_uri",
];

/// Names of a client's settings, without the prefix of all variables.
#[derive(Clone, Copy)]
pub(in super::super) struct ClientSettings {
    /// The client's id.
    pub id: &'static str,
    /// Its secrets.
    pub secret: &'static str,
}

/// The provider's answer to a client with one of its secrets.
#[derive(Debug)]
pub(in super::super) enum ClientAnswer {
    /// It knows the client, and rejected the code only.
    Accepted,
    /// It rejected the client.
    RejectedClient(String),
    /// It knows the client, which has no such callback URL.
    RejectedRedirect,
    /// It did not answer, or not in a documented form.
    Unclear(ConnectorError),
}

impl<C: TokenClient> TokenEndpoint<'_, C> {
    /// Sends the impossible code with each secret, and returns the provider's answers.
    pub(in super::super) async fn probe_client(
        &self,
        charge: &Charge<'_>,
        redirect_uri: &Url,
    ) -> Vec<ClientAnswer> {
        let grant = self.code_grant(IMPOSSIBLE_CODE, redirect_uri, VERIFIER);
        let mut answers = Vec::new();
        for secret in &self.client.secrets {
            let result = self.request_with_secret(charge, &grant, secret).await;
            answers.push(match result {
                // The client is verified before the code is.
                Ok(_) => ClientAnswer::Accepted,
                Err(error) => self.interpret(error),
            });
        }
        answers
    }

    /// Checks the client, and reports the result with the names of its settings.
    pub(in super::super) async fn check_client(
        &self,
        charge: &Charge<'_>,
        redirect_uri: &Url,
        settings: ClientSettings,
    ) -> Finding {
        let answers = self.probe_client(charge, redirect_uri).await;
        report(self.dialect.provider, redirect_uri, settings, answers)
    }

    fn interpret(&self, error: ApiError) -> ClientAnswer {
        let code = error.code.as_str();
        if self.dialect.expired_code.contains(&code) {
            return ClientAnswer::Accepted;
        }
        if REJECTED_REDIRECT.contains(&code) {
            return ClientAnswer::RejectedRedirect;
        }
        if self.dialect.rejected_secret.contains(&code) {
            return ClientAnswer::RejectedClient(truncated(code));
        }
        match error.cause {
            cause @ (ConnectorError::Transient(_) | ConnectorError::RateLimited { .. }) => {
                ClientAnswer::Unclear(cause)
            }
            _ if code.contains("client") => ClientAnswer::RejectedClient(truncated(code)),
            // GitHub knows no page of an unknown client.
            ConnectorError::Unauthorized(_) | ConnectorError::Denied { .. } => {
                ClientAnswer::RejectedClient("no reason stated".to_owned())
            }
            cause => ClientAnswer::Unclear(cause),
        }
    }
}

/// Reports the answers to all secrets of a client in one finding, the worst of them.
fn report(
    provider: &str,
    redirect_uri: &Url,
    settings: ClientSettings,
    answers: Vec<ClientAnswer>,
) -> Finding {
    let ClientSettings { id, secret } = settings;
    let all = answers.len();
    let mut accepted = 0;
    let mut rejected = None;
    for answer in answers {
        match answer {
            ClientAnswer::Accepted => accepted += 1,
            ClientAnswer::RejectedClient(code) => rejected = Some(code),
            ClientAnswer::RejectedRedirect => {
                return Finding::failure(
                    SUBJECT,
                    format!("{provider} knows the client, which lacks the callback URL"),
                    format!("Register {redirect_uri} as callback URL of the app at {provider}."),
                );
            }
            ClientAnswer::Unclear(cause) => {
                return Finding::failure(
                    SUBJECT,
                    format!(
                        "{provider}'s token endpoint gave no usable answer: {}",
                        chain(&cause)
                    ),
                    "Check this host's way to the provider (DNS, firewall, proxy) and the \
                     provider's _BASE_URL settings, then try again.",
                );
            }
        }
    }
    match rejected {
        None => Finding::ok(SUBJECT, format!("{provider} accepts the OAuth client")),
        Some(code) if accepted == 0 => Finding::failure(
            SUBJECT,
            format!("{provider} rejects the OAuth client ({code})"),
            format!(
                "Copy id and secret of the app's OAuth client at {provider} to POBLYSH_{id} and \
                 POBLYSH_{secret} again."
            ),
        ),
        Some(code) => Finding::warning(
            SUBJECT,
            format!("{provider} accepts {accepted} of {all} client secrets ({code})"),
            format!("Remove the rejected one from POBLYSH_{secret} when the rotation has ended."),
        ),
    }
}
