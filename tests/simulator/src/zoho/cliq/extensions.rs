//! Extensions with a bot, which call a URL, and their keys.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::StartError;
use crate::lock::Mutex;
use crate::rsa_key::RsaKey;

/// An extension of an organization, whose deliveries are for one account.
pub(crate) struct Extension {
    /// First part of the ids of its deliveries.
    pub(crate) id: String,
    /// Login of the account.
    pub(crate) account: String,
    /// Id of the organization.
    pub(crate) organization: u64,
    pub(crate) url: String,
    /// Id of its bot, which begins with `b-`.
    pub(crate) bot_id: String,
    pub(crate) bot_name: String,
    /// A Deluge script of the bot calls the URL with this token, instead of Cliq itself.
    pub(crate) token: Option<String>,
    key: RsaKey,
}

impl Extension {
    /// Public key as Cliq shows it: base64 of the `SubjectPublicKeyInfo`, without armour.
    pub(crate) fn public_key(&self) -> String {
        STANDARD.encode(&self.key.spki)
    }

    /// Value of the header `X-Cliq-Signature` of a body.
    pub(crate) fn signature(&self, body: &[u8]) -> String {
        STANDARD.encode(self.key.sign(body))
    }

    pub(crate) fn description(&self) -> Value {
        json!({
            "id": self.id, "account": self.account, "url": self.url, "bot_id": self.bot_id,
            "bot_name": self.bot_name, "organization_id": self.organization.to_string(),
            "deluge": self.token.is_some(), "public_key": self.public_key(),
        })
    }
}

/// An extension that is not there yet.
pub(crate) struct NewExtension {
    pub(crate) account: String,
    pub(crate) organization: u64,
    pub(crate) url: String,
    pub(crate) token: Option<String>,
    /// Number of the bot.
    pub(crate) number: u64,
}

/// All extensions, oldest first.
#[derive(Default)]
pub(crate) struct Extensions {
    all: Mutex<Vec<Arc<Extension>>>,
    /// Key of an extension of somewhere else.
    foreign: OnceLock<Option<RsaKey>>,
}

impl Extensions {
    pub(crate) fn add(&self, new: NewExtension) -> Result<Arc<Extension>, StartError> {
        let key = RsaKey::generate()?;
        let extension = Arc::new(Extension {
            id: format!("{}", new.number % 1_000_000_000),
            account: new.account,
            organization: new.organization,
            url: new.url,
            bot_id: format!("b-{}", new.number),
            bot_name: "Poblysh".to_owned(),
            token: new.token,
            key,
        });
        self.all.lock().push(Arc::clone(&extension));
        Ok(extension)
    }

    /// Removes all extensions of an account and returns their ids.
    pub(crate) fn remove(&self, account: &str) -> Vec<String> {
        let mut all = self.all.lock();
        let removed = all.extract_if(.., |one| one.account == account);
        removed.map(|one| one.id.clone()).collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Extension>> {
        self.all.lock().clone()
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Extension>> {
        let all = self.all.lock();
        all.iter().find(|one| one.id == id).cloned()
    }

    /// The newest extension of an account.
    pub(crate) fn of_account(&self, account: &str) -> Option<Arc<Extension>> {
        let all = self.all.lock();
        all.iter().rev().find(|one| one.account == account).cloned()
    }

    /// Another extension than this one.
    pub(crate) fn other(&self, id: &str) -> Option<Arc<Extension>> {
        let all = self.all.lock();
        all.iter().find(|one| one.id != id).cloned()
    }

    /// Signature of a body with the key of another extension.
    pub(crate) fn foreign_signature(&self, id: &str, body: &[u8]) -> String {
        if let Some(other) = self.other(id) {
            return other.signature(body);
        }
        let key = self.foreign.get_or_init(|| RsaKey::generate().ok());
        let signature = key.as_ref().map(|key| key.sign(body));
        STANDARD.encode(signature.unwrap_or_default())
    }
}
