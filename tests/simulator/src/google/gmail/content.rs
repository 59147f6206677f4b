//! Content of a message: its sender, recipients, subject and text.
//!
//! A mailbox may have a hundred thousand messages, so content is a function of the message's id
//! unless an action wrote it. The spelling of the headers always is one.

use super::encoding::{Encoding, mail_date};
use super::id::{hex, mix};
use super::labels::Labels;

/// A person in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Party {
    /// Display name; empty for an address only.
    pub(crate) name: String,
    pub(crate) address: String,
}

impl Party {
    pub(crate) fn new(name: &str, address: &str) -> Self {
        Self {
            name: name.to_owned(),
            address: address.to_owned(),
        }
    }
}

/// Content of a message.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) from: Party,
    pub(crate) to: Vec<Party>,
    pub(crate) cc: Vec<Party>,
    pub(crate) subject: String,
    pub(crate) text: String,
    /// Time in the `Date` header, epoch seconds.
    pub(crate) date: i64,
    /// Mailing list that distributed the message.
    pub(crate) list: Option<String>,
    /// A program wrote the message.
    pub(crate) is_automatic: bool,
    /// Message that this one answers.
    pub(crate) answers: Option<u64>,
}

/// Parts of a message and its mailbox that determine content and headers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) id: u64,
    pub(crate) thread: u64,
    pub(crate) labels: Labels,
    /// Epoch milliseconds.
    pub(crate) internal_date: i64,
    /// Address of the mailbox's owner.
    pub(crate) owner: &'a str,
}

const SUBJECTS: [&str; 6] = [
    "Pump report",
    "Wartung im März",
    "Réunion de l'équipe",
    "Invoice & delivery note",
    "Отчёт о насосах",
    "Weekly summary ✓",
];
const SENDERS: [&str; 4] = ["Support", "Büro", "Équipe technique", "Sales, North"];
const COMPANIES: [&str; 3] = ["supplier", "customer", "partner"];

/// One of several items, by a part of the mixed id.
fn choose<T: Copy>(items: &[T], bits: u64) -> T {
    let count = items.len() as u64;
    items[usize::try_from(bits % count).unwrap_or_default()]
}

/// A correspondent outside of the simulated organizations.
fn correspondent(bits: u64) -> Party {
    let (number, company) = (bits % 40 + 1, choose(&COMPANIES, bits >> 8));
    let name = choose(&SENDERS, bits >> 16);
    Party {
        name: format!("{name} {number}"),
        address: format!("contact-{number}@{company}.example"),
    }
}

/// Subject of a message that no action wrote.
fn subject(bits: u64) -> String {
    format!("{} {}", choose(&SUBJECTS, bits), (bits >> 8) % 1_000)
}

impl Content {
    /// Content of a message that no action wrote.
    pub(crate) fn generate(origin: &Origin<'_>) -> Self {
        let bits = mix(origin.id);
        let owner = Party::new("", origin.owner);
        let other = correspondent(bits >> 4);
        let is_outgoing = origin.labels.has_any(Labels::SENT.with(Labels::DRAFT));
        let (from, to) = if is_outgoing {
            (owner, other)
        } else {
            (other, owner)
        };
        let list = origin.labels.has_any(Labels::FORUMS);
        Self {
            from,
            to: vec![to],
            cc: Vec::new(),
            subject: subject(bits >> 12),
            text: format!("It's about number {}.\r\n", bits % 10_000),
            date: origin.internal_date / 1_000,
            list: list.then(|| format!("list-{}.partner.example", bits % 5)),
            is_automatic: origin.labels.has_any(Labels::UPDATES),
            answers: (origin.thread != origin.id).then_some(origin.thread),
        }
    }

    /// Headers in the order of the message, with the spelling that its id determines.
    pub(crate) fn headers(&self, origin: &Origin<'_>) -> Vec<(String, String)> {
        let spelling = Spelling::of(origin.id);
        let mut headers = Vec::new();
        let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
        let received_at = mail_date(origin.internal_date / 1_000, -480);
        let address = origin.owner;
        let is_incoming = self.from.address != address;
        if is_incoming {
            let id = hex(mix(origin.id));
            add("Delivered-To", address.to_owned());
            add(
                "Received",
                format!("by 2002:a05:7110:b08e with SMTP id {id};        {received_at} (PST)"),
            );
            add("Return-Path", format!("<{}>", self.from.address));
            add(
                "Received",
                format!(
                    "from mx.example (mx.example. [192.0.2.7])        by mx.google.com with ESMTPS \
                     id {id}        for <{address}>;        {received_at} (PST)"
                ),
            );
        }
        add(spelling.name("Date"), mail_date(self.date, spelling.zone()));
        add(spelling.name("From"), spelling.parties([&self.from]));
        add(spelling.name("Message-ID"), message_id(origin.id));
        add(spelling.name("Subject"), spelling.text(&self.subject));
        if let Some(answered) = self.answers {
            add("In-Reply-To", message_id(answered));
            add("References", message_id(answered));
        }
        if spelling.repeats_headers && self.to.len() > 1 {
            for party in &self.to {
                add("To", spelling.parties([party]));
            }
        } else if !self.to.is_empty() {
            add(spelling.name("To"), spelling.parties(&self.to));
        }
        if !self.cc.is_empty() {
            add(spelling.name("Cc"), spelling.parties(&self.cc));
        }
        if let Some(list) = &self.list {
            add(spelling.name("List-Id"), format!("<{list}>"));
            add("List-Unsubscribe", format!("<https://{list}/leave>"));
            add("Precedence", "list".to_owned());
        }
        if self.is_automatic {
            add(spelling.name("Auto-Submitted"), "auto-generated".to_owned());
        }
        if spelling.repeats_headers {
            // Some programs add a second copy of these.
            add("Subject", spelling.text(&self.subject));
            add("X-Mailer", "Example".to_owned());
            add("X-Mailer", "Example (relay)".to_owned());
        }
        add("MIME-Version", "1.0".to_owned());
        add("Content-Type", "text/plain; charset=\"UTF-8\"".to_owned());
        headers
    }
}

