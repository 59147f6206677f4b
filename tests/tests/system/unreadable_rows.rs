//! Unusual JSON is read, and an unreadable row affects no other row, at every provider.

use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

/// A provider, and the action that these tests perform there.
struct Provider {
    slug: &'static str,
    action: &'static str,
    /// Name of the action's text field.
    text: &'static str,
    kind: &'static str,
    stream_type: &'static str,
}

const PROVIDERS: [Provider; 3] = [
    Provider {
        slug: "github",
        action: "issues.opened",
        text: "title",
        kind: "issue_created",
        stream_type: "issues",
    },
    Provider {
        slug: "slack",
        action: "message.posted",
        text: "text",
        kind: "message_posted",
        stream_type: "messages",
    },
    Provider {
        slug: "jira",
        action: "issue.created",
        text: "text",
        kind: "issue_created",
        stream_type: "issues",
    },
];

async fn connect_account<'s>(
    system: &'s System,
    provider: &Provider,
) -> (String, Tenant<'s>, Uuid) {
    let (account, admin) = system.accounts_at(provider.slug).await.remove(0);
    let tenant = system.tenant(provider.slug).await;
    let connection = tenant.connect_to(provider.slug, &account, &admin).await;
    eventually("the subscriptions exist", async || {
        let missing: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM connections c LEFT JOIN subscriptions s ON s.connection_id = c.id \
             WHERE c.id = $1 AND c.provider = 'jira' AND s.external_id IS NULL",
        )
        .bind(connection)
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
        missing == 0
    })
    .await;
    system.drain().await;
    (account, tenant, connection)
}

async fn act(system: &System, provider: &Provider, account: &str, text: &str) {
    let mut act = json!({ "account": account, "action": provider.action });
    act[provider.text] = json!(text);
    system.sim(&format!("{}/act", provider.slug), act).await;
}

async fn clear_faults(system: &System) {
    let url = format!("{}/_sim/faults", system.simulator.base_url());
    let response = system.client.delete(url).send().await;
    assert!(
        response
            .expect("a simulator response")
            .status()
            .is_success()
    );
}

async fn find_by_title(tenant: &Tenant<'_>, title: &str) -> Option<Value> {
    let feed = tenant.feed().await;
    feed.into_iter()
        .find(|signal| signal["subject"]["title"].as_str() == Some(title))
}

