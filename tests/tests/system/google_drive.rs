//! Google Drive, from the connect flow to the feed.

mod grant;
mod kill;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

const SLUG: &str = "google_drive";

/// A tenant with the first account.
struct Acme<'a> {
    system: &'a System,
    tenant: Tenant<'a>,
    account: String,
    connection: Uuid,
}

async fn start() -> System {
    let system = System::with_fast_provider().start().await;
    system.simulator.shorten_retry_delays();
    system
}

impl<'a> Acme<'a> {
    /// Connects the account and waits for its first sync and channels.
    async fn connect(system: &'a System) -> Self {
        let (account, admin) = system.accounts_at(SLUG).await.remove(0);
        let tenant = system.tenant("Acme").await;
        let connection = tenant.connect_to(SLUG, &account, &admin).await;
        let acme = Self {
            system,
            tenant,
            account,
            connection,
        };
        acme.wait_for_channels(2).await;
        system.drain().await;
        acme
    }

    async fn wait_for_channels(&self, expected: i64) {
        eventually("the channels exist", async || {
            let held = "SELECT count(*) FROM subscriptions \
                        WHERE connection_id = $1 AND desired AND external_id IS NOT NULL";
            self.count(held).await == expected
        })
        .await;
    }

    async fn count(&self, statement: &'static str) -> i64 {
        let count = sqlx::query_scalar(statement).bind(self.connection);
        let count = count.fetch_one(self.system.db.pool()).await;
        count.expect("the query result")
    }

    /// Performs an action; returns its object's id.
    async fn act(&self, action: &str, parameters: Value) -> String {
        let mut body = json!({ "account": self.account, "action": action });
        for (name, value) in parameters.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let done = self.system.sim(&format!("{SLUG}/act"), body).await;
        let id = done["object"]["id"].as_str();
        id.unwrap_or_default().to_owned()
    }

    /// Performs an action on a file.
    async fn act_on(&self, action: &str, file: &str) {
        self.act(action, json!({ "file": file })).await;
    }

    /// Waits for all pushes, polls once, and compares the feed with the ledger.
    async fn settle(&self) {
        let (tenant, account) = (&self.tenant, &self.account);
        tenant.assert_equals_ledger_after_poll(account).await;
    }

    /// The kinds and keys of a file's Signals, without the file's part of the key.
    async fn facts(&self, file: &str) -> Vec<(String, String)> {
        let prefix = format!("{SLUG}:file:{file}:");
        let identities = self.tenant.identities().await;
        let of_file = identities.into_iter();
        of_file
            .filter_map(|(kind, key)| Some((kind, key.strip_prefix(&prefix)?.to_owned())))
            .collect()
    }

    async fn count_kind(&self, file: &str, kind: &str) -> usize {
        let facts = self.facts(file).await;
        facts.iter().filter(|(found, _)| found == kind).count()
    }

    async fn drop_pushes(&self) {
        let fault = json!({ "target": "delivery", "effect": "drop_silently" });
        self.system.sim("faults", fault).await;
    }

    async fn show(&self) -> Value {
        let path = format!("/v1/connections/{}", self.connection);
        self.tenant.get(&path).await
    }

    /// The shared drive of the account.
    async fn drive(&self) -> String {
        let account = self.system.account_of(SLUG, 0).await;
        let id = account["drives"][0]["id"].as_str();
        id.expect("a shared drive").to_owned()
    }

