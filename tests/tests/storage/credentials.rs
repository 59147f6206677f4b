//! Tokens that many ask for at once, and refreshes whose caller is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use secrecy::{ExposeSecret, SecretString};
use shared::clock::SystemClock;
use shared::config::{CryptoConfig, Env, Reader};
use shared::connectors::{
    AuthorizeRequest, Callback, CallbackOutcome, Connector, ConnectorDeps, ConnectorError,
    ConnectorSettings, Directory, ExternalAccount, Grant, KeySource, ProviderDescriptor,
    RefreshRequest, Registry, SyncPage, SyncRequest, TokenSet, VerifyError, WebhookDelivery,
    WebhookOutcome, WebhookReceipt, WebhookRequest,
};
use shared::credentials::{CredentialError, Credentials};
use shared::crypto::Keyring;
use shared::db::{Db, TenantScope};
use shared::ids::ConnectionId;
use shared::ratelimit::Governor;
use tests::harness::{TestDb, eventually};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::bytes::connected;

/// A provider that takes its time to refresh a token, and does nothing else.
struct Slow {
    descriptor: ProviderDescriptor,
    takes: Duration,
    fails: bool,
    calls: AtomicUsize,
}

fn nothing<T>() -> Result<T, ConnectorError> {
    Err(ConnectorError::Permanent("it only refreshes tokens".into()))
}

#[async_trait]
impl Connector for Slow {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    fn authorize(&self, _: &AuthorizeRequest) -> Result<Url, ConnectorError> {
        nothing()
    }

    async fn exchange_token(&self, _: Callback) -> Result<CallbackOutcome, ConnectorError> {
        nothing()
    }

    async fn refresh_token(&self, _: RefreshRequest) -> Result<TokenSet, ConnectorError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(self.takes).await;
        if self.fails {
            return Err(ConnectorError::Transient("for a test".into()));
        }
        Ok(TokenSet {
            access_token: SecretString::from(format!("access-{call}")),
            refresh_token: Some(SecretString::from(format!("refresh-{call}"))),
            expires_at: None,
            refresh_expires_at: None,
        })
    }

    async fn revoke(&self, _: &Grant) -> Result<(), ConnectorError> {
        nothing()
    }

    async fn verify_webhook(
        &self,
        _: &WebhookRequest<'_>,
        _: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        Err(VerifyError::NotConfigured)
    }

    fn handle_webhook(
        &self,
        _: &WebhookDelivery,
        _: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError> {
        nothing()
    }

    async fn sync(&self, _: SyncRequest) -> Result<SyncPage, ConnectorError> {
        nothing()
    }
}

struct Fixture {
    test: TestDb,
    db: Db,
    scope: TenantScope,
    connection: ConnectionId,
    account: ExternalAccount,
    provider: Arc<Slow>,
    connector: Arc<dyn Connector>,
}

impl Fixture {
    /// A connection whose token has to be refreshed.
    async fn new(takes: Duration, fails: bool) -> Self {
        let test = TestDb::create().await;
        let db = test.as_worker(4);
        let (scope, connection) = connected(&test, "account").await;
        let env = Env::from_pairs::<&str, &str>([]);
        let mut reader = Reader::new(&env);
        let settings = ConnectorSettings::from_reader(&mut reader);
        let deps = ConnectorDeps {
            clock: Arc::new(SystemClock),
            gate: Arc::new(Governor::new(db.clone(), Arc::new(SystemClock), [])),
        };
        let registry = Registry::new(settings, &deps).expect("none is configured");
        let descriptor = registry.iter().next().expect("a provider").0.clone();
        let provider = Arc::new(Slow {
            descriptor,
            takes,
            fails,
            calls: AtomicUsize::new(0),
        });
        let fixture = Self {
            account: ExternalAccount::of_route("account"),
            connector: provider.clone(),
            test,
            db,
            scope,
            connection,
            provider,
        };
        let mut tx = fixture.db.begin(&scope).await.expect("begun");
        let credentials = fixture.process(&TaskTracker::new());
        credentials
            .store(&mut tx, &scope, connection, None, None)
            .await
            .expect("stored");
        tx.commit().await.expect("committed");
        fixture
    }

