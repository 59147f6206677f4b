//! Watch channels: creation, messages about changes, and their end.
//!
//! A message has no body and says only that the resource has changed. Changes within a short
//! time share a message. Messages are retried for some statuses only and otherwise lost; an
//! expired channel is silent. Source: "Push notifications" of the guides of Drive and Calendar.

mod message;
mod request;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use self::message::ChannelPolicy;
use self::request::ChannelRequest;
use super::Google;
use super::error::ApiError;
use crate::clock;
use crate::faults::{Effect, Target};
use crate::lock::Mutex;
use crate::webhook_sender::{Delivery, WebhookSender};

/// Delay of a channel's first message after the response.
const SYNC_DELAY: Duration = Duration::from_millis(20);
/// Maximum time for which a response waits for the first message.
const SYNC_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum distance of the numbers of two messages.
const MAX_NUMBER_STEP: u64 = 4;

/// A kind of watched resources.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChannelKind {
    /// Name in the fault rules, such as `changes`.
    pub(crate) name: &'static str,
    /// State in messages about changes: `change` or `exists`.
    pub(crate) state: &'static str,
    pub(crate) default_seconds: i64,
    pub(crate) max_seconds: i64,
}

/// A resource to watch.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) kind: ChannelKind,
    /// Person who watches.
    pub(crate) sub: String,
    /// Key of the resource, as [`Channels::notify`] names it.
    pub(crate) resource: String,
    pub(crate) uri: String,
}

/// Whether a channel sends messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Live,
    /// One message may still come.
    StoppedLate,
    Stopped,
}

struct Channel {
    id: String,
    watched: Watched,
    resource_id: String,
    token: Option<String>,
    address: String,
    /// Epoch milliseconds.
    expiration: i64,
    /// Number of the last message.
    number: u64,
    /// A message about changes is scheduled.
    is_pending: bool,
    life: Life,
}

impl Channel {
    fn json(&self) -> Value {
        let mut channel = json!({
            "kind": "api#channel", "id": self.id, "resourceId": self.resource_id,
            "resourceUri": self.watched.uri, "expiration": self.expiration.to_string(),
        });
        if let Some(token) = &self.token {
            channel["token"] = json!(token);
        }
        channel
    }
}

struct State {
    /// Channels by their resource.
    channels: HashMap<String, Vec<Channel>>,
    /// Ids of all channels that have ever existed.
    used_ids: HashSet<String>,
    rng: StdRng,
}

impl State {
    fn all(&self) -> impl Iterator<Item = &Channel> {
        self.channels.values().flatten()
    }

    fn find(&mut self, id: &str) -> Option<&mut Channel> {
        let mut all = self.channels.values_mut().flatten();
        all.find(|channel| channel.id == id)
    }
}

/// Channels of a product.
pub(crate) struct Channels {
    google: Arc<Google>,
    sender: WebhookSender,
    state: Mutex<State>,
    runtime: Handle,
}

/// First message of a new channel.
pub(crate) struct SyncMessage {
    channels: Arc<Channels>,
    delivery: Option<Delivery>,
}

impl SyncMessage {
    /// Sends the message before or after the response, as the settings say.
    pub(super) async fn send(self) {
        let Some(delivery) = self.delivery else {
            return;
        };
        let is_before = self.channels.google.settings().sync_before_answer;
        if is_before {
            self.channels.sender.submit(delivery);
            // A timeout only means that the response comes first.
            let unfinished = self.channels.sender.unfinished();
            unfinished.quiesce(SYNC_TIMEOUT).await;
        } else {
            let channels = Arc::clone(&self.channels);
            self.channels
                .schedule(SYNC_DELAY, move || channels.sender.submit(delivery));
        }
    }
}

