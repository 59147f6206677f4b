//! Database errors, grouped by the three ways in which a caller can react.

use std::sync::Arc;

use sea_orm::{DbErr, RuntimeErr};

/// SQLSTATEs of sessions that the server ended: shutdown, crash, idle timeouts, termination.
const SESSION_ENDED: [&str; 6] = ["57P01", "57P02", "57P05", "25P03", "25P04", "08006"];

/// SQLSTATEs of a statement timeout, an idle transaction timeout and a transaction timeout.
const TIMEOUTS: [&str; 3] = ["57014", "25P03", "25P04"];

/// Whether the session does not know the prepared statement.
pub(super) fn is_unknown_prepared_statement(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().as_deref() == Some("26000"))
}

/// Whether the session was lost rather than the statement rejected.
///
/// The statement may have been executed.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(database) => database
            .code()
            .is_some_and(|code| SESSION_ENDED.contains(&&*code) || code.starts_with("08")),
        _ => false,
    }
}

/// The error of a statement.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Postgres is down, restarting, full or overloaded: the same call may succeed later.
    #[error("database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// A constraint rejected the row.
    #[error("row violates constraint {constraint}")]
    Constraint {
        /// The constraint's name in the schema.
        constraint: String,
        /// The error of Postgres.
        #[source]
        source: sqlx::Error,
    },
    /// A stored value does not have the form that this release writes.
    #[error("failed to decode a stored value: {0}")]
    Corrupt(&'static str),
    /// The session's role is not the role of this process.
    #[error("refusing to run as the database role {0:?}")]
    Role(String),
    /// Any other failure, which is a bug.
    #[error("failed to execute statement")]
    Query(#[source] sqlx::Error),
}

impl DbError {
    /// Whether a later attempt may succeed.
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether the session was lost: an idempotent operation can be retried immediately.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Unavailable(error) if is_lost(error))
    }

    /// Whether Postgres itself is the cause, so that smaller statements would fail as well.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable(sqlx::Error::Database(database)) => {
                let code = database.code().unwrap_or_default();
                !TIMEOUTS.contains(&&*code) && code != "55P03" && !code.starts_with("40")
            }
            Self::Unavailable(_) => true,
            _ => false,
        }
    }

    /// Whether a conflict with another transaction or a timeout is the cause.
    pub fn is_conflict(&self) -> bool {
        self.is_unavailable() && !self.is_outage()
    }

    /// Whether a timeout of the statement or of its transaction is the cause.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Unavailable(sqlx::Error::Database(database))
            if database.code().is_some_and(|code| TIMEOUTS.contains(&&*code)))
    }

    /// The name of the violated constraint, if that is the cause.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Constraint { constraint, .. } => Some(constraint),
            _ => None,
        }
    }
}

impl From<DbErr> for DbError {
    fn from(error: DbErr) -> Self {
        match error {
            DbErr::Query(RuntimeErr::SqlxError(source))
            | DbErr::Exec(RuntimeErr::SqlxError(source))
            | DbErr::Conn(RuntimeErr::SqlxError(source)) => match Arc::try_unwrap(source) {
                Ok(source) => source.into(),
                Err(shared) => Self::Query(sqlx::Error::Decode(Box::new(shared))),
            },
            // The row does not have the form of its entity.
            error => Self::Query(sqlx::Error::Decode(Box::new(error))),
        }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => Self::Unavailable(error),
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                if let Some(constraint) = database.constraint().filter(|_| code.starts_with("23")) {
                    return Self::Constraint {
                        constraint: constraint.to_owned(),
                        source: error,
                    };
                }
                // 08 connection, 53 insufficient resources, 57P shutdown and restart,
                // 40 serialization failure and deadlock, 25006 write to a server that became a
                // replica, 25P transaction timeouts, 55P03 lock timeout.
                let is_transient = ["08", "53", "57", "40"]
                    .iter()
                    .any(|class| code.starts_with(class))
                    || code == "25006"
                    || code.starts_with("25P0") && is_lost(&error)
                    || code == "55P03";
                if is_transient {
                    Self::Unavailable(error)
                } else {
                    Self::Query(error)
                }
            }
            _ => Self::Query(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_through_seaorm_keeps_its_class() {
        let timeout = || Arc::new(sqlx::Error::PoolTimedOut);
        for error in [
            DbErr::Query(RuntimeErr::SqlxError(timeout())),
            DbErr::Exec(RuntimeErr::SqlxError(timeout())),
        ] {
            assert!(DbError::from(error).is_outage());
        }
        let malformed = DbError::from(DbErr::Type("no such variant".to_owned()));
        assert!(matches!(malformed, DbError::Query(sqlx::Error::Decode(_))));
    }
}
