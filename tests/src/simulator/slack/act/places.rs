//! Channels, people and the app itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Done, Stage, Told};
use crate::simulator::ledger::Fact;
use crate::simulator::slack::SOURCE;
use crate::simulator::slack::world::{Channel, User, World, seconds, stamp};

impl Stage<'_> {
    pub(super) fn member_joined(&mut self, team: &str, channel: &str, user: &str) -> Done {
        let ts = self.world.ts(self.when.at);
        let inner = json!({
            "type": "member_joined_channel", "user": user, "channel": channel, "team": team,
            "channel_type": "C", "event_ts": stamp(ts),
        });
        let told = Told {
            kind: "member_joined",
            key: format!("member:{channel}:{user}:{}", stamp(ts)),
            at: seconds(ts),
            pollable: false,
        };
        let facts = self.happen(channel, Some(told), Some(("member_joined_channel", inner)));
        Done {
            object: json!({ "channel": channel }),
            facts: facts.into_values().collect(),
        }
    }

    /// Creates a channel; where the app is installed, its bot joins.
    pub(crate) fn create_channel(
        &mut self,
        team: &str,
        creator: &str,
        name: Option<String>,
    ) -> Done {
        let (id, container, number) = (
            self.world.id("C"),
            self.world.container(),
            self.world.number(),
        );
        let channel = Channel {
            name: name.unwrap_or_else(|| format!("topic-{number}")),
            created: self.when.at,
            creator: creator.to_owned(),
            private: false,
            teams: vec![team.to_owned()],
            bots: BTreeSet::new(),
            containers: BTreeMap::from([(team.to_owned(), container)]),
            messages: BTreeMap::new(),
            facts: BTreeMap::new(),
            id: id.clone(),
        };
        let mut inner = json!({
            "type": "channel_created", "event_ts": stamp(self.world.ts(self.when.at)),
            "channel": World::channel_json(&channel, team),
        });
        if let Some(shown) = inner["channel"].as_object_mut() {
            shown.remove("is_member");
            shown.remove("num_members");
        }
        self.world.channels.insert(id.clone(), channel);
        let installed = self.world.installations.contains_key(team);
        let fault = self.fault("channel_created", team);
        let heard = installed && self.heard(fault.as_ref());
        let fact = self.hub.core.ledger.record(Fact {
            source: SOURCE,
            account: team.to_owned(),
            kind: "channel_created",
            key: format!("slack:{team}:channel:{id}:created"),
            at: self.when.at,
            container: self.world.teams[team].container,
            webhook: heard,
            pollable: true,
        });
        self.place(&id).facts.insert(team.to_owned(), fact);
        if heard {
            let body = self.envelope(&[team.to_owned()], &inner);
            self.submit("channel_created", team, body, fault, vec![fact]);
        }
        let mut facts = vec![fact];
        if installed {
            self.place(&id).bots.insert(team.to_owned());
            let bot = self.world.teams[team].bot.clone();
            if self.when.live {
                facts.extend(self.member_joined(team, &id, &bot).facts);
            }
        }
        Done {
            object: json!({ "channel": id }),
            facts,
        }
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
        self.event("channel_rename", &[team.to_owned()], &inner, Vec::new());
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
        let shown = World::user_json(user);
        let inner = json!({
            "type": "user_change", "user": shown, "cache_ts": self.when.at,
            "event_ts": stamp(self.world.ts(self.when.at)),
        });
        self.event("user_change", &[team.to_owned()], &inner, Vec::new());
        Ok(Done {
            object: shown,
            facts: Vec::new(),
        })
    }

    /// Shares a channel with another workspace, whose bot joins where the app is installed.
    pub(super) fn share(&mut self, channel: &str, to: &str) -> Result<Done, &'static str> {
        if !self.world.teams.contains_key(to) {
            return Err("there is no such workspace");
        }
        let (container, installed) = (
            self.world.container(),
            self.world.installations.contains_key(to),
        );
        let place = self.place(channel);
        if !place.teams.iter().any(|team| team == to) {
            place.teams.push(to.to_owned());
            place.containers.insert(to.to_owned(), container);
        }
        if installed {
            place.bots.insert(to.to_owned());
        }
        Ok(Done {
            object: json!({ "channel": channel, "teams": place.teams }),
            facts: Vec::new(),
        })
    }

    /// The bot has to leave a channel.
    pub(super) fn kick(&mut self, team: &str, channel: &str) -> Done {
        let bot = self.world.teams[team].bot.clone();
        let inner = json!({
            "type": "member_left_channel", "user": bot, "channel": channel, "team": team,
            "channel_type": "C", "event_ts": stamp(self.world.ts(self.when.at)),
        });
        self.event(
            "member_left_channel",
            &[team.to_owned()],
            &inner,
            Vec::new(),
        );
        self.place(channel).bots.remove(team);
        Done::default()
    }

    pub(super) fn uninstall(&mut self, team: &str, uninstalled_first: bool) {
        if self.world.installations.remove(team).is_none() {
            return;
        }
        for channel in self.world.channels.values_mut() {
            channel.bots.remove(team);
        }
        let bot = self.world.teams[team].bot.clone();
        let revoked = json!({ "type": "tokens_revoked", "tokens": { "oauth": [], "bot": [bot] } });
        let gone = json!({ "type": "app_uninstalled" });
        let mut both = [("tokens_revoked", revoked), ("app_uninstalled", gone)];
        if uninstalled_first {
            both.reverse();
        }
        for (name, inner) in both {
            let body = self.envelope(&[team.to_owned()], &inner);
            self.send(name, team, body, Vec::new());
        }
    }
}
