//! The webhook keys of connections, as ingress finds them, and the secrets it is handed.
//!
//! A request for a connection's own URL comes from anyone, so a look-up is cheap and bounded:
//! answers are cached for a few seconds, unknown ids apart from known ones, and few look-ups run
//! at once. A key that was rotated or erased is noticed when its entry has expired.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::connectors::{KeySource, VerifyError};
use crate::crypto::{Keyring, PublicKey};
use crate::db::webhook_secrets::{self, SealedKey};
use crate::db::{Db, DbError};
use crate::ids::{ConnectionId, TenantId};

/// How long an answer is used again.
const CACHE_TTL: Duration = Duration::from_secs(5);
/// Entries of each cache.
const MAX_ENTRIES: usize = 10_000;
/// Look-ups at the same time: fewer than database sessions, so that commits find one.
const MAX_LOOKUPS: usize = 2;
/// How long a request waits for its look-up.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(900);

/// A connection that a delivery was sent to by its own URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRoute {
    /// Whose it is.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
}

type Key = (&'static str, ConnectionId);

#[derive(Debug)]
struct Found {
    route: ConnectionRoute,
    secrets: Vec<SecretString>,
    public_keys: Vec<PublicKey>,
}

/// Finds connections and opens their webhook keys.
pub struct ConnectionKeys {
    db: Db,
    keyring: Option<Keyring>,
    known: Cache<Arc<Found>>,
    unknown: Cache<()>,
    lookups: Semaphore,
}

impl ConnectionKeys {
    /// Keys that `keyring` opens. Without one no connection has a key.
    pub fn new(db: Db, keyring: Option<Keyring>) -> Self {
        Self {
            db,
            keyring,
            known: Cache::default(),
            unknown: Cache::default(),
            lookups: Semaphore::new(MAX_LOOKUPS),
        }
    }

    /// Finds a connection of `provider` that deliveries can be sent to.
    ///
    /// # Errors
    ///
    /// [`VerifyError::UnknownConnection`] and [`VerifyError::KeysUnavailable`].
    pub async fn route(
        &self,
        provider: &'static str,
        connection: ConnectionId,
    ) -> Result<ConnectionRoute, VerifyError> {
        Ok(self.find((provider, connection)).await?.route)
    }

    /// Stores a secret that the provider handed over to an armed connection.
    ///
    /// # Errors
    ///
    /// [`VerifyError::NotArmed`], [`VerifyError::Malformed`] for an empty one and
    /// [`VerifyError::KeysUnavailable`].
    pub async fn take_secret(
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
        let taking = async {
            let _permit = self.lookups.acquire().await.ok();
            webhook_secrets::take(&self.db, route.tenant, route.connection, &sealed).await
        };
        match tokio::time::timeout(LOOKUP_TIMEOUT, taking).await {
            Ok(Ok(true)) => {
                self.known.remove(&(provider, route.connection));
                tracing::info!(
                    provider,
                    connection.id = %route.connection,
                    "connection received its webhook secret"
                );
                Ok(())
            }
            Ok(Ok(false)) => {
                tracing::warn!(
                    provider,
                    connection.id = %route.connection,
                    "webhook secret refused, connection is not armed"
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

    async fn find(&self, key: Key) -> Result<Arc<Found>, VerifyError> {
        if let Some(found) = self.known.get(&key) {
            return Ok(found);
        }
        if self.unknown.get(&key).is_some() {
            return Err(VerifyError::UnknownConnection);
        }
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, self.look_up(key)).await;
        match found {
            Ok(Ok(Some(found))) => {
                self.known.put(key, Arc::clone(&found));
                Ok(found)
            }
            Ok(Ok(None)) => {
                self.unknown.put(key, ());
                Err(VerifyError::UnknownConnection)
            }
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "failed to read the webhook keys of a connection"
                );
                Err(VerifyError::KeysUnavailable)
            }
            Err(_) => Err(VerifyError::KeysUnavailable),
        }
    }

    async fn look_up(&self, (provider, connection): Key) -> Result<Option<Arc<Found>>, DbError> {
        // The semaphore is never closed.
        let _permit = self.lookups.acquire().await.ok();
        let Some(sealed) = webhook_secrets::find(&self.db, provider, connection).await? else {
            return Ok(None);
        };
        let route = ConnectionRoute {
            tenant: sealed.tenant,
            connection,
        };
        let mut found = Found {
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
        Ok(Some(Arc::new(found)))
    }

    fn open(&self, route: ConnectionRoute, key: &SealedKey) -> Option<SecretString> {
        let context = webhook_secrets::seal_context(route.tenant, route.connection, key.is_public);
        let opened = self.keyring.as_ref()?.open(&context, &key.sealed);
        opened
            .inspect_err(|error| {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    connection.id = %route.connection,
                    "failed to open a webhook key; check POBLYSH_INGRESS_CRYPTO_KEY"
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
        Ok(self.find((provider, connection)).await?.secrets.clone())
    }

    async fn connection_public_keys(
        &self,
        provider: &'static str,
        connection: ConnectionId,
    ) -> Result<Vec<PublicKey>, VerifyError> {
        let found = self.find((provider, connection)).await?;
        Ok(found.public_keys.clone())
    }
}

/// Answers of the last few seconds, at most [`MAX_ENTRIES`] of them.
struct Cache<T>(Mutex<HashMap<Key, (Instant, T)>>);

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<T: Clone> Cache<T> {
    fn get(&self, key: &Key) -> Option<T> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, value) = entries.get(key)?;
        (at.elapsed() < CACHE_TTL).then(|| value.clone())
    }

    fn remove(&self, key: &Key) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(key);
    }

    fn put(&self, key: Key, value: T) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, (at, _)| at.elapsed() < CACHE_TTL);
        }
        if entries.len() < MAX_ENTRIES {
            entries.insert(key, (Instant::now(), value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_cache_takes_no_further_entry() {
        let cache = Cache::default();
        for _ in 0..=MAX_ENTRIES {
            cache.put(("any", ConnectionId::generate()), ());
        }
        let last = ("any", ConnectionId::generate());
        cache.put(last, ());
        assert!(cache.get(&last).is_none());
        let entries = cache.0.lock().expect("unpoisoned");
        assert_eq!(entries.len(), MAX_ENTRIES);
    }

    #[test]
    fn known_entry_is_found_by_provider_and_id() {
        let cache = Cache::default();
        let id = ConnectionId::generate();
        cache.put(("one", id), 1);
        assert_eq!(cache.get(&("one", id)), Some(1));
        assert_eq!(cache.get(&("other", id)), None);
    }
}
