//! All mailboxes.

use std::collections::{BTreeMap, HashSet};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::mailbox::Mailbox;

/// All mailboxes, each opened when it is first needed.
pub(crate) struct World {
    /// By the id of the owner's account.
    pub(crate) mailboxes: BTreeMap<String, Mailbox>,
    /// Keys of facts that only a second read of the past reports.
    pub(crate) late: HashSet<String>,
    pub(crate) rng: StdRng,
    seed: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            mailboxes: BTreeMap::new(),
            late: HashSet::new(),
            rng: StdRng::seed_from_u64(seed),
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
        let digits = owner.bytes().map(u64::from);
        digits.fold(self.seed, |seed, byte| {
            seed.rotate_left(7).wrapping_mul(0x0100_0000_01b3) ^ byte
        })
    }
}