impl Channels {
    /// `counters` are the names of the counters of messages, deliveries and failures.
    pub(crate) fn start(
        google: Arc<Google>,
        counters: [&'static str; 3],
        max_concurrent: usize,
        seed: u64,
    ) -> Result<Arc<Self>, reqwest::Error> {
        let policy = ChannelPolicy {
            settings: google.shared_settings().clone(),
            counters,
        };
        let sender = WebhookSender::new(
            Arc::clone(&google.core),
            Arc::new(policy),
            message::USER_AGENT,
            message::RESPONSE_TIMEOUT,
            max_concurrent,
        )?;
        Ok(Arc::new(Self {
            google,
            sender,
            state: Mutex::new(State {
                channels: HashMap::new(),
                used_ids: HashSet::new(),
                rng: StdRng::seed_from_u64(seed),
            }),
            runtime: Handle::current(),
        }))
    }

    pub(crate) const fn sender(&self) -> &WebhookSender {
        &self.sender
    }

    /// Creates a channel from the body of a watch request.
    pub(crate) fn watch(
        self: &Arc<Self>,
        watched: Watched,
        body: &Value,
    ) -> Result<(Value, SyncMessage), ApiError> {
        let now = self.google.core.clock.milliseconds();
        let request = {
            let settings = self.google.settings();
            ChannelRequest::parse(body, watched.kind, &settings, now)?
        };
        let mut state = self.state.lock();
        if !state.used_ids.insert(request.id.clone()) {
            return Err(request::bad_request(
                "channelIdNotUnique",
                "Channel id not unique",
            ));
        }
        let key = watched.resource.clone();
        let hash = digest::digest(
            &digest::SHA256,
            format!("{}|{}|{key}", watched.sub, watched.kind.name).as_bytes(),
        );
        let mut channel = Channel {
            id: request.id,
            resource_id: URL_SAFE_NO_PAD.encode(&hash.as_ref()[..20]),
            watched,
            token: request.token,
            address: request.address,
            expiration: request.expiration,
            number: 0,
            is_pending: false,
            life: Life::Live,
        };
        let response = channel.json();
        let delivery = self.message(&mut channel, "sync", 1, &mut state);
        let channels = state.channels.entry(key).or_default();
        channels.retain(|one| one.expiration > now && one.life != Life::Stopped);
        channels.push(channel);
        let sync = SyncMessage {
            channels: Arc::clone(self),
            delivery,
        };
        Ok((response, sync))
    }

    /// Ends a person's channel.
    pub(crate) fn stop(&self, sub: &str, body: &Value) -> Result<(), ApiError> {
        let [id, resource_id] = ["id", "resourceId"].map(|name| body[name].as_str());
        let (Some(id), Some(resource_id)) = (id, resource_id) else {
            return Err(request::bad_request("required", "Required"));
        };
        let life = if self.google.settings().late_message {
            Life::StoppedLate
        } else {
            Life::Stopped
        };
        let now = self.google.core.clock.milliseconds();
        let mut state = self.state.lock();
        let channel = state.find(id).filter(|channel| {
            channel.resource_id == resource_id
                && channel.watched.sub == sub
                && channel.life == Life::Live
                && channel.expiration > now
        });
        match channel {
            Some(channel) => {
                channel.life = life;
                Ok(())
            }
            None => Err(ApiError::not_found(format!(
                "Channel '{id}' not found for project '{}'",
                self.google.app.project_number
            ))),
        }
    }

    /// Sends a message about a change to the channels of a resource.
    pub(crate) fn notify(self: &Arc<Self>, resource: &str) {
        let mut state = self.state.lock();
        let Some(channels) = state.channels.get_mut(resource) else {
            return;
        };
        let delay = self.google.settings().coalesce_milliseconds;
        for channel in channels.iter_mut().filter(|channel| !channel.is_pending) {
            channel.is_pending = true;
            let (id, key) = (channel.id.clone(), resource.to_owned());
            let service = Arc::clone(self);
            self.schedule(Duration::from_millis(delay), move || {
                service.send_change(&key, &id);
            });
        }
    }

    /// Sends the pending message of a channel, unless the channel has ended.
    fn send_change(&self, resource: &str, id: &str) {
        let now = self.google.core.clock.milliseconds();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(channels) = state.channels.get_mut(resource) else {
            return;
        };
        let Some(at) = channels.iter().position(|channel| channel.id == id) else {
            return;
        };
        let mut channel = channels.swap_remove(at);
        channel.is_pending = false;
        let is_silent = channel.expiration <= now || channel.life == Life::Stopped;
        let delivery = if is_silent {
            None
        } else {
            if channel.life == Life::StoppedLate {
                channel.life = Life::Stopped;
            }
            let step = state.rng.random_range(1..=MAX_NUMBER_STEP);
            let resource_state = channel.watched.kind.state;
            self.message(&mut channel, resource_state, step, state)
        };
        state
            .channels
            .entry(resource.to_owned())
            .or_default()
            .push(channel);
        if let Some(delivery) = delivery {
            self.sender.submit(delivery);
        }
    }

    /// The next message of a channel; `None` if a fault drops it.
    fn message(
        &self,
        channel: &mut Channel,
        resource_state: &str,
        step: u64,
        state: &mut State,
    ) -> Option<Delivery> {
        channel.number += step;
        let name = format!("{}.{resource_state}", channel.watched.kind.name);
        let sub = &channel.watched.sub;
        let faults = &self.google.core.faults;
        let fault = faults.pick(Target::Delivery, &name, Some(sub));
        let effect = fault.as_ref().map(|rule| rule.effect);
        if effect == Some(Effect::DropSilently) {
            return None;
        }
        let foreign_token = {
            let mut others = state.all().filter(|other| other.id != channel.id);
            others.find_map(|other| other.token.clone())
        };
        Some(Delivery {
            name,
            id: format!("{}:{}", channel.id, channel.number),
            account: sub.clone(),
            url: channel.address.clone(),
            headers: Vec::new(),
            body: json!({
                "id": channel.id, "token": channel.token, "foreign_token": foreign_token,
                "resource_id": channel.resource_id, "resource_uri": channel.watched.uri,
                "state": resource_state, "number": channel.number,
                "expiration": message::http_date(channel.expiration.div_euclid(1_000)),
                "stranger": format!("{:032x}", state.rng.random::<u128>()),
            }),
            fault,
            facts: Vec::new(),
        })
    }

    /// Runs a step later; deliveries count as unfinished until then.
    fn schedule(&self, delay: Duration, run: impl FnOnce() + Send + 'static) {
        let sender = self.sender.clone();
        sender.unfinished().add();
        self.runtime.spawn(async move {
            tokio::time::sleep(delay).await;
            run();
            sender.unfinished().finish();
        });
    }

    /// All channels, as the control API lists them.
    pub(crate) fn list(&self) -> Vec<Value> {
        let now = self.google.core.clock.milliseconds();
        let state = self.state.lock();
        let describe = |channel: &Channel| {
            let mut row = channel.json();
            row["account"] = json!(channel.watched.sub);
            row["resource"] = json!(channel.watched.resource);
            row["expires"] = json!(clock::iso(channel.expiration.div_euclid(1_000)));
            row["live"] = json!(channel.life == Life::Live && channel.expiration > now);
            row["last_number"] = json!(channel.number);
            row
        };
        let mut rows: Vec<Value> = state.all().map(describe).collect();
        rows.sort_by_key(|row| row["id"].to_string());
        rows
    }
}
