//! The parameter `q`: a part of Gmail's search language.
//!
//! Terms are joined by "and", and `-` negates one. Known are `after:`, `before:`, `in:`, `is:`,
//! `label:`, `from:`, `to:`, `subject:` and words of the subject.

use super::labels::{LabelNames, Labels};
use super::mailbox::{Mailbox, Message};
use crate::clock::parse_iso;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    After(i64),
    Before(i64),
    Label(Labels),
    /// `in:anywhere`, which includes spam and trash.
    Anywhere,
    From(String),
    To(String),
    Subject(String),
    /// No message matches, as for an unknown label.
    Nothing,
}

/// A parsed search.
#[derive(Debug, Clone, Default)]
pub(crate) struct Search {
    /// Terms, each with its negation.
    terms: Vec<(Term, bool)>,
}

impl Search {
    pub(crate) fn parse(text: &str, names: &LabelNames) -> Self {
        let mut terms = Vec::new();
        for word in text.split_whitespace() {
            let (word, is_negated) = match word.strip_prefix('-') {
                Some(word) => (word, true),
                None => (word, false),
            };
            let word = word.to_lowercase();
            let (name, value) = word.split_once(':').unwrap_or(("", &word));
            let value = value.trim_matches('"').to_owned();
            let label = |id: &str| names.find(id).map_or(Term::Nothing, Term::Label);
            let term = match name {
                "after" | "newer" => parse_date(&value).map_or(Term::Nothing, Term::After),
                "before" | "older" => parse_date(&value).map_or(Term::Nothing, Term::Before),
                "in" if value == "anywhere" => Term::Anywhere,
                "in" | "is" | "label" if value == "drafts" => label("DRAFT"),
                "in" | "is" | "label" => label(&value),
                "from" => Term::From(value),
                "to" => Term::To(value),
                "subject" | "" => Term::Subject(value),
                _ => Term::Nothing,
            };
            terms.push((term, is_negated));
        }
        Self { terms }
    }

    /// Whether messages in spam and trash may match.
    pub(crate) fn includes_spam_and_trash(&self) -> bool {
        let hidden = Labels::SPAM.with(Labels::TRASH);
        self.terms.iter().any(|(term, is_negated)| {
            !is_negated
                && match term {
                    Term::Anywhere => true,
                    Term::Label(labels) => labels.has_any(hidden),
                    _ => false,
                }
        })
    }

    pub(crate) fn matches(&self, message: &Message, mailbox: &Mailbox) -> bool {
        let mut terms = self.terms.iter();
        terms.all(|(term, is_negated)| term.matches(message, mailbox) != *is_negated)
    }
}

impl Term {
    fn matches(&self, message: &Message, mailbox: &Mailbox) -> bool {
        let seconds = message.internal_date.div_euclid(1_000);
        let content = || mailbox.content(message);
        let contains = |text: &str, part: &str| text.to_lowercase().contains(part);
        match self {
            Self::After(bound) => seconds >= *bound,
            Self::Before(bound) => seconds < *bound,
            Self::Label(labels) => message.labels.has_all(*labels),
            Self::Anywhere => true,
            Self::From(part) => {
                let from = content().from;
                contains(&from.address, part) || contains(&from.name, part)
            }
            Self::To(part) => {
                let to = content().to;
                to.iter().any(|party| contains(&party.address, part))
            }
            Self::Subject(part) => contains(&content().subject, part),
            Self::Nothing => false,
        }
    }
}

/// A date: epoch seconds, or year, month and day.
fn parse_date(text: &str) -> Option<i64> {
    match text.parse() {
        Ok(seconds) => Some(seconds),
        Err(_) => parse_iso(&text.replace('/', "-")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(labels: Labels, seconds: i64) -> Message {
        Message {
            id: 5,
            thread: 5,
            labels,
            internal_date: seconds * 1_000 + 999,
            history_id: 1,
            fact: None,
            written: None,
        }
    }

    #[test]
    fn terms_are_joined_and_negated() {
        let mailbox = Mailbox::new("1", "a@team.example", 1, 7);
        let inbox = message(Labels::INBOX.with(Labels::UNREAD), 1_795_428_000);
        let matches = |text: &str| Search::parse(text, &mailbox.names).matches(&inbox, &mailbox);
        for text in [
            "",
            "after:1795428000",
            "after:2026/11/23 before:2026/11/24",
            "in:inbox is:unread",
            "in:inbox -in:sent",
            "to:a@team.example",
        ] {
            assert!(matches(text), "{text}");
        }
        for text in [
            "after:1795428001",
            "before:1795428000",
            "-in:inbox",
            "is:starred",
            "label:unknown",
            "has:attachment",
            "nosuchword",
        ] {
            assert!(!matches(text), "{text}");
        }
    }

    #[test]
    fn spam_is_included_only_where_it_is_named() {
        let names = LabelNames::default();
        let includes = |text: &str| Search::parse(text, &names).includes_spam_and_trash();
        assert!(includes("in:anywhere") && includes("in:spam") && includes("label:trash"));
        assert!(!includes("in:inbox") && !includes("-in:spam") && !includes("after:1"));
    }
}
