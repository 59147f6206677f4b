//! A connector with a local server of recorded responses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use shared::connectors::{
    Access, Callback, CallbackOutcome, Connector, ConnectorError, SyncPage, SyncRequest,
};
use shared::model::StreamSpec;
use url::Url;

use crate::server::{RecordedResponse, Server, serve};

/// A connector with its server.
pub(crate) struct Fixture {
    pub(crate) connector: Arc<dyn Connector>,
    /// Time of the connector's clock.
    pub(crate) now: DateTime<Utc>,
    access: Access,
    _server: Server,
}

impl Fixture {
    /// Starts a server with these responses by path, and a default response for other paths.
    pub(crate) async fn start(
        responses: BTreeMap<String, RecordedResponse>,
        default: RecordedResponse,
        access: Access,
        connector: impl FnOnce(&str, DateTime<Utc>) -> Arc<dyn Connector>,
    ) -> Self {
        let server = serve(move |path| responses.get(path).unwrap_or(&default).clone()).await;
        let now = SystemClock.now();
        Self {
            connector: connector(&server.url, now),
            now,
            access,
            _server: server,
        }
    }

    /// Request for a page of a stream, with a backfill from 1970.
    pub(crate) fn request(&self, stream: &str, cursor: Option<Value>) -> SyncRequest {
        SyncRequest {
            access: self.access.clone(),
            stream: StreamSpec {
                key: stream.to_owned(),
                resource_id: None,
                target: json!({}),
            },
            cursor,
            backfill_from: DateTime::UNIX_EPOCH,
            upper_bound: self.now,
            resync_from: None,
            reconcile_from: None,
            failures: 0,
            priority: shared::http::Priority::Backfill(shared::model::TenantId::UNASSIGNED),
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

    /// Completes a connect flow with a code.
    pub(crate) async fn connect(&self) -> Result<CallbackOutcome, ConnectorError> {
        let callback = Callback {
            query: vec![("code".to_owned(), "code".to_owned())],
            code_verifier: "verifier".into(),
            redirect_uri: Url::parse("https://example.org/callback").expect("a URL"),
            context: None,
        };
        self.connector.exchange_token(callback).await
    }
}

/// Kinds and dedupe keys.
pub(crate) type Facts = BTreeSet<(String, String)>;

/// Kinds and dedupe keys of a page's Signals.
fn facts(page: &SyncPage) -> Facts {
    let signals = page.signals.iter();
    signals
        .map(|signal| (signal.kind.as_str().to_owned(), signal.dedupe_key.clone()))
        .collect()
}

/// Checks that a page has exactly these facts, and returns their number as text.
pub(crate) fn compare(source: &str, page: &SyncPage, expected: &Facts) -> String {
    let actual = facts(page);
    let missing: Vec<_> = expected.difference(&actual).collect();
    let unexpected: Vec<_> = actual.difference(expected).collect();
    assert!(
        missing.is_empty() && unexpected.is_empty(),
        "{source}: missing {missing:?}, unexpected {unexpected:?}"
    );
    format!("{} Signals", actual.len())
}
