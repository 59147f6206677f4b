//! Google Calendar, from the connect flow to the feed.

mod channels;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};

const SLUG: &str = "google_calendar";

/// A tenant with a connected account, whose history is read.
struct Connected<'a> {
    system: &'a System,
    tenant: Tenant<'a>,
    /// Login of the person.
    account: String,
    /// Address of the person, which is the id of the primary calendar.
    address: String,
}

impl<'a> Connected<'a> {
    async fn of(system: &'a System, name: &str) -> Self {
        let (account, address) = system.accounts_at(SLUG).await.remove(0);
        let tenant = system.tenant(name).await;
        tenant.connect_to(SLUG, &account, &address).await;
        system.drain().await;
        Self {
            system,
            tenant,
            account,
            address,
        }
    }

    /// Carries out an action in the primary calendar; returns the event.
    async fn act(&self, action: &str, parameters: Value) -> Value {
        let mut act = json!({ "account": self.account, "action": action });
        for (name, value) in parameters.as_object().expect("parameters") {
            act[name] = value.clone();
        }
        let outcome = self.system.sim("google_calendar/act", act).await;
        outcome["object"].clone()
    }

    /// Creates a series in the primary calendar, with a title of its own for some instances.
    async fn create_series(&self, exceptions: u32) -> String {
        let new = json!({ "calendar": "primary", "rule": "daily", "text": "Stand-up" });
        let id = id_of(&self.act("event.created", new).await);
        for occurrence in 1..=exceptions {
            self.act(
                "event.edited",
                json!({ "event": id, "scope": "this", "occurrence": occurrence }),
            )
            .await;
        }
        id
    }

    async fn poll(&self) {
        let body = json!({ "mode": "incremental" });
        self.tenant.post(&format!("/v1/sync/{SLUG}"), &body).await;
        self.system.drain().await;
    }

    /// The Signals about an event, its instances and parts, as (kind, subject id).
    async fn signals_about(&self, event: &str) -> Vec<(String, String)> {
        let feed = self.tenant.feed().await;
        let about = feed.iter().filter(|signal| {
            let id = signal["subject"]["id"].as_str();
            id.is_some_and(|id| id.starts_with(event))
        });
        about
            .map(|signal| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                (text(&signal["kind"]), text(&signal["subject"]["id"]))
            })
            .collect()
    }

    /// The numbers of Signals about an event by kind.
    async fn kinds_about(&self, event: &str) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for (kind, _) in self.signals_about(event).await {
            *kinds.entry(kind).or_default() += 1;
        }
        kinds
    }

    async fn change_settings(&self, settings: Value) {
        self.system.sim("google_calendar/settings", settings).await;
    }

    async fn expire_cursors(&self, after_pages: u32) {
        let body = json!({ "expire": self.account, "after_pages": after_pages });
        self.system.sim("google_calendar/cursors", body).await;
    }

    async fn assert_equals_ledger(&self) {
        self.tenant
            .assert_equals_ledger_after_poll(&self.account)
            .await;
    }
}

fn id_of(event: &Value) -> String {
    event["id"].as_str().expect("an event").to_owned()
}

async fn start() -> System {
    System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 0))
        .start()
        .await
}