    /// The credentials as one process has them.
    fn process(&self, tasks: &TaskTracker) -> Credentials {
        let env = Env::from_pairs([(
            "POBLYSH_CRYPTO_KEY",
            "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
        )]);
        let crypto = CryptoConfig::from_reader(&mut Reader::new(&env));
        let keyring = Arc::new(Keyring::new(&crypto));
        Credentials::new(
            self.db.clone(),
            keyring,
            Arc::new(SystemClock),
            tasks.clone(),
        )
    }

    async fn token(&self, credentials: &Credentials) -> Result<String, CredentialError> {
        let token = credentials
            .access_token(
                &self.scope,
                self.connection,
                &self.account,
                &self.connector,
                None,
            )
            .await?;
        Ok(token.token.expose_secret().to_owned())
    }

    fn calls(&self) -> usize {
        self.provider.calls.load(Ordering::SeqCst)
    }

    /// Transactions of this database so far, once its sessions have reported them.
    async fn transactions(&self) -> i64 {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        self.test.transactions().await
    }
}

#[tokio::test]
async fn waiters_of_a_process_share_one_refresh() {
    let of = Fixture::new(Duration::from_secs(1), false).await;
    let credentials = of.process(&TaskTracker::new());
    let before = of.transactions().await;
    let tokens = join_all((0..100).map(|_| of.token(&credentials))).await;
    for token in tokens {
        assert_eq!(token.expect("a token"), "access-1");
    }
    assert_eq!(of.calls(), 1);
    let transactions = of.transactions().await - before;
    assert!(transactions < 400, "{transactions} transactions for 100");
}

#[tokio::test]
async fn failed_refresh_is_not_repeated_by_each_waiter() {
    let of = Fixture::new(Duration::from_millis(300), true).await;
    let credentials = of.process(&TaskTracker::new());
    let tokens = join_all((0..50).map(|_| of.token(&credentials))).await;
    let busy = |token: &Result<_, _>| matches!(token, Err(CredentialError::Busy));
    assert_eq!(tokens.iter().filter(|token| busy(token)).count(), 49);
    assert_eq!(of.calls(), 1);
}

#[tokio::test]
async fn processes_share_one_refresh() {
    let of = Fixture::new(Duration::from_secs(1), false).await;
    let processes: Vec<_> = (0..3).map(|_| of.process(&TaskTracker::new())).collect();
    let before = of.transactions().await;
    let waiters = processes.iter().flat_map(|process| [process; 20]);
    for token in join_all(waiters.map(|process| of.token(process))).await {
        assert_eq!(token.expect("a token"), "access-1");
    }
    assert_eq!(of.calls(), 1);
    let transactions = of.transactions().await - before;
    assert!(transactions < 300, "{transactions} transactions for 60");
}

#[tokio::test]
async fn refresh_outlives_its_cancelled_caller() {
    let of = Arc::new(Fixture::new(Duration::from_millis(500), false).await);
    let tasks = TaskTracker::new();
    let credentials = of.process(&tasks);
    let (fixture, own) = (Arc::clone(&of), credentials.clone());
    let caller = tokio::spawn(async move { fixture.token(&own).await.map(drop) });
    eventually("the provider is asked", async || of.calls() == 1).await;
    caller.abort();
    tasks.close();
    tasks.wait().await;
    assert_eq!(of.token(&credentials).await.expect("a token"), "access-1");
    assert_eq!(of.calls(), 1, "the rotated token was kept");
}

#[tokio::test]
async fn refreshed_token_survives_a_failed_commit() {
    let of = Fixture::new(Duration::ZERO, false).await;
    // A sequence keeps its value when the transaction is rolled back.
    sqlx::raw_sql(
        "CREATE SEQUENCE writes; GRANT USAGE ON SEQUENCE writes TO PUBLIC; \
         CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.version > OLD.version AND nextval('writes') = 1 THEN \
                 RAISE EXCEPTION 'in the way' USING ERRCODE = '40001'; \
             END IF; \
             RETURN NEW; \
         END $$; \
         CREATE TRIGGER fail_once BEFORE UPDATE ON credentials \
             FOR EACH ROW EXECUTE FUNCTION fail_once();",
    )
    .execute(of.test.pool())
    .await
    .expect("a trigger");
    let credentials = of.process(&TaskTracker::new());
    assert_eq!(of.token(&credentials).await.expect("a token"), "access-1");
    assert_eq!(of.calls(), 1, "the provider was asked once");
}