fn message_id(id: u64) -> String {
    format!("<CA{}@mail.example>", hex(mix(id)))
}

/// Spelling of a message's headers.
struct Spelling {
    case: u64,
    encoding: Encoding,
    repeats_headers: bool,
}

impl Spelling {
    fn of(id: u64) -> Self {
        let bits = mix(id ^ 0x7370_656c);
        let encodings = [
            Encoding::Plain,
            Encoding::Base64,
            Encoding::Quoted,
            Encoding::Latin,
        ];
        Self {
            case: bits % 4,
            encoding: choose(&encodings, bits >> 8),
            repeats_headers: (bits >> 16).is_multiple_of(5),
        }
    }

    /// A header's name in the message's case.
    fn name(&self, name: &'static str) -> &'static str {
        let names: [&str; 4] = match name {
            "Date" => ["Date", "date", "DATE", "Date"],
            "From" => ["From", "from", "FROM", "From"],
            "To" => ["To", "to", "TO", "To"],
            "Cc" => ["Cc", "cc", "CC", "CC"],
            "Subject" => ["Subject", "subject", "SUBJECT", "Subject"],
            "Message-ID" => ["Message-ID", "message-id", "MESSAGE-ID", "Message-Id"],
            "List-Id" => ["List-Id", "list-id", "LIST-ID", "List-ID"],
            "Auto-Submitted" => [
                "Auto-Submitted",
                "auto-submitted",
                "AUTO-SUBMITTED",
                "Auto-submitted",
            ],
            other => [other; 4],
        };
        choose(&names, self.case)
    }

    fn zone(&self) -> i32 {
        choose(&[0, 60, -480, 330], self.case)
    }

    fn text(&self, text: &str) -> String {
        if text.is_ascii() {
            text.to_owned()
        } else {
            self.encoding.encode(text)
        }
    }

    fn parties<'a>(&self, parties: impl IntoIterator<Item = &'a Party>) -> String {
        let one = |party: &Party| {
            let address = &party.address;
            match party.name.as_str() {
                "" => address.clone(),
                name if name.is_ascii() => format!("\"{}\" <{address}>", escaped(name)),
                name => match self.encoding {
                    Encoding::Plain => format!("\"{}\" <{address}>", escaped(name)),
                    encoding => format!("{} <{address}>", encoding.encode(name)),
                },
            }
        };
        let parties: Vec<String> = parties.into_iter().map(one).collect();
        parties.join(", ")
    }
}

/// Text within a quoted string.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const OWNER: &str = "a@team.example";

    const fn origin(id: u64, labels: Labels) -> Origin<'static> {
        Origin {
            id,
            thread: id,
            labels,
            internal_date: 1_795_428_000_000,
            owner: OWNER,
        }
    }

    #[test]
    fn headers_vary_in_case_encoding_and_number() {
        let (mut names, mut encoded, mut repeated) = (BTreeSet::new(), 0, 0);
        for id in 1..400 {
            let origin = origin(id, Labels::INBOX);
            let headers = Content::generate(&origin).headers(&origin);
            let subjects: Vec<_> = headers
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case("subject"))
                .collect();
            names.extend(subjects.iter().map(|(name, _)| name.clone()));
            encoded += usize::from(subjects[0].1.contains("=?"));
            repeated += usize::from(subjects.len() == 2);
        }
        assert_eq!(names.len(), 3);
        assert!((50..300).contains(&encoded), "{encoded}");
        assert!((40..160).contains(&repeated), "{repeated}");
    }

    #[test]
    fn generated_content_follows_id_and_labels() {
        let received = Content::generate(&origin(9, Labels::INBOX));
        let again = Content::generate(&origin(9, Labels::INBOX));
        assert_eq!(received.subject, again.subject);
        assert_eq!(received.to[0].address, OWNER);
        let sent = Content::generate(&origin(9, Labels::SENT));
        assert_eq!(sent.from.address, OWNER);
        let forum = Content::generate(&origin(9, Labels::FORUMS));
        assert!(forum.list.is_some() && received.list.is_none());
    }

    #[test]
    fn names_with_special_characters_are_quoted() {
        let spelling = Spelling {
            case: 0,
            encoding: Encoding::Plain,
            repeats_headers: false,
        };
        let party = Party::new("Sales, \"North\"", "s@x.example");
        assert_eq!(
            spelling.parties([&party, &Party::new("", "t@x.example")]),
            "\"Sales, \\\"North\\\"\" <s@x.example>, t@x.example"
        );
    }
}
