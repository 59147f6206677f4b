//! Concurrent token refreshes, and refreshes whose caller was cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use secrecy::{ExposeSecret, SecretString};
use shared::clock::{Clock, SystemClock};
use shared::config::{CryptoConfig, Env, Reader};
use shared::connectors::{
    AuthorizeRequest, Callback, CallbackOutcome, Connector, ConnectorDeps, ConnectorError,
    ConnectorSettings, Directory, Grant, KeySource, ProviderDescriptor, RefreshRequest, Registry,
    SyncPage, SyncRequest, TokenPolicy, TokenQuota, TokenSet, VerifyError, WebhookDelivery,
    WebhookOutcome, WebhookReceipt, WebhookRequest,
};
use shared::credentials::{CredentialError, Credentials};
use shared::crypto::Keyring;
use shared::db::{Db, TenantScope};
use shared::model::{ConnectionId, ExternalAccount};
use shared::ratelimit::PostgresRateLimiter;
use tests::harness::{TestDb, eventually};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::bytes::create_connection;

/// A provider that refreshes tokens slowly and supports no other operation.
struct SlowProvider {
    descriptor: ProviderDescriptor,
    refresh_duration: Duration,
    fails: bool,
    calls: AtomicUsize,
}

fn unsupported<T>() -> Result<T, ConnectorError> {
    Err(ConnectorError::Permanent(
        "the provider only refreshes tokens".into(),
    ))
}

#[async_trait]
impl Connector for SlowProvider {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    fn authorize(&self, _: &AuthorizeRequest) -> Result<Url, ConnectorError> {
        unsupported()
    }

    async fn exchange_token(&self, _: Callback) -> Result<CallbackOutcome, ConnectorError> {
        unsupported()
    }

    async fn refresh_token(&self, _: RefreshRequest) -> Result<TokenSet, ConnectorError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(self.refresh_duration).await;
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
        unsupported()
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
        unsupported()
    }

    async fn sync(&self, _: SyncRequest) -> Result<SyncPage, ConnectorError> {
        unsupported()
    }
}

struct Fixture {
    test: TestDb,
    db: Db,
    scope: TenantScope,
    connection: ConnectionId,
    account: ExternalAccount,
    provider: Arc<SlowProvider>,
    connector: Arc<dyn Connector>,
}

impl Fixture {
    /// Creates a connection whose token must be refreshed.
    async fn new(refresh_duration: Duration, fails: bool) -> Self {
        Self::with_policy(TokenPolicy::default(), refresh_duration, fails).await
    }

    async fn with_policy(tokens: TokenPolicy, refresh_duration: Duration, fails: bool) -> Self {
        let test = TestDb::create().await;
        let db = test.as_worker(4);
        let (scope, connection) = create_connection(&test, "account").await;
        let env = Env::from_pairs::<&str, &str>([]);
        let mut reader = Reader::new(&env);
        let settings = ConnectorSettings::from_reader(&mut reader);
        let deps = ConnectorDeps {
            clock: Arc::new(SystemClock),
            rate_limiter: Arc::new(PostgresRateLimiter::new(
                db.clone(),
                Arc::new(SystemClock),
                [],
            )),
        };
        let registry = Registry::new(settings, &deps).expect("none is configured");
        let descriptor = registry.iter().next().expect("a provider").0.clone();
        let provider = Arc::new(SlowProvider {
            descriptor: ProviderDescriptor {
                tokens,
                ..descriptor
            },
            refresh_duration,
            fails,
            calls: AtomicUsize::new(0),
        });
        let fixture = Self {
            account: ExternalAccount::from_route("account"),
            connector: provider.clone(),
            test,
            db,
            scope,
            connection,
            provider,
        };
        let policy = fixture.provider.descriptor.tokens;
        let mut tx = fixture.db.begin(&scope).await.expect("begun");
        let credentials = fixture.credential_store(&TaskTracker::new());
        credentials
            .store(&mut tx, &scope, connection, policy, None, None)
            .await
            .expect("stored");
        tx.commit().await.expect("committed");
        fixture
    }

