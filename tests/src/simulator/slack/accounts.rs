//! What the app is installed into, and what it can see from there.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::world::{Channel, Kind, Shelf, Team, World};

impl Kind {
    /// The first word of the scopes that are about such channels.
    pub(crate) const fn family(self) -> &'static str {
        match self {
            Self::Public => "channels",
            Self::Private => "groups",
            Self::Direct => "im",
        }
    }

    /// What `types` calls it.
    pub(crate) const fn listed_as(self) -> &'static str {
        match self {
            Self::Public => "public_channel",
            Self::Private => "private_channel",
            Self::Direct => "im",
        }
    }

    /// `channel_type` of a message.
    pub(crate) const fn of_message(self) -> &'static str {
        match self {
            Self::Public => "channel",
            Self::Private => "group",
            Self::Direct => "im",
        }
    }
}

impl World {
    /// Whether the app's bot is installed there.
    pub(crate) fn installed(&self, account: &str) -> bool {
        self.installations.contains_key(account)
    }

    /// Whether the bot was given this scope there.
    pub(crate) fn granted(&self, account: &str, scope: &str) -> bool {
        self.installations
            .get(account)
            .is_some_and(|grant| grant.has(scope))
    }

    /// The app's bot of an account.
    pub(crate) fn bot_of(&self, account: &str) -> &str {
        match self.organizations.get(account) {
            Some(organization) => &organization.bot,
            None => &self.teams[account].bot,
        }
    }

    /// The account as which the app acts in a workspace: the organization, if the app is
    /// installed there and was added to the workspace.
    pub(crate) fn acting(&self, team: &str) -> String {
        self.teams
            .get(team)
            .and_then(|team| team.organization.as_ref())
            .filter(|id| self.installed(id) && self.covers(id, team))
            .map_or_else(|| team.to_owned(), Clone::clone)
    }

    /// Whether an account's app can look into a workspace.
    pub(crate) fn covers(&self, account: &str, team: &str) -> bool {
        account == team
            || self
                .organizations
                .get(account)
                .is_some_and(|organization| organization.added.contains(team))
    }

    /// Whether an account's app can look into one of a channel's workspaces.
    pub(crate) fn reaches(&self, account: &str, channel: &Channel) -> bool {
        channel.teams.iter().any(|team| self.covers(account, team))
    }

    /// The workspace of a channel that an account knows it by.
    pub(crate) fn seen_from<'a>(&'a self, account: &str, channel: &'a Channel) -> &'a Team {
        let team = channel
            .teams
            .iter()
            .find(|team| self.covers(account, team))
            .unwrap_or(&channel.teams[0]);
        &self.teams[team]
    }

    /// The workspaces of an account that the app can look into.
    pub(crate) fn workspaces(&self, account: &str) -> Vec<String> {
        match self.organizations.get(account) {
            Some(organization) => organization.added.iter().cloned().collect(),
            None => vec![account.to_owned()],
        }
    }

    /// The accounts that a workspace belongs to: itself, and its organization.
    pub(crate) fn accounts_of(&self, team: &str) -> Vec<String> {
        let organization = self.teams[team].organization.clone();
        std::iter::once(team.to_owned())
            .chain(organization)
            .collect()
    }

    /// The accounts of all of a channel's workspaces.
    pub(crate) fn accounts_in(&self, teams: &[String]) -> BTreeSet<String> {
        teams
            .iter()
            .flat_map(|team| self.accounts_of(team))
            .collect()
    }

    /// Containers for a channel of these workspaces.
    pub(crate) fn shelves(&mut self, teams: &[String]) -> BTreeMap<String, Shelf> {
        let accounts = self.accounts_in(teams);
        accounts
            .into_iter()
            .map(|account| {
                let own = Shelf {
                    messages: self.container(),
                    replies: self.container(),
                };
                (account, own)
            })
            .collect()
    }

    /// The bot joins every public channel of an account's workspaces.
    pub(crate) fn join_everywhere(&mut self, account: &str) {
        let teams = self.workspaces(account);
        for channel in self.channels.values_mut() {
            if channel.kind == Kind::Public && channel.teams.iter().any(|one| teams.contains(one)) {
                channel.bots.insert(account.to_owned());
            }
        }
    }

    /// The bot is in no channel any more that the account does not reach.
    pub(crate) fn leave_unreached(&mut self, account: &str) {
        let teams = if self.installed(account) {
            self.workspaces(account)
        } else {
            Vec::new()
        };
        for channel in self.channels.values_mut() {
            if !channel.teams.iter().any(|one| teams.contains(one)) {
                channel.bots.remove(account);
            }
        }
    }

    /// What polling can see: channels with the bot in them, and the lists of workspaces that
    /// it can look into. Where replies need a person, there must be one whose token may read
    /// them.
    pub(crate) fn visible_containers(&self, replies_need_user: bool) -> HashSet<u64> {
        let lists = self.teams.values().flat_map(|team| {
            team.containers
                .iter()
                .filter(|(account, _)| {
                    self.granted(account, "channels:read") && self.covers(account, &team.id)
                })
                .map(|(_, container)| *container)
        });
        let channels = self.channels.values().flat_map(|channel| {
            let scope = format!("{}:history", channel.kind.family());
            channel
                .bots
                .iter()
                .filter(|account| self.granted(account, &scope))
                .filter_map(|account| Some((account, channel.shelves.get(account)?)))
                .flat_map(|(account, shelf)| {
                    let readable = !replies_need_user
                        || self.personal.iter().any(|((place, _), grant)| {
                            place == account && grant.alive() && grant.has(&scope)
                        });
                    [Some(shelf.messages), readable.then_some(shelf.replies)]
                })
                .flatten()
                .collect::<Vec<_>>()
        });
        lists.chain(channels).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::slack::generate::{USUAL, add_organization, add_team};
    use crate::simulator::slack::tokens::Holder;

    const SCOPES: [&str; 2] = ["channels:read", "channels:history"];

    fn install(world: &mut World, holder: &Holder) {
        let scopes = SCOPES.map(str::to_owned).to_vec();
        world.give(holder, scopes, false, 0);
        world.join_everywhere(&holder.account);
    }

    #[test]
    fn an_organization_acts_in_the_workspaces_that_it_was_added_to() {
        let mut world = World::new(1);
        let organization = add_organization(&mut world, "acme");
        let [first, second] =
            ["a", "b"].map(|name| add_team(&mut world, name, Some(&organization), USUAL, 0));
        install(&mut world, &Holder::bot(&organization));
        assert_eq!(world.acting(&first), first, "it was added nowhere yet");
        assert!(world.visible_containers(false).is_empty());
        let above = world.organizations.get_mut(&organization).expect("made");
        above.added.insert(first.clone());
        world.join_everywhere(&organization);
        assert_eq!(world.acting(&first), organization);
        assert_eq!(world.acting(&second), second);
        assert_eq!(world.workspaces(&organization), [first]);
        // Three channels with two shelves each, and the list of them.
        assert_eq!(world.visible_containers(false).len(), 7);
    }

    #[test]
    fn where_replies_need_a_person_there_must_be_one() {
        let mut world = World::new(1);
        let team = add_team(&mut world, "a", None, USUAL, 0);
        let person = world.teams[&team].admin.clone();
        install(&mut world, &Holder::bot(&team));
        assert_eq!(world.visible_containers(true).len(), 4);
        install(&mut world, &Holder::person(&team, &person));
        assert_eq!(world.visible_containers(true).len(), 7);
    }
}
