//! Single-flight token refreshes: at most one per credential in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::CredentialError;
use crate::db::credentials::CredentialKey;
use crate::model::TenantId;

type Key = (TenantId, CredentialKey);
/// The outcome of a refresh: a new token or the error; `None` while it runs.
type Outcome = Option<Result<(), Arc<CredentialError>>>;

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
    result: Result<(), Arc<CredentialError>>,
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
            result: Err(Arc::new(CredentialError::Busy)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Outcome>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leader {
    /// Ends the refresh and notifies the followers of a new token, or of the error.
    pub(super) fn finish(mut self, error: Option<&CredentialError>) {
        self.result = error.map_or(Ok(()), |error| Err(Arc::new(error.for_waiter())));
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // Remove it first, so that no caller joins a finished refresh.
        self.refreshes.lock().remove(&self.key);
        self.outcome.send_replace(Some(self.result.clone()));
    }
}

impl Follower {
    /// Waits for the end of the refresh, and returns its error if there is no new token.
    pub(super) async fn wait(mut self) -> Result<(), CredentialError> {
        let outcome = self.0.wait_for(Option::is_some).await;
        match outcome.as_deref() {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(error))) => Err(error.for_waiter()),
            Ok(None) | Err(_) => Err(CredentialError::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::ConnectorError;
    use crate::model::ConnectionId;

    #[tokio::test]
    async fn followers_receive_the_outcome_of_the_refresh() {
        let refreshes = SingleFlight::default();
        let tenant = TenantId::generate();
        let connection = ConnectionId::generate();
        let key = CredentialKey::account(connection);
        let refused = || {
            let source = "invalid_grant".into();
            CredentialError::RefreshResponseLost(ConnectorError::GrantRevoked(source))
        };
        for error in [None, Some(CredentialError::Busy), Some(refused())] {
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
            match error {
                Some(CredentialError::Busy) => drop(leader),
                _ => leader.finish(error.as_ref()),
            }
            let expected = format!("{:?}", error.map_or(Ok(()), Err));
            assert_eq!(format!("{:?}", follower.wait().await), expected);
        }
    }
}
