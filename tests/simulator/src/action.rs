//! Actions in a provider's world: their transaction, their time and their result.

use serde_json::Value;

use super::Core;
use super::faults::{Effect, Rule, Target};
use super::lock::Mutex;

/// A service with a world that actions change.
pub(crate) trait Acted: Sized {
    type World;

    fn core(&self) -> &Core;
    fn locked_world(&self) -> &Mutex<Self::World>;

    /// Runs a change under the world's lock.
    fn transact<R>(
        &self,
        when: ActionTime,
        run: impl FnOnce(&mut Transaction<'_, Self>) -> R,
    ) -> R {
        let mut world = self.locked_world().lock();
        run(&mut Transaction {
            service: self,
            world: &mut world,
            when,
        })
    }

    /// The current time, with deliveries.
    fn now(&self) -> ActionTime {
        ActionTime {
            at: self.core().clock.seconds(),
            is_live: true,
        }
    }
}

/// Access to a service's world while an action changes it.
pub(crate) struct Transaction<'a, S: Acted> {
    pub(crate) service: &'a S,
    pub(crate) world: &'a mut S::World,
    pub(crate) when: ActionTime,
}

/// Result of an action.
#[derive(Debug, Default)]
pub(crate) struct ActionOutcome {
    /// The created or changed object.
    pub(crate) object: Value,
    /// Ledger rows of its facts.
    pub(crate) facts: Vec<u64>,
}

/// Time of an action, and whether it sends deliveries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ActionTime {
    pub(crate) at: i64,
    pub(crate) is_live: bool,
}

impl ActionTime {
    /// Picks the fault of an event; generated history has none.
    pub(crate) fn pick_fault(self, core: &Core, event: &str, account: &str) -> Option<Rule> {
        if !self.is_live {
            return None;
        }
        core.faults.pick(Target::Delivery, event, Some(account))
    }

    /// Whether an event with this fault is sent to the app's URL.
    pub(crate) fn sends_event(self, webhook_url: &str, fault: Option<&Rule>) -> bool {
        self.is_live
            && !webhook_url.is_empty()
            && fault.is_none_or(|rule| rule.effect != Effect::DropSilently)
    }
}
