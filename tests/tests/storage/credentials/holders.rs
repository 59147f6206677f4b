//! Tokens of several holders: their refreshes, replacement and deletion.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use secrecy::ExposeSecret;
use shared::credentials::CredentialError;
use shared::db::credentials::CredentialKey;
use tests::harness::eventually;
use tokio_util::task::TaskTracker;

use super::{Fixture, token_set, user_token};

#[tokio::test]
async fn each_holder_is_refreshed_once_across_processes() {
    let fixture = Fixture::new(Duration::from_secs(1), false).await;
    let expired = user_token("U0ADA", true);
    fixture.store(None, Some(&expired)).await;
    let processes: Vec<_> = (0..3)
        .map(|_| fixture.credential_store(&TaskTracker::new()))
        .collect();
    let waiters = processes.iter().flat_map(|credentials| [credentials; 10]);
    for token in join_all(waiters.map(|credentials| fixture.access_token(credentials))).await {
        let token = token.expect("a token");
        let user_token = token.user_token.expect("a user token");
        assert_eq!(token.token.expose_secret(), "access-1");
        assert_eq!(user_token.expose_secret(), "access-2");
    }
    assert_eq!(fixture.calls(), 2, "one for each holder");
    let log: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT holder, outcome FROM token_refresh_log ORDER BY holder")
            .fetch_all(fixture.test.pool())
            .await
            .expect("the query result");
    let renewed = |holder: &str| (holder.to_owned(), Some("renewed".to_owned()));
    assert_eq!(log, [renewed("account"), renewed("user:U0ADA")]);
}

#[tokio::test]
async fn new_grant_replaces_tokens_of_all_holders() {
    let fixture = Fixture::new(Duration::ZERO, false).await;
    for user_id in ["U0ADA", "U0BOB", "U0\0"] {
        fixture.store(None, Some(&user_token(user_id, false))).await;
        let holder = format!("user:{}", user_id.replace('\0', "\u{fffd}"));
        assert_eq!(fixture.list_holders().await, ["account", holder.as_str()]);
        let credentials = fixture.credential_store(&TaskTracker::new());
        let token = fixture.access_token(&credentials).await.expect("a token");
        let user_token = token.user_token.expect("a user token");
        assert_eq!(user_token.expose_secret(), "user-token");
    }
    fixture.store(None, None).await;
    assert_eq!(fixture.list_holders().await, ["account"]);
}

#[tokio::test]
async fn erasing_deletes_one_holder_or_all() {
    let fixture = Fixture::new(Duration::ZERO, false).await;
    let ada = user_token("U0ADA", false);
    fixture.store(None, Some(&ada)).await;
    for (user_id, left) in [
        ("U0BOB", &["account", "user:U0ADA"][..]),
        ("U0ADA", &["account"]),
    ] {
        let key = CredentialKey::user(fixture.connection, user_id);
        fixture
            .change(async |credentials, tx| {
                let erased = credentials.erase_holder(tx, &fixture.scope, &key).await;
                erased.expect("erased");
            })
            .await;
        assert_eq!(fixture.list_holders().await, left, "{user_id}");
    }
    fixture.store(None, Some(&ada)).await;
    fixture
        .change(async |credentials, tx| {
            let erased = credentials.erase(tx, &fixture.scope, fixture.connection);
            erased.await.expect("erased");
        })
        .await;
    assert_eq!(fixture.list_holders().await, [""; 0]);
}

#[tokio::test]
async fn refresh_of_replaced_holder_stores_nothing() {
    let fixture = Arc::new(Fixture::new(Duration::from_secs(1), false).await);
    let account = token_set("account-token", false);
    let expired = user_token("U0ADA", true);
    fixture.store(Some(&account), Some(&expired)).await;
    let shared_fixture = Arc::clone(&fixture);
    let caller = tokio::spawn(async move {
        let credentials = shared_fixture.credential_store(&TaskTracker::new());
        shared_fixture.access_token(&credentials).await
    });
    eventually("the provider is called", async || fixture.calls() == 1).await;
    let bob = user_token("U0BOB", false);
    fixture.store(Some(&account), Some(&bob)).await;
    let token = caller.await.expect("no panic").expect("a token");
    assert_eq!(token.token.expose_secret(), "account-token");
    assert!(token.user_token.is_none(), "the refreshed token is unused");
    assert_eq!(fixture.list_holders().await, ["account", "user:U0BOB"]);
}

#[tokio::test]
async fn tokens_open_only_for_their_holder() {
    let fixture = Fixture::new(Duration::ZERO, false).await;
    let account = token_set("account-token", false);
    let user = user_token("U0ADA", false);
    fixture.store(Some(&account), Some(&user)).await;
    let credentials = fixture.credential_store(&TaskTracker::new());
    let token = fixture.token(&credentials).await.expect("a token");
    assert_eq!(token, "account-token");
    sqlx::query(
        "UPDATE credentials c SET access_token = o.access_token FROM credentials o \
         WHERE o.holder <> c.holder",
    )
    .execute(fixture.test.pool())
    .await
    .expect("exchanged");
    let error = fixture.token(&credentials).await.expect_err("rejected");
    assert!(matches!(error, CredentialError::Decrypt(_)), "{error}");
}
