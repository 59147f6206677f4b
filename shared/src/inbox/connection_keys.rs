//! The cache of connections' webhook keys, and the storing of secrets that providers send.
//!
//! Any client can send requests to a connection's own URL, so lookups are cheap and bounded:
//! results are cached for a few seconds, and few lookups run at once. Requests with guessed ids
//! delay no connection that receives deliveries: known ids are refreshed under a separate permit,
//! and each client may look up one unknown id at a time. A rotated or deleted key takes effect
//! when its entry expires; while the database does not respond, an expired entry stays in use for
//! a minute.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::connectors::{KeySource, VerifyError};
use crate::crypto::{Keyring, PublicKey};
use crate::db::webhook_secrets::{self, SealedKey};
use crate::db::{Db, DbError, Shares};
use crate::model::{ConnectionId, TenantId};

/// The time for which a cached result is used.
const CACHE_TTL: Duration = Duration::from_secs(5);
/// The time for which a known connection's result is used while it cannot be refreshed.
const STALE_TTL: Duration = Duration::from_mins(1);
/// The maximum number of entries of the cache of known ids.
const MAX_KNOWN: usize = 50_000;
/// The maximum number of entries of the cache of unknown ids.
const MAX_UNKNOWN: usize = 10_000;
/// The maximum number of lookups at the same time, each for known ids and for others.
///
/// Both together are fewer than the database sessions, so that commits find one.
const MAX_LOOKUPS: usize = 1;
/// The maximum number of lookups of unknown ids of one client at the same time.
const MAX_CLIENT_LOOKUPS: usize = 1;
/// The maximum time that a request waits for its lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(900);

/// A connection that a delivery was sent to by its own URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRoute {
    /// The connection's tenant.
    pub tenant: TenantId,
    /// The connection's id.
    pub connection: ConnectionId,
}

type Key = (&'static str, ConnectionId);

/// A connection's decrypted webhook keys.
#[derive(Debug)]
struct OpenedKeys {
    route: ConnectionRoute,
    secrets: Vec<SecretString>,
    public_keys: Vec<PublicKey>,
}

/// Finds connections and decrypts their webhook keys.
pub struct ConnectionKeys {
    db: Db,
    keyring: Option<Keyring>,
    known: Cache<Arc<OpenedKeys>>,
    unknown: Cache<()>,
    /// Lookups of ids in `known`.
    refreshes: Semaphore,
    /// Lookups of other ids, and the storing of secrets.
    lookups: Semaphore,
    clients: Shares<IpAddr>,
}

/// The permits that a lookup holds.
type LookupPermit<'k> = (Option<OwnedSemaphorePermit>, Option<SemaphorePermit<'k>>);

impl ConnectionKeys {
    /// Keys sealed with `keyring`. Without one no connection has a key.
    pub fn new(db: Db, keyring: Option<Keyring>) -> Self {
        Self {
            db,
            keyring,
            known: Cache::new(STALE_TTL, MAX_KNOWN),
            unknown: Cache::new(CACHE_TTL, MAX_UNKNOWN),
            refreshes: Semaphore::new(MAX_LOOKUPS),
            lookups: Semaphore::new(MAX_LOOKUPS),
            clients: Shares::new(MAX_CLIENT_LOOKUPS, LOOKUP_TIMEOUT),
        }
    }

    /// Finds a connection of `provider` with its own URL, for a client of this network.
    ///
    /// # Errors
    ///
    /// [`VerifyError::UnknownConnection`] and [`VerifyError::KeysUnavailable`].
    pub async fn route(
        &self,
        provider: &'static str,
        connection: ConnectionId,
        client: IpAddr,
    ) -> Result<ConnectionRoute, VerifyError> {
        Ok(self.find((provider, connection), Some(client)).await?.route)
    }

