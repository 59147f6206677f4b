//! New messages: received, sent and drafts.

use super::{ActionParams, Transaction};
use crate::zoho::mail::content::{Content, Party};
use crate::zoho::mail::folder::FolderType;
use crate::zoho::mail::mailbox::Message;
use crate::zoho::mail::render;
use crate::zoho::people::Person;

/// Name of a received message's delivery, which fault rules match.
const RECEIVED: &str = "mail.received";

impl ActionParams {
    /// Whether the parameters have a part of a message's content.
    fn writes_content(&self) -> bool {
        let texts = [&self.from, &self.from_name, &self.subject, &self.text];
        texts.iter().any(|text| text.is_some())
            || !self.to.is_empty()
            || !self.cc.is_empty()
            || self.attachment.is_some()
    }

    /// The given parts of a content, and the generated ones for the others.
    fn content(&self, generated: Content) -> Content {
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
            has_attachment: self.attachment.unwrap_or(generated.has_attachment),
        }
    }
}

impl Transaction<'_> {
    /// Adds a message with the content of the parameters to a folder.
    fn compose(
        &mut self,
        params: &ActionParams,
        owner: &str,
        folder: u64,
        is_outgoing: bool,
    ) -> Result<u64, &'static str> {
        let now = self.when.at * 1_000;
        let created = if self.when.is_live {
            self.service.core.clock.milliseconds().max(now)
        } else {
            now
        };
        let received = created - params.seconds_ago * 1_000;
        let mailbox = self.world.mailbox(owner);
        let thread = match &params.answers {
            Some(text) => {
                let answered = text.parse().ok().and_then(|id| mailbox.join_thread(id));
                Some(answered.ok_or("unknown message to answer")?)
            }
            None => None,
        };
        let mut message = Message {
            id: mailbox.new_id(received),
            folder,
            thread,
            received,
            is_read: is_outgoing,
            is_outgoing,
            fact: None,
            written: None,
        };
        if params.writes_content() {
            let generated = mailbox.content(&message);
            message.written = Some(Box::new(params.content(generated)));
        }
        let id = message.id;
        mailbox.insert(message);
        Ok(id)
    }

    /// Receives a message, which a filter may put into any folder; webhooks report it.
    pub(super) fn receive(
        &mut self,
        params: &ActionParams,
        owner: &str,
        facts: &mut Vec<u64>,
    ) -> Result<u64, &'static str> {
        let folder = self.folder(owner, params.folder.as_deref().unwrap_or("Inbox"));
        let id = self.compose(params, owner, folder, false)?;
        let mailbox = self.world.mailbox(owner);
        let spam = mailbox.system(FolderType::Spam);
        let is_reported = folder != spam && self.when.is_live && !mailbox.webhooks.is_empty();
        if is_reported {
            let has_id_string = !self.service.settings().omit_message_id_string;
            let integrations = mailbox.integrations();
            let message = mailbox.message(id).ok_or("unknown message")?;
            let body = render::delivery(mailbox, message, &integrations, has_id_string);
            let fact = self.record_new(owner, id, true);
            self.deliver(owner, RECEIVED, id, &body, fact.as_slice());
            facts.extend(fact);
        } else {
            facts.extend(self.record_new(owner, id, false));
        }
        Ok(id)
    }

    /// Sends a message, which simulated recipients receive.
    pub(super) fn send(
        &mut self,
        params: &ActionParams,
        owner: &Person,
        facts: &mut Vec<u64>,
    ) -> Result<u64, &'static str> {
        let sent = self.world.mailbox(&owner.login).system(FolderType::Sent);
        let id = self.compose(params, &owner.login, sent, true)?;
        facts.extend(self.record_new(&owner.login, id, false));
        let mailbox = self.world.mailbox(&owner.login);
        let message = mailbox.message(id).ok_or("unknown message")?;
        let content = mailbox.content(message);
        let incoming = ActionParams {
            from: Some(content.from.address),
            from_name: Some(content.from.name),
            subject: Some(content.subject),
            text: Some(content.text),
            attachment: Some(content.has_attachment),
            // Threads and folders are those of each mailbox.
            answers: None,
            folder: None,
            ..params.clone()
        };
        for address in params.to.iter().chain(&params.cc) {
            if let Some(person) = self.service.find_person(address) {
                self.service.open(self.world, &person);
                self.receive(&incoming, &person.login, facts)?;
            }
        }
        Ok(id)
    }

    /// Saves a draft, in the folder of the drafts or in another one that shows no facts.
    pub(super) fn save_draft(
        &mut self,
        params: &ActionParams,
        owner: &str,
        facts: &mut Vec<u64>,
    ) -> Result<u64, &'static str> {
        let name = params.folder.as_deref().unwrap_or("Drafts");
        let folder = self.folder(owner, name);
        let id = self.compose(params, owner, folder, true)?;
        facts.extend(self.record_new(owner, id, false));
        Ok(id)
    }
}