    /// The ids of the channels that send pushes.
    async fn live_channels(&self) -> BTreeSet<String> {
        let base = self.system.simulator.base_url();
        let url = format!("{base}/_sim/{SLUG}/channels");
        let response = self.system.client.get(url).send().await;
        let list: Value = response.expect("a response").json().await.expect("JSON");
        let channels = list["channels"].as_array().expect("a list").iter();
        channels
            .filter(|channel| channel["live"] == true)
            .map(|channel| channel["id"].as_str().expect("an id").to_owned())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn push_reports_new_file_without_poll() {
    let system = start().await;
    let acme = Acme::connect(&system).await;
    let file = acme.act("file.created", json!({})).await;
    eventually("the push has reported the file", async || {
        acme.count_kind(&file, "file_created").await == 1
    })
    .await;
    system.drain().await;
    let bytes = "SELECT coalesce(sum(octet_length(body)), 0)::bigint FROM deliveries \
                 WHERE connection_id = $1";
    assert_eq!(acme.count(bytes).await, 0, "no body is kept");
    let tokens = "SELECT count(*) FROM deliveries WHERE connection_id = $1 \
                  AND headers::text LIKE '%x-goog-channel-token%'";
    assert_eq!(acme.count(tokens).await, 0, "the token is a secret");
    assert_eq!(acme.show().await["missed_count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_sync_adds_no_signal() {
    let system = start().await;
    let acme = Acme::connect(&system).await;
    let generate = json!({ "count": 60, "account": acme.account });
    system.sim(&format!("{SLUG}/generate"), generate).await;
    acme.settle().await;
    let before = acme.tenant.identities().await;
    let path = format!("/v1/connections/{}/sync", acme.connection);
    acme.tenant.post(&path, &json!({ "mode": "full" })).await;
    system.drain().await;
    assert_eq!(acme.tenant.identities().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn poll_finds_facts_of_lost_pushes() {
    let system = start().await;
    let acme = Acme::connect(&system).await;
    acme.drop_pushes().await;
    let file = acme.act("file.created", json!({})).await;
    for _ in 0..10 {
        acme.act_on("file.edited", &file).await;
    }
    let gone = acme.act("file.created", json!({})).await;
    acme.act_on("file.deleted", &gone).await;
    acme.settle().await;
    assert_eq!(acme.count_kind(&file, "file_created").await, 1);
    assert_eq!(acme.count_kind(&gone, "file_removed").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploaders_times_lose_no_change() {
    let system = start().await;
    let acme = Acme::connect(&system).await;
    let future = json!({ "modified_time": "2030-01-01T00:00:00.000Z" });
    let file = acme.act("file.created", future).await;
    let past = json!({ "created_time": "2015-06-01T08:00:00.000Z" });
    let old = acme.act("file.created", past).await;
    let next = acme.act("file.created", json!({})).await;
    acme.tenant.poll().await;
    system.drain().await;
    // The simulator does not know the floor.
    let (missing, extra) = acme.tenant.difference(&[&acme.account]).await;
    let before_floor = format!("{SLUG}:file:{old}:created");
    assert_eq!(missing, [("file_created".to_owned(), before_floor)].into());
    assert!(extra.is_empty(), "{extra:?}");
    assert_eq!(acme.count_kind(&file, "file_updated").await, 1);
    assert_eq!(
        acme.count_kind(&old, "file_created").await,
        0,
        "before the floor"
    );
    assert_eq!(acme.count_kind(&old, "file_updated").await, 1);
    assert_eq!(acme.count_kind(&next, "file_created").await, 1);
    let feed = acme.tenant.feed().await;
    let now = SystemClock.now().to_rfc3339();
    let is_future = |signal: &&Value| signal["timestamp"].as_str().expect("a time") > now.as_str();
    assert_eq!(feed.iter().find(is_future), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn trash_is_reported_once_except_in_shared_drives() {
    let system = start().await;
    let acme = Acme::connect(&system).await;
    let drive = acme.drive().await;
    for (to, expected) in [("root", 1), (drive.as_str(), 2)] {
        let file = acme.act("file.created", json!({ "to": to })).await;
        for action in ["file.trashed", "file.untrashed", "file.trashed"] {
            acme.act_on(action, &file).await;
            acme.settle().await;
        }
        assert_eq!(
            acme.count_kind(&file, "file_trashed").await,
            expected,
            "{to}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trashed_folder_is_one_fact() {
    let system = start().await;
    let acme = Acme::connect(&system).await;
    let folder = acme.act("file.created", json!({ "folder": true })).await;
    let mut files = Vec::new();
    for _ in 0..10 {
        files.push(acme.act("file.created", json!({ "to": folder })).await);
    }
    acme.act_on("file.trashed", &folder).await;
    acme.settle().await;
    assert_eq!(acme.count_kind(&folder, "file_trashed").await, 1);
    for file in files {
        assert_eq!(acme.count_kind(&file, "file_trashed").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_connections_report_a_file_once() {
    let system = start().await;
    let acme = Acme::connect(&system).await;
    let account = system.account_of(SLUG, 0).await;
    let people = account["people"].as_array().expect("people");
    let logins = people.iter().filter_map(|person| person["login"].as_str());
    let colleague = logins.into_iter().find(|login| *login != acme.account);
    let colleague = colleague.expect("a colleague");
    acme.tenant.connect_to(SLUG, colleague, colleague).await;
    system.drain().await;
    let file = acme
        .act("file.created", json!({ "to": acme.drive().await }))
        .await;
    system.drain().await;
    acme.tenant.poll().await;
    system.drain().await;
    assert_eq!(acme.count_kind(&file, "file_created").await, 1);
    let read_by_both = "SELECT count(DISTINCT connection_id) FROM cursors \
                        WHERE stream = 'files' AND $1::uuid IS NOT NULL AND cursor IS NOT NULL";
    assert_eq!(acme.count(read_by_both).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_tokens_cause_bounded_resync() {
    let system = start().await;
    let acme = Acme::connect(&system).await;
    for status in [400, 404, 410] {
        for owner in [acme.account.clone(), acme.drive().await] {
            let expire = json!({ "expire": owner, "status": status });
            system.sim(&format!("{SLUG}/cursors"), expire).await;
        }
        let file = acme.act("file.created", json!({})).await;
        acme.settle().await;
        assert_eq!(acme.count_kind(&file, "file_created").await, 1, "{status}");
        assert_eq!(acme.show().await["last_error"], Value::Null, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_leaves_one_channel_per_stream() {
    let system = start().await;
    let acme = Acme::connect(&system).await;
    let settings = json!({ "sync_before_answer": true, "late_message": true });
    system.sim("google/settings", settings).await;
    let mut before = acme.live_channels().await;
    assert_eq!(before.len(), 2);
    for _ in 0..3 {
        for statement in [
            "UPDATE subscriptions SET renewed_at = now() - interval '6 days', \
                 expires_at = now() + interval '1 day' WHERE connection_id = $1",
            "UPDATE connections SET connected_at = now() - interval '8 days' WHERE id = $1",
            "UPDATE connection_routes SET subscriptions_at = now() WHERE connection_id = $1",
        ] {
            let update = sqlx::query(statement).bind(acme.connection);
            update.execute(system.db.pool()).await.expect("an update");
        }
        eventually("two other channels", async || {
            let now = acme.live_channels().await;
            now.len() == 2 && now.is_disjoint(&before)
        })
        .await;
        system.drain().await;
        before = acme.live_channels().await;
    }
    let rows = "SELECT count(*) FROM subscriptions WHERE connection_id = $1";
    assert_eq!(acme.count(rows).await, 2);
    let file = acme.act("file.created", json!({})).await;
    eventually("the new channel has pushed", async || {
        acme.count_kind(&file, "file_created").await == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn left_drive_is_retired_with_its_channel() {
    let system = start().await;
    let acme = Acme::connect(&system).await;
    let drive = acme.drive().await;
    acme.act("drive.left", json!({ "to": drive })).await;
    system.drain().await;
    acme.tenant.poll().await;
    acme.wait_for_channels(1).await;
    system.drain().await;
    let streams = "SELECT count(*) FROM cursors WHERE connection_id = $1 \
                   AND stream LIKE 'drive:%' AND retired_at IS NULL";
    assert_eq!(acme.count(streams).await, 0);
    let shown = acme.show().await;
    assert_eq!(shown["status"], "active");
    assert_eq!(shown["held_back_by"], Value::Null, "{shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_without_their_token_are_rejected() {
    let system = start().await;
    let acme = Acme::connect(&system).await;
    let before = acme
        .count("SELECT count(*) FROM deliveries WHERE $1::uuid IS NOT NULL")
        .await;
    let url = format!("{}/webhooks/{SLUG}", system.ingress);
    let channel = acme.live_channels().await.pop_first().expect("a channel");
    for token in [None, Some("AAAA"), Some("")] {
        let mut post = system.client.post(&url);
        for (name, value) in [
            ("x-goog-channel-id", channel.as_str()),
            ("x-goog-resource-id", "any"),
            ("x-goog-resource-state", "change"),
            ("x-goog-message-number", "9999"),
        ] {
            post = post.header(name, value);
        }
        if let Some(token) = token {
            post = post.header("x-goog-channel-token", token);
        }
        let response = post.send().await.expect("a response");
        assert_eq!(response.status().as_u16(), 401, "{token:?}");
    }
    let after = acme
        .count("SELECT count(*) FROM deliveries WHERE $1::uuid IS NOT NULL")
        .await;
    assert_eq!(after, before);
}