/// Passes the time within which a change belongs to a creation.
async fn pass_creation_time(system: &System) {
    system.sim("clock", json!({ "advance_seconds": 60 })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edited_series_gives_one_signal() {
    let system = start().await;
    let connected = Connected::of(&system, "Acme").await;
    let series = connected.create_series(0).await;
    pass_creation_time(&system).await;
    for occurrence in 1..=3 {
        let edit = json!({ "event": series, "scope": "this", "occurrence": occurrence });
        connected.act("event.edited", edit).await;
    }
    connected.poll().await;
    let before = connected.kinds_about(&series).await;
    let edit = json!({ "event": series, "scope": "all", "text": "Daily" });
    connected.act("event.edited", edit).await;
    connected.poll().await;
    let after = connected.kinds_about(&series).await;
    assert_eq!(after["event_updated"], before["event_updated"] + 1);
    assert_eq!(after["event_created"], 1);
    connected.assert_equals_ledger().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn split_series_gives_no_creation() {
    let system = start().await;
    let connected = Connected::of(&system, "Acme").await;
    let series = connected.create_series(0).await;
    pass_creation_time(&system).await;
    let edit = json!({ "event": series, "scope": "following", "occurrence": 3 });
    connected.act("event.edited", edit).await;
    connected.poll().await;
    let kinds = connected.kinds_about(&series).await;
    let expected = [("event_created", 1), ("event_updated", 1)];
    assert_eq!(
        kinds,
        expected
            .map(|(kind, count)| (kind.to_owned(), count))
            .into()
    );
    connected.assert_equals_ledger().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_instance_gives_two_signals_on_two_pages() {
    for page_size in [2_500, 1] {
        let system = start().await;
        let connected = Connected::of(&system, "Acme").await;
        connected
            .change_settings(json!({ "max_page_size": page_size }))
            .await;
        let series = connected.create_series(0).await;
        pass_creation_time(&system).await;
        connected.poll().await;
        let cancel = json!({ "event": series, "scope": "this", "occurrence": 2 });
        connected.act("event.cancelled", cancel).await;
        connected.poll().await;
        let kinds = connected.kinds_about(&series).await;
        let expected = [
            ("event_cancelled", 1),
            ("event_created", 1),
            ("event_updated", 1),
        ];
        let expected = expected.map(|(kind, count)| (kind.to_owned(), count));
        assert_eq!(kinds, expected.into(), "pages of {page_size}");
        connected.assert_equals_ledger().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_before_resync_is_reported() {
    for after_pages in [0, 1] {
        let system = start().await;
        let connected = Connected::of(&system, "Acme").await;
        connected
            .change_settings(json!({ "max_page_size": 1 }))
            .await;
        let new = json!({ "calendar": "primary" });
        let events = [
            id_of(&connected.act("event.created", new.clone()).await),
            id_of(&connected.act("event.created", new).await),
        ];
        connected.poll().await;
        let drop_deliveries = json!({ "target": "delivery", "effect": "drop_silently" });
        system.sim("faults", drop_deliveries).await;
        connected.expire_cursors(after_pages).await;
        for event in &events {
            connected
                .act("event.cancelled", json!({ "event": event }))
                .await;
        }
        connected.poll().await;
        for event in &events {
            assert_eq!(connected.kinds_about(event).await["event_cancelled"], 1);
        }
        connected.assert_equals_ledger().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn push_reads_its_calendar_without_poll() {
    let system = start().await;
    let connected = Connected::of(&system, "Acme").await;
    let event = id_of(
        &connected
            .act("event.created", json!({ "calendar": "primary" }))
            .await,
    );
    eventually("the push is followed by a read", async || {
        !connected.signals_about(&event).await.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_title_is_withheld() {
    let system = start().await;
    let connected = Connected::of(&system, "Acme").await;
    let private = json!({ "calendar": "primary", "private": true, "text": "Doctor" });
    let event = id_of(&connected.act("event.created", private).await);
    connected.poll().await;
    let feed = connected
        .tenant
        .get("/v1/signals?include=raw&limit=100")
        .await;
    let about: Vec<&Value> = feed["signals"]
        .as_array()
        .expect("Signals")
        .iter()
        .filter(|signal| signal["subject"]["id"] == event.as_str())
        .collect();
    assert_eq!(about.len(), 1, "{feed:#}");
    assert!(about[0]["subject"]["title"].is_null());
    assert_eq!(about[0]["payload"]["normalized"]["private"], true);
    assert!(!about[0].to_string().contains("Doctor"));
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_of_meeting_have_one_signal_each() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.people, sim.history) = (1, 3, 0))
        .start()
        .await;
    let connected = Connected::of(&system, "Acme").await;
    let organization = system.account_of(SLUG, 0).await;
    let guest = organization["people"]
        .as_array()
        .expect("people")
        .iter()
        .find(|person| person["address"] != connected.address.as_str())
        .expect("a colleague")
        .clone();
    let text = |name: &str| guest[name].as_str().expect("a text").to_owned();
    let (login, address) = (text("login"), text("address"));
    connected.tenant.connect_to(SLUG, &login, &address).await;
    system.drain().await;
    let meeting = json!({ "calendar": "primary", "guests": [address] });
    let event = id_of(&connected.act("event.created", meeting).await);
    connected.poll().await;
    let feed = connected.tenant.feed().await;
    let created: Vec<&Value> = feed
        .iter()
        .filter(|signal| {
            signal["kind"] == "event_created" && signal["subject"]["id"] == event.as_str()
        })
        .collect();
    assert_eq!(created.len(), 2, "{created:#?}");
    let ical_uid = |signal: &Value| signal["payload"]["normalized"]["ical_uid"].clone();
    assert_eq!(ical_uid(created[0]), ical_uid(created[1]));
    assert_ne!(created[0]["context"]["id"], created[1]["context"]["id"]);
}
