//! The role of an operator.

stored_enum! {
    /// The role of an operator; each one includes those before it.
    #[derive(PartialOrd, Ord)]
    pub enum OperatorRole as "operator_role" {
        /// Reads everything except bodies, raw data and secrets.
        Viewer,
        /// Syncs, pauses, retries, replays and reconnects; reads bodies with an audited reason.
        Operator,
        /// Manages tenants, keys and operators, and disconnects.
        Admin,
    }
}

impl OperatorRole {
    /// The role's name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
