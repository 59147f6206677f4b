//! New messages: received, sent, imported, and drafts.

use super::{ActionParams, Transaction};
use crate::clock::parse_iso;
use crate::google::gmail::content::{Content, Party};
use crate::google::gmail::id::parse_hex;
use crate::google::gmail::labels::Labels;
use crate::google::gmail::mailbox::{ChangeKind, Message};
use crate::google::people::Person;

impl ActionParams {
    /// Whether the parameters have a part of a message's content.
    fn writes_content(&self) -> bool {
        let texts = [&self.from, &self.from_name, &self.subject, &self.text];
        texts.iter().any(|text| text.is_some())
            || !self.to.is_empty()
            || !self.cc.is_empty()
            || self.list.is_some()
            || self.automatic
            || self.date_offset_seconds != 0
            || self.answers.is_some()
    }

    /// The given parts of a content, and the generated ones for the others.
    fn content(&self, generated: Content, at: i64, answers: Option<u64>) -> Content {
        let parties = |addresses: &[String]| -> Vec<Party> {
            let addresses = addresses.iter();
            addresses.map(|address| Party::new("", address)).collect()
        };
        let mut from = generated.from;
        if let Some(address) = &self.from {
            from = Party::new("", address);
        }
        if let Some(name) = &self.from_name {
            name.clone_into(&mut from.name);
        }
        Content {
            from,
            to: if self.to.is_empty() {
                generated.to
            } else {
                parties(&self.to)
            },
            cc: parties(&self.cc),
            subject: self.subject.clone().unwrap_or(generated.subject),
            text: self.text.clone().unwrap_or(generated.text),
            date: at + self.date_offset_seconds,
            list: self.list.clone(),
            is_automatic: self.automatic,
            answers,
        }
    }
}

