//! What can go wrong between us and Postgres, in the three ways a caller can act on.

/// Ends of a session that its server decided: shut down, crashed, idle for too long, or told
/// to by an administrator.
const ENDED: [&str; 6] = ["57P01", "57P02", "57P05", "25P03", "25P04", "08006"];

/// The time-outs of a statement, of a transaction that is idle, and of a whole transaction.
const TOO_LONG: [&str; 3] = ["57014", "25P03", "25P04"];

/// Whether a statement that was prepared is not known any more.
pub(super) fn is_forgotten(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().as_deref() == Some("26000"))
}

/// Whether the connection is gone rather than the statement at fault. What the statement did
/// may be done or not.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(database) => database
            .code()
            .is_some_and(|code| ENDED.contains(&&*code) || code.starts_with("08")),
        _ => false,
    }
}

/// A statement that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Postgres is away, restarting, full or overloaded: the same call may succeed later.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// A constraint refused the row.
    #[error("the constraint {constraint} refused the row")]
    Constraint {
        /// The constraint's name, as the schema has it.
        constraint: String,
        /// Postgres's own words.
        #[source]
        source: sqlx::Error,
    },
    /// A stored value is not of the form this release writes.
    #[error("a stored value cannot be read: {0}")]
    Corrupt(&'static str),
    /// The connection's role is not the one this process must run as.
    #[error("refusing to run as the database role {0:?}")]
    Role(String),
    /// Any other failure: a mistake of ours.
    #[error("a statement failed")]
    Query(#[source] sqlx::Error),
}

impl DbError {
    /// Whether waiting may help.
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether the connection went rather than the statement failed: what may be done twice
    /// can be tried again at once.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Unavailable(error) if is_lost(error))
    }

    /// Whether Postgres itself is the reason rather than what it was asked for: a smaller piece
    /// of the same would fare no better.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable(sqlx::Error::Database(database)) => {
                let code = database.code().unwrap_or_default();
                !TOO_LONG.contains(&&*code) && code != "55P03" && !code.starts_with("40")
            }
            Self::Unavailable(_) => true,
            _ => false,
        }
    }

    /// Whether another transaction was in the way, for once or for too long.
    pub fn is_conflict(&self) -> bool {
        self.is_unavailable() && !self.is_outage()
    }

    /// Whether the statement took longer than it may, or its transaction waited too long for the
    /// next one.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Unavailable(sqlx::Error::Database(database))
            if database.code().is_some_and(|code| TOO_LONG.contains(&&*code)))
    }

    /// The name of the constraint that refused the row, if one did.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Constraint { constraint, .. } => Some(constraint),
            _ => None,
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
                // 08 connection, 53 out of resources, 57P shutdown and restart, 40 serialization
                // and deadlock, 25006 a replica that was promoted away, 25P a transaction that was
                // idle or took too long, 55P03 lock timeout.
                let passing = ["08", "53", "57", "40"]
                    .iter()
                    .any(|class| code.starts_with(class))
                    || code == "25006"
                    || code.starts_with("25P0") && is_lost(&error)
                    || code == "55P03";
                if passing {
                    Self::Unavailable(error)
                } else {
                    Self::Query(error)
                }
            }
            _ => Self::Query(error),
        }
    }
}