    /// Stores a secret that the provider sent to an armed connection.
    ///
    /// # Errors
    ///
    /// [`VerifyError::NotArmed`], [`VerifyError::Malformed`] for an empty one and
    /// [`VerifyError::KeysUnavailable`].
    pub async fn accept_secret(
        &self,
        provider: &'static str,
        connection: Option<ConnectionRoute>,
        secret: &SecretString,
    ) -> Result<(), VerifyError> {
        let route = connection.ok_or(VerifyError::NotArmed)?;
        if secret.expose_secret().is_empty() {
            return Err(VerifyError::Malformed);
        }
        let keyring = self.keyring.as_ref().ok_or(VerifyError::KeysUnavailable)?;
        let context = webhook_secrets::seal_context(route.tenant, route.connection, false);
        let sealed = keyring.seal(&context, secret);
        let storing = async {
            let _permit = self.lookups.acquire().await.ok();
            webhook_secrets::accept(&self.db, route.tenant, route.connection, &sealed).await
        };
        match tokio::time::timeout(LOOKUP_TIMEOUT, storing).await {
            Ok(Ok(true)) => {
                self.known.remove(&(provider, route.connection));
                tracing::info!(
                    provider,
                    connection.id = %route.connection,
                    "stored the webhook secret of a connection"
                );
                Ok(())
            }
            Ok(Ok(false)) => {
                tracing::warn!(
                    provider,
                    connection.id = %route.connection,
                    "rejected a webhook secret: the connection is not armed"
                );
                Err(VerifyError::NotArmed)
            }
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    connection.id = %route.connection,
                    "failed to store a webhook secret"
                );
                Err(VerifyError::KeysUnavailable)
            }
            Err(_) => Err(VerifyError::KeysUnavailable),
        }
    }

    async fn find(&self, key: Key, client: Option<IpAddr>) -> Result<Arc<OpenedKeys>, VerifyError> {
        if let Some(result) = self.cached(&key) {
            return result;
        }
        let stale = self.known.get(&key).map(|(_, found)| found);
        let lookup = async {
            let _permit = self.acquire(stale.is_some(), client).await;
            // Another request may have looked it up meanwhile.
            if let Some(result) = self.cached(&key) {
                return Ok(result);
            }
            let found = self.read(key).await?;
            Ok::<_, DbError>(found.ok_or(VerifyError::UnknownConnection))
        };
        match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "failed to read the webhook keys of a connection"
                );
                stale.ok_or(VerifyError::KeysUnavailable)
            }
            Err(_) => stale.ok_or(VerifyError::KeysUnavailable),
        }
    }

    /// The cached result, unless it has expired.
    fn cached(&self, key: &Key) -> Option<Result<Arc<OpenedKeys>, VerifyError>> {
        match self.known.get(key) {
            Some((age, found)) if age < CACHE_TTL => Some(Ok(found)),
            _ => {
                let unknown = self.unknown.get(key);
                unknown.map(|_| Err(VerifyError::UnknownConnection))
            }
        }
    }

    /// Waits for the permits of a lookup. The semaphores are never closed.
    async fn acquire(&self, is_known: bool, client: Option<IpAddr>) -> LookupPermit<'_> {
        if is_known {
            return (None, self.refreshes.acquire().await.ok());
        }
        let client = match client {
            Some(client) => self.clients.acquire(client).await,
            None => None,
        };
        (client, self.lookups.acquire().await.ok())
    }

    /// Reads a connection's keys and caches them.
    async fn read(&self, key: Key) -> Result<Option<Arc<OpenedKeys>>, DbError> {
        let (provider, connection) = key;
        let Some(sealed) = webhook_secrets::find(&self.db, provider, connection).await? else {
            self.known.remove(&key);
            self.unknown.put(key, ());
            return Ok(None);
        };
        let route = ConnectionRoute {
            tenant: sealed.tenant,
            connection,
        };
        let mut found = OpenedKeys {
            route,
            secrets: Vec::new(),
            public_keys: Vec::new(),
        };
        for key in &sealed.keys {
            let Some(opened) = self.open(route, key) else {
                continue;
            };
            if !key.is_public {
                found.secrets.push(opened);
            } else if let Some(public) = PublicKey::parse(opened.expose_secret()) {
                found.public_keys.push(public);
            }
        }
        let found = Arc::new(found);
        self.known.put(key, Arc::clone(&found));
        Ok(Some(found))
    }

    fn open(&self, route: ConnectionRoute, key: &SealedKey) -> Option<SecretString> {
        let context = webhook_secrets::seal_context(route.tenant, route.connection, key.is_public);
        let opened = self.keyring.as_ref()?.open(&context, &key.sealed);
        opened
            .inspect_err(|error| {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    connection.id = %route.connection,
                    "failed to decrypt a webhook key; check POBLYSH_INGRESS_CRYPTO_KEY"
                );
            })
            .ok()
    }
}

#[async_trait]
impl KeySource for ConnectionKeys {
    async fn connection_secrets(
        &self,
        provider: &'static str,
        connection: ConnectionId,
    ) -> Result<Vec<SecretString>, VerifyError> {
        let found = self.find((provider, connection), None).await?;
        Ok(found.secrets.clone())
    }

    async fn connection_public_keys(
        &self,
        provider: &'static str,
        connection: ConnectionId,
    ) -> Result<Vec<PublicKey>, VerifyError> {
        let found = self.find((provider, connection), None).await?;
        Ok(found.public_keys.clone())
    }
}

