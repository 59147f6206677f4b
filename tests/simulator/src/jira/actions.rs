//! Actions of people: changes of the world, facts in the ledger, and webhook events.

mod agile;
mod comments;
mod issues;

use serde::Deserialize;
use serde_json::{Value, json};

use super::jql::IssueView;
use super::world::{Site, World};
use super::{Jira, SOURCE, webhooks};
use crate::Core;
use crate::faults::Rule;
use crate::ledger::Fact;
use crate::lock::Mutex;
use crate::webhook_sender::Delivery;

pub(crate) use crate::action::{Acted, ActionOutcome, ActionTime};

/// Action and parameters of a control request.
///
/// Only `account` and `action` are required.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionParams {
    /// Cloud id of the site.
    pub(crate) account: String,
    pub(crate) action: String,
    pub(crate) actor: Option<String>,
    /// Id of the issue.
    pub(crate) issue: Option<u64>,
    pub(crate) text: Option<String>,
    /// Name of a status, key of a project, or new name of a site.
    pub(crate) to: Option<String>,
    /// Account id of the assignee.
    pub(crate) assignee: Option<String>,
}

/// A fact for the ledger, without its site.
pub(super) struct FactDraft {
    pub(super) kind: &'static str,
    /// Dedupe key without the prefix `jira:{cloudId}:`.
    pub(super) key: String,
    /// Epoch milliseconds.
    pub(super) at: i64,
    pub(super) container: u64,
    pub(super) pollable: bool,
}

/// A webhook event, before it is matched with webhooks.
pub(super) struct Event {
    pub(super) name: &'static str,
    /// Issue for the webhooks' filters; `None` (sprints, versions) passes every filter.
    pub(super) issue: Option<IssueView>,
    /// Names of the changed fields.
    pub(super) changed_fields: Vec<&'static str>,
    /// Account id of the actor.
    pub(super) triggered_by: Option<String>,
    /// A consequence of another event (`x-atlassian-webhook-flow: Secondary`).
    pub(super) is_secondary: bool,
    pub(super) body: Value,
}

impl Event {
    pub(super) const fn new(name: &'static str, body: Value) -> Self {
        Self {
            name,
            issue: None,
            changed_fields: Vec::new(),
            triggered_by: None,
            is_secondary: false,
            body,
        }
    }
}

/// Access to Jira's world while an action changes it.
pub(crate) type Transaction<'a> = crate::action::Transaction<'a, Jira>;

impl Acted for Jira {
    type World = World;

    fn core(&self) -> &Core {
        &self.core
    }

    fn locked_world(&self) -> &Mutex<World> {
        &self.world
    }
}

