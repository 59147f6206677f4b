//! All mailboxes.

use std::collections::{BTreeMap, HashSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::content::mix;
use super::mailbox::{Mailbox, PREFIXES};

/// All mailboxes, each opened when it is first needed.
pub(crate) struct World {
    /// By the login of the owner.
    pub(crate) mailboxes: BTreeMap<String, Mailbox>,
    /// Keys of facts that only a second read of the past reports.
    pub(crate) late: HashSet<String>,
    pub(crate) rng: StdRng,
    prefixes: HashSet<u64>,
    seed: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            mailboxes: BTreeMap::new(),
            late: HashSet::new(),
            rng: StdRng::seed_from_u64(seed),
            prefixes: HashSet::new(),
            seed,
        }
    }

    /// The opened mailbox of a person.
    pub(crate) fn mailbox(&mut self, owner: &str) -> &mut Mailbox {
        let mailbox = self.mailboxes.get_mut(owner);
        mailbox.unwrap_or_else(|| panic!("mailbox of {owner} is open"))
    }

    /// Seed of a person's mailbox, which does not depend on the order of their opening.
    pub(crate) fn seed_of(&self, owner: &str) -> u64 {
        let bytes = owner.bytes().map(u64::from);
        bytes.fold(self.seed, |seed, byte| mix(seed ^ byte))
    }

    /// A prefix of ids that no other mailbox has, from a mailbox's seed.
    pub(crate) fn prefix(&mut self, seed: u64) -> u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        loop {
            let prefix = rng.random_range(PREFIXES);
            if self.prefixes.insert(prefix) {
                return prefix;
            }
        }
    }
}
