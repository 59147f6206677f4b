//! The table of job kinds: name, priority, work class, cursor window and arguments of each.
//!
//! A row of `job_kinds!` generates the kind, the type of its arguments and their stored form. The
//! code of a kind is its `Job` in the worker, in one file. The names are also the labels of the
//! type `job_kind` in Postgres, which a migration adds.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ConnectionId, DeliveryId, DeliveryOutcome, DirectoryKey, JobState};

/// The job kinds that are claimed together.
///
/// Deliveries have their own class, so that long backfills cannot use up their capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkClass {
    /// Jobs that process deliveries.
    Deliveries,
    /// Jobs of all other kinds.
    Background,
}

impl WorkClass {
    /// The job kinds of this class.
    pub fn kinds(self) -> Vec<JobKind> {
        let mut kinds = JobKind::VARIANTS.to_vec();
        kinds.retain(|kind| kind.class() == self);
        kinds
    }
}

/// Where a sync run starts to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum SyncMode {
    /// From the stored cursors.
    Incremental,
    /// From the start of the backfill again; dedupe keys drop the facts that are known.
    Full,
}

/// The deliveries that a row's arguments name, if any.
macro_rules! pending {
    () => {
        &[]
    };
    ($deliveries:ident) => {
        $deliveries
    };
}

