//! A connector with a mock server that answers requests in order and keeps their queries.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{at, settings};
use crate::connectors::google_calendar::GoogleCalendar;
use crate::connectors::testing::build;
use crate::connectors::{Access, Connector, ConnectorError, SyncPage, SyncRequest};
use crate::http::Priority;
use crate::model::{ExternalAccount, StreamSpec};

/// Stream of the primary calendar.
pub(super) const STREAM: &str = "events:ada@example.com";

/// The query of a request.
pub(super) type Query = BTreeMap<String, String>;

/// A connector, and the server that it calls.
pub(super) struct Calendars {
    pub(super) connector: GoogleCalendar,
    server: MockServer,
}

impl Calendars {
    pub(super) async fn start() -> Self {
        Self::with_settings(&[("GOOGLE_WEBHOOK_SECRET", "webhook-secret-of-tests")]).await
    }

    /// A connector with these settings besides those of the client.
    pub(super) async fn with_settings(further: &[(&'static str, &str)]) -> Self {
        let server = MockServer::start().await;
        let mut pairs = settings(&server.uri());
        pairs.extend(
            further
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let (connector, _) = build(&pairs, at("2026-11-23T12:00:00Z"), GoogleCalendar::new);
        Self { connector, server }
    }

    /// Answers the next request with a status and a body.
    pub(super) async fn answer(&self, status: u16, body: Value) {
        Mock::given(any())
            .respond_with(ResponseTemplate::new(status).set_body_json(body))
            .up_to_n_times(1)
            .mount(&self.server)
            .await;
    }

    /// Reads a page of a stream.
    pub(super) async fn read(
        &self,
        stream: &str,
        cursor: Option<Value>,
    ) -> Result<SyncPage, ConnectorError> {
        self.connector.sync(request(stream, cursor)).await
    }

    /// The paths and queries of all requests.
    pub(super) async fn requests(&self) -> Vec<(String, Query)> {
        let received = self.server.received_requests().await.expect("requests");
        received
            .iter()
            .map(|request| {
                let query = request.url.query_pairs().into_owned().collect();
                (request.url.path().to_owned(), query)
            })
            .collect()
    }

    /// The query of the last request.
    pub(super) async fn last_query(&self) -> Query {
        let mut requests = self.requests().await;
        requests.pop().expect("a request").1
    }
}

pub(super) fn access() -> Access {
    Access {
        account: ExternalAccount::from_route("117"),
        token: "a-token".into(),
        user_token: None,
    }
}

/// A request with a floor of the first of November.
pub(super) fn request(stream: &str, cursor: Option<Value>) -> SyncRequest {
    SyncRequest {
        access: access(),
        stream: StreamSpec {
            key: stream.to_owned(),
            resource_id: None,
            target: json!({ "name": "Ada" }),
        },
        cursor,
        backfill_from: at("2026-11-01T00:00:00Z"),
        upper_bound: at("2026-11-23T12:00:00Z"),
        resync_from: None,
        reconcile_from: None,
        failures: 0,
        priority: Priority::Poll,
        directory: Arc::default(),
    }
}

/// An error response of the Calendar API.
pub(super) fn error(code: u16, reason: &str) -> Value {
    let listed = json!({ "domain": "calendar", "reason": reason, "message": "Refused." });
    json!({ "error": { "errors": [listed], "code": code, "message": "Refused." } })
}
