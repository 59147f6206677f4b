//! Installations of the app: accounts, workspaces, and visible containers.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::world::{Channel, ChannelContainers, Kind, Team, World};

impl Kind {
    /// First part of the scopes for channels of this type.
    pub(crate) const fn scope_family(self) -> &'static str {
        match self {
            Self::Public => "channels",
            Self::Private => "groups",
            Self::Direct => "im",
        }
    }

    /// Name in the argument `types`.
    pub(crate) const fn conversation_type(self) -> &'static str {
        match self {
            Self::Public => "public_channel",
            Self::Private => "private_channel",
            Self::Direct => "im",
        }
    }

    /// `channel_type` of a message.
    pub(crate) const fn channel_type(self) -> &'static str {
        match self {
            Self::Public => "channel",
            Self::Private => "group",
            Self::Direct => "im",
        }
    }
}

impl World {
    /// Whether the app's bot is installed in an account.
    pub(crate) fn installed(&self, account: &str) -> bool {
        self.installations.contains_key(account)
    }

    /// Whether the bot has a scope in an account.
    pub(crate) fn granted(&self, account: &str, scope: &str) -> bool {
        self.installations
            .get(account)
            .is_some_and(|grant| grant.has(scope))
    }

    /// User id of the app's bot in an account.
    pub(crate) fn bot_of(&self, account: &str) -> &str {
        match self.organizations.get(account) {
            Some(organization) => &organization.bot,
            None => &self.teams[account].bot,
        }
    }

    /// Account as which the app acts in a workspace.
    ///
    /// It is the organization if the app is installed there and was added to the workspace.
    pub(crate) fn acting_account(&self, team: &str) -> String {
        self.teams
            .get(team)
            .and_then(|team| team.organization.as_ref())
            .filter(|id| self.installed(id) && self.covers(id, team))
            .map_or_else(|| team.to_owned(), Clone::clone)
    }

    /// Whether an account's app has access to a workspace.
    pub(crate) fn covers(&self, account: &str, team: &str) -> bool {
        account == team
            || self
                .organizations
                .get(account)
                .is_some_and(|organization| organization.added.contains(team))
    }

    /// Whether an account's app has access to one of a channel's workspaces.
    pub(crate) fn covers_channel(&self, account: &str, channel: &Channel) -> bool {
        channel.teams.iter().any(|team| self.covers(account, team))
    }

    /// Workspace in which an account sees a channel.
    pub(crate) fn channel_workspace<'a>(&'a self, account: &str, channel: &'a Channel) -> &'a Team {
        let team = channel
            .teams
            .iter()
            .find(|team| self.covers(account, team))
            .unwrap_or(&channel.teams[0]);
        &self.teams[team]
    }

    /// Workspaces of an account to which the app has access.
    pub(crate) fn workspaces(&self, account: &str) -> Vec<String> {
        match self.organizations.get(account) {
            Some(organization) => organization.added.iter().cloned().collect(),
            None => vec![account.to_owned()],
        }
    }

    /// Accounts of a workspace: itself and its organization.
    pub(crate) fn accounts_of(&self, team: &str) -> Vec<String> {
        let organization = self.teams[team].organization.clone();
        std::iter::once(team.to_owned())
            .chain(organization)
            .collect()
    }

    /// Accounts of several workspaces.
    pub(crate) fn accounts_of_all(&self, teams: &[String]) -> BTreeSet<String> {
        teams
            .iter()
            .flat_map(|team| self.accounts_of(team))
            .collect()
    }

    /// New containers for a channel of these workspaces, per account.
    pub(crate) fn channel_containers(
        &mut self,
        teams: &[String],
    ) -> BTreeMap<String, ChannelContainers> {
        let accounts = self.accounts_of_all(teams);
        accounts
            .into_iter()
            .map(|account| {
                let containers = ChannelContainers {
                    messages: self.container(),
                    replies: self.container(),
                };
                (account, containers)
            })
            .collect()
    }

    /// Adds the bot to every public channel of an account's workspaces.
    pub(crate) fn join_all_public_channels(&mut self, account: &str) {
        let teams = self.workspaces(account);
        for channel in self.channels.values_mut() {
            if channel.kind == Kind::Public && channel.teams.iter().any(|one| teams.contains(one)) {
                channel.bots.insert(account.to_owned());
            }
        }
    }

    /// Removes the bot from channels to which the account has no access.
    pub(crate) fn leave_inaccessible_channels(&mut self, account: &str) {
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

    /// Containers that polling can see.
    ///
    /// They are the channels with the bot and the channel lists of accessible workspaces. If
    /// replies need a user token, they are visible only with a usable one.
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
            let scope = format!("{}:history", channel.kind.scope_family());
            channel
                .bots
                .iter()
                .filter(|account| self.granted(account, &scope))
                .filter_map(|account| Some((account, channel.containers.get(account)?)))
                .flat_map(|(account, containers)| {
                    let readable = !replies_need_user
                        || self.personal.iter().any(|((owner, _), grant)| {
                            owner == account && grant.is_usable() && grant.has(&scope)
                        });
                    [
                        Some(containers.messages),
                        readable.then_some(containers.replies),
                    ]
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
    use crate::slack::generate::{DEFAULT_SIZE, add_organization, add_team};
    use crate::slack::tokens::Holder;

    const SCOPES: [&str; 2] = ["channels:read", "channels:history"];

    fn install(world: &mut World, holder: &Holder) {
        let scopes = SCOPES.map(str::to_owned).to_vec();
        world.grant_scopes(holder, scopes, false, 0);
        world.join_all_public_channels(&holder.account);
    }

    #[test]
    fn organization_acts_in_workspaces_it_was_added_to() {
        let mut world = World::new(1);
        let organization = add_organization(&mut world, "acme");
        let [first, second] =
            ["a", "b"].map(|name| add_team(&mut world, name, Some(&organization), DEFAULT_SIZE, 0));
        install(&mut world, &Holder::bot(&organization));
        assert_eq!(
            world.acting_account(&first),
            first,
            "not added to a workspace yet"
        );
        assert!(world.visible_containers(false).is_empty());
        let parent = world
            .organizations
            .get_mut(&organization)
            .expect("an organization");
        parent.added.insert(first.clone());
        world.join_all_public_channels(&organization);
        assert_eq!(world.acting_account(&first), organization);
        assert_eq!(world.acting_account(&second), second);
        assert_eq!(world.workspaces(&organization), [first]);
        // Three channels with two containers each, and the list of channels.
        assert_eq!(world.visible_containers(false).len(), 7);
    }

    #[test]
    fn replies_are_visible_only_with_a_user_token() {
        let mut world = World::new(1);
        let team = add_team(&mut world, "a", None, DEFAULT_SIZE, 0);
        let person = world.teams[&team].admin.clone();
        install(&mut world, &Holder::bot(&team));
        assert_eq!(world.visible_containers(true).len(), 4);
        install(&mut world, &Holder::person(&team, &person));
        assert_eq!(world.visible_containers(true).len(), 7);
    }
}
