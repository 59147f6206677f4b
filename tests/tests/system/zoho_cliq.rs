//! Zoho Cliq, from the connect flow to the feed: polling, deliveries, locks and scopes.

use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

const SLUG: &str = "zoho_cliq";
/// The simulator's name of the endpoint of messages.
const MESSAGES: &str = "chats/{id}/messages";

/// A tenant with a connected account, whose history is read.
struct Connected<'a> {
    system: &'a System,
    tenant: Tenant<'a>,
    /// Login of the person.
    account: String,
    connection: Uuid,
    /// Chat id of a channel.
    channel: String,
}

impl<'a> Connected<'a> {
    async fn of(system: &'a System, name: &str) -> Self {
        let (account, person) = system.accounts_at(SLUG).await.remove(0);
        let tenant = system.tenant(name).await;
        let connection = tenant.connect_to(SLUG, &account, &person).await;
        system.drain().await;
        let chats = system.account_of(SLUG, 0).await["chats"].take();
        let mut chats = chats.as_array().expect("chats").iter();
        let channel = chats.find(|chat| chat["channel"].is_string());
        let channel = channel.expect("a channel")["id"].as_str().expect("an id");
        Self {
            system,
            tenant,
            account,
            connection,
            channel: channel.to_owned(),
        }
    }

    /// Carries out an action in the account's chats.
    async fn act(&self, action: &str, parameters: Value) -> Value {
        let mut act = json!({ "account": self.account, "action": action });
        for (name, value) in parameters.as_object().expect("parameters") {
            act[name] = value.clone();
        }
        let outcome = self.system.sim("zoho_cliq/act", act).await;
        outcome["object"].clone()
    }

    /// Posts messages to the channel and returns the id of the last one.
    async fn post(&self, parameters: Value) -> String {
        let mut post = json!({ "chat": self.channel });
        for (name, value) in parameters.as_object().expect("parameters") {
            post[name] = value.clone();
        }
        let posted = self.act("message.posted", post).await;
        posted["id"].as_str().expect("an id").to_owned()
    }

    fn url(&self) -> String {
        format!(
            "{}/webhooks/{SLUG}/{}",
            self.system.ingress, self.connection
        )
    }

    /// Creates or rotates the connection's webhook key.
    async fn webhook_key(&self, key: &Value) -> Value {
        let path = format!("/v1/connections/{}/webhook", self.connection);
        self.tenant.post(&path, key).await
    }

    /// Creates an extension that signs, and registers its key.
    async fn set_up_extension(&self) {
        let new = json!({ "account": self.account, "url": self.url(), "chats": true });
        let extension = self.system.sim("zoho/cliq/extension", new).await;
        let key = json!({ "public_key": extension["public_key"] });
        self.webhook_key(&key).await;
    }

    /// Creates a bot whose handlers send the connection's secret.
    async fn set_up_script(&self) {
        let created = self.webhook_key(&json!({})).await;
        let new = json!({
            "account": self.account, "url": created["url"], "chats": true,
            "token": created["secret"],
        });
        self.system.sim("zoho/cliq/extension", new).await;
    }

    async fn drop_deliveries(&self) {
        let drop_deliveries = json!({ "target": "delivery", "effect": "drop_silently" });
        self.system.sim("faults", drop_deliveries).await;
    }

    async fn change_settings(&self, settings: Value) {
        self.system.sim("zoho_cliq/settings", settings).await;
    }

    async fn poll(&self) {
        self.tenant.poll().await;
    }

    async fn assert_equals_ledger(&self) {
        self.tenant
            .assert_equals_ledger_after_poll(&self.account)
            .await;
    }

    /// The Signals about a message of the channel.
    async fn about(&self, message: &str) -> Vec<Value> {
        let (time, _) = message.split_once('_').expect("a time");
        let id = format!("{}:{time}", self.channel);
        let mut feed = self.tenant.feed().await;
        feed.retain(|signal| signal["subject"]["id"] == id);
        feed
    }

    async fn show(&self) -> Value {
        let path = format!("/v1/connections/{}", self.connection);
        self.tenant.get(&path).await
    }

    /// The simulator's report of a lock of messages.
    async fn lock(&self) -> Value {
        let url = format!("{}/_sim/zoho/locks", self.system.simulator.base_url());
        let response = self.system.client.get(url).send().await;
        let report: Value = response.expect("a response").json().await.expect("JSON");
        let locks = report["locks"].as_array().expect("locks").iter();
        let mut locks = locks.filter(|lock| lock["endpoint"] == MESSAGES);
        locks.next().cloned().unwrap_or_default()
    }

    /// The number of answered requests to an endpoint.
    fn requests(&self) -> u64 {
        self.system.simulator.usage(SLUG, &self.account).requests
    }
}

async fn start() -> System {
    System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 0))
        .start()
        .await
}

