//! The scopes as types, so that a handler's signature says what its caller must hold.

use shared::db::api_keys::ApiScope;

/// What a request needs to be allowed.
pub(crate) trait RequiredScope: Send + Sync + 'static {
    /// The scope that a key must have.
    const SCOPE: ApiScope;
    /// Whether an operator may ask for what no tenant owns.
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
    /// `signals:read`.
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
