//! What a delivery must give, and whether it did.

use shared::connectors::WebhookOutcome;

use crate::provider::{keys, kinds};

/// What a delivery must give.
#[derive(Debug)]
pub(crate) enum Must {
    /// These kinds, under these keys behind the account's.
    Tell(Vec<(&'static str, String)>),
    /// Nothing, and why.
    BeSilent(&'static str),
    /// Nothing, because this is missing to identify the fact.
    BeRefused(&'static str),
}

impl Must {
    /// What the delivery gave, in a word, where that is what it must; else what is wrong.
    /// `account` is what keys begin with.
    pub(crate) fn compare(
        &self,
        account: &str,
        outcome: &WebhookOutcome,
    ) -> Result<String, String> {
        let (facts, reason, gave) = match self {
            Self::Tell(facts) => {
                let kinds: Vec<&str> = facts.iter().map(|(kind, _)| *kind).collect();
                (facts.as_slice(), None, kinds.join(" + "))
            }
            Self::BeSilent(why) => (&[][..], None, format!("none ({why})")),
            Self::BeRefused(field) => {
                let reason = format!("the payload has no field `{field}`");
                (&[][..], Some(reason), format!("refused ({field})"))
            }
        };
        let mut expected: Vec<(&str, String)> = facts
            .iter()
            .map(|(kind, key)| (*kind, format!("{account}:{key}")))
            .collect();
        let mut told: Vec<(&str, String)> = kinds(outcome)
            .into_iter()
            .zip(keys(outcome).into_iter().map(str::to_owned))
            .collect();
        expected.sort_unstable();
        told.sort_unstable();
        if told == expected && outcome.refused == reason {
            return Ok(gave);
        }
        let refused = &outcome.refused;
        Err(format!(
            "{told:?}, refused: {refused:?}, instead of {self:?}"
        ))
    }
}
