//! The access to a mailbox that people are asked for.

use crate::connectors::google::{EMAIL, OPENID, Product};
use crate::connectors::settings::AppReader;

const SETTING: &str = "GMAIL_SCOPE";

const METADATA_SCOPE: &str = "https://www.googleapis.com/auth/gmail.metadata";
const READONLY_SCOPE: &str = "https://www.googleapis.com/auth/gmail.readonly";

static METADATA: Product = Product {
    scopes: &[OPENID, EMAIL, METADATA_SCOPE],
    needed: &[METADATA_SCOPE],
    access: "see the headers of your mail",
};

static READONLY: Product = Product {
    scopes: &[OPENID, EMAIL, READONLY_SCOPE],
    needed: &[READONLY_SCOPE],
    access: "see your mail",
};

/// Access to a mailbox. The connector reads headers and labels only, with either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailboxAccess {
    /// Headers and labels.
    Metadata,
    /// The whole mailbox, whose list can be searched by time.
    Readonly,
}

impl MailboxAccess {
    /// Reads the setting.
    pub(super) fn read(reader: &mut AppReader<'_, '_>) -> Self {
        match reader.defaulted(SETTING).as_deref() {
            None | Some("metadata") => Self::Metadata,
            Some("readonly") => Self::Readonly,
            Some(_) => {
                reader.problem(SETTING, "must be `metadata` or `readonly`");
                Self::Metadata
            }
        }
    }

    /// The scopes to ask for.
    pub(super) const fn product(self) -> &'static Product {
        match self {
            Self::Metadata => &METADATA,
            Self::Readonly => &READONLY,
        }
    }

    /// The scope that every call needs.
    pub(super) const fn scope(self) -> &'static str {
        match self {
            Self::Metadata => METADATA_SCOPE,
            Self::Readonly => READONLY_SCOPE,
        }
    }

    /// Whether the list of messages can be searched.
    pub(super) const fn is_searchable(self) -> bool {
        matches!(self, Self::Readonly)
    }
}