#[tokio::test(flavor = "multi_thread")]
async fn lone_surrogate_is_read_from_any_source() {
    let system = System::with_fast_provider().start().await;
    for provider in &PROVIDERS {
        let (account, tenant, _) = connect_account(&system, provider).await;
        for target in ["delivery", "request"] {
            let cut = json!({
                "target": target, "effect": "replace", "find": "HALF", "put": "\\ud83d",
            });
            system.sim("faults", cut).await;
        }
        act(&system, provider, &account, "pushed HALF").await;
        tenant.assert_equals_ledger(&account).await;
        let signal = find_by_title(&tenant, "pushed \u{fffd}")
            .await
            .expect(provider.slug);
        let path = format!(
            "{}/v1/signals/{}?include=raw",
            system.api,
            signal["id"].as_str().expect("an id")
        );
        let response = system
            .client
            .get(path)
            .bearer_auth(&tenant.key)
            .send()
            .await;
        let text = response.expect("a response").text().await.expect("a body");
        assert!(text.contains(r"pushed \ud83d"), "raw is unchanged: {text}");

        let lost = json!({ "target": "delivery", "effect": "drop_silently" });
        clear_faults(&system).await;
        system.sim("faults", lost).await;
        let cut = json!({
            "target": "request", "effect": "replace", "find": "HALF", "put": "\\udc00",
        });
        system.sim("faults", cut).await;
        act(&system, provider, &account, "polled HALF").await;
        act(&system, provider, &account, "after it").await;
        tenant.assert_equals_ledger_after_poll(&account).await;
        assert!(
            find_by_title(&tenant, "polled \u{fffd}").await.is_some(),
            "{}",
            provider.slug
        );
        assert!(
            find_by_title(&tenant, "after it").await.is_some(),
            "{}",
            provider.slug
        );
        clear_faults(&system).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_row_stops_no_stream() {
    let system = System::with_fast_provider().start().await;
    for provider in &PROVIDERS {
        let (account, tenant, connection) = connect_account(&system, provider).await;
        let lost = json!({ "target": "delivery", "effect": "drop_silently" });
        system.sim("faults", lost).await;
        act(&system, provider, &account, "before it").await;
        act(&system, provider, &account, "POISON").await;
        act(&system, provider, &account, "after it").await;
        // The row with this name has no readable id.
        let poison = json!({
            "target": "request", "effect": "poison_row", "find": "POISON",
        });
        system.sim("faults", poison).await;
        tenant.poll().await;
        system.drain().await;
        tenant.poll_and_reconcile().await;
        system.drain().await;
        let (missing, extra) = tenant.difference(&[&account]).await;
        assert_eq!(missing.len(), 1, "{}: {missing:?}", provider.slug);
        assert_eq!(missing.first().expect("a missing fact").0, provider.kind);
        assert!(extra.is_empty(), "{extra:?}");

        let path = format!("/v1/webhook-deliveries?outcome=failed&connection_id={connection}");
        let kept = tenant.get(&path).await["deliveries"].clone();
        assert_eq!(
            kept.as_array().expect("a list").len(),
            1,
            "{}: {kept}",
            provider.slug
        );
        assert_eq!(kept[0]["source"], "poll");
        assert_eq!(kept[0]["result"], "not_applicable");
        assert_eq!(kept[0]["event"], format!("poll.{}", provider.stream_type));
        assert!(kept[0]["outcome_detail"].is_string(), "{kept}");
        let replay = format!(
            "/v1/webhook-deliveries/{}/replay",
            kept[0]["id"].as_str().expect("an id")
        );
        let rejected = tenant.request(reqwest::Method::POST, &replay, None).await;
        assert_eq!(rejected.status().as_u16(), 409);
        let shown = tenant.get(&format!("/v1/connections/{connection}")).await;
        assert_eq!(
            (&shown["status"], &shown["last_error"]),
            (&json!("active"), &Value::Null)
        );
        let label = format!("provider=\"{}\"", provider.slug);
        let counted = system
            .metric(&system.api, "poblysh_rows_unreadable_total", &label)
            .await;
        assert!(
            (counted - 1.0).abs() < f64::EPSILON,
            "{}: {counted}",
            provider.slug
        );

        clear_faults(&system).await;
        tenant
            .post(
                &format!("/v1/connections/{connection}/sync"),
                &json!({ "mode": "full" }),
            )
            .await;
        tenant.assert_equals_ledger(&account).await;
    }
}

/// Lists of streams, each with a field name that all of its rows have.
const ROOT_LISTS: [(&str, &str, &str); 3] = [
    ("github", "/installation/repositories", "\"full_name\""),
    ("slack", "users.conversations", "\"name\""),
    ("jira", "/rest/api/3/project/search", "\"key\""),
];

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_rows_of_root_lists_retire_no_stream() {
    let system = System::with_fast_provider().start().await;
    let count_active_streams = async |connection: Uuid| -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM cursors WHERE connection_id = $1 AND retired_at IS NULL",
        )
        .bind(connection)
        .fetch_one(system.db.pool())
        .await
        .expect("the query result")
    };
    for provider in &PROVIDERS {
        let (account, tenant, connection) = connect_account(&system, provider).await;
        let before = count_active_streams(connection).await;
        let list = ROOT_LISTS.iter().find(|(slug, ..)| *slug == provider.slug);
        let (_, pattern, word) = list.expect("a list");
        let odd = json!({
            "target": "request", "pattern": pattern, "effect": "poison_row", "find": word,
        });
        system.sim("faults", odd).await;
        tenant.poll().await;
        system.drain().await;
        let path = format!("/v1/webhook-deliveries?outcome=failed&connection_id={connection}");
        let kept = tenant.get(&path).await["deliveries"].clone();
        assert_ne!(kept, json!([]), "{}: rows are kept", provider.slug);
        assert_eq!(
            count_active_streams(connection).await,
            before,
            "{}",
            provider.slug
        );
        act(&system, provider, &account, "after the fault").await;
        tenant.assert_equals_ledger(&account).await;
        clear_faults(&system).await;
    }
}
