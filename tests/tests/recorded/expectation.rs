//! Expected outcome of a delivery.

use shared::connectors::WebhookOutcome;

use crate::provider::{keys, kinds};

/// Expected outcome of a delivery.
#[derive(Debug)]
pub(crate) enum Expected {
    /// Kinds and dedupe keys without the account's prefix.
    Signals(Vec<(&'static str, String)>),
    /// No Signal, with the reason.
    Nothing(&'static str),
    /// Rejected because the field that identifies the fact is missing.
    MissingField(&'static str),
}

impl Expected {
    /// Compares an outcome, and returns its summary or a description of the difference.
    ///
    /// `account` is the prefix of the dedupe keys.
    pub(crate) fn compare(
        &self,
        account: &str,
        outcome: &WebhookOutcome,
    ) -> Result<String, String> {
        let (facts, reason, summary) = match self {
            Self::Signals(facts) => {
                let kinds: Vec<&str> = facts.iter().map(|(kind, _)| *kind).collect();
                (facts.as_slice(), None, kinds.join(" + "))
            }
            Self::Nothing(reason) => (&[][..], None, format!("none ({reason})")),
            Self::MissingField(field) => {
                let reason = format!("the payload has no field `{field}`");
                (&[][..], Some(reason), format!("rejected ({field})"))
            }
        };
        let mut expected: Vec<(&str, String)> = facts
            .iter()
            .map(|(kind, key)| (*kind, format!("{account}:{key}")))
            .collect();
        let mut actual: Vec<(&str, String)> = kinds(outcome)
            .into_iter()
            .zip(keys(outcome).into_iter().map(str::to_owned))
            .collect();
        expected.sort_unstable();
        actual.sort_unstable();
        if actual == expected && outcome.refused == reason {
            return Ok(summary);
        }
        let refused = &outcome.refused;
        Err(format!(
            "{actual:?}, rejected: {refused:?}, expected {self:?}"
        ))
    }
}
