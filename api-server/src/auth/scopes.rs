//! The scopes as types, so that a handler's signature states the scope that it requires.

use shared::db::api_keys::ApiScope;
use shared::model::OperatorRole;

/// A scope that a handler requires.
pub(crate) trait RequiredScope: Send + Sync + 'static {
    /// The scope of the API key.
    const SCOPE: ApiScope;
    /// The lowest role of an operator.
    const ROLE: OperatorRole;
    /// Whether an operator may request the rows of the nil tenant.
    const UNASSIGNED: bool;
}

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident: $scope:ident, $role:ident, unassigned: $unassigned:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub(crate) struct $name;

            impl RequiredScope for $name {
                const SCOPE: ApiScope = ApiScope::$scope;
                const ROLE: OperatorRole = OperatorRole::$role;
                const UNASSIGNED: bool = $unassigned;
            }
        )*
    };
}

scopes! {
    /// The scope `signals:read`.
    SignalsRead: SignalsRead, Viewer, unassigned: false;
    /// `connections:read`.
    ConnectionsRead: ConnectionsRead, Viewer, unassigned: false;
    /// `connections:write`.
    ConnectionsWrite: ConnectionsWrite, Operator, unassigned: false;
    /// `connections:write`, for what an operator cannot undo, or what shows a secret.
    ConnectionsAdmin: ConnectionsWrite, Admin, unassigned: false;
    /// `jobs:read`.
    JobsRead: JobsRead, Viewer, unassigned: true;
    /// `jobs:write`.
    JobsWrite: JobsWrite, Operator, unassigned: true;
    /// `deliveries:read`.
    DeliveriesRead: DeliveriesRead, Viewer, unassigned: true;
}
