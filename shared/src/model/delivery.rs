//! Deliveries: their source and their outcome.

stored_enum! {
    /// The outcome of a delivery.
    pub enum DeliveryOutcome as "delivery_outcome" {
        /// Not processed yet.
        Pending,
        /// Its Signals and changes are stored.
        Processed,
        /// Readable, but of no kind that is stored.
        Ignored,
        /// Processing failed; `outcome_detail` has the reason.
        Failed,
        /// No connection matches it yet.
        Unmatched,
    }
}

stored_enum! {
    /// The source of a delivery.
    pub enum DeliverySource as "delivery_source" {
        /// The provider sent it.
        Webhook,
        /// A poll found it: a row of a list that could not be read.
        Poll,
    }
}