fn kinds(signals: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = signals
        .iter()
        .filter_map(|signal| signal["kind"].as_str())
        .collect();
    kinds.sort_unstable();
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn push_mention_and_poll_are_one_signal() {
    let system = start().await;
    let connected = Connected::of(&system, "Acme").await;
    connected.set_up_extension().await;
    let message = connected.post(json!({ "mentions": ["bot"] })).await;
    eventually("both deliveries are processed", async || {
        let processed: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM deliveries WHERE outcome = 'processed' AND provider = $1",
        )
        .bind(SLUG)
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
        processed == 2
    })
    .await;
    assert_eq!(kinds(&connected.about(&message).await), ["message_posted"]);
    connected.assert_equals_ledger().await;
    let signals = connected.about(&message).await;
    assert_eq!(kinds(&signals), ["message_posted"]);
    assert_eq!(signals[0]["payload"]["normalized"]["mentions_app"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_and_deletions_come_from_deliveries() {
    let system = start().await;
    let connected = Connected::of(&system, "Acme").await;
    connected.set_up_extension().await;
    let message = connected.post(json!({})).await;
    let this = json!({ "chat": connected.channel, "message": message });
    for _ in 0..2 {
        connected.act("message.edited", this.clone()).await;
    }
    connected.act("message.deleted", this).await;
    system.drain().await;
    let expected = [
        "message_deleted",
        "message_edited",
        "message_edited",
        "message_posted",
    ];
    assert_eq!(kinds(&connected.about(&message).await), expected);
    connected.assert_equals_ledger().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn push_and_poll_agree_on_a_thousand_messages() {
    let system = start().await;
    let connected = Connected::of(&system, "Acme").await;
    connected.set_up_extension().await;
    let generate = json!({ "count": 50, "account": connected.account });
    for _ in 0..12 {
        connected.post(json!({ "count": 40 })).await;
        system.sim("zoho_cliq/generate", generate.clone()).await;
        connected.poll().await;
    }
    connected.assert_equals_ledger().await;
    let before = connected.tenant.identities().await;
    assert!(before.len() >= 1_000, "{} Signals", before.len());
    // A full sync reads everything again and adds no Signal.
    let path = format!("/v1/connections/{}/sync", connected.connection);
    connected
        .tenant
        .post(&path, &json!({ "mode": "full" }))
        .await;
    system.drain().await;
    assert_eq!(connected.tenant.identities().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn script_with_secret_delivers_json_and_forms() {
    for is_form in [false, true] {
        let system = start().await;
        let connected = Connected::of(&system, "Acme").await;
        connected
            .change_settings(json!({ "deluge_form": is_form }))
            .await;
        connected.set_up_script().await;
        let message = connected.post(json!({ "mentions": ["bot"] })).await;
        let this = json!({ "chat": connected.channel, "message": message });
        connected.act("message.edited", this).await;
        system.drain().await;
        let expected = ["message_edited", "message_posted"];
        assert_eq!(
            kinds(&connected.about(&message).await),
            expected,
            "{is_form}"
        );
        for effect in ["wrong_signature", "no_signature", "foreign_key"] {
            let fault = json!({ "target": "delivery", "effect": effect });
            system.sim("faults", fault).await;
            connected.post(json!({})).await;
            system.quiesce().await;
            system.clear_faults().await;
        }
        system.assert_forged_deliveries_rejected().await;
        connected.assert_equals_ledger().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_signatures_change_nothing() {
    let system = start().await;
    let connected = Connected::of(&system, "Acme").await;
    connected.set_up_extension().await;
    for effect in [
        "wrong_signature",
        "no_signature",
        "old_signature",
        "foreign_key",
        "reserialized",
    ] {
        let fault = json!({ "target": "delivery", "effect": effect });
        system.sim("faults", fault).await;
        connected.post(json!({})).await;
        system.quiesce().await;
        system.clear_faults().await;
    }
    system.assert_forged_deliveries_rejected().await;
    assert_eq!(connected.tenant.count_signals().await, 0);
    // The key is genuine, so the delivery is kept, and gives nothing.
    let fault = json!({ "target": "delivery", "effect": "other_organization" });
    system.sim("faults", fault).await;
    connected.post(json!({})).await;
    system.drain().await;
    system.clear_faults().await;
    assert_eq!(connected.tenant.count_signals().await, 0);
    let wrong_key = system.client.post(connected.url()).body("{}");
    let response = wrong_key.header("x-connector-token", "a token").send();
    assert_eq!(response.await.expect("a response").status().as_u16(), 401);
    connected.assert_equals_ledger().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn millisecond_across_two_pages_loses_nothing() {
    for newest_first in [false, true] {
        for before in [97, 98, 99] {
            let system = start().await;
            let connected = Connected::of(&system, "Acme").await;
            let settings =
                json!({ "newest_of_window": newest_first, "content_as_text": newest_first });
            connected.change_settings(settings).await;
            connected.post(json!({ "count": before })).await;
            connected
                .post(json!({ "count": 3, "same_time": true }))
                .await;
            connected.post(json!({ "count": 98 })).await;
            // Each message is a millisecond later than the one before, so the last are ahead.
            connected.poll().await;
            connected.assert_equals_ledger().await;
            let found = connected.tenant.count_signals().await;
            assert_eq!(found, before + 3 + 98, "{newest_first}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_endpoint_is_not_called_while_others_are() {
    let system = start().await;
    let connected = Connected::of(&system, "Acme").await;
    connected.set_up_extension().await;
    connected.drop_deliveries().await;
    let throttle = |per_minute: u32| json!({ "throttles": { MESSAGES: { "per_minute": per_minute, "lock_seconds": 300 } } });
    connected.change_settings(throttle(1)).await;
    connected.post(json!({})).await;
    connected.poll().await;
    system.drain().await;
    connected.post(json!({})).await;
    let before = connected.requests();
    connected.poll().await;
    eventually("the run waits for the lock to end", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM jobs WHERE kind = 'sync_connection' \
             AND last_error->>'code' = 'rate_limited' AND run_at > now() + interval '5 minutes'",
        )
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
        waiting == 1
    })
    .await;
    let lock = connected.lock().await;
    assert_eq!(
        (&lock["locks"], &lock["calls_in_lock"]),
        (&json!(1), &json!(0)),
        "{lock}"
    );
    assert_eq!(lock["locked"], true, "{lock}");
    let others = connected.requests() - before;
    assert!(others > 2, "{others} requests of the lists");

    // Deliveries are processed meanwhile.
    system.clear_faults().await;
    let pushed = connected.post(json!({})).await;
    eventually("the delivery gives its Signal", async || {
        connected.about(&pushed).await.len() == 1
    })
    .await;
    let blocked: Vec<(String, bool)> = sqlx::query_as(
        "SELECT account_id, blocked_until > now() FROM rate_budgets \
         WHERE provider = $1 AND blocked_until IS NOT NULL",
    )
    .bind(SLUG)
    .fetch_all(system.db.pool())
    .await
    .expect("the query result");
    assert_eq!(blocked.len(), 1, "{blocked:?}");
    assert!(blocked[0].0.ends_with(" list_messages"), "{blocked:?}");
    let lock = connected.lock().await;
    assert_eq!(lock["calls_in_lock"], 0, "{lock}");

    // The lock ends.
    connected.change_settings(json!({ "throttles": {} })).await;
    for statement in [
        "UPDATE rate_budgets SET blocked_until = NULL",
        "UPDATE jobs SET run_at = now() WHERE state = 'queued'",
    ] {
        let ended = sqlx::query(statement).execute(system.db.pool()).await;
        ended.expect("the query result");
    }
    connected.assert_equals_ledger().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scope_refused_at_use_degrades_the_connection() {
    let system = start().await;
    let refused = |scopes: Value| json!({ "refused_scopes": scopes });
    let scopes = refused(json!(["ZohoCliq.Messages.READ"]));
    system.sim("zoho/settings", scopes).await;
    let connected = Connected::of(&system, "Acme").await;
    connected.set_up_extension().await;
    let shown = connected.show().await;
    assert_eq!(shown["status"], "active", "{shown:#}");
    assert_eq!(shown["last_error"]["code"], "permission", "{shown:#}");
    let message = shown["last_error"]["message"].as_str().expect("a text");
    assert!(message.contains("ZohoCliq.Messages.READ"), "{message}");
    assert_eq!(shown["complete_through"], Value::Null);
    // Created channels are found, and deliveries give their Signals.
    connected.act("channel.created", json!({})).await;
    let pushed = connected.post(json!({})).await;
    connected.poll().await;
    system.drain().await;
    let found = connected.tenant.identities().await;
    assert!(found.iter().any(|(kind, _)| kind == "channel_created"));
    assert_eq!(connected.about(&pushed).await.len(), 1);
    let before = connected.requests();
    connected.poll().await;
    system.drain().await;
    let polled = connected.requests() - before;
    assert!(
        (1..=4).contains(&polled),
        "{polled} requests of the lists only"
    );

    // With a new grant that Cliq accepts, everything is read.
    system.sim("zoho/settings", refused(json!([]))).await;
    let (account, person) = system.accounts_at(SLUG).await.remove(0);
    connected.tenant.connect_to(SLUG, &account, &person).await;
    connected.assert_equals_ledger().await;
    assert_eq!(connected.show().await["last_error"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_account_is_polled_by_its_lists_only() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 30))
        .start()
        .await;
    let connected = Connected::of(&system, "Acme").await;
    connected.assert_equals_ledger().await;
    let chats = system.account_of(SLUG, 0).await["chats"].take();
    let chats = chats.as_array().expect("chats").iter();
    let channels = chats.filter(|chat| chat["channel"].is_string()).count();
    // Everything was read to more than two minutes after the last message.
    let quiet = "UPDATE cursors SET cursor = jsonb_set(cursor::jsonb, '{read_to}', \
                 to_jsonb((cursor->>'read_to')::bigint + 600000))::json \
                 WHERE stream LIKE 'chat:%' OR stream LIKE 'threads:%'";
    let changed = sqlx::query(quiet).execute(system.db.pool()).await;
    changed.expect("the query result");
    let before = connected.requests();
    connected.poll().await;
    system.drain().await;
    let polled = connected.requests() - before;
    let lists = 2 + u64::try_from(channels).expect("a number");
    assert!(polled <= lists, "{polled} requests instead of {lists}");
}
