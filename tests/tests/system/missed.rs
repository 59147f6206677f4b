//! Facts count as missed only where a delivery should have reported them.

use serde_json::{Value, json};
use tests::harness::System;

const SLUG: &str = "zoho_mail";

async fn execute(system: &System, statement: &'static str) {
    sqlx::query(statement)
        .execute(system.db.pool())
        .await
        .expect("executed");
}

#[tokio::test(flavor = "multi_thread")]
async fn mailbox_misses_received_mail_only_and_only_with_a_webhook() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 0))
        .start()
        .await;
    let (account, person) = system.accounts_at(SLUG).await.swap_remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to(SLUG, &account, &person).await;
    system.drain().await;
    execute(
        &system,
        "UPDATE connections SET backfilled_at = now() - interval '1 hour'",
    )
    .await;
    // Long enough ago for a delivery to be overdue.
    let mail_of_both_kinds = async || {
        for action in ["mail.received", "mail.sent"] {
            let mail = json!({ "account": account, "action": action, "seconds_ago": 300 });
            system.sim("zoho_mail/act", mail).await;
        }
        tenant.assert_equals_ledger_after_poll(&account).await;
        let path = format!("/v1/connections/{connection}");
        let shown: Value = tenant.get_when_current(&path).await;
        (
            shown["missed_count"].clone(),
            shown["health"]["reason"].clone(),
        )
    };
    for _ in 0..2 {
        let found = mail_of_both_kinds().await;
        assert_eq!(found, (json!(0), json!("up_to_date")), "without a webhook");
    }

    let path = format!("/v1/connections/{connection}/webhook");
    let armed = tenant.post(&path, &json!({})).await;
    let webhook = json!({ "account": account, "url": armed["url"] });
    let webhook = system.sim("zoho/mail/webhook", webhook).await;
    assert_eq!(webhook["active"], true, "{webhook}");
    let drop_deliveries = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", drop_deliveries).await;
    let found = mail_of_both_kinds().await;
    assert_eq!(found.0, json!(0), "the mails are older than the webhook");
    execute(
        &system,
        "UPDATE webhook_secrets SET created_at = now() - interval '1 hour'",
    )
    .await;
    let (missed, _) = mail_of_both_kinds().await;
    assert_eq!(missed, json!(1), "the webhook reports received mail only");
}