impl Transaction<'_> {
    /// A message with the content of the parameters, between the owner and a correspondent.
    fn compose(
        &mut self,
        params: &ActionParams,
        owner: &str,
        labels: Labels,
    ) -> Result<Message, &'static str> {
        let at = self.when.at;
        let created = if self.when.is_live {
            self.service.core.clock.milliseconds().max(at * 1_000)
        } else {
            at * 1_000
        };
        let answered = self.answered(params, owner)?;
        let mailbox = self.mailbox(owner);
        let id = mailbox.new_id(created);
        let mut message = Message {
            id,
            thread: answered.map_or(id, |(_, thread)| thread),
            labels,
            internal_date: at * 1_000,
            history_id: 0,
            fact: None,
            written: None,
        };
        if params.writes_content() {
            let generated = mailbox.content(&message);
            let answers = answered.map(|(id, _)| id);
            message.written = Some(Box::new(params.content(generated, at, answers)));
        }
        Ok(message)
    }

    /// Id and thread of the message that a new one answers.
    fn answered(
        &mut self,
        params: &ActionParams,
        owner: &str,
    ) -> Result<Option<(u64, u64)>, &'static str> {
        let id = match &params.answers {
            Some(text) => parse_hex(text).ok_or("unknown message to answer")?,
            None if params.answers_random => {
                let is_mail =
                    |message: &Message| !message.labels.has_any(Labels::DRAFT.with(Labels::CHAT));
                self.target(params, owner, is_mail)?
            }
            None => return Ok(None),
        };
        let answered = self.mailbox(owner).messages.get(&id);
        let answered = answered.ok_or("unknown message to answer")?;
        Ok(Some((id, answered.thread)))
    }

    pub(super) fn receive(
        &mut self,
        params: &ActionParams,
        owner: &str,
    ) -> Result<u64, &'static str> {
        let category = match (&params.list, params.automatic) {
            (Some(_), _) => Labels::FORUMS,
            (None, true) => Labels::UPDATES,
            (None, false) => Labels::PERSONAL,
        };
        let mut labels = Labels::UNREAD.with(category);
        if params.spam {
            labels = labels.with(Labels::SPAM);
        } else if !params.archived {
            labels = labels.with(Labels::INBOX);
        }
        if let Some(name) = &params.label {
            labels = labels.with(self.label_of(owner, name)?);
        }
        let message = self.compose(params, owner, labels)?;
        Ok(self.add(owner, message))
    }

    /// Sends a message, which simulated recipients receive.
    pub(super) fn send(
        &mut self,
        params: &ActionParams,
        owner: &str,
        others: &[Person],
    ) -> Result<u64, &'static str> {
        let message = self.compose(params, owner, Labels::SENT)?;
        let mailbox = self.mailbox(owner);
        let sender = mailbox.address.clone();
        let subject = mailbox.content(&message).subject;
        let id = self.add(owner, message);
        for person in others {
            let incoming = ActionParams {
                from: params.from.clone().or_else(|| Some(sender.clone())),
                subject: Some(subject.clone()),
                // Threads and labels are those of each mailbox.
                answers: None,
                label: None,
                ..params.clone()
            };
            self.receive(&incoming, &person.sub)?;
        }
        Ok(id)
    }

    /// Sends a message to oneself: one message, in the sent mail and in the inbox.
    pub(super) fn send_to_self(
        &mut self,
        params: &ActionParams,
        owner: &str,
    ) -> Result<u64, &'static str> {
        let labels = Labels::SENT.with(Labels::INBOX).with(Labels::UNREAD);
        let params = ActionParams {
            to: vec![self.mailbox(owner).address.clone()],
            ..params.clone()
        };
        let message = self.compose(&params, owner, labels)?;
        Ok(self.add(owner, message))
    }

    /// Imports an old message, whose internal date is that of its header.
    pub(super) fn import(
        &mut self,
        params: &ActionParams,
        owner: &str,
    ) -> Result<u64, &'static str> {
        let date = match &params.date {
            Some(text) => parse_iso(text).ok_or("invalid date")?,
            None => self.when.at - 400 * 24 * 3_600,
        };
        let mut labels = Labels::NONE;
        if let Some(name) = &params.label {
            labels = labels.with(self.label_of(owner, name)?);
        }
        let mut message = self.compose(params, owner, labels)?;
        message.internal_date = date * 1_000;
        if let Some(content) = &mut message.written {
            content.date = date;
        }
        Ok(self.add(owner, message))
    }

    pub(super) fn receive_chat(
        &mut self,
        params: &ActionParams,
        owner: &str,
    ) -> Result<u64, &'static str> {
        let message = self.compose(params, owner, Labels::CHAT)?;
        Ok(self.add(owner, message))
    }

    /// Saves a draft; each save of the same draft has a new id.
    pub(super) fn save_draft(
        &mut self,
        params: &ActionParams,
        owner: &str,
    ) -> Result<u64, &'static str> {
        if params.message.is_some() {
            let draft = self.draft(params, owner)?;
            return self.replace(params, owner, draft, Labels::DRAFT);
        }
        let message = self.compose(params, owner, Labels::DRAFT)?;
        Ok(self.add(owner, message))
    }

    /// Sends a draft: the draft is gone and a sent message is there, or it keeps its id.
    pub(super) fn send_draft(
        &mut self,
        params: &ActionParams,
        owner: &str,
    ) -> Result<u64, &'static str> {
        let draft = self.draft(params, owner)?;
        if params.in_place {
            let at = self.when.at;
            let mailbox = self.mailbox(owner);
            mailbox.relabel(draft, Labels::SENT, Labels::DRAFT, at);
            self.update_facts(owner, &[draft]);
            return Ok(draft);
        }
        self.replace(params, owner, draft, Labels::SENT)
    }

    fn draft(&mut self, params: &ActionParams, owner: &str) -> Result<u64, &'static str> {
        let id = self.target(params, owner, |message| {
            message.labels.has_any(Labels::DRAFT)
        })?;
        let is_draft = self.mailbox(owner).messages[&id]
            .labels
            .has_any(Labels::DRAFT);
        is_draft.then_some(id).ok_or("not a draft")
    }

    /// Replaces a draft by a message with a new id in the same thread, in one record.
    ///
    /// Parts of the content that the parameters do not give are those of the draft.
    fn replace(
        &mut self,
        params: &ActionParams,
        owner: &str,
        draft: u64,
        labels: Labels,
    ) -> Result<u64, &'static str> {
        let mut message = self.compose(params, owner, labels)?;
        let at = self.when.at;
        let mailbox = self.mailbox(owner);
        let old = mailbox.messages.get(&draft).ok_or("unknown message")?;
        message.thread = old.thread;
        let content = mailbox.content(old);
        let answers = content.answers;
        message.written = Some(Box::new(params.content(content, at, answers)));
        let (_, deleted) = mailbox.take(draft).ok_or("unknown message")?;
        let (id, added) = (message.id, message.change(ChangeKind::MessageAdded));
        mailbox.insert(message);
        mailbox.commit(at, vec![deleted, added]);
        self.update_facts(owner, &[id]);
        Ok(id)
    }
}
