//! A read replica behind a circuit breaker.

use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use crate::db::{Db, Role};

/// The time for which the breaker stays open.
///
/// Without it, each read would wait for a failed replica.
const OPEN_DURATION: Duration = Duration::from_secs(5);

/// A replica and the state of its circuit breaker.
#[derive(Debug)]
pub(super) struct Replica {
    db: Db,
    role: Role,
    role_checked: OnceCell<()>,
    /// The end of the breaker's open time; `None` while it is closed.
    open_until: Mutex<Option<Instant>>,
}

impl Replica {
    pub(super) fn new(db: Db, role: Role) -> Self {
        Self {
            db,
            role,
            role_checked: OnceCell::new(),
            open_until: Mutex::new(None),
        }
    }

    /// The replica's pool; `None` while the breaker is open.
    ///
    /// The first use checks that the role is subject to row-level security.
    pub(super) async fn available(&self) -> Option<Db> {
        if !self.allows_read() {
            return None;
        }
        let check = || self.db.check_role(self.role);
        match self.role_checked.get_or_try_init(check).await {
            Ok(()) => Some(self.db.clone()),
            Err(error) => {
                self.trip(&error);
                None
            }
        }
    }

    /// Whether a read may use the replica.
    ///
    /// After the open time one read is let through as a probe; the breaker stays open for all
    /// others until the probe ends.
    fn allows_read(&self) -> bool {
        let mut open_until = self.lock();
        let Some(until) = *open_until else {
            return true;
        };
        if until > Instant::now() {
            return false;
        }
        *open_until = Some(Instant::now() + OPEN_DURATION);
        true
    }

    /// Opens the breaker after a failed read; the primary serves reads meanwhile.
    pub(super) fn trip(&self, error: &(dyn Error + 'static)) {
        let mut open_until = self.lock();
        if open_until.is_none() {
            tracing::warn!(error, "read replica failed, reading from the primary");
        }
        *open_until = Some(Instant::now() + OPEN_DURATION);
    }

    /// Closes the breaker after a successful read.
    pub(super) fn reset(&self) {
        let mut open_until = self.lock();
        if open_until.take().is_some() {
            tracing::info!("read replica recovered");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.open_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
