//! Tokens of all holders: concurrent and cancelled refreshes, replacement.

mod holders;
mod slow_provider;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use futures::future::join_all;
use secrecy::{ExposeSecret, SecretString};
use shared::clock::{Clock, SystemClock};
use shared::config::{CryptoConfig, Env, Reader};
use shared::connectors::{
    Connector, ConnectorDeps, ConnectorError, ConnectorSettings, ProviderDescriptor, Registry,
    TokenPolicy, TokenQuota, TokenSet, UserToken,
};
use shared::credentials::{AccessToken, CredentialError, Credentials};
use shared::crypto::Keyring;
use shared::db::credentials::{self, CredentialKey, RefreshLease};
use shared::db::{Db, TenantScope, Tx};
use shared::model::{ConnectionId, ExternalAccount};
use shared::ratelimit::PostgresRateLimiter;
use tests::harness::{TestDb, eventually};
use tokio_util::task::TaskTracker;

use crate::bytes::create_connection;
use slow_provider::SlowProvider;

/// Tokens that have expired, or expire in an hour.
fn token_set(access: &str, is_expired: bool) -> TokenSet {
    let lifetime = TimeDelta::hours(if is_expired { -1 } else { 1 });
    TokenSet {
        access_token: SecretString::from(access),
        refresh_token: None,
        expires_at: Some(SystemClock.now() + lifetime),
        refresh_expires_at: None,
    }
}

fn user_token(user_id: &str, is_expired: bool) -> UserToken {
    UserToken {
        user_id: user_id.to_owned(),
        tokens: token_set("user-token", is_expired),
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
        fixture.store(None, None).await;
        fixture
    }

    /// Changes the credentials as the api-server.
    async fn change(&self, change: impl AsyncFnOnce(&Credentials, &mut Tx)) {
        let db = self.test.as_api(1);
        let mut tx = db.begin(&self.scope).await.expect("begun");
        change(&self.credential_store(&TaskTracker::new()), &mut tx).await;
        tx.commit().await.expect("committed");
    }

    /// Stores the tokens of a new grant.
    async fn store(&self, tokens: Option<&TokenSet>, user_token: Option<&UserToken>) {
        let policy = self.provider.descriptor.tokens;
        self.change(async |credentials, tx| {
            credentials
                .store(tx, &self.scope, self.connection, policy, tokens, user_token)
                .await
                .expect("stored");
        })
        .await;
    }

    async fn list_holders(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT holder FROM credentials ORDER BY holder")
            .fetch_all(self.test.pool())
            .await
            .expect("the query result")
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

    async fn access_token(
        &self,
        credentials: &Credentials,
    ) -> Result<AccessToken, CredentialError> {
        credentials
            .access_token(
                &self.scope,
                self.connection,
                &self.account,
                &self.connector,
                None,
            )
            .await
    }

    /// Begins a refresh of the account's token whose response is lost.
    async fn acquire_lease(&self) -> RefreshLease {
        let key = CredentialKey::account(self.connection);
        let mut tx = self.db.begin(&self.scope).await.expect("begun");
        let row = credentials::get(&mut tx, &self.scope, &key).await;
        let version = row.expect("the query result").expect("a row").version;
        let lease =
            credentials::acquire_refresh_lease(&mut tx, &self.scope, &key, version, -1.0).await;
        tx.commit().await.expect("committed");
        lease.expect("the query result").expect("a lease")
    }

    async fn token(&self, credentials: &Credentials) -> Result<String, CredentialError> {
        let token = self.access_token(credentials).await?;
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
async fn failed_refresh_reaches_waiters_without_repetition() {
    let fixture = Fixture::new(Duration::from_millis(300), true).await;
    let credentials = fixture.credential_store(&TaskTracker::new());
    let tokens = join_all((0..50).map(|_| fixture.token(&credentials))).await;
    for token in tokens {
        let error = token.expect_err("no token");
        let CredentialError::Provider(error) = error else {
            panic!("not the provider's error: {error}");
        };
        assert_eq!(error.code(), "transient");
    }
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
    assert_eq!(logged, 3, "a rejected refresh is not an attempt");
    // A window without refreshes later, the next one is allowed.
    sqlx::query("UPDATE token_refresh_log SET attempted_at = now() - interval '11 minutes'")
        .execute(fixture.test.pool())
        .await
        .expect("the attempts are old");
    assert!(fixture.token(&processes[0]).await.is_err());
    assert_eq!(fixture.calls(), 4);
}

#[tokio::test]
async fn lost_refresh_concerns_no_later_grant() {
    let fixture = Fixture::new(Duration::ZERO, true).await;
    for expected in [false, true] {
        let lease = fixture.acquire_lease().await;
        assert_eq!(lease.response_lost, expected, "of the same token");
    }
    fixture
        .change(async |credentials, tx| {
            let erased = credentials.erase(tx, &fixture.scope, fixture.connection);
            erased.await.expect("erased");
        })
        .await;
    fixture.store(None, None).await;
    let lease = fixture.acquire_lease().await;
    assert!(!lease.response_lost, "of a new grant");
}
