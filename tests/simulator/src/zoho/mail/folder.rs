//! Folders of a mailbox.

use crate::zoho::DataCenter;

/// Type of a folder; people's own folders are of the type of the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FolderType {
    Inbox,
    Drafts,
    Templates,
    Snoozed,
    Sent,
    Spam,
    Trash,
    Newsletter,
    Notification,
    Outbox,
}

/// Types of the folders that every mailbox has, in their order.
const SYSTEM: [FolderType; 10] = [
    FolderType::Inbox,
    FolderType::Drafts,
    FolderType::Templates,
    FolderType::Snoozed,
    FolderType::Sent,
    FolderType::Spam,
    FolderType::Trash,
    FolderType::Newsletter,
    FolderType::Notification,
    FolderType::Outbox,
];

impl FolderType {
    /// Name of the type, which does not depend on the language.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Inbox => "Inbox",
            Self::Drafts => "Drafts",
            Self::Templates => "Templates",
            Self::Snoozed => "Snoozed",
            Self::Sent => "Sent",
            Self::Spam => "Spam",
            Self::Trash => "Trash",
            Self::Newsletter => "Newsletter",
            Self::Notification => "Notification",
            Self::Outbox => "Outbox",
        }
    }

    /// Name of the folder in the language of a data centre's people.
    const fn local_name(self, data_center: DataCenter) -> &'static str {
        match (data_center, self) {
            (DataCenter::Eu, Self::Inbox) => "Posteingang",
            (DataCenter::Eu, Self::Drafts) => "Entwürfe",
            (DataCenter::Eu, Self::Templates) => "Vorlagen",
            (DataCenter::Eu, Self::Snoozed) => "Zurückgestellt",
            (DataCenter::Eu, Self::Sent) => "Gesendet",
            (DataCenter::Eu, Self::Trash) => "Papierkorb",
            (DataCenter::Eu, Self::Notification) => "Benachrichtigungen",
            (DataCenter::Eu, Self::Outbox) => "Postausgang",
            (_, other) => other.name(),
        }
    }

    /// Kind of the facts that its rows show; `None` for folders without facts.
    pub(crate) const fn fact(self) -> Option<&'static str> {
        match self {
            Self::Sent => Some("email_sent"),
            Self::Inbox | Self::Snoozed | Self::Newsletter | Self::Notification => {
                Some("email_received")
            }
            Self::Drafts | Self::Templates | Self::Spam | Self::Trash | Self::Outbox => None,
        }
    }
}

/// A folder of a mailbox.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) kind: FolderType,
    /// A person made it.
    pub(crate) is_own: bool,
}

/// The folders of a mailbox.
#[derive(Debug)]
pub(crate) struct Folders {
    all: Vec<Folder>,
    next_id: u64,
}

impl Folders {
    /// The folders of a new mailbox, with ids after this one.
    pub(crate) fn new(data_center: DataCenter, first_id: u64) -> Self {
        let numbered = (first_id..).step_by(2).zip(SYSTEM);
        let all = numbered.map(|(id, kind)| Folder {
            id,
            name: kind.local_name(data_center).to_owned(),
            kind,
            is_own: false,
        });
        Self {
            all: all.collect(),
            next_id: first_id + 1_000,
        }
    }

    pub(crate) fn all(&self) -> &[Folder] {
        &self.all
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Folder> {
        self.all.iter().find(|folder| folder.id == id)
    }

    /// The folder of a type that every mailbox has.
    pub(crate) fn system(&self, kind: FolderType) -> &Folder {
        let mut system = self.all.iter().filter(|folder| !folder.is_own);
        let found = system.find(|folder| folder.kind == kind);
        found.expect("a mailbox has all folders of the system")
    }

    /// The folder with this id, type or name; people's own folders have no type of their own.
    pub(crate) fn find(&self, text: &str) -> Option<&Folder> {
        self.all.iter().find(|folder| {
            let is_type = !folder.is_own && folder.kind.name().eq_ignore_ascii_case(text);
            is_type || folder.id.to_string() == text || folder.name == text
        })
    }

    /// Adds a folder of a person.
    pub(crate) fn create(&mut self, name: &str) -> &Folder {
        let id = self.next_id;
        self.next_id += 7;
        self.all.push(Folder {
            id,
            name: name.to_owned(),
            kind: FolderType::Inbox,
            is_own: true,
        });
        &self.all[self.all.len() - 1]
    }

    /// Removes a folder of a person; `false` for all others.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let before = self.all.len();
        self.all.retain(|folder| folder.id != id || !folder.is_own);
        self.all.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_found_by_type_in_every_language() {
        let mut folders = Folders::new(DataCenter::Eu, 8_014);
        let inbox = folders.find("inbox").expect("an inbox").clone();
        assert_eq!((inbox.id, inbox.name.as_str()), (8_014, "Posteingang"));
        let own = folders.create("Inbox 2").id;
        assert_eq!(folders.find("Inbox 2").map(|one| one.id), Some(own));
        assert_eq!(folders.find(&own.to_string()).map(|one| one.id), Some(own));
        assert_eq!(folders.system(FolderType::Inbox).id, inbox.id);
        assert!(folders.remove(own) && !folders.remove(inbox.id));
    }

    #[test]
    fn only_received_and_sent_mail_shows_facts() {
        let without = SYSTEM.into_iter().filter(|kind| kind.fact().is_none());
        let without: Vec<&str> = without.map(FolderType::name).collect();
        let expected = ["Drafts", "Templates", "Spam", "Trash", "Outbox"];
        assert_eq!(without, expected);
    }
}
