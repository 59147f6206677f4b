//! Labels of a mailbox: those of the system and those of its owner.

use serde_json::{Value, json};

/// Labels of a message, one bit per label of its mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Labels(u64);

/// System labels in the order of their bits, and whether clients hide them.
const SYSTEM: [(&str, bool); 14] = [
    ("CHAT", true),
    ("SENT", false),
    ("INBOX", false),
    ("IMPORTANT", true),
    ("TRASH", true),
    ("DRAFT", false),
    ("SPAM", true),
    ("CATEGORY_FORUMS", true),
    ("CATEGORY_UPDATES", true),
    ("CATEGORY_PERSONAL", true),
    ("CATEGORY_PROMOTIONS", true),
    ("CATEGORY_SOCIAL", true),
    ("STARRED", false),
    ("UNREAD", false),
];
/// Maximum number of a mailbox's own labels.
const MAX_OWN: usize = 64 - SYSTEM.len();

impl Labels {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const CHAT: Self = Self(1);
    pub(crate) const SENT: Self = Self(1 << 1);
    pub(crate) const INBOX: Self = Self(1 << 2);
    pub(crate) const IMPORTANT: Self = Self(1 << 3);
    pub(crate) const TRASH: Self = Self(1 << 4);
    pub(crate) const DRAFT: Self = Self(1 << 5);
    pub(crate) const SPAM: Self = Self(1 << 6);
    pub(crate) const FORUMS: Self = Self(1 << 7);
    pub(crate) const UPDATES: Self = Self(1 << 8);
    pub(crate) const PERSONAL: Self = Self(1 << 9);
    pub(crate) const UNREAD: Self = Self(1 << 13);

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Labels that both sets have.
    pub(crate) const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn has_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Names of a mailbox's labels.
#[derive(Debug, Default)]
pub(crate) struct LabelNames {
    /// Names of the owner's labels, in the order of their creation.
    own: Vec<String>,
}

impl LabelNames {
    /// The label with this id.
    pub(crate) fn by_id(&self, id: &str) -> Option<Labels> {
        let system = SYSTEM.iter().position(|(name, _)| *name == id);
        let bit = system.or_else(|| {
            let number: usize = id.strip_prefix("Label_")?.parse().ok()?;
            let is_known = (1..=self.own.len()).contains(&number);
            is_known.then(|| SYSTEM.len() + number - 1)
        })?;
        Some(Labels(1 << bit))
    }

    /// The label with this id or, in any case, this name.
    pub(crate) fn find(&self, text: &str) -> Option<Labels> {
        self.by_id(text).or_else(|| {
            let system = SYSTEM.iter().map(|(name, _)| *name);
            let mut names = system.chain(self.own_names());
            let bit = names.position(|name| name.eq_ignore_ascii_case(text))?;
            Some(Labels(1 << bit))
        })
    }

    /// Adds a label of the owner; `None` if the mailbox has too many.
    pub(crate) fn create(&mut self, name: &str) -> Option<Labels> {
        (self.own.len() < MAX_OWN).then(|| {
            self.own.push(name.to_owned());
            Labels(1 << (SYSTEM.len() + self.own.len() - 1))
        })
    }

    fn own_names(&self) -> impl Iterator<Item = &str> {
        self.own.iter().map(String::as_str)
    }

    /// Ids of the labels in a set.
    pub(crate) fn ids(&self, labels: Labels) -> Vec<String> {
        let bits = (0..SYSTEM.len() + self.own.len()).filter(|bit| labels.0 & (1 << bit) != 0);
        bits.map(id).collect()
    }

    /// All labels, each as a set and as a resource without counts.
    pub(crate) fn all(&self) -> Vec<(Labels, Value)> {
        let system = SYSTEM.iter().map(|(name, is_hidden)| {
            let mut label = json!({ "id": name, "name": name });
            if *is_hidden {
                label["messageListVisibility"] = json!("hide");
                label["labelListVisibility"] = json!("labelHide");
            }
            label["type"] = json!("system");
            label
        });
        let own = self.own.iter().enumerate().map(|(number, name)| {
            json!({
                "id": id(SYSTEM.len() + number), "name": name, "messageListVisibility": "show",
                "labelListVisibility": "labelShow", "type": "user",
            })
        });
        let all = system.chain(own).enumerate();
        all.map(|(bit, label)| (Labels(1 << bit), label)).collect()
    }
}

/// Id of the label with this bit.
fn id(bit: usize) -> String {
    match SYSTEM.get(bit) {
        Some((name, _)) => (*name).to_owned(),
        None => format!("Label_{}", bit - SYSTEM.len() + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_name_their_labels() {
        let names = LabelNames::default();
        for (label, id) in [
            (Labels::CHAT, "CHAT"),
            (Labels::SENT, "SENT"),
            (Labels::INBOX, "INBOX"),
            (Labels::IMPORTANT, "IMPORTANT"),
            (Labels::TRASH, "TRASH"),
            (Labels::DRAFT, "DRAFT"),
            (Labels::SPAM, "SPAM"),
            (Labels::FORUMS, "CATEGORY_FORUMS"),
            (Labels::UPDATES, "CATEGORY_UPDATES"),
            (Labels::PERSONAL, "CATEGORY_PERSONAL"),
            (Labels::UNREAD, "UNREAD"),
        ] {
            assert_eq!(names.ids(label), [id]);
            assert_eq!(names.by_id(id), Some(label));
        }
    }

    #[test]
    fn own_label_is_found_by_id_and_name() {
        let mut names = LabelNames::default();
        let label = names.create("Invoices").expect("a label");
        assert_eq!(names.find("Label_1"), Some(label));
        assert_eq!(names.find("invoices"), Some(label));
        assert_eq!(names.by_id("invoices"), None);
        assert_eq!(names.by_id("Label_2"), None);
        assert_eq!(names.ids(label.with(Labels::INBOX)), ["INBOX", "Label_1"]);
        for _ in 1..MAX_OWN {
            assert!(names.create("more").is_some());
        }
        assert!(names.create("too many").is_none());
        assert_eq!(names.all().len(), 64);
    }
}
