//! Refreshes under way in this process: one per credential, whoever asks for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::db::credentials::CredentialKey;
use crate::ids::TenantId;

type Key = (TenantId, CredentialKey);
/// How a refresh ended: whether there is a new token.
type Ended = Option<bool>;

/// The refreshes under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<Key, watch::Receiver<Ended>>>>);

/// What to do about a refresh.
#[derive(Debug)]
pub(super) enum Flight {
    /// None is under way: this caller does it.
    Lead(Leader),
    /// One is under way.
    Follow(Follower),
}

/// The right to do the refresh; it is over when this is dropped.
#[derive(Debug)]
pub(super) struct Leader {
    flights: Flights,
    key: Key,
    ended: watch::Sender<Ended>,
    succeeded: bool,
}

/// A wait for the refresh that another caller does.
#[derive(Debug)]
pub(super) struct Follower(watch::Receiver<Ended>);

impl Flights {
    /// Joins the refresh of a credential, or begins it.
    pub(super) fn join(&self, tenant: TenantId, key: CredentialKey) -> Flight {
        let key = (tenant, key);
        let mut flights = self.lock();
        if let Some(ended) = flights.get(&key) {
            return Flight::Follow(Follower(ended.clone()));
        }
        let (ended, receiver) = watch::channel(None);
        flights.insert(key, receiver);
        Flight::Lead(Leader {
            flights: self.clone(),
            key,
            ended,
            succeeded: false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Ended>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leader {
    /// Ends the refresh; the followers learn whether there is a new token.
    pub(super) fn end(mut self, succeeded: bool) {
        self.succeeded = succeeded;
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // First out of the list, so that nobody joins what is over.
        self.flights.lock().remove(&self.key);
        self.ended.send_replace(Some(self.succeeded));
    }
}

impl Follower {
    /// Waits until the refresh is over; answers whether there is a new token.
    pub(super) async fn wait(mut self) -> bool {
        let ended = self.0.wait_for(Option::is_some).await;
        ended.is_ok_and(|ended| *ended == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::TokenHolder;
    use crate::ids::ConnectionId;

    #[tokio::test]
    async fn followers_learn_how_the_refresh_ended() {
        let flights = Flights::default();
        let tenant = TenantId::generate();
        let key = CredentialKey {
            connection: ConnectionId::generate(),
            holder: TokenHolder::Account,
        };
        for succeeded in [true, false] {
            let Flight::Lead(leader) = flights.join(tenant, key) else {
                panic!("nobody else is at it");
            };
            let Flight::Follow(follower) = flights.join(tenant, key) else {
                panic!("somebody is at it");
            };
            assert!(matches!(
                flights.join(TenantId::generate(), key),
                Flight::Lead(_)
            ));
            if succeeded {
                leader.end(true);
            } else {
                drop(leader);
            }
            assert_eq!(follower.wait().await, succeeded);
        }
    }
}