/// Generates [`JobKind`], [`JobPayload`] and a type of arguments per row.
///
/// A row is `Kind(priority, class, window, pending?) { arguments }`. Among the jobs of one tenant,
/// the smallest priority runs first. `window` returns the unique key of a job from its arguments,
/// provider and connection: at most one job with this window is queued or running. `pending` is
/// the argument with the deliveries that stay pending until this job, or one that it enqueues,
/// processes them.
macro_rules! job_kinds {
    ($(
        $(#[$doc:meta])+
        $kind:ident(
            priority: $priority:literal,
            class: $class:ident,
            window: $window:expr
            $(, pending: $pending:ident)?
        ) {
            $($(#[$attribute:meta])* $argument:ident: $type:ty,)*
        }
    )+) => {
        stored_enum! {
            /// The kind of a job, which selects the function that runs it.
            pub enum JobKind as "job_kind" {
                $($(#[$doc])+ $kind,)+
            }
        }

        impl JobKind {
            /// The priority among the jobs of one tenant; the smallest value runs first.
            pub const fn priority(self) -> i16 {
                match self {
                    $(Self::$kind => $priority,)+
                }
            }

            /// The class whose workers claim the kind.
            pub const fn class(self) -> WorkClass {
                match self {
                    $(Self::$kind => WorkClass::$class,)+
                }
            }
        }

        /// The arguments of a job, by kind.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum JobPayload {
            $(
                #[doc = concat!("For [`JobKind::", stringify!($kind), "`].")]
                $kind($kind),
            )+
            /// A payload that this release cannot decode. It is never stored.
            #[serde(skip)]
            Unreadable {
                /// The kind in the job's row.
                kind: JobKind,
                /// The deliveries that the payload names.
                deliveries: Vec<DeliveryId>,
            },
        }

        impl JobPayload {
            /// The kind that these arguments belong to.
            pub const fn kind(&self) -> JobKind {
                match self {
                    $(Self::$kind(_) => JobKind::$kind,)+
                    Self::Unreadable { kind, .. } => *kind,
                }
            }

            /// The cursor window of a job of this provider and connection.
            pub fn window(
                &self,
                provider: &str,
                connection: Option<ConnectionId>,
            ) -> Option<String> {
                match self {
                    $(Self::$kind(arguments) => {
                        let window: Window<$kind> = $window;
                        window(arguments, provider, connection)
                    })+
                    Self::Unreadable { .. } => None,
                }
            }

            /// The deliveries that stay pending until this job, or one that it enqueues, processes
            /// them.
            pub fn deliveries(&self) -> &[DeliveryId] {
                match self {
                    $(Self::$kind($kind { $($pending,)? .. }) => pending!($($pending)?),)+
                    Self::Unreadable { deliveries, .. } => deliveries,
                }
            }
        }

        $(
            #[doc = concat!("The arguments of [`JobKind::", stringify!($kind), "`].")]
            #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
            pub struct $kind {
                $($(#[$attribute])* pub $argument: $type,)*
            }

            impl From<$kind> for JobPayload {
                fn from(arguments: $kind) -> Self {
                    Self::$kind(arguments)
                }
            }
        )+
    };
}

/// Returns the cursor window of a job from its arguments, provider and connection.
type Window<T> = fn(&T, &str, Option<ConnectionId>) -> Option<String>;

job_kinds! {
    /// Normalizes stored deliveries into Signals.
    ProcessDeliveries(
        priority: 20,
        class: Deliveries,
        window: |_, _, _| None,
        pending: deliveries
    ) {
        /// The deliveries, all of them of the job's tenant.
        deliveries: Vec<DeliveryId>,
    }

    /// Assigns unmatched deliveries to the connection that now matches them.
    RematchDeliveries(
        priority: 30,
        class: Background,
        window: |_, _, connection| Some(format!("rematch:{}", connection?))
    ) {
        /// The account or route of the unmatched deliveries.
        account_id: String,
    }

    /// Fetches the names that deliveries carry as ids only, then enqueues their processing.
    ResolveDirectory(
        priority: 15,
        class: Background,
        window: |_, _, _| None,
        pending: deliveries
    ) {
        /// The entries to fetch.
        keys: Vec<DirectoryKey>,
        /// The deliveries that need these entries.
        deliveries: Vec<DeliveryId>,
    }

    /// Copies a delivery to every further connection that the provider sent it for.
    FanOutDelivery(
        priority: 25,
        class: Background,
        window: |job, _, _| Some(format!("fan_out:{}", job.delivery))
    ) {
        /// The delivery.
        delivery: DeliveryId,
    }

    /// Checks with the provider whether a grant is still valid after a delivery cast doubt on it.
    ConfirmGrant(
        priority: 12,
        class: Background,
        // A running job may have checked before the delivery came.
        window: |_, _, _| None
    ) {
        /// Time at which the provider first said that the grant was removed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        removed_since: Option<DateTime<Utc>>,
    }

    /// Creates, renews and deletes a connection's subscriptions.
    ReconcileSubscriptions(
        priority: 28,
        class: Background,
        window: |_, _, connection| Some(format!("subscriptions:{}", connection?))
    ) {}

    /// Reads every stream of a connection page by page.
    SyncConnection(
        priority: 50,
        class: Background,
        window: |job, _, connection| {
            let part = if job.requested_only { "requested" } else { job.mode.into() };
            Some(format!("sync:{}:{part}", connection?))
        }
    ) {
        /// Where the run starts to read.
        mode: SyncMode,
        /// The time at which the run began; the first attempt sets it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upper_bound: Option<DateTime<Utc>>,
        /// Whether the run reads only the streams that deliveries requested.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        requested_only: bool,
    }

    /// Refreshes an access token before it expires.
    RefreshToken(
        priority: 10,
        class: Background,
        window: |_, _, connection| Some(format!("refresh:{}", connection?))
    ) {}

    /// Requests redelivery of the deliveries that a provider failed to send.
    RedeliverWebhooks(
        priority: 60,
        class: Background,
        window: |_, provider, _| Some(format!("redeliver_webhooks:{provider}"))
    ) {}

    /// Retries or cancels all jobs, or replays all deliveries, that match a filter.
    RunBulkAction(
        priority: 40,
        class: Background,
        window: |job, _, _| Some(format!("bulk:{}", serde_json::json!(job.action)))
    ) {
        /// The action and its filter.
        #[serde(flatten)]
        action: BulkAction,
        /// Its progress, which a later attempt continues.
        #[serde(default)]
        progress: BulkProgress,
    }

    /// Creates and drops partitions and deletes expired rows.
    ApplyRetention(
        priority: 70,
        class: Background,
        window: |_, _, _| Some("apply_retention".to_owned())
    ) {}
}

impl JobKind {
    /// The kind's name in the API, in logs and in metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl JobPayload {
    /// Decodes a stored payload; one of another release may be [`JobPayload::Unreadable`].
    pub(crate) fn decode(kind: JobKind, stored: &serde_json::Value) -> Self {
        Self::deserialize(stored)
            .ok()
            .filter(|payload| payload.kind() == kind)
            .unwrap_or_else(|| Self::Unreadable {
                kind,
                deliveries: Vec::deserialize(&stored["deliveries"]).unwrap_or_default(),
            })
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "the types of the other kinds have no default"
)]
impl Default for ConfirmGrant {
    fn default() -> Self {
        Self {
            removed_since: None,
        }
    }
}

/// An action and the jobs or deliveries that it applies to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", content = "filter", rename_all = "snake_case")]
pub enum BulkAction {
    /// Retries dead jobs.
    Retry(JobSelection),
    /// Cancels queued and running jobs.
    Cancel(JobSelection),
    /// Replays webhook deliveries.
    Replay(DeliverySelection),
}

/// The jobs that a bulk action applies to, by the filters of their list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobSelection {
    /// Their state: `dead` for a retry, `queued` or `running` for a cancellation; absent for all
    /// that the action can change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pub state: Option<JobState>,
    /// Their kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pub kind: Option<JobKind>,
    /// Their connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<ConnectionId>,
    /// The provider's slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github")]
    pub provider: Option<String>,
}

/// The deliveries that a bulk action applies to, by the filters of their list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliverySelection {
    /// Their outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pub outcome: Option<DeliveryOutcome>,
    /// Their connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<ConnectionId>,
    /// The provider's slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github")]
    pub provider: Option<String>,
}

/// The progress of a bulk action.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkProgress {
    /// The number of matching items when the action began; `None` before that.
    pub matched: Option<i64>,
    /// The number of items that it has changed.
    pub done: i64,
    /// The number of items that it could not change.
    pub failed: i64,
    /// The id of the last item; all newer ones are done.
    pub position: Option<Uuid>,
}

#[cfg(test)]
mod tests;
