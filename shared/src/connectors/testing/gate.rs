//! A gate that lets everything through.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::clock::ManualClock;
use crate::connectors::ConnectorDeps;
use crate::http::{Admission, Charge, LimitObservation, RateGate, Refused};

/// Lets everything through and remembers what it was told: of which account, of which
/// operation.
#[derive(Default)]
pub(in super::super) struct OpenGate(Mutex<Vec<(String, &'static str, LimitObservation)>>);

impl OpenGate {
    pub(in super::super) fn seen(&self) -> Vec<(String, &'static str, LimitObservation)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[async_trait]
impl RateGate for OpenGate {
    async fn admit(&self, _: &'static str, _: &Charge<'_>) -> Result<Admission, Refused> {
        Ok(Admission::default())
    }

    async fn observe(&self, _: &'static str, charge: &Charge<'_>, seen: LimitObservation) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((
            charge.account.to_owned(),
            charge.operation,
            seen,
        ));
    }
}

/// What a connector is given whose clock stands still.
pub(in super::super) fn deps(now: DateTime<Utc>) -> (ConnectorDeps, Arc<OpenGate>) {
    let gate = Arc::new(OpenGate::default());
    let deps = ConnectorDeps {
        clock: Arc::new(ManualClock::new(now)),
        gate: gate.clone(),
    };
    (deps, gate)
}
