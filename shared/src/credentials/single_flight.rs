//! Single-flight token refreshes: at most one per credential in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::db::credentials::CredentialKey;
use crate::model::TenantId;

type Key = (TenantId, CredentialKey);
/// The outcome of a refresh: whether there is a new token; `None` while it runs.
type Outcome = Option<bool>;

/// The running refreshes.
#[derive(Debug, Clone, Default)]
pub(super) struct SingleFlight(Arc<Mutex<HashMap<Key, watch::Receiver<Outcome>>>>);

/// The role of a caller in a refresh.
#[derive(Debug)]
pub(super) enum Flight {
    /// No refresh is running: this caller performs it.
    Lead(Leader),
    /// Another caller's refresh is running.
    Follow(Follower),
}

/// The right to perform the refresh; dropping it ends the refresh.
#[derive(Debug)]
pub(super) struct Leader {
    refreshes: SingleFlight,
    key: Key,
    outcome: watch::Sender<Outcome>,
    succeeded: bool,
}

/// A handle to wait for another caller's refresh.
#[derive(Debug)]
pub(super) struct Follower(watch::Receiver<Outcome>);

impl SingleFlight {
    /// Joins the running refresh of a credential, or becomes its leader.
    pub(super) fn join(&self, tenant: TenantId, key: &CredentialKey) -> Flight {
        let key = (tenant, key.clone());
        let mut refreshes = self.lock();
        if let Some(outcome) = refreshes.get(&key) {
            return Flight::Follow(Follower(outcome.clone()));
        }
        let (outcome, receiver) = watch::channel(None);
        refreshes.insert(key.clone(), receiver);
        Flight::Lead(Leader {
            refreshes: self.clone(),
            key,
            outcome,
            succeeded: false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Outcome>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leader {
    /// Ends the refresh and notifies the followers whether there is a new token.
    pub(super) fn finish(mut self, succeeded: bool) {
        self.succeeded = succeeded;
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // Remove it first, so that no caller joins a finished refresh.
        self.refreshes.lock().remove(&self.key);
        self.outcome.send_replace(Some(self.succeeded));
    }
}

impl Follower {
    /// Waits for the end of the refresh; returns whether there is a new token.
    pub(super) async fn wait_for_success(mut self) -> bool {
        let outcome = self.0.wait_for(Option::is_some).await;
        outcome.is_ok_and(|outcome| *outcome == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ConnectionId;

    #[tokio::test]
    async fn followers_receive_the_outcome_of_the_refresh() {
        let refreshes = SingleFlight::default();
        let tenant = TenantId::generate();
        let connection = ConnectionId::generate();
        let key = CredentialKey::account(connection);
        for succeeded in [true, false] {
            let Flight::Lead(leader) = refreshes.join(tenant, &key) else {
                panic!("no refresh is running");
            };
            let Flight::Follow(follower) = refreshes.join(tenant, &key) else {
                panic!("a refresh is running");
            };
            for (tenant, key) in [
                (TenantId::generate(), &key),
                (tenant, &CredentialKey::user(connection, "U0ADA")),
            ] {
                assert!(matches!(refreshes.join(tenant, key), Flight::Lead(_)));
            }
            if succeeded {
                leader.finish(true);
            } else {
                drop(leader);
            }
            assert_eq!(follower.wait_for_success().await, succeeded);
        }
    }
}
