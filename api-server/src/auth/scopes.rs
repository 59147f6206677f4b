//! The scopes as types, so that a handler's signature states the scope that it requires.

use shared::db::api_keys::ApiScope;

/// A scope that a handler requires.
pub(crate) trait RequiredScope: Send + Sync + 'static {
    /// The scope of the API key.
    const SCOPE: ApiScope;
    /// Whether an operator may request the rows of the nil tenant.
    const UNASSIGNED: bool;
}

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident, unassigned: $unassigned:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub(crate) struct $name;

            impl RequiredScope for $name {
                const SCOPE: ApiScope = ApiScope::$name;
                const UNASSIGNED: bool = $unassigned;
            }
        )*
    };
}

scopes! {
    /// The scope `signals:read`.
    SignalsRead, unassigned: false;
    /// `connections:read`.
    ConnectionsRead, unassigned: false;
    /// `connections:write`.
    ConnectionsWrite, unassigned: false;
    /// `jobs:read`.
    JobsRead, unassigned: true;
    /// `jobs:write`.
    JobsWrite, unassigned: true;
    /// `deliveries:read`.
    DeliveriesRead, unassigned: true;
}
