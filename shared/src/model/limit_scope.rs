//! Scopes of rate limits.

/// Scope of a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// The account (installation, site, workspace) of the call.
    Account,
    /// One operation of the account.
    Operation,
    /// All calls of the app at this provider.
    Provider,
}
