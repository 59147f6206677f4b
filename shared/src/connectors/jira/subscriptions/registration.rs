//! Registration of a webhook with the events that Jira accepts.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{CORE_EVENT, EVENTS, PATH, delete};
use crate::connectors::error::permanent_error;
use crate::connectors::jira::client::{Call, Client};
use crate::connectors::wire::or_default;
use crate::connectors::{Access, ConnectorError};

/// Maximum length of Jira's reason for a rejection.
const MAX_REASON_CHARS: usize = 200;

/// Registration of a webhook.
pub(super) struct Registration<'a> {
    pub(super) client: &'a Client,
    pub(super) access: &'a Access,
    pub(super) url: &'a Url,
    pub(super) filter: String,
}

/// Result of a registration.
enum RegistrationResult {
    /// The webhook's id.
    Registered(String),
    /// Jira's reason.
    Rejected(String),
}

impl Registration<'_> {
    /// Registers the events that Jira accepts; returns the webhook's id and the other events.
    pub(super) async fn register_accepted_events(
        &self,
    ) -> Result<(String, Vec<&'static str>), ConnectorError> {
        let reason = match self.register(&EVENTS).await? {
            RegistrationResult::Registered(id) => return Ok((id, Vec::new())),
            RegistrationResult::Rejected(reason) => reason,
        };
        let error = |reason: &str| permanent_error(format!("Jira rejected the webhook: {reason}"));
        let mut accepted = self.find_accepted(&[CORE_EVENT]).await?;
        if accepted.is_empty() {
            return Err(error(&reason));
        }
        let others: Vec<&str> = EVENTS
            .into_iter()
            .filter(|event| *event != CORE_EVENT)
            .collect();
        let (first, second) = others.split_at(others.len() / 2);
        for half in [first, second] {
            accepted.extend(self.find_accepted(half).await?);
        }
        match self.register(&accepted).await? {
            RegistrationResult::Registered(id) => {
                let rejected = EVENTS
                    .into_iter()
                    .filter(|event| !accepted.contains(event))
                    .collect();
                Ok((id, rejected))
            }
            RegistrationResult::Rejected(reason) => Err(error(&reason)),
        }
    }

    /// Finds the accepted ones of these events by bisection.
    ///
    /// Each probe is deleted immediately, because a person may have five webhooks at a site.
    async fn find_accepted(
        &self,
        events: &[&'static str],
    ) -> Result<Vec<&'static str>, ConnectorError> {
        let mut accepted = Vec::new();
        let mut undecided = vec![events.to_vec()];
        while let Some(probe) = undecided.pop() {
            match self.register(&probe).await? {
                RegistrationResult::Registered(id) => {
                    delete(self.client, self.access, &id).await?;
                    accepted.extend(probe);
                }
                RegistrationResult::Rejected(_) if probe.len() <= 1 => {}
                RegistrationResult::Rejected(_) => {
                    let (first, second) = probe.split_at(probe.len() / 2);
                    undecided.extend([first.to_vec(), second.to_vec()]);
                }
            }
        }
        Ok(accepted)
    }

    /// Requests a webhook with these events. Jira responds with 200 also to rejections.
    async fn register(&self, events: &[&str]) -> Result<RegistrationResult, ConnectorError> {
        #[derive(Deserialize)]
        struct Registered {
            #[serde(
                default,
                rename = "webhookRegistrationResult",
                deserialize_with = "or_default"
            )]
            results: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            #[serde(rename = "createdWebhookId")]
            id: Option<u64>,
            #[serde(default, deserialize_with = "or_default")]
            errors: Vec<String>,
        }
        let body = json!({
            "url": self.url.as_str(),
            "webhooks": [{ "events": events, "jqlFilter": self.filter }],
        });
        let call = Call::new(self.access, "create_webhook");
        let response = match self
            .client
            .send_json(&call, Method::POST, PATH, &body)
            .await
        {
            Ok(response) => response,
            Err(error) if error.status == Some(StatusCode::BAD_REQUEST) => {
                return Ok(RegistrationResult::Rejected(
                    "the request is not valid".to_owned(),
                ));
            }
            Err(other) => return Err(other.into()),
        };
        let registered: Registered = response.json()?;
        let entry = registered.results.first();
        Ok(match entry.and_then(|entry| entry.id) {
            Some(id) => RegistrationResult::Registered(id.to_string()),
            None => RegistrationResult::Rejected(
                entry
                    .and_then(|entry| entry.errors.first())
                    .map_or("no reason given", String::as_str)
                    .chars()
                    .take(MAX_REASON_CHARS)
                    .collect(),
            ),
        })
    }
}
