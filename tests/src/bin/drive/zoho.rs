//! Zoho Mail and Zoho Cliq.

use std::time::Duration;

use serde_json::{Value, json};
use tests::harness::System;

use crate::account::ConnectedAccount;

/// Two of these are more chats than a page of Cliq's list has.
const MORE_THAN_HALF_A_PAGE: usize = 55;

pub(crate) async fn zoho_mail(system: &System) {
    system
        .simulator
        .change_zoho_mail(|mail| mail.max_page_size = 20);
    let account = system.accounts_at("zoho_mail").await.remove(0);
    let connected = ConnectedAccount::connect(system, "zoho_mail", account).await;
    // The mailbox's outgoing webhook, at the armed URL of the connection.
    let armed = connected.set_up_webhook(&json!({})).await;
    let webhook = json!({ "account": connected.account, "url": armed["url"] });
    let webhook = system.sim("zoho/mail/webhook", webhook).await;
    assert_eq!(webhook["active"], true, "{webhook}");
    connected.use_everything().await;
    connected.finish().await;
}

pub(crate) async fn zoho_cliq(system: &System) {
    system
        .simulator
        .change_zoho_cliq(|cliq| cliq.max_page_size = 1);
    // Logins are those of people, so an account that has been read at Mail has other facts as well.
    let new = json!({ "name": "acme", "data_center": "eu", "history": 8 });
    let created = system.sim("zoho_cliq/accounts", new).await;
    let text = |name: &str| created[name].as_str().expect("text").to_owned();
    let connected =
        ConnectedAccount::connect(system, "zoho_cliq", (text("login"), text("admin"))).await;
    // An extension at the connection's URL, in all channels.
    let url = format!(
        "{}/webhooks/zoho_cliq/{}",
        system.ingress, connected.connection
    );
    let extension = json!({ "account": connected.account, "url": url, "chats": true });
    let extension = system.sim("zoho/cliq/extension", extension).await;
    let key = json!({ "public_key": extension["public_key"] });
    let registered = connected.set_up_webhook(&key).await;
    assert_eq!(registered["url"], url);
    // A channel with more threads than a page of their list has.
    let channel = connected.act("channel.created", json!({})).await["object"].take();
    for _ in 0..2 {
        let post = json!({ "chat": channel["chat"] });
        let posted = connected.act("message.posted", post).await["object"].take();
        let thread = json!({ "chat": channel["chat"], "message": posted["id"] });
        connected.act("thread.started", thread).await;
    }
    // More chats than a page, created in two seconds: pages of the list end at a time in seconds.
    for _ in 0..2 {
        for _ in 0..MORE_THAN_HALF_A_PAGE {
            connected.act("chat.created", json!({})).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    connected
        .resolve_directory(json!([{ "kind": "user", "id": "600000000" }]))
        .await;
    connected.use_everything().await;
    connected.finish().await;
}

impl ConnectedAccount<'_> {
    /// Creates or registers the key of the connection's webhook.
    async fn set_up_webhook(&self, key: &Value) -> Value {
        let path = format!("/v1/connections/{}/webhook", self.connection);
        self.tenant.post(&path, key).await
    }
}
