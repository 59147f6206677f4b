//! The status of a connection.

stored_enum! {
    /// The status of a connection.
    pub enum ConnectionStatus as "connection_status" {
        /// An administrator at the provider must approve it first.
        Pending,
        /// Deliveries are accepted and the account is polled.
        Active,
        /// An operator or the tenant stopped polling; deliveries are kept.
        Paused,
        /// The provider suspended the grant.
        Suspended,
        /// The grant is no longer valid; a person must connect the account again.
        NeedsReauth,
        /// Ended: credentials and cursors are erased, the row is kept as history.
        Disconnected,
    }
}
