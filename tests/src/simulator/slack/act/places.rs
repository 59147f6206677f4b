//! Channels, people and the app itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::told::Told;
use super::{Done, Stage};
use crate::simulator::ledger::Fact;
use crate::simulator::slack::SOURCE;
use crate::simulator::slack::tokens::Holder;
use crate::simulator::slack::world::{Channel, Kind, User, seconds, stamp};

impl Stage<'_> {
    pub(super) fn member_joined(&mut self, team: &str, channel: &str, user: &str) -> Done {
        let ts = self.world.ts(self.when.at);
        let inner = json!({
            "type": "member_joined_channel", "user": user, "channel": channel, "team": team,
            "channel_type": letter(self.world.channels[channel].kind), "event_ts": stamp(ts),
        });
        let told = Told {
            kind: "member_joined",
            key: format!("member:{channel}:{user}:{}", stamp(ts)),
            at: seconds(ts),
            pollable: false,
            reply: false,
        };
        let facts = self.happen(channel, Some(told), Some(("member_joined_channel", inner)));
        Done {
            object: json!({ "channel": channel }),
            facts: facts.into_values().collect(),
        }
    }

    /// Gives a channel another id, as a conversion does; everything that was written in it shows
    /// under that one from now on.
    pub(super) fn change_id(&mut self, team: &str, channel: &str) -> Done {
        let id = self.world.id("C");
        let Some(mut place) = self.world.channels.remove(channel) else {
            return Done::default();
        };
        let kind = place.kind;
        place.id.clone_from(&id);
        self.world.channels.insert(id.clone(), place);
        let event_ts = stamp(self.world.ts(self.when.at));
        let inner = json!({
            "type": "channel_id_changed", "old_channel_id": channel, "new_channel_id": id,
            "event_ts": event_ts,
        });
        self.event("channel_id_changed", team, kind, &inner, &[]);
        Done {
            object: json!({ "channel": id }),
            facts: Vec::new(),
        }
    }

    /// A public channel of a workspace that nobody's bot is in.
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
            shelves: self.world.shelves(&teams),
            teams,
            bots: BTreeSet::new(),
            messages: BTreeMap::new(),
            facts: BTreeMap::new(),
        }
    }

    /// Creates a channel; where the app is installed, its bot joins.
    pub(crate) fn create_channel(
        &mut self,
        team: &str,
        creator: &str,
        name: Option<String>,
    ) -> Done {
        let (id, number) = (self.world.id("C"), self.world.number());
        let name = name.unwrap_or_else(|| format!("topic-{number}"));
        let channel = self.new_channel(&id, team, creator, name);
        self.world.channels.insert(id.clone(), channel);
        let account = self.world.acting(team);
        let event_ts = stamp(self.world.ts(self.when.at));
        let place = &self.world.channels[&id];
        let mut shown = self.world.channel_json(place, &Holder::bot(&account));
        if let Some(shown) = shown.as_object_mut() {
            shown.remove("is_member");
            shown.remove("num_members");
        }
        let inner = json!({ "type": "channel_created", "channel": shown, "event_ts": event_ts });
        let fault = self.fault("channel_created", &account);
        let heard = self.world.granted(&account, "channels:read") && self.heard(fault.as_ref());
        let mut facts = Vec::new();
        for (one, container) in self.world.teams[team].containers.clone() {
            let fact = self.hub.core.ledger.record(Fact {
                source: SOURCE,
                kind: "channel_created",
                key: format!("slack:{one}:channel:{id}:created"),
                at: self.when.at,
                container,
                webhook: heard && one == account,
                pollable: true,
                account: one.clone(),
            });
            self.place(&id).facts.insert(one, fact);
            facts.push(fact);
        }
        if heard {
            let body = self.envelope(&[(account.clone(), team.to_owned())], &inner, false);
            let told = self.world.channels[&id].facts.get(&account).copied();
            self.submit(
                "channel_created",
                &account,
                body,
                fault,
                told.into_iter().collect(),
            );
        }
        facts.extend(self.welcome_bot(&account, team, &id));
        Done {
            object: json!({ "channel": id }),
            facts,
        }
    }

    /// Creates a private channel and invites the app's bot. Nobody is told that it exists.
    pub(super) fn create_group(&mut self, team: &str, creator: &str, name: Option<String>) -> Done {
        let (id, number) = (self.world.id("C"), self.world.number());
        let name = name.unwrap_or_else(|| format!("circle-{number}"));
        let channel = Channel {
            kind: Kind::Private,
            ..self.new_channel(&id, team, creator, name)
        };
        self.world.channels.insert(id.clone(), channel);
        let account = self.world.acting(team);
        Done {
            facts: self.welcome_bot(&account, team, &id),
            object: json!({ "channel": id }),
        }
    }

    /// The bot joins a channel, and those who are there hear of it.
    fn welcome_bot(&mut self, account: &str, team: &str, channel: &str) -> Vec<u64> {
        if !self.world.installed(account) {
            return Vec::new();
        }
        self.place(channel).bots.insert(account.to_owned());
        if !self.when.live {
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
    ) -> Done {
        let number = self.world.number();
        let name = name.unwrap_or_else(|| format!("renamed-{number}"));
        let place = self.place(channel);
        place.name.clone_from(&name);
        let created = place.created;
        let inner = json!({
            "type": "channel_rename", "event_ts": stamp(self.world.ts(self.when.at)),
            "channel": { "id": channel, "name": name, "name_normalized": name, "created": created },
        });
        let kind = self.world.channels[channel].kind;
        self.event("channel_rename", team, kind, &inner, &[]);
        Done {
            object: json!({ "channel": channel, "name": name }),
            facts: Vec::new(),
        }
    }

    pub(super) fn rename_user(
        &mut self,
        team: &str,
        id: &str,
        name: Option<String>,
    ) -> Result<Done, &'static str> {
        let number = self.world.number();
        let user: &mut User = self
            .world
            .users
            .get_mut(id)
            .ok_or("there is no such user")?;
        user.name = name.unwrap_or_else(|| format!("renamed-{number}"));
        let shown = self.world.user_json(&self.world.users[id]);
        let inner = json!({
            "type": "user_change", "user": shown, "cache_ts": self.when.at,
            "event_ts": stamp(self.world.ts(self.when.at)),
        });
        self.event("user_change", team, Kind::Public, &inner, &[]);
        Ok(Done {
            object: shown,
            facts: Vec::new(),
        })
    }

    /// Shares a channel with another workspace, whose bot joins where the app is installed. Its
    /// past can be read there from now on.
    pub(super) fn share(&mut self, channel: &str, to: &str) -> Result<Done, &'static str> {
        if !self.world.teams.contains_key(to) {
            return Err("there is no such workspace");
        }
        let fresh = self.world.shelves(&[to.to_owned()]);
        let account = self.world.acting(to);
        let installed = self.world.installed(&account);
        let place = self.place(channel);
        if !place.teams.iter().any(|team| team == to) {
            place.teams.push(to.to_owned());
        }
        for (account, shelf) in fresh {
            let shelves = &mut self.place(channel).shelves;
            if !shelves.contains_key(&account) {
                shelves.insert(account.clone(), shelf);
                self.retell(channel, &account);
            }
        }
        let place = self.place(channel);
        if installed {
            place.bots.insert(account);
        }
        Ok(Done {
            object: json!({ "channel": channel, "teams": place.teams }),
            facts: Vec::new(),
        })
    }

    /// The bot has to leave a channel.
    pub(super) fn kick(&mut self, team: &str, channel: &str) -> Done {
        let account = self.world.acting(team);
        let kind = self.world.channels[channel].kind;
        let inner = json!({
            "type": "member_left_channel", "user": self.world.bot_of(&account),
            "channel": channel, "team": team, "channel_type": letter(kind),
            "event_ts": stamp(self.world.ts(self.when.at)),
        });
        self.event("member_left_channel", team, kind, &inner, &[]);
        self.place(channel).bots.remove(&account);
        Done::default()
    }
}

/// What events about membership call the sort of channel.
const fn letter(kind: Kind) -> &'static str {
    match kind {
        Kind::Public => "C",
        Kind::Private => "G",
        Kind::Direct => "D",
    }
}