/// Results by id, each with a time to live.
struct Cache<T> {
    ttl: Duration,
    max_entries: usize,
    entries: Mutex<HashMap<Key, (Instant, T)>>,
}

impl<T: Clone> Cache<T> {
    fn new(ttl: Duration, max_entries: usize) -> Self {
        Self {
            ttl,
            max_entries,
            entries: Mutex::new(HashMap::new()),
        }
    }

    /// A value and its age.
    fn get(&self, key: &Key) -> Option<(Duration, T)> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, value) = entries.get(key)?;
        let age = at.elapsed();
        (age < self.ttl).then(|| (age, value.clone()))
    }

    fn remove(&self, key: &Key) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(key);
    }

    fn put(&self, key: Key, value: T) {
        self.put_at(Instant::now(), key, value);
    }

    fn put_at(&self, at: Instant, key: Key, value: T) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !entries.contains_key(&key);
        if is_new && entries.len() >= self.max_entries {
            entries.retain(|_, (at, _)| at.elapsed() < self.ttl);
        }
        if !is_new || entries.len() < self.max_entries {
            entries.insert(key, (at, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;
    use crate::config::DatabaseConfig;
    use crate::db::Role;

    /// Keys in a database that is down.
    fn keys() -> ConnectionKeys {
        let config = DatabaseConfig {
            // No server listens on this port.
            url: SecretString::from("postgres://poblysh_ingress@127.0.0.1:1/none"),
            read_url: None,
            listen_url: None,
            is_pooled: false,
            max_sessions: 4,
        };
        let db = Db::open(&config, Role::Ingress).expect("a URL");
        ConnectionKeys::new(db, None)
    }

    fn found(connection: ConnectionId) -> Arc<OpenedKeys> {
        let tenant = TenantId::generate();
        Arc::new(OpenedKeys {
            route: ConnectionRoute { tenant, connection },
            secrets: Vec::new(),
            public_keys: Vec::new(),
        })
    }

    fn ago(age: Duration) -> Instant {
        let then = Instant::now().checked_sub(age);
        then.expect("the clock runs for a while")
    }

    fn client(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    #[test]
    fn full_cache_takes_no_further_entry() {
        let cache = Cache::new(CACHE_TTL, 10);
        let first = ("any", ConnectionId::generate());
        cache.put(first, 1);
        for _ in 0..20 {
            cache.put(("any", ConnectionId::generate()), 1);
        }
        let last = ("any", ConnectionId::generate());
        cache.put(last, 1);
        assert!(cache.get(&last).is_none());
        cache.put(first, 2);
        assert_eq!(cache.get(&first).map(|(_, value)| value), Some(2));
        let entries = cache.entries.lock().expect("unpoisoned");
        assert_eq!(entries.len(), 10);
    }

    #[test]
    fn known_entry_is_found_by_provider_and_id() {
        let cache = Cache::new(CACHE_TTL, 10);
        let id = ConnectionId::generate();
        cache.put(("one", id), 1);
        assert_eq!(cache.get(&("one", id)).map(|(_, value)| value), Some(1));
        assert!(cache.get(&("other", id)).is_none());
        cache.put_at(ago(CACHE_TTL), ("one", id), 1);
        assert!(cache.get(&("one", id)).is_none(), "it has expired");
    }

    #[tokio::test]
    async fn expired_keys_serve_while_the_database_is_down() {
        let keys = keys();
        let (recent, old) = (ConnectionId::generate(), ConnectionId::generate());
        for (id, age) in [(recent, CACHE_TTL * 2), (old, STALE_TTL)] {
            keys.known.put_at(ago(age), ("jira", id), found(id));
        }
        let route = keys.route("jira", recent, client(1)).await;
        assert_eq!(route.map(|route| route.connection), Ok(recent));
        for id in [old, ConnectionId::generate()] {
            let route = keys.route("jira", id, client(1)).await;
            assert_eq!(route.err(), Some(VerifyError::KeysUnavailable));
        }
    }

    #[tokio::test]
    async fn lookups_of_one_client_delay_no_other() {
        let keys = keys();
        let held = keys.acquire(false, Some(client(1))).await;
        let mut flood: Vec<_> = (0..100)
            .map(|_| Box::pin(keys.acquire(false, Some(client(1)))))
            .collect();
        for waiting in &mut flood {
            assert!(poll!(waiting).is_pending());
        }
        let known = poll!(Box::pin(keys.acquire(true, Some(client(1)))));
        assert!(known.is_ready(), "known ids have a separate permit");
        let mut other = Box::pin(keys.acquire(false, Some(client(2))));
        assert!(poll!(&mut other).is_pending());
        drop(held);
        assert!(poll!(&mut other).is_ready(), "the other client is next");
    }
}