    /// The credential store of one process.
    fn credential_store(&self, tasks: &TaskTracker) -> Credentials {
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

    /// The number of transactions so far, after the sessions have reported their statistics.
    async fn transactions(&self) -> i64 {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        self.test.transactions().await
    }
}

#[tokio::test]
async fn waiters_within_process_share_one_refresh() {
    let fixture = Fixture::new(Duration::from_secs(1), false).await;
    let credentials = fixture.credential_store(&TaskTracker::new());
    let before = fixture.transactions().await;
    let tokens = join_all((0..100).map(|_| fixture.token(&credentials))).await;
    for token in tokens {
        assert_eq!(token.expect("a token"), "access-1");
    }
    assert_eq!(fixture.calls(), 1);
    let transactions = fixture.transactions().await - before;
    assert!(transactions < 400, "{transactions} transactions for 100");
}

#[tokio::test]
async fn failed_refresh_is_not_repeated_by_each_waiter() {
    let fixture = Fixture::new(Duration::from_millis(300), true).await;
    let credentials = fixture.credential_store(&TaskTracker::new());
    let tokens = join_all((0..50).map(|_| fixture.token(&credentials))).await;
    let busy = |token: &Result<_, _>| matches!(token, Err(CredentialError::Busy));
    assert_eq!(tokens.iter().filter(|token| busy(token)).count(), 49);
    assert_eq!(fixture.calls(), 1);
}

#[tokio::test]
async fn processes_share_one_refresh() {
    let fixture = Fixture::new(Duration::from_secs(1), false).await;
    let processes: Vec<_> = (0..3)
        .map(|_| fixture.credential_store(&TaskTracker::new()))
        .collect();
    let before = fixture.transactions().await;
    let waiters = processes.iter().flat_map(|credentials| [credentials; 20]);
    for token in join_all(waiters.map(|credentials| fixture.token(credentials))).await {
        assert_eq!(token.expect("a token"), "access-1");
    }
    assert_eq!(fixture.calls(), 1);
    let transactions = fixture.transactions().await - before;
    assert!(transactions < 300, "{transactions} transactions for 60");
}

#[tokio::test]
async fn refresh_outlives_its_cancelled_caller() {
    let fixture = Arc::new(Fixture::new(Duration::from_millis(500), false).await);
    let tasks = TaskTracker::new();
    let credentials = fixture.credential_store(&tasks);
    let (shared_fixture, shared_credentials) = (Arc::clone(&fixture), credentials.clone());
    let caller = tokio::spawn(async move {
        let token = shared_fixture.token(&shared_credentials).await;
        token.map(drop)
    });
    eventually("the provider is called", async || fixture.calls() == 1).await;
    caller.abort();
    tasks.close();
    tasks.wait().await;
    assert_eq!(
        fixture.token(&credentials).await.expect("a token"),
        "access-1"
    );
    assert_eq!(fixture.calls(), 1, "the refreshed token was stored");
}

#[tokio::test]
async fn refreshed_token_survives_a_failed_commit() {
    let fixture = Fixture::new(Duration::ZERO, false).await;
    // A sequence keeps its value when the transaction is rolled back.
    sqlx::raw_sql(
        "CREATE SEQUENCE writes; GRANT USAGE ON SEQUENCE writes TO PUBLIC; \
         CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.version > OLD.version AND nextval('writes') = 1 THEN \
                 RAISE EXCEPTION 'conflict' USING ERRCODE = '40001'; \
             END IF; \
             RETURN NEW; \
         END $$; \
         CREATE TRIGGER fail_once BEFORE UPDATE ON credentials \
             FOR EACH ROW EXECUTE FUNCTION fail_once();",
    )
    .execute(fixture.test.pool())
    .await
    .expect("a trigger");
    let credentials = fixture.credential_store(&TaskTracker::new());
    assert_eq!(
        fixture.token(&credentials).await.expect("a token"),
        "access-1"
    );
    assert_eq!(fixture.calls(), 1, "the provider was called once");
}

#[tokio::test]
async fn quota_of_refreshes_is_shared_by_processes() {
    let policy = TokenPolicy {
        quota: Some(TokenQuota {
            refreshes: 3,
            window: Duration::from_mins(10),
        }),
        ..TokenPolicy::default()
    };
    let fixture = Fixture::with_policy(policy, Duration::ZERO, true).await;
    let processes: Vec<_> = (0..3)
        .map(|_| fixture.credential_store(&TaskTracker::new()))
        .collect();
    let mut limited = Vec::new();
    for credentials in processes.iter().cycle().take(6) {
        let error = fixture.token(credentials).await.expect_err("no token");
        if let CredentialError::Provider(ConnectorError::RateLimited { retry_at, .. }) = error {
            limited.push(retry_at);
        }
    }
    assert_eq!(fixture.calls(), 3, "all processes together");
    assert_eq!(limited.len(), 3);
    let wait = (limited[0] - SystemClock.now()).num_seconds();
    assert!((590..=600).contains(&wait), "{wait}");
    let logged: i64 = sqlx::query_scalar("SELECT count(*) FROM token_refresh_log")
        .fetch_one(fixture.test.pool())
        .await
        .expect("the query result");
    assert_eq!(logged, 3, "a refused refresh is not an attempt");
    // A window without refreshes later, the next one is allowed.
    sqlx::query("UPDATE token_refresh_log SET attempted_at = now() - interval '11 minutes'")
        .execute(fixture.test.pool())
        .await
        .expect("the attempts are old");
    assert!(fixture.token(&processes[0]).await.is_err());
    assert_eq!(fixture.calls(), 4);
}
