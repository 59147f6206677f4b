//! A connector that asks a server which gives recorded answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use shared::connectors::{
    Access, Callback, CallbackOutcome, Connector, ConnectorError, StreamSpec, SyncPage, SyncRequest,
};
use url::Url;

use crate::server::{Answer, Server, serve};

/// A connector, and the server that it asks.
pub(crate) struct Scene {
    pub(crate) connector: Arc<dyn Connector>,
    /// What time it is.
    pub(crate) now: DateTime<Utc>,
    access: Access,
    _server: Server,
}

impl Scene {
    /// Has a connector ask a server that gives these answers by path, and otherwise one.
    pub(crate) async fn start(
        given: BTreeMap<String, Answer>,
        otherwise: Answer,
        access: Access,
        connector: impl FnOnce(&str, DateTime<Utc>) -> Arc<dyn Connector>,
    ) -> Self {
        let server = serve(move |path| given.get(path).unwrap_or(&otherwise).clone()).await;
        let now = SystemClock.now();
        Self {
            connector: connector(&server.url, now),
            now,
            access,
            _server: server,
        }
    }

    /// Asks for a page of a stream that reads everything since 1970.
    pub(crate) fn request(&self, stream: &str, cursor: Option<Value>) -> SyncRequest {
        SyncRequest {
            access: self.access.clone(),
            stream: StreamSpec {
                key: stream.to_owned(),
                resource_id: None,
                target: json!({}),
            },
            cursor,
            horizon: DateTime::UNIX_EPOCH,
            until: self.now,
            reconcile_from: None,
            failures: 0,
            priority: shared::http::Priority::Backfill(shared::ids::TenantId::UNASSIGNED),
            directory: Arc::default(),
        }
    }

    /// Reads a page of a stream.
    pub(crate) async fn page(
        &self,
        stream: &str,
        cursor: Option<Value>,
    ) -> Result<SyncPage, ConnectorError> {
        self.connector.sync(self.request(stream, cursor)).await
    }

    /// Ends a connect flow with a code.
    pub(crate) async fn connect(&self) -> Result<CallbackOutcome, ConnectorError> {
        let callback = Callback {
            query: vec![("code".to_owned(), "code".to_owned())],
            code_verifier: "verifier".into(),
            redirect_uri: Url::parse("https://example.org/callback").expect("an address"),
            carry: None,
        };
        self.connector.exchange_token(callback).await
    }
}

/// Kinds and keys.
pub(crate) type Facts = BTreeSet<(String, String)>;

/// What a page told.
pub(crate) fn told(page: &SyncPage) -> Facts {
    let signals = page.signals.iter();
    signals
        .map(|signal| (signal.kind.as_str().to_owned(), signal.dedupe_key.clone()))
        .collect()
}

/// Checks that a page told exactly these facts, and says how many.
pub(crate) fn compare(place: &str, page: &SyncPage, must: &Facts) -> String {
    let told = told(page);
    let missing: Vec<_> = must.difference(&told).collect();
    let invented: Vec<_> = told.difference(must).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "{place}: without {missing:?}, with {invented:?}"
    );
    format!("{} Signals", told.len())
}
