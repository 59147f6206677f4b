//! Actions on the app: workspace access, uninstallation and revoked tokens.

use serde_json::{Value, json};

use super::{ActionOutcome, ActionParams, Transaction};
use crate::slack::tokens::Holder;
use crate::slack::world::{World, format_ts};

impl World {
    /// Adds the app to every workspace of an organization.
    pub(crate) fn add_to_all_workspaces(&mut self, organization: &str) {
        let all: Vec<String> = self
            .teams
            .values()
            .filter(|team| team.organization.as_deref() == Some(organization))
            .map(|team| team.id.clone())
            .collect();
        if let Some(organization) = self.organizations.get_mut(organization) {
            organization.added.extend(all);
        }
    }
}

impl Transaction<'_> {
    /// Performs an action on the app; `None` for other actions.
    pub(super) fn perform_on_app(
        &mut self,
        params: &ActionParams,
    ) -> Option<Result<ActionOutcome, &'static str>> {
        let account = params.account.as_str();
        Some(match params.action.as_str() {
            "app.uninstalled" => {
                let uninstalled_first = self.service.settings().uninstalled_first;
                if self.uninstall(account, uninstalled_first) {
                    Ok(ActionOutcome::default())
                } else {
                    Err("the app is not installed in this account")
                }
            }
            "app.rate_limited" => {
                let body = json!({
                    "token": "deprecated", "type": "app_rate_limited", "team_id": account,
                    "minute_rate_limited": self.when.at - self.when.at % 60,
                    "api_app_id": self.service.app.id,
                });
                self.send("app_rate_limited", account, body, &[]);
                Ok(ActionOutcome::default())
            }
            "workspace.added" => self.change_access(account, params.to.as_deref(), true),
            "workspace.removed" => self.change_access(account, params.to.as_deref(), false),
            _ => return None,
        })
    }

    /// Adds the app to a workspace of an organization, or removes it.
    fn change_access(
        &mut self,
        account: &str,
        team: Option<&str>,
        added: bool,
    ) -> Result<ActionOutcome, &'static str> {
        let team = team.ok_or("`to` is required: the workspace")?;
        let within = self
            .world
            .teams
            .get(team)
            .is_some_and(|team| team.organization.as_deref() == Some(account));
        if !within || !self.world.installed(account) {
            return Err("the app is not installed in that workspace's organization");
        }
        let organization = self
            .world
            .organizations
            .get_mut(account)
            .ok_or("unknown organization")?;
        let name = if added {
            organization.added.insert(team.to_owned());
            self.world.join_all_public_channels(account);
            "team_access_granted"
        } else {
            organization.added.remove(team);
            self.world.leave_inaccessible_channels(account);
            "team_access_revoked"
        };
        let event_ts = format_ts(self.world.ts(self.when.at));
        let inner = json!({ "type": name, "team_ids": [team], "event_ts": event_ts });
        let body = self.app_envelope(account, &inner);
        self.send(name, account, body, &[]);
        Ok(ActionOutcome {
            object: json!({ "account": account, "workspace": team }),
            facts: Vec::new(),
        })
    }

    /// Body of an event about the app. For an organization it names no workspace.
    fn app_envelope(&mut self, account: &str, inner: &Value) -> Value {
        if self.world.teams.contains_key(account) {
            return self.envelope(&[(account.to_owned(), account.to_owned())], inner, false);
        }
        let event_id = self.world.id("Ev");
        json!({
            "token": "deprecated", "enterprise_id": account, "api_app_id": self.service.app.id,
            "event": inner, "type": "event_callback", "event_id": event_id,
            "event_time": self.when.at, "is_ext_shared_channel": false,
        })
    }

    /// Ends a grant. If it is the bot's, the bot leaves its channels.
    pub(crate) fn revoke(&mut self, holder: &Holder, sends_event: bool) {
        let ended = match &holder.person {
            None => self.world.installations.remove(&holder.account),
            Some(person) => self
                .world
                .personal
                .remove(&(holder.account.clone(), person.clone())),
        };
        if ended.is_none() {
            return;
        }
        let bot = self.world.bot_of(&holder.account).to_owned();
        let (people, bots) = match &holder.person {
            Some(person) => (vec![person.clone()], Vec::new()),
            None => (Vec::new(), vec![bot]),
        };
        if holder.person.is_none() {
            self.world.leave_inaccessible_channels(&holder.account);
        }
        if sends_event {
            self.send_tokens_revoked(&holder.account, &people, &bots);
        }
    }

    /// Sends `tokens_revoked` with the ids of the users and bots.
    fn send_tokens_revoked(&mut self, account: &str, people: &[String], bots: &[String]) {
        let event_ts = format_ts(self.world.ts(self.when.at));
        let inner = json!({
            "type": "tokens_revoked", "tokens": { "oauth": people, "bot": bots },
            "event_ts": event_ts,
        });
        let body = self.app_envelope(account, &inner);
        self.send("tokens_revoked", account, body, &[]);
    }

    /// Removes the app and all of its tokens from an account; `false` if it has none there.
    pub(crate) fn uninstall(&mut self, account: &str, uninstalled_first: bool) -> bool {
        let people = self.world.persons_of(account);
        let installation = self.world.installations.remove(account);
        let installed = installation.is_some();
        if !installed && people.is_empty() {
            return false;
        }
        let tokens = installation.into_iter().flat_map(|grant| grant.tokens);
        self.world
            .removed_tokens
            .extend(tokens.map(|(token, _)| token));
        for person in &people {
            let key = (account.to_owned(), person.clone());
            self.world.personal.remove(&key);
        }
        self.world.leave_inaccessible_channels(account);
        if let Some(organization) = self.world.organizations.get_mut(account) {
            organization.added.clear();
        }
        let bots: Vec<String> = installed
            .then(|| self.world.bot_of(account).to_owned())
            .into_iter()
            .collect();
        if !uninstalled_first {
            self.send_tokens_revoked(account, &people, &bots);
        }
        let event_ts = format_ts(self.world.ts(self.when.at));
        let inner = json!({ "type": "app_uninstalled", "event_ts": event_ts });
        let body = self.app_envelope(account, &inner);
        self.send("app_uninstalled", account, body, &[]);
        if uninstalled_first {
            self.send_tokens_revoked(account, &people, &bots);
        }
        true
    }
}
