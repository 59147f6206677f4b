//! The health of a connection: state, reason, explanation and the action that helps.
//!
//! [`assess`] derives the reason from stored facts, [`Health::explain`] derives the sentence and the
//! action from the reason. Both are pure, so that the API, metrics and events show the same health.
//! `docs/operations.md` lists every reason with its cure.

mod assess;
mod explain;
mod facts;
mod reason;
mod reported;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

pub use self::assess::{Assessment, assess};
pub use self::facts::Facts;
pub use self::reason::{ActionKind, Actor, HealthReason, HealthState};
pub use self::reported::Reported;

/// The health of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Health {
    /// The state.
    #[schema(inline)]
    pub state: HealthState,
    /// The reason for the state, for programs.
    #[schema(inline)]
    pub reason: HealthReason,
    /// When the reason began.
    pub since: DateTime<Utc>,
    /// The explanation for people, one sentence.
    #[schema(example = "The account is read on schedule.")]
    pub explanation: String,
    /// The action that helps.
    pub action: HealthAction,
}

/// The action that restores the health of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HealthAction {
    /// The kind of action.
    #[schema(inline)]
    pub kind: ActionKind,
    /// The person who must act.
    #[schema(inline)]
    pub who: Actor,
    /// The path of the route that the action begins with; null if there is none.
    #[schema(example = "/v1/connect/github")]
    pub url: Option<String>,
    /// The time until which to act, or until which to wait; null if it is unknown.
    pub until: Option<DateTime<Utc>>,
}
