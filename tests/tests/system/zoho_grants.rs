//! Refresh tokens at Zoho, of which a person has twenty: none is left behind.

use serde_json::{Value, json};
use tests::harness::System;
use uuid::Uuid;

const SLUG: &str = "zoho_mail";

/// Makes every new connection fail while it is stored.
const FAIL: &str = "
    CREATE FUNCTION fail_connection() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the disk is full' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER fail BEFORE INSERT ON connections
        FOR EACH ROW EXECUTE FUNCTION fail_connection()";

async fn start() -> System {
    System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 0))
        .start()
        .await
}

async fn execute(system: &System, statement: &'static str) {
    sqlx::raw_sql(statement)
        .execute(system.db.pool())
        .await
        .expect("executed");
}

/// The refresh tokens that Zoho holds, of all people.
async fn refresh_tokens(system: &System) -> u64 {
    let url = format!("{}/_sim/zoho/people", system.simulator.base_url());
    let response = system.client.get(url).send().await.expect("a response");
    let people: Value = response.json().await.expect("JSON");
    let people = people["people"].as_array().expect("people").iter();
    people
        .filter_map(|one| one["refresh_tokens"].as_u64())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn grant_that_is_not_stored_leaves_no_token() {
    for provider in [SLUG, "zoho_cliq"] {
        let system = start().await;
        let (account, person) = system.accounts_at(provider).await.swap_remove(0);
        let tenant = system.tenant("Acme").await;
        execute(&system, FAIL).await;
        for _ in 0..3 {
            let response = tenant.run_connect_flow(provider, &account, &person).await;
            assert!(response.status().is_server_error(), "{}", response.status());
            assert_eq!(refresh_tokens(&system).await, 0, "{provider}");
        }
        execute(&system, "DROP TRIGGER fail ON connections").await;
        tenant.connect_to(provider, &account, &person).await;
        assert_eq!(refresh_tokens(&system).await, 1);
        system.drain().await;
        tenant.assert_equals_ledger(&account).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outage_after_the_consent_leaves_no_token() {
    for (provider, list) in [(SLUG, "/api/accounts"), ("zoho_cliq", "oauth/user/info")] {
        let system = start().await;
        let (account, person) = system.accounts_at(provider).await.swap_remove(0);
        let tenant = system.tenant("Acme").await;
        let outage =
            json!({ "target": "request", "pattern": list, "effect": "status", "status": 500 });
        system.sim("faults", outage).await;
        let response = tenant.run_connect_flow(provider, &account, &person).await;
        assert_eq!(response.status().as_u16(), 502, "{provider}");
        system.clear_faults().await;
        assert_eq!(refresh_tokens(&system).await, 0, "{provider}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_consents_to_one_connection_end_no_other() {
    let system = start().await;
    system
        .simulator
        .change_zoho(|zoho| zoho.refresh_tokens_per_minute = None);
    let (account, person) = system.accounts_at(SLUG).await.swap_remove(0);
    let first = system.tenant("Acme").await;
    let oldest: Uuid = first.connect_to(SLUG, &account, &person).await;
    let other = system.tenant("Globex").await;
    let mut connections = Vec::new();
    for _ in 0..21 {
        connections.push(other.connect_to(SLUG, &account, &person).await);
        system.drain().await;
        assert_eq!(refresh_tokens(&system).await, 2, "one for each connection");
    }
    connections.dedup();
    assert_eq!(
        connections.len(),
        1,
        "each consent is to the same connection"
    );
    system
        .sim("zoho/tokens", json!({ "expire": account }))
        .await;
    for (tenant, connection) in [(&first, oldest), (&other, connections[0])] {
        tenant.assert_equals_ledger_after_poll(&account).await;
        let shown = tenant.get(&format!("/v1/connections/{connection}")).await;
        assert_eq!(shown["status"], "active");
    }
}