impl Transaction<'_> {
    /// Performs an action. The error is the reason why it is impossible.
    pub(crate) fn perform(&mut self, params: &ActionParams) -> Result<ActionOutcome, &'static str> {
        let site = params.account.as_str();
        if !self.world.sites.contains_key(site) {
            return Err("unknown account");
        }
        let actor = params
            .actor
            .clone()
            .or_else(|| self.world.random_person(site))
            .ok_or("the site has no people")?;
        if let Some(outcome) = self.perform_on_agile(params, site) {
            return outcome;
        }
        match params.action.as_str() {
            "issue.created" => {
                return self.create_issue(site, &actor, params.text.clone(), params.to.as_deref());
            }
            "site.renamed" => {
                let number = self.world.number();
                let name = params
                    .to
                    .clone()
                    .unwrap_or_else(|| format!("renamed-{number}"));
                let site_data = self.site(site);
                site_data.url = format!("https://{name}.atlassian.net");
                site_data.name = name;
                return Ok(ActionOutcome::default());
            }
            "user.renamed" => {
                let number = self.world.number();
                let person = self.world.people.get_mut(&actor).ok_or("unknown user")?;
                person.name = params
                    .text
                    .clone()
                    .unwrap_or_else(|| format!("Renamed {number}"));
                return Ok(ActionOutcome::default());
            }
            _ => {}
        }
        let issue = params.issue.or_else(|| self.world.random_issue(site));
        let issue = match issue {
            Some(issue) => issue,
            None => self.create_issue(site, &actor, None, None)?.object["id"]
                .as_u64()
                .unwrap_or_default(),
        };
        if !self.site(site).issues.contains_key(&issue) {
            return Err("unknown issue");
        }
        self.perform_on_issue(params, site, issue, &actor)
    }

    pub(super) fn site(&mut self, id: &str) -> &mut Site {
        self.world
            .sites
            .get_mut(id)
            .unwrap_or_else(|| panic!("site {id} exists"))
    }

    /// Records facts, sends their event to the matching webhooks, and returns the ledger rows.
    pub(super) fn emit(
        &mut self,
        site: &str,
        drafts: Vec<FactDraft>,
        event: Option<Event>,
    ) -> Vec<u64> {
        let fault = event
            .as_ref()
            .and_then(|event| self.pick_fault(event.name, site));
        let deliveries = match &event {
            Some(event) if self.sends_event(fault.as_ref()) => self.deliveries(site, event),
            _ => Vec::new(),
        };
        let facts: Vec<u64> = drafts
            .into_iter()
            .map(|draft| {
                self.service.core.ledger.record(Fact {
                    source: SOURCE,
                    account: site.to_owned(),
                    kind: draft.kind,
                    key: format!("jira:{site}:{}", draft.key),
                    at: draft.at.div_euclid(1_000),
                    container: draft.container,
                    webhook: !deliveries.is_empty(),
                    pollable: draft.pollable,
                })
            })
            .collect();
        if let Some(event) = event {
            for (url, body) in deliveries {
                self.post(site, &event, &url, body, fault.clone(), facts.clone());
            }
        }
        facts
    }

    fn post(
        &mut self,
        site: &str,
        event: &Event,
        url: &str,
        body: Value,
        fault: Option<Rule>,
        facts: Vec<u64>,
    ) {
        let id = self.world.uuid();
        let flow = if event.is_secondary {
            "Secondary"
        } else {
            "Primary"
        };
        let url = match &event.triggered_by {
            Some(person) => {
                let separator = if url.contains('?') { '&' } else { '?' };
                format!("{url}{separator}triggeredByUser={person}")
            }
            None => url.to_owned(),
        };
        self.service.webhook_sender.submit(Delivery {
            name: event.name.to_owned(),
            id,
            account: site.to_owned(),
            url,
            headers: vec![("x-atlassian-webhook-flow", flow.to_owned())],
            body,
            fault,
            facts,
        });
    }

    fn pick_fault(&self, event: &str, account: &str) -> Option<Rule> {
        self.when.pick_fault(&self.service.core, event, account)
    }

    fn sends_event(&self, fault: Option<&Rule>) -> bool {
        let settings = self.service.settings();
        self.when.sends_event(&settings.webhook_url, fault)
    }

    /// URL and body of an event's deliveries.
    ///
    /// All matching webhooks of the app get one delivery, each administrator's webhook another.
    fn deliveries(&mut self, site: &str, event: &Event) -> Vec<(String, Value)> {
        webhooks::expire(self.world, self.when.at);
        let matched: Vec<_> = self.world.sites[site]
            .webhooks
            .values()
            .filter(|webhook| webhook.events.iter().any(|name| name == event.name))
            .filter(|webhook| match &event.issue {
                Some(view) => webhook.jql.accepts(view),
                None => true,
            })
            .filter(|webhook| {
                let is_changed = |field: &String| event.changed_fields.contains(&field.as_str());
                event.changed_fields.is_empty()
                    || webhook.fields.is_empty()
                    || webhook.fields.iter().any(is_changed)
            })
            .filter(|webhook| self.world.grants.contains_key(&webhook.owner))
            .collect();
        let mut deliveries = Vec::new();
        if let Some(first) = matched.first() {
            let ids: Vec<u64> = matched.iter().map(|webhook| webhook.id).collect();
            let mut body = event.body.clone();
            body["matchedWebhookIds"] = json!(ids);
            deliveries.push((first.url.clone(), body));
        }
        let settings = self.service.settings();
        let admin_webhooks = settings.admin_webhooks.iter();
        for webhook in admin_webhooks.filter(|webhook| webhook.account == site) {
            deliveries.push((webhook.url.clone(), event.body.clone()));
        }
        deliveries
    }
}
