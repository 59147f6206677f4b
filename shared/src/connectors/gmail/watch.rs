//! Registration of a mailbox for pushes: the watch of `users.watch`.
//!
//! A mailbox has one watch per project, which all of its connections share, and which ends after
//! seven days without an error. It is renewed every day. A lapsed watch shows by its age.

use chrono::Duration;
use serde_json::Value;

use super::Gmail;
use super::auth::{address, mailbox};
use super::wire::{Watch, to_route};
use crate::connectors::error::permanent_error;
use crate::connectors::{Access, ConnectorError};
use crate::model::{Subscription, SubscriptionSpec};

/// Name of the only subscription.
const MAILBOX: &str = "mailbox";
/// Lifetime of a watch whose response states none.
const DEFAULT_TTL: Duration = Duration::days(7);

/// The desired subscriptions: one if a topic is configured.
pub(super) fn desired(gmail: &Gmail) -> Vec<SubscriptionSpec> {
    let topic = gmail.app.topic.as_ref();
    let spec = topic.map(|_| SubscriptionSpec {
        resource: MAILBOX.to_owned(),
        target: Value::Null,
    });
    spec.into_iter().collect()
}

/// Registers the mailbox, or prolongs its registration.
///
/// Pushes name the mailbox by its address, which is their route.
pub(super) async fn start(gmail: &Gmail, access: &Access) -> Result<Subscription, ConnectorError> {
    let Some(topic) = &gmail.app.topic else {
        return Err(permanent_error("no Pub/Sub topic is configured"));
    };
    let watch: Watch = mailbox(gmail, access).watch(topic).await?;
    let default = || gmail.client.now() + DEFAULT_TTL;
    Ok(Subscription {
        resource: MAILBOX.to_owned(),
        external_id: access.account.stable_id.clone(),
        route: to_route(address(&access.account)),
        state: Value::Null,
        expires_at: Some(watch.expires_at().unwrap_or_else(default)),
        refused_events: Vec::new(),
    })
}

/// Ends the registration.
pub(super) async fn stop(gmail: &Gmail, access: &Access) -> Result<(), ConnectorError> {
    Ok(mailbox(gmail, access).stop().await?)
}
