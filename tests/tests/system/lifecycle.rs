//! What happens to a grant: suspended, removed, installed again, approved later.

use reqwest::Method;
use serde_json::json;
use sqlx::Row;
use tests::harness::{System, eventually};

async fn act(system: &System, account: &str, action: &str) {
    system
        .sim(
            "github/act",
            json!({ "account": account, "action": action }),
        )
        .await;
}

async fn status(system: &System, connection: uuid::Uuid) -> String {
    sqlx::query("SELECT status::text FROM connections WHERE id = $1")
        .bind(connection)
        .fetch_one(system.db.pool())
        .await
        .expect("the connection")
        .get("status")
}

async fn becomes(system: &System, connection: uuid::Uuid, expected: &str) {
    eventually(expected, async || {
        status(system, connection).await == expected
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_installation_pauses_and_goes_on_without_a_gap() {
    let system = System::builder().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(&account, &admin).await;
    system.drain().await;
    act(&system, &account, "installation.suspend").await;
    becomes(&system, connection, "suspended").await;
    system
        .sim(
            "github/generate",
            json!({ "count": 40, "account": account }),
        )
        .await;
    act(&system, &account, "installation.unsuspend").await;
    becomes(&system, connection, "active").await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_installation_ends_the_connection_and_its_tokens() {
    let system = System::builder().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(&account, &admin).await;
    system.drain().await;
    act(&system, &account, "installation.deleted").await;
    becomes(&system, connection, "disconnected").await;
    let tokens: i64 = sqlx::query_scalar("SELECT count(*) FROM credentials")
        .fetch_one(system.db.pool())
        .await
        .expect("Postgres answers");
    assert_eq!(tokens, 0);
    // Installed again under a new id, it is the same connection once somebody proves it is theirs.
    system
        .sim(
            "github/act",
            json!({ "account": account, "action": "installation.created" }),
        )
        .await;
    system
        .sim(
            "github/generate",
            json!({ "count": 30, "account": account }),
        )
        .await;
    system.drain().await;
    assert_eq!(status(&system, connection).await, "disconnected");
    assert_eq!(tenant.connect(&account, &admin).await, connection);
    tenant.assert_equals_ledger_after_a_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_without_a_connection_wait_for_it() {
    let system = System::builder().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    act(&system, &account, "installation.created").await;
    system
        .sim(
            "github/generate",
            json!({ "count": 60, "account": account }),
        )
        .await;
    system.drain().await;
    let unmatched: i64 =
        sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE outcome = 'unmatched'")
            .fetch_one(system.db.pool())
            .await
            .expect("Postgres answers");
    assert!(unmatched > 0, "they are kept");
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    eventually("they are handed over", async || {
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM deliveries WHERE outcome = 'unmatched'")
            .fetch_one(system.db.pool())
            .await
            .expect("Postgres answers")
            == 0
    })
    .await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnected_connection_is_erased_at_both_ends() {
    let system = System::builder().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(&account, &admin).await;
    system.drain().await;
    let path = format!("/v1/connections/{connection}");
    for _ in 0..2 {
        let answer = tenant.request(Method::DELETE, &path, None).await;
        assert_eq!(answer.status().as_u16(), 204);
    }
    assert_eq!(status(&system, connection).await, "disconnected");
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM credentials) + (SELECT count(*) FROM cursors) \
              + (SELECT count(*) FROM connection_routes)",
    )
    .fetch_one(system.db.pool())
    .await
    .expect("Postgres answers");
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_an_owner_approves_later_completes_by_itself() {
    let system = System::builder().start().await;
    let url = format!("{}/_sim/github/accounts", system.simulator.base_url());
    let accounts: serde_json::Value = system
        .client
        .get(url)
        .send()
        .await
        .expect("answers")
        .json()
        .await
        .expect("JSON");
    let account = &accounts["accounts"][0];
    let login = account["login"].as_str().expect("a login");
    let admin = account["admin"].as_str().expect("a login");
    let member = account["members"]
        .as_array()
        .expect("members")
        .iter()
        .filter_map(|member| member.as_str().or_else(|| member["login"].as_str()))
        .find(|member| *member != admin)
        .expect("a member who is no owner");
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(login, member).await;
    assert_eq!(status(&system, connection).await, "pending");
    act(&system, login, "installation.approved").await;
    becomes(&system, connection, "active").await;
    system
        .sim("github/generate", json!({ "count": 30, "account": login }))
        .await;
    tenant.assert_equals_ledger_after_a_poll(login).await;
}
