//! Things that happen, in the world, the ledger and the webhooks.

mod agile;
mod issues;
mod talk;

use serde::Deserialize;
use serde_json::{Value, json};

use super::jql::Sight;
use super::world::{Site, World};
use super::{Jira, SOURCE, hooks};
use crate::simulator::faults::{Effect, Rule, Target};
use crate::simulator::ledger::Fact;
use crate::simulator::outbox::Letter;

/// What is to happen. Only `account` and `action` are required.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Act {
    /// The site's cloud id.
    pub(crate) account: String,
    pub(crate) action: String,
    pub(crate) actor: Option<String>,
    /// An issue's id.
    pub(crate) issue: Option<u64>,
    pub(crate) text: Option<String>,
    /// A status, by name; a project's key.
    pub(crate) to: Option<String>,
    /// Somebody who is assigned as well.
    pub(crate) assignee: Option<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) object: Value,
    pub(crate) facts: Vec<u64>,
}

/// When something happens, and whether anybody hears of it.
#[derive(Clone, Copy)]
pub(crate) struct When {
    pub(crate) at: i64,
    pub(crate) live: bool,
}

/// A fact for the ledger.
pub(super) struct Told {
    pub(super) kind: &'static str,
    /// Behind `jira:{cloudId}:`.
    pub(super) key: String,
    /// Milliseconds.
    pub(super) at: i64,
    pub(super) container: u64,
    pub(super) pollable: bool,
}

/// A delivery, before it is known who wants it.
pub(super) struct News {
    pub(super) event: &'static str,
    /// The issue that a filter looks at; sprints and versions pass every filter.
    pub(super) about: Option<Sight>,
    /// Fields that changed.
    pub(super) changed: Vec<&'static str>,
    /// Whose doing it is.
    pub(super) by: Option<String>,
    /// It follows from something that is told by itself.
    pub(super) secondary: bool,
    pub(super) body: Value,
}

impl News {
    pub(super) const fn new(event: &'static str, body: Value) -> Self {
        Self {
            event,
            about: None,
            changed: Vec::new(),
            by: None,
            secondary: false,
            body,
        }
    }
}

/// The world, and those who are told of it.
pub(crate) struct Stage<'a> {
    pub(super) hub: &'a Jira,
    pub(crate) world: &'a mut World,
    pub(super) when: When,
}

