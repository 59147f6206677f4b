//! Actions on channels, users and members.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::emit::FactDraft;
use super::{ActionOutcome, Transaction};
use crate::ledger::Fact;
use crate::slack::SOURCE;
use crate::slack::tokens::Holder;
use crate::slack::world::{Channel, Kind, User, format_ts, seconds};

impl Transaction<'_> {
    pub(super) fn member_joined(&mut self, team: &str, channel: &str, user: &str) -> ActionOutcome {
        let ts = self.world.ts(self.when.at);
        let inner = json!({
            "type": "member_joined_channel", "user": user, "channel": channel, "team": team,
            "channel_type": channel_type_letter(self.world.channels[channel].kind), "event_ts": format_ts(ts),
        });
        let draft = FactDraft {
            kind: "member_joined",
            key: format!("member:{channel}:{user}:{}", format_ts(ts)),
            at: seconds(ts),
            pollable: false,
            is_thread_only: false,
        };
        let facts = self.emit(channel, Some(draft), Some(("member_joined_channel", inner)));
        ActionOutcome {
            object: json!({ "channel": channel }),
            facts: facts.into_values().collect(),
        }
    }

    /// Gives a channel another id, as a conversion to a shared channel does.
    ///
    /// All of its messages are then shown under the new id.
    pub(super) fn change_id(&mut self, team: &str, channel: &str) -> ActionOutcome {
        let id = self.world.id("C");
        let Some(mut conversation) = self.world.channels.remove(channel) else {
            return ActionOutcome::default();
        };
        let kind = conversation.kind;
        conversation.id.clone_from(&id);
        self.world.channels.insert(id.clone(), conversation);
        let event_ts = format_ts(self.world.ts(self.when.at));
        let inner = json!({
            "type": "channel_id_changed", "old_channel_id": channel, "new_channel_id": id,
            "event_ts": event_ts,
        });
        self.send_workspace_event("channel_id_changed", team, kind, &inner, &[]);
        ActionOutcome {
            object: json!({ "channel": id }),
            facts: Vec::new(),
        }
    }

    /// A public channel of a workspace, without bots.
    pub(super) fn new_channel(
        &mut self,
        id: &str,
        team: &str,
        creator: &str,
        name: String,
    ) -> Channel {
        let teams = vec![team.to_owned()];
        Channel {
            id: id.to_owned(),
            first_id: id.to_owned(),
            name,
            created: self.when.at,
            creator: creator.to_owned(),
            kind: Kind::Public,
            containers: self.world.channel_containers(&teams),
            teams,
            bots: BTreeSet::new(),
            messages: BTreeMap::new(),
            facts: BTreeMap::new(),
        }
    }

    /// Creates a public channel. The app's bot joins it if the app is installed.
    pub(crate) fn create_channel(
        &mut self,
        team: &str,
        creator: &str,
        name: Option<String>,
    ) -> ActionOutcome {
        let (id, number) = (self.world.id("C"), self.world.number());
        let name = name.unwrap_or_else(|| format!("topic-{number}"));
        let channel = self.new_channel(&id, team, creator, name);
        self.world.channels.insert(id.clone(), channel);
        let account = self.world.acting_account(team);
        let event_ts = format_ts(self.world.ts(self.when.at));
        let conversation = &self.world.channels[&id];
        let mut object = self
            .world
            .channel_json(conversation, &Holder::bot(&account));
        if let Some(fields) = object.as_object_mut() {
            fields.remove("is_member");
            fields.remove("num_members");
        }
        let inner = json!({ "type": "channel_created", "channel": object, "event_ts": event_ts });
        let fault = self.pick_fault("channel_created", &account);
        let is_sent =
            self.world.granted(&account, "channels:read") && self.sends_event(fault.as_ref());
        let mut facts = Vec::new();
        for (owner, container) in self.world.teams[team].containers.clone() {
            let fact = self.service.core.ledger.record(Fact {
                source: SOURCE,
                kind: "channel_created",
                key: format!("slack:{owner}:channel:{id}:created"),
                at: self.when.at,
                container,
                webhook: is_sent && owner == account,
                pollable: true,
                account: owner.clone(),
            });
            self.channel_mut(&id).facts.insert(owner, fact);
            facts.push(fact);
        }
        if is_sent {
            let body = self.envelope(&[(account.clone(), team.to_owned())], &inner, false);
            let row = self.world.channels[&id].facts.get(&account).copied();
            self.submit(
                "channel_created",
                &account,
                body,
                fault,
                row.into_iter().collect(),
            );
        }
        facts.extend(self.add_bot(&account, team, &id));
        ActionOutcome {
            object: json!({ "channel": id }),
            facts,
        }
    }

    /// Creates a private channel and invites the app's bot. No event announces the channel.
    pub(super) fn create_group(
        &mut self,
        team: &str,
        creator: &str,
        name: Option<String>,
    ) -> ActionOutcome {
        let (id, number) = (self.world.id("C"), self.world.number());
        let name = name.unwrap_or_else(|| format!("circle-{number}"));
        let channel = Channel {
            kind: Kind::Private,
            ..self.new_channel(&id, team, creator, name)
        };
        self.world.channels.insert(id.clone(), channel);
        let account = self.world.acting_account(team);
        ActionOutcome {
            facts: self.add_bot(&account, team, &id),
            object: json!({ "channel": id }),
        }
    }

    /// Adds the app's bot to a channel, with the event about it.
    fn add_bot(&mut self, account: &str, team: &str, channel: &str) -> Vec<u64> {
        if !self.world.installed(account) {
            return Vec::new();
        }
        self.channel_mut(channel).bots.insert(account.to_owned());
        if !self.when.is_live {
            return Vec::new();
        }
        let bot = self.world.bot_of(account).to_owned();
        self.member_joined(team, channel, &bot).facts
    }

    pub(super) fn rename_channel(
        &mut self,
        team: &str,
        channel: &str,
        name: Option<String>,
    ) -> ActionOutcome {
        let number = self.world.number();
        let name = name.unwrap_or_else(|| format!("renamed-{number}"));
        let conversation = self.channel_mut(channel);
        conversation.name.clone_from(&name);
        let created = conversation.created;
        let inner = json!({
            "type": "channel_rename", "event_ts": format_ts(self.world.ts(self.when.at)),
            "channel": { "id": channel, "name": name, "name_normalized": name, "created": created },
        });
        let kind = self.world.channels[channel].kind;
        self.send_workspace_event("channel_rename", team, kind, &inner, &[]);
        ActionOutcome {
            object: json!({ "channel": channel, "name": name }),
            facts: Vec::new(),
        }
    }

    pub(super) fn rename_user(
        &mut self,
        team: &str,
        id: &str,
        name: Option<String>,
    ) -> Result<ActionOutcome, &'static str> {
        let number = self.world.number();
        let user: &mut User = self.world.users.get_mut(id).ok_or("unknown user")?;
        user.name = name.unwrap_or_else(|| format!("renamed-{number}"));
        let object = self.world.user_json(&self.world.users[id]);
        let inner = json!({
            "type": "user_change", "user": object, "cache_ts": self.when.at,
            "event_ts": format_ts(self.world.ts(self.when.at)),
        });
        self.send_workspace_event("user_change", team, Kind::Public, &inner, &[]);
        Ok(ActionOutcome {
            object,
            facts: Vec::new(),
        })
    }

    /// Shares a channel with another workspace. The bot joins if the app is installed.
    ///
    /// The other workspace can then read the channel's existing messages.
    pub(super) fn share(&mut self, channel: &str, to: &str) -> Result<ActionOutcome, &'static str> {
        if !self.world.teams.contains_key(to) {
            return Err("unknown workspace");
        }
        let new_containers = self.world.channel_containers(&[to.to_owned()]);
        let account = self.world.acting_account(to);
        let installed = self.world.installed(&account);
        let conversation = self.channel_mut(channel);
        if !conversation.teams.iter().any(|team| team == to) {
            conversation.teams.push(to.to_owned());
        }
        for (account, containers) in new_containers {
            let by_account = &mut self.channel_mut(channel).containers;
            if !by_account.contains_key(&account) {
                by_account.insert(account.clone(), containers);
                self.record_existing_facts(channel, &account);
            }
        }
        let conversation = self.channel_mut(channel);
        if installed {
            conversation.bots.insert(account);
        }
        Ok(ActionOutcome {
            object: json!({ "channel": channel, "teams": conversation.teams }),
            facts: Vec::new(),
        })
    }

    /// Removes the app's bot from a channel, with the event about it.
    pub(super) fn kick(&mut self, team: &str, channel: &str) -> ActionOutcome {
        let account = self.world.acting_account(team);
        let kind = self.world.channels[channel].kind;
        let inner = json!({
            "type": "member_left_channel", "user": self.world.bot_of(&account),
            "channel": channel, "team": team, "channel_type": channel_type_letter(kind),
            "event_ts": format_ts(self.world.ts(self.when.at)),
        });
        self.send_workspace_event("member_left_channel", team, kind, &inner, &[]);
        self.channel_mut(channel).bots.remove(&account);
        ActionOutcome::default()
    }
}

/// `channel_type` of the events about membership.
const fn channel_type_letter(kind: Kind) -> &'static str {
    match kind {
        Kind::Public => "C",
        Kind::Private => "G",
        Kind::Direct => "D",
    }
}
