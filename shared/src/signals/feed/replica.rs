//! The replica, while it can be trusted.

use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use crate::db::{Db, Role};

/// How long a replica that failed is left alone, so that reads do not wait for it one by one.
const REST: Duration = Duration::from_secs(5);

/// A replica and what is known of it.
#[derive(Debug)]
pub(super) struct Replica {
    db: Db,
    role: Role,
    role_checked: OnceCell<()>,
    rests_until: Mutex<Option<Instant>>,
}

impl Replica {
    pub(super) fn new(db: Db, role: Role) -> Self {
        Self {
            db,
            role,
            role_checked: OnceCell::new(),
            rests_until: Mutex::new(None),
        }
    }

    /// The pool to read from, unless the replica rests. Its first use makes sure that it cannot
    /// look past the policies.
    pub(super) async fn trusted(&self) -> Option<Db> {
        if !self.take_turn() {
            return None;
        }
        let check = || self.db.check_role(self.role);
        match self.role_checked.get_or_try_init(check).await {
            Ok(()) => Some(self.db.clone()),
            Err(error) => {
                self.distrust(&error);
                None
            }
        }
    }

    /// Whether it may be asked. When its rest is over, one reader tries it; for the others it
    /// rests on until that one has an answer.
    fn take_turn(&self) -> bool {
        let mut rests_until = self.lock();
        let Some(until) = *rests_until else {
            return true;
        };
        if until > Instant::now() {
            return false;
        }
        *rests_until = Some(Instant::now() + REST);
        true
    }

    /// It was of no use: the primary is asked for a while.
    pub(super) fn distrust(&self, error: &(dyn Error + 'static)) {
        let mut rests_until = self.lock();
        if rests_until.is_none() {
            tracing::warn!(error, "the replica is passed over; the primary answers");
        }
        *rests_until = Some(Instant::now() + REST);
    }

    /// It has answered.
    pub(super) fn trust(&self) {
        let mut rests_until = self.lock();
        if rests_until.take().is_some() {
            tracing::info!("the replica answers again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.rests_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