impl Jira {
    /// Acts in the world.
    pub(crate) fn stage<R>(&self, when: When, then: impl FnOnce(&mut Stage<'_>) -> R) -> R {
        let mut world = self.world();
        then(&mut Stage {
            hub: self,
            world: &mut world,
            when,
        })
    }

    /// Now, with everybody told.
    pub(crate) fn now(&self) -> When {
        When {
            at: self.core.clock.seconds(),
            live: true,
        }
    }
}

impl Stage<'_> {
    /// Makes one thing happen; the error says why it cannot.
    pub(crate) fn act(&mut self, act: &Act) -> Result<Done, &'static str> {
        let site = act.account.as_str();
        if !self.world.sites.contains_key(site) {
            return Err("there is no such account");
        }
        let actor = act
            .actor
            .clone()
            .or_else(|| self.world.somebody(site))
            .ok_or("there is nobody")?;
        if let Some(done) = self.about_agile(act, site) {
            return done;
        }
        match act.action.as_str() {
            "issue.created" => {
                return self.create_issue(site, &actor, act.text.clone(), act.to.as_deref());
            }
            "site.renamed" => {
                let number = self.world.number();
                let name = act
                    .to
                    .clone()
                    .unwrap_or_else(|| format!("renamed-{number}"));
                let place = self.site(site);
                place.url = format!("https://{name}.atlassian.net");
                place.name = name;
                return Ok(Done::default());
            }
            "user.renamed" => {
                let number = self.world.number();
                let person = self.world.people.get_mut(&actor).ok_or("there is nobody")?;
                person.name = act
                    .text
                    .clone()
                    .unwrap_or_else(|| format!("Renamed {number}"));
                return Ok(Done::default());
            }
            _ => {}
        }
        let issue = act.issue.or_else(|| self.world.some_issue(site));
        let issue = match issue {
            Some(issue) => issue,
            None => self.create_issue(site, &actor, None, None)?.object["id"]
                .as_u64()
                .unwrap_or_default(),
        };
        if !self.site(site).issues.contains_key(&issue) {
            return Err("there is no such issue");
        }
        self.about_issue(act, site, issue, &actor)
    }

    pub(super) fn site(&mut self, id: &str) -> &mut Site {
        self.world
            .sites
            .get_mut(id)
            .unwrap_or_else(|| panic!("the site {id} was looked up before"))
    }

    /// Writes facts down, and sends the delivery that tells them to those who asked for it.
    /// Answers the rows.
    pub(super) fn happen(&mut self, site: &str, told: Vec<Told>, news: Option<News>) -> Vec<u64> {
        let fault = news.as_ref().and_then(|news| self.fault(news.event, site));
        let letters = match &news {
            Some(news) if self.heard(fault.as_ref()) => self.letters(site, news),
            _ => Vec::new(),
        };
        let facts: Vec<u64> = told
            .into_iter()
            .map(|told| {
                self.hub.core.ledger.record(Fact {
                    source: SOURCE,
                    account: site.to_owned(),
                    kind: told.kind,
                    key: format!("jira:{site}:{}", told.key),
                    at: told.at.div_euclid(1_000),
                    container: told.container,
                    webhook: !letters.is_empty(),
                    pollable: told.pollable,
                })
            })
            .collect();
        if let Some(news) = news {
            for (url, body) in letters {
                self.post(site, &news, &url, body, fault.clone(), facts.clone());
            }
        }
        facts
    }

    fn post(
        &mut self,
        site: &str,
        news: &News,
        url: &str,
        body: Value,
        fault: Option<Rule>,
        facts: Vec<u64>,
    ) {
        let id = self.world.uuid();
        let flow = if news.secondary {
            "Secondary"
        } else {
            "Primary"
        };
        let url = match &news.by {
            Some(person) => {
                let sign = if url.contains('?') { '&' } else { '?' };
                format!("{url}{sign}triggeredByUser={person}")
            }
            None => url.to_owned(),
        };
        self.hub.outbox.submit(Letter {
            name: news.event.to_owned(),
            id,
            account: site.to_owned(),
            url,
            headers: vec![("x-atlassian-webhook-flow", flow.to_owned())],
            body,
            fault,
            facts,
        });
    }

    fn fault(&self, event: &str, site: &str) -> Option<Rule> {
        if !self.when.live {
            return None;
        }
        self.hub
            .core
            .faults
            .pick(Target::Delivery, event, Some(site))
    }

    fn heard(&self, fault: Option<&Rule>) -> bool {
        self.when.live
            && !self.hub.settings().webhook_url.is_empty()
            && fault.is_none_or(|rule| rule.effect != Effect::DropSilently)
    }

    /// Where something goes, and what: one body for all webhooks of the app that match, one
    /// for an administrator's.
    fn letters(&mut self, site: &str, news: &News) -> Vec<(String, Value)> {
        hooks::expire(self.world, self.when.at);
        let matched: Vec<_> = self.world.sites[site]
            .hooks
            .values()
            .filter(|hook| hook.events.iter().any(|event| event == news.event))
            .filter(|hook| match &news.about {
                Some(sight) => hook.question.accepts(sight),
                None => true,
            })
            .filter(|hook| {
                let told = |field: &String| news.changed.contains(&field.as_str());
                news.changed.is_empty() || hook.fields.is_empty() || hook.fields.iter().any(told)
            })
            .filter(|hook| self.world.grants.contains_key(&hook.owner))
            .collect();
        let mut letters = Vec::new();
        if let Some(first) = matched.first() {
            let ids: Vec<u64> = matched.iter().map(|hook| hook.id).collect();
            let mut body = news.body.clone();
            body["matchedWebhookIds"] = json!(ids);
            letters.push((first.url.clone(), body));
        }
        let settings = self.hub.settings();
        let own = settings.admin_webhooks.iter();
        for webhook in own.filter(|webhook| webhook.account == site) {
            letters.push((webhook.url.clone(), news.body.clone()));
        }
        letters
    }
}
