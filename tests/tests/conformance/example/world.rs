//! State of the example provider: grants, facts, channels, and counters of what it was asked.

use std::collections::{BTreeMap, BTreeSet};

/// The one person, who has an account at both products.
pub(super) const PERSON: &str = "person-1";
/// The scopes of both products.
pub(super) const SCOPES: &[&str] = &["events.read", "files.read"];
/// The keys of the streams of each product.
pub(super) const STREAMS: [&str; 3] = ["events:team", "events:side", "files:plan"];

/// State of the provider.
#[derive(Debug)]
pub(super) struct World {
    /// The scopes that the person withholds from the next grant.
    pub(super) withheld: BTreeSet<&'static str>,
    /// Lifetime of new access tokens, in seconds.
    pub(super) token_ttl: i64,
    /// Whether the next channel is created without a response.
    pub(super) loses_response: bool,
    /// The stream whose pages never end.
    pub(super) endless: Option<&'static str>,
    /// The generation of the person's grant, which a revocation ends.
    generation: u32,
    tokens: u32,
    /// Token refreshes so far.
    pub(super) refreshes: u32,
    /// Revocations so far.
    pub(super) revocations: u32,
    /// The number of facts by product and stream.
    facts: BTreeMap<(String, String), u64>,
    /// Read pages by product and stream.
    pub(super) reads: BTreeMap<(String, String), u32>,
    /// Channels that exist.
    pub(super) channels: BTreeMap<String, Channel>,
    /// Ids of all channels that were ever requested.
    pub(super) requested_channels: Vec<String>,
    /// Statuses of the pushes that were sent before the response to the channel's request.
    pub(super) early_pushes: Vec<u16>,
    pushes: u64,
}

/// A registration for pushes.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    pub(super) id: String,
    pub(super) resource: String,
    pub(super) resource_id: String,
    pub(super) url: String,
}

impl Default for World {
    fn default() -> Self {
        Self {
            withheld: BTreeSet::new(),
            token_ttl: 3600,
            loses_response: false,
            endless: None,
            generation: 1,
            tokens: 0,
            refreshes: 0,
            revocations: 0,
            facts: BTreeMap::new(),
            reads: BTreeMap::new(),
            channels: BTreeMap::new(),
            requested_channels: Vec::new(),
            early_pushes: Vec::new(),
            pushes: 0,
        }
    }
}

impl World {
    /// The scopes that the person grants.
    pub(super) fn granted(&self) -> Vec<&'static str> {
        let scopes = SCOPES.iter().copied();
        scopes
            .filter(|scope| !self.withheld.contains(scope))
            .collect()
    }

    /// A new token of the current grant.
    pub(super) fn issue(&mut self, kind: &str) -> String {
        self.tokens += 1;
        format!("{kind}.{}.{}", self.generation, self.tokens)
    }

    /// Whether a token belongs to the current grant.
    pub(super) fn accepts(&self, token: &str) -> bool {
        token.split('.').nth(1) == Some(&self.generation.to_string())
    }

    /// Ends the grant, and with it every token of both products.
    pub(super) fn revoke(&mut self) {
        self.generation += 1;
        self.revocations += 1;
    }

    /// Adds a fact to a stream and returns its number.
    pub(super) fn add_fact(&mut self, product: &str, stream: &str) -> u64 {
        let key = (product.to_owned(), stream.to_owned());
        let count = self.facts.entry(key).or_default();
        *count += 1;
        *count
    }

    /// The number of facts of a stream; counts a read.
    pub(super) fn read(&mut self, product: &str, stream: &str) -> u64 {
        let key = (product.to_owned(), stream.to_owned());
        *self.reads.entry(key.clone()).or_default() += 1;
        self.facts.get(&key).copied().unwrap_or_default()
    }

    /// How many times a stream was read.
    pub(super) fn reads_of(&self, product: &str, stream: &str) -> u32 {
        let key = (product.to_owned(), stream.to_owned());
        self.reads.get(&key).copied().unwrap_or_default()
    }

    /// The number of the next push.
    pub(super) fn next_push(&mut self) -> u64 {
        self.pushes += 1;
        self.pushes
    }
}
